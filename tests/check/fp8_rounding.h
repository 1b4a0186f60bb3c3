/* fp8_rounding.h: what the attention in fp8 makes of its tensors before it multiplies, plain C. */
#ifndef LV_TESTS_CHECK_FP8_ROUNDING_H
#define LV_TESTS_CHECK_FP8_ROUNDING_H

#include <lvsa/lvsa_attention.h>

/* Q, K and V of a call in f32, head size 128, replaced by the numbers that the kernel multiplies: Q
 * and K smoothed, turned and rounded, V as it comes back after its rounding. Products of Q and K
 * then lack q . mean: means[B, H_kv, 128] are K's. A row of K or Q that isn't finite becomes
 * NaN. */
void fp8_round(lvsa_attention *call, double *means);

#endif
