/* half.h: bf16 and fp16 as they lie in memory, to and from fp32. */
#ifndef LV_BASE_HALF_H
#define LV_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float lv_bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t lv_f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float lv_bf16_to_f32(uint16_t bits) { return lv_bits_to_f32((uint32_t)bits << 16); }

/* Rounds to nearest, ties to even; a NaN stays one. */
static inline uint16_t lv_f32_to_bf16(float value)
{
    uint32_t bits = lv_f32_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

static inline float lv_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t rest = (uint32_t)(half & 0x7fffu) << 13; /* the other bits, where fp32 has them */
    if (rest >= 0x0f800000u) return lv_bits_to_f32(sign | 0x7f800000u | (rest & 0x007fffffu));
    /* The exponent's bias is 127 there and 15 here: a factor 2^112, which also makes subnormals
     * right. */
    return lv_bits_to_f32(sign | lv_f32_to_bits(lv_bits_to_f32(rest) * 0x1p112f));
}

/* Rounds to nearest, ties to even; past 65504 (and its rounding) to infinity; a NaN stays one. */
static inline uint16_t lv_f32_to_f16(float value)
{
    uint32_t bits = lv_f32_to_bits(value), sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) /* below 2^-14: adding 0.5 leaves the subnormal's 10 bits at the end */
        return (uint16_t)(sign | (lv_f32_to_bits(lv_bits_to_f32(bits) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((bits - 0x38000000u + 0x0fffu + ((bits >> 13) & 1u)) >> 13));
}

#endif
