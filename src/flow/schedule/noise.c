/* noise.c: mt19937 (Matsumoto and Nishimura 1998) and the Box-Muller transform, in the order in
 * which PyTorch's CPU generator uses them (aten/src/ATen/native/cpu/DistributionTemplates.h,
 * normal_fill, and aten/src/ATen/core/DistributionsHelper.h, normal_distribution). */
#include "flow/schedule/noise.h"

#include <math.h>

enum { WORDS = 624, SHIFT = 397, BLOCK = 16, HALF = BLOCK / 2 };

static const double two_pi = 6.283185307179586476925286766559;

/* ---- mt19937 --------------------------------------------------------------------------------- */

void lv_noise_seed(lv_noise *noise, uint64_t seed)
{
    *noise = (lv_noise){.next = WORDS};
    noise->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t before = noise->state[i - 1];
        noise->state[i] = 1812433253u * (before ^ (before >> 30)) + i;
    }
}

/* The word that takes the place of the first of three: `next` follows it, `far` is SHIFT words
 * on. */
static uint32_t twist(uint32_t word, uint32_t next, uint32_t far)
{
    uint32_t mixed = (word & 0x80000000u) | (next & 0x7fffffffu);
    return far ^ (mixed >> 1) ^ (next & 1u ? 0x9908b0dfu : 0u);
}

static void renew(lv_noise *noise)
{
    uint32_t *s = noise->state;
    int i = 0;
    for (; i < WORDS - SHIFT; i++) s[i] = twist(s[i], s[i + 1], s[i + SHIFT]);
    for (; i < WORDS - 1; i++) s[i] = twist(s[i], s[i + 1], s[i + SHIFT - WORDS]);
    s[i] = twist(s[i], s[0], s[SHIFT - 1]);
    noise->next = 0;
}

static uint32_t draw(lv_noise *noise)
{
    if (noise->next >= WORDS) renew(noise);
    uint32_t word = noise->state[noise->next++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    return word ^ (word >> 18);
}

/* [0, 1), 24 bits. */
static float draw_single(lv_noise *noise) { return (float)(draw(noise) & 0xffffffu) * 0x1p-24f; }

/* [0, 1), 53 bits, the high word first. */
static double draw_double(lv_noise *noise)
{
    uint64_t high = draw(noise);
    uint64_t both = high << 32 | draw(noise);
    return (double)(both & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* ---- normal numbers -------------------------------------------------------------------------- */

/* Sixteen uniform numbers into normal ones: the first eight give radii, the others angles. PyTorch
 * computes in fp32, where an angle's last bit moves a number by up to 1e-6; so the angle is rounded
 * as it is there. */
static void transform_block(float *x)
{
    for (int i = 0; i < HALF; i++) {
        float radius = sqrtf(-2.0f * logf(1.0f - x[i]));
        float angle = (float)two_pi * x[i + HALF];
        x[i] = radius * cosf(angle);
        x[i + HALF] = radius * sinf(angle);
    }
}

/* Fewer than a block: one by one, in pairs, in double. */
static float draw_normal(lv_noise *noise)
{
    if (noise->has_spare) {
        noise->has_spare = false;
        return (float)noise->spare;
    }
    double angle = two_pi * draw_double(noise);
    double radius = sqrt(-2.0 * log1p(-draw_double(noise)));
    noise->spare = radius * sin(angle);
    noise->has_spare = true;
    return (float)(radius * cos(angle));
}

void lv_noise_fill(lv_noise *noise, float *out, size_t count)
{
    if (count < BLOCK) {
        for (size_t i = 0; i < count; i++) out[i] = draw_normal(noise);
        return;
    }
    for (size_t i = 0; i < count; i++) out[i] = draw_single(noise);
    for (size_t i = 0; i + BLOCK <= count; i += BLOCK) transform_block(out + i);
    if (count % BLOCK != 0) { /* the last sixteen anew, over what the last whole block left there */
        float *tail = out + (count - BLOCK);
        for (int i = 0; i < BLOCK; i++) tail[i] = draw_single(noise);
        transform_block(tail);
    }
}
