/* gpu.h: tests that want a GPU. */
#ifndef LV_TESTS_GPU_H
#define LV_TESTS_GPU_H

#include <stdbool.h>

#include <lvsa/lvsa_attention.h>

#include "testing.h"

/* Whether device cuda can be used, and what it is; if not, says why the test is skipped. */
static inline bool find_gpu(lvsa_device_info *out)
{
    *out = (lvsa_device_info){.size = sizeof *out};
    if (lvsa_device_get_info(out, LVSA_DEVICE_CUDA) == LVSA_OK) return true;
    print_message("skipped: %s\n", lvsa_last_error());
    return false;
}

#endif
