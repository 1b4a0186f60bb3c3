/* attn_f32_generic.c: four queries a vector, in the compiler's own vector type: SSE2 on x86-64,
 * NEON on Arm, plain code elsewhere. The floor of the table: always built. */
#include <stdint.h>
#include <string.h>

#include "base/half.h"

typedef float vec __attribute__((vector_size(16)));
typedef int32_t ivec __attribute__((vector_size(16)));
enum { LANES = 4 };

static inline vec v_load(const float *p) { return *(const vec *)(const void *)p; }
static inline void v_store(float *p, vec x) { *(vec *)(void *)p = x; }
static inline void v_storeu(float *p, vec x) { memcpy(p, &x, sizeof x); }
static inline vec v_set1(float x) { return (vec){x, x, x, x}; }
static inline vec v_add(vec a, vec b) { return a + b; }
static inline vec v_sub(vec a, vec b) { return a - b; }
static inline vec v_fma(vec a, vec b, vec c) { return a * b + c; }

static inline vec v_max(vec a, vec b)
{
    ivec first = a > b;
    return (vec)(((ivec)a & first) | ((ivec)b & ~first));
}

#include "engine/attention/cpu/exp2.h"

static inline vec v_exp2(vec x)
{
    x = v_max(v_set1(-127.0f), x); /* 2^-127 comes out as 0 */
    const vec shift = v_set1(0x1.8p23f); /* leaves the nearest whole number in the low bits */
    vec shifted = x + shift, whole = shifted - shift;
    ivec exponent = ((ivec)shifted - (ivec)shift + 127) << 23;
    return exp2_poly(x - whole) * (vec)exponent;
}

static inline vec v_from_bf16(const uint16_t *p)
{
    return (vec){lv_bf16_to_f32(p[0]), lv_bf16_to_f32(p[1]), lv_bf16_to_f32(p[2]),
                 lv_bf16_to_f32(p[3])};
}

static inline vec v_from_f16(const uint16_t *p)
{
    return (vec){lv_f16_to_f32(p[0]), lv_f16_to_f32(p[1]), lv_f16_to_f32(p[2]),
                 lv_f16_to_f32(p[3])};
}

enum { ROWS = 4, COLS = 3 };
#define KERNEL lv_attn_f32_generic
#define NAME "attn_f32_generic"
#include "engine/attention/cpu/attn_tile.h"
