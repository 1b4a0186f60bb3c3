/* attn_f32_avx512.c: sixteen queries a vector. Products bound: 8 x 2 sums, 2 lanes and 1 key in 19
 * of 32 registers. Measured figures: docs/SPEED.md. */
#include <immintrin.h>
#include <stdint.h>

typedef __m512 vec;
enum { LANES = 16 };

static inline vec v_load(const float *p) { return _mm512_load_ps(p); }
static inline void v_store(float *p, vec x) { _mm512_store_ps(p, x); }
static inline void v_storeu(float *p, vec x) { _mm512_storeu_ps(p, x); }
static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }

#include "engine/attention/cpu/exp2.h"

static inline vec v_exp2(vec x)
{
    vec whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_scalef_ps(exp2_poly(v_sub(x, whole)), whole);
}

static inline vec v_from_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static inline vec v_from_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

enum { ROWS = 8, COLS = 2 };
#define KERNEL lv_attn_f32_avx512
#define NAME "attn_f32_avx512"
#include "engine/attention/cpu/attn_tile.h"
