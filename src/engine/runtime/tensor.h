/* tensor.h: numbers in a device's memory, row-major without gaps. */
#ifndef LV_ENGINE_RUNTIME_TENSOR_H
#define LV_ENGINE_RUNTIME_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "engine/dtype.h"

enum { LV_MAX_RANK = 5 };

/* A view: copying it copies no numbers. Who made the memory frees it (an arena, a parameter
 * store).
 *
 * e4m3 has a sign, 4 bits of exponent and 3 of fraction: up to 448, and from 2^-6 on the fraction's
 * last bit is 1/16 to 1/8 of the number. Of that type are matrices [N, I] alone, whose number
 * (n, i) is scale[n] times what stands there. */
typedef struct lv_tensor {
    void *data; /* of the device; NULL while memory is being measured */
    lvsa_dtype dtype;
    int rank;
    int64_t shape[LV_MAX_RANK]; /* 1 past the rank */
    float *scale;               /* [N] of an e4m3 matrix, of the device; otherwise NULL */
} lv_tensor;

#define LV_E4M3_MOST 448.0f

/* A view of memory that somebody else owns. */
static inline lv_tensor lv_tensor_view(void *data, lvsa_dtype dtype, int rank,
                                       const int64_t *shape)
{
    lv_tensor t = {.data = data, .dtype = dtype, .rank = rank, .shape = {1, 1, 1, 1, 1}};
    for (int i = 0; i < rank; i++) t.shape[i] = shape[i];
    return t;
}

static inline int64_t lv_tensor_count(lv_tensor t)
{
    return t.shape[0] * t.shape[1] * t.shape[2] * t.shape[3] * t.shape[4];
}

/* Elements of one row of the first axis. */
static inline int64_t lv_tensor_row(lv_tensor t)
{
    return t.shape[1] * t.shape[2] * t.shape[3] * t.shape[4];
}

/* Rows first .. first + count - 1 of the first axis. */
static inline lv_tensor lv_tensor_rows(lv_tensor t, int64_t first, int64_t count)
{
    if (t.data)
        t.data = (char *)t.data + (size_t)(first * lv_tensor_row(t)) * lv_dtype_bytes(t.dtype);
    if (t.scale) t.scale += first;
    t.shape[0] = count;
    return t;
}

/* The same numbers as [rows, columns]. */
static inline lv_tensor lv_tensor_matrix(lv_tensor t, int64_t rows, int64_t columns)
{
    const int64_t shape[] = {rows, columns};
    return lv_tensor_view(t.data, t.dtype, 2, shape);
}

#endif
