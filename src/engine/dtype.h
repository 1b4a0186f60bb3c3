/* dtype.h: how wide a number is. */
#ifndef LV_ENGINE_DTYPE_H
#define LV_ENGINE_DTYPE_H

#include <stddef.h>

#include <lvsa/lvsa_attention.h>

/* Numbers of 8 bits, see tensor.h; inside the library alone: what <lvsa/...> takes has none. */
#define LV_E4M3 ((lvsa_dtype)4)

/* Bytes of an element: 4, 2 or 1; 0 for a number that is no type. */
static inline size_t lv_dtype_bytes(lvsa_dtype dtype)
{
    if (dtype == LV_E4M3) return 1;
    switch (dtype) {
    case LVSA_F32: return 4;
    case LVSA_F16:
    case LVSA_BF16: return 2;
    }
    return 0;
}

#endif
