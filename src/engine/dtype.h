/* dtype.h: how wide a number is. */
#ifndef LV_ENGINE_DTYPE_H
#define LV_ENGINE_DTYPE_H

#include <stddef.h>

#include <lvsa/lvsa_attention.h>

/* Bytes of an element: 4 or 2; 0 for a number that is no type. */
static inline size_t lv_dtype_bytes(lvsa_dtype dtype)
{
    switch (dtype) {
    case LVSA_F32: return 4;
    case LVSA_F16:
    case LVSA_BF16: return 2;
    }
    return 0;
}

#endif
