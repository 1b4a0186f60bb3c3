/* golden.h: arrays of ours against the tensors of tests/golden, in cmocka tests.
 *
 *     lv_safetensors *golden = golden_open("wan/forward-a.safetensors");
 *     golden_check(golden, "block.0", x, 36 * 128, 1e-5);
 *     lv_safetensors_close(&golden);
 *
 * Whatever isn't as it should be fails the test that called, by fail_msg(). */
#ifndef LV_TESTS_GOLDEN_WAN_GOLDEN_H
#define LV_TESTS_GOLDEN_WAN_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/weights/safetensors.h"

typedef struct golden_error {
    double relative; /* |have - want| / |want|, both L2; infinite where only `want` is 0 */
    double largest;  /* of |have[i] - want[i]|                                           */
    size_t worst;    /* that i; the first NaN where there is one: both errors are NaN    */
} golden_error;

golden_error golden_measure(const float *have, const float *want, size_t count);

/* A file below tests/golden. The caller closes it. */
lv_safetensors *golden_open(const char *file);

/* The data of an F32 (U8) tensor of so many elements, valid until the close. */
const float *golden_get(const lv_safetensors *golden, const char *name, size_t count);
const uint8_t *golden_get_bytes(const lv_safetensors *golden, const char *name, size_t count);

/* Prints the error of `have` against a tensor and returns it. Where the relative error is NaN or
 * past the bound, it fails with the worst element's index, value and the value wanted. */
golden_error golden_check(const lv_safetensors *golden, const char *name, const float *have,
                          size_t count, double bound);

/* The same for bytes: none may differ by more than `bound`. */
void golden_check_bytes(const lv_safetensors *golden, const char *name, const uint8_t *have,
                        size_t count, int bound);

#endif
