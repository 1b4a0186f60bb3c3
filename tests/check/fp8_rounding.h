/* fp8_rounding.h: what the attention in fp8 makes of its tensors before it multiplies, plain C. */
#ifndef LV_TESTS_CHECK_FP8_ROUNDING_H
#define LV_TESTS_CHECK_FP8_ROUNDING_H

#include <lvsa/lvsa_attention.h>

/* Q, K and V of a call in f32, head size 64 or 128, replaced by the numbers that the kernel
 * multiplies: Q and K as they come back after they are turned, K smoothed, and rounded to int8, V
 * after its rounding to e4m3. Products of Q and K then lack q . mean: means[B, H_kv, D] are K's. A
 * row of K or Q that isn't finite becomes NaN. */
void fp8_round(lvsa_attention *call, double *means);

#endif
