/* numbers.c: random numbers from a counter, eight or sixteen at a time where the processor can. */
#include <string.h>

#include "base/half.h"
#include "engine/runtime/cpu/cpu.h"
#include "flow/synth/synth.h"

uint64_t lv_synth_key(uint64_t seed, const char *part, const char *name)
{
    uint64_t key = seed ^ 0xcbf29ce484222325u; /* FNV-1a of both names, then mixed */
    for (; *part; part++) key = (key ^ (uint8_t)*part) * 0x100000001b3u;
    for (; *name; name++) key = (key ^ (uint8_t)*name) * 0x100000001b3u;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
    key = (key ^ key >> 27) * 0x94d049bb133111ebu;
    return key ^ key >> 31;
}

/* 32 bits from a counter, by two rounds of multiplying and shifting. */
static inline uint32_t mix(uint32_t x, uint32_t low, uint32_t high)
{
    x = x * 0x9e3779b9u + low;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = ((x ^ x >> 15) + high) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Halves of 32 bits, as numbers in -1 .. 1. */
static inline float low_half(uint32_t x) { return (float)(int16_t)(x & 0xffff) * 0x1p-15f; }
static inline float high_half(uint32_t x) { return (float)(int16_t)(x >> 16) * 0x1p-15f; }

/* To the nearest bf16; no number here is one that mustn't be rounded so. */
static inline uint32_t bf16_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

LV_CPU_CLONES
static void fill_bf16(uint32_t *out, uint32_t counter, int64_t pairs, float scale, uint32_t low,
                      uint32_t high)
{
    for (int64_t i = 0; i < pairs; i++) {
        const uint32_t x = mix(counter + (uint32_t)i, low, high);
        out[i] = bf16_bits(low_half(x) * scale) | bf16_bits(high_half(x) * scale) << 16;
    }
}

LV_CPU_CLONES
static void fill_f32(float *out, uint32_t counter, int64_t pairs, float scale, uint32_t low,
                     uint32_t high)
{
    for (int64_t i = 0; i < pairs; i++) {
        const uint32_t x = mix(counter + (uint32_t)i, low, high);
        out[2 * i] = low_half(x) * scale;
        out[2 * i + 1] = high_half(x) * scale;
    }
}

static void fill_constant(void *out, lvsa_dtype dtype, float value, int64_t count)
{
    const uint16_t half = lv_f32_to_bf16(value);
    for (int64_t i = 0; i < count; i++)
        if (dtype == LVSA_F32) ((float *)out)[i] = value;
        else ((uint16_t *)out)[i] = half;
}

void lv_synth_fill(void *out, lvsa_dtype dtype, const lv_synth_tensor *t, uint64_t key,
                   int64_t first, int64_t count)
{
    const float scale = t->deviation * 1.7320508f; /* of uniform numbers: sqrt(3) deviations */
    const int64_t pairs = (count + 1) / 2;         /* `out` has room for a whole pair        */
    const uint32_t counter = (uint32_t)(first / 2), low = (uint32_t)key,
                   high = (uint32_t)(key >> 32);
    if (t->deviation == 0.0f) fill_constant(out, dtype, t->constant, count);
    else if (dtype == LVSA_F32) fill_f32(out, counter, pairs, scale, low, high);
    else fill_bf16(out, counter, pairs, scale, low, high);
}
