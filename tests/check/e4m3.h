/* e4m3.h: matrices of e4m3 numbers on the CPU, as plainly as can be: what a GPU's are compared
 * with. */
#ifndef E4M3_H
#define E4M3_H

#include "engine/runtime/device.h"

float e4m3_to_f32(uint8_t bits);

/* To the nearest, of two the even one; beyond 448 it is 448. A NaN stays one. */
uint8_t e4m3_from_f32(float value);

/* Rows of x [rows, width] as e4m3, the largest number of each 448 times scale[row]. */
void e4m3_quantise(uint8_t *out, float *scale, const float *x, int64_t rows, int64_t width);

/* Makes the dense layers, norms and copies of a CPU, just opened, take e4m3 as a GPU's do: products
 * of the same numbers, sums in f32. A model that is opened on it runs in fp8. One device at a
 * time. */
void e4m3_install(lv_device *device);

#endif
