/* math.h: exponentials that compilers turn into vector code. */
#ifndef LV_ENGINE_RUNTIME_CPU_MATH_H
#define LV_ENGINE_RUNTIME_CPU_MATH_H

#include "base/half.h"

/* e^x, relative error under 2e-7; 0 far below, infinity far above, NaN of NaN. */
static inline float lv_exp(float x)
{
    const float shift = 0x1.8p23f; /* leaves the nearest whole number in the low bits */
    float y = x * 1.44269504f;
    y = y < -150.0f ? -150.0f : y;
    y = y > 150.0f ? 150.0f : y;
    float shifted = y + shift, whole = shifted - shift;
    /* x - whole * ln 2 in two steps, so that large x keep their last bits */
    float f = (x - whole * 0x1.62e4p-1f - whole * 0x1.7f7d1cp-20f) * 1.44269504f;
    f = x < -104.0f || x > 104.0f ? 0.0f : f;
    float sum = 0x1.5bba14p-10f;
    sum = sum * f + 0x1.3cea88p-7f;
    sum = sum * f + 0x1.c6b752p-5f;
    sum = sum * f + 0x1.ebf9bcp-3f;
    sum = sum * f + 0x1.62e42ap-1f;
    sum = sum * f + 1.0f;
    /* 2^whole in two factors: the exponent of one would not reach -150 */
    int32_t exponent = (int32_t)(lv_f32_to_bits(shifted) - lv_f32_to_bits(shift));
    int32_t half = exponent / 2;
    float low = lv_bits_to_f32((uint32_t)(half + 127) << 23);
    float high = lv_bits_to_f32((uint32_t)(exponent - half + 127) << 23);
    return x != x ? x : sum * low * high;
}

/* Sums in sixteen parts: compilers may not reorder a single one, and parts lose fewer bits. */
enum { LV_PARTS = 16 };

static inline float lv_add_parts(const float part[LV_PARTS])
{
    float sum = 0.0f;
    for (int p = 0; p < LV_PARTS; p++) sum += part[p];
    return sum;
}

/* sum of (a[i] - shift) * (b[i] - shift) */
static inline float lv_dot_shifted(const float *a, const float *b, int64_t count, float shift)
{
    float part[LV_PARTS] = {0};
    int64_t i = 0;
    for (; i + LV_PARTS <= count; i += LV_PARTS)
        for (int p = 0; p < LV_PARTS; p++) part[p] += (a[i + p] - shift) * (b[i + p] - shift);
    for (int p = 0; i < count; i++, p++) part[p] += (a[i] - shift) * (b[i] - shift);
    return lv_add_parts(part);
}

static inline float lv_dot(const float *a, const float *b, int64_t count)
{
    return lv_dot_shifted(a, b, count, 0.0f);
}

static inline float lv_sum(const float *a, int64_t count)
{
    float part[LV_PARTS] = {0};
    int64_t i = 0;
    for (; i + LV_PARTS <= count; i += LV_PARTS)
        for (int p = 0; p < LV_PARTS; p++) part[p] += a[i + p];
    for (int p = 0; i < count; i++, p++) part[p] += a[i];
    return lv_add_parts(part);
}

static inline float lv_silu(float x) { return x / (1.0f + lv_exp(-x)); }

/* 0.5 x (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
static inline float lv_gelu_tanh(float x)
{
    float u = 0.79788456f * (x + 0.044715f * x * x * x);
    return x / (1.0f + lv_exp(-2.0f * u));
}

#endif
