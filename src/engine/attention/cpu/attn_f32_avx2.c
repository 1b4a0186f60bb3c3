/* attn_f32_avx2.c: eight queries a vector. Products bound: 6 x 2 sums, 2 lanes and 1 key in 15 of
 * 16 registers. Measured figures: docs/SPEED.md. */
#include <immintrin.h>
#include <stdint.h>

typedef __m256 vec;
enum { LANES = 8 };

static inline vec v_load(const float *p) { return _mm256_load_ps(p); }
static inline void v_store(float *p, vec x) { _mm256_store_ps(p, x); }
static inline void v_storeu(float *p, vec x) { _mm256_storeu_ps(p, x); }
static inline vec v_set1(float x) { return _mm256_set1_ps(x); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }

#include "engine/attention/cpu/exp2.h"

static inline vec v_exp2(vec x)
{
    x = v_max(v_set1(-127.0f), x); /* 2^-127 comes out as 0 */
    vec whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return v_mul(exp2_poly(v_sub(x, whole)), _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

static inline vec v_from_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

static inline vec v_from_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

enum { ROWS = 6, COLS = 2 };
#define KERNEL lv_attn_f32_avx2
#define NAME "attn_f32_avx2"
#include "engine/attention/cpu/attn_tile.h"
