/* noise.h: the noise that generation starts from. */
#ifndef LV_FLOW_SCHEDULE_NOISE_H
#define LV_FLOW_SCHEDULE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A generator whose normal numbers are those of a CPU generator of PyTorch, so that a seed means
 * the same video in both. A plain value: copy it to keep its place. */
typedef struct lv_noise {
    uint32_t state[624]; /* mt19937 */
    int next;            /* the word of `state` that comes next; 624 when they are used up */
    bool has_spare;
    double spare; /* the second of a pair of which a call of odd length used the first */
} lv_noise;

/* As torch.Generator("cpu").manual_seed(seed): only the low 32 bits of a seed count. */
void lv_noise_seed(lv_noise *noise, uint64_t seed);

/* out: [count] f32, mean 0 and variance 1, as torch.randn(count, generator=...) gives it in
 * float32. Of ten million numbers 83 % have the same bits and none is further off than 4.8e-7
 * (PyTorch 2.15 with AVX2, whose log, sin and cos are approximations; without AVX2 PyTorch rounds
 * angles differently, and its own numbers move by up to 2.4e-6). One call for a whole tensor: the
 * length decides how its numbers are made. */
void lv_noise_fill(lv_noise *noise, float *out, size_t count);

#endif
