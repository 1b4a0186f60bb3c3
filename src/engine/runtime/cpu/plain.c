/* plain.c: products without a library: right, and several times slower. */
#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cpu/math.h"

void lv_cpu_matmul_free(void *state) { (void)state; }

static void finish(float *c, float sum, int64_t column, const lv_epilogue *end)
{
    const float *bias = end->bias.data, *gate = end->gate.data;
    if (bias) sum += bias[column];
    if (end->f == LV_SILU) sum = lv_silu(sum);
    if (end->f == LV_GELU_TANH) sum = lv_gelu_tanh(sum);
    if (gate) sum *= gate[column];
    c[column] = end->add ? c[column] + sum : sum;
}

enum { TILE = 8 }; /* columns whose weights stay in the cache for a tile of rows */

LV_CPU_CLONES
static void multiply_tile(float *c, const float *a, const float *b, int64_t rows, int64_t columns,
                          int64_t inner, int64_t first, const lv_epilogue *end)
{
    int64_t last = first + TILE < columns ? first + TILE : columns;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = first; j < last; j++)
            finish(c + i * columns, lv_dot(a + i * inner, b + j * inner, inner), j, end);
}

lvsa_status lv_cpu_matmul(lv_exec *e, float *c, const float *a, const float *b, int64_t rows,
                          int64_t columns, int64_t inner, const lv_epilogue *end)
{
    int64_t tiles = (columns + TILE - 1) / TILE;
    if (e->arena.measuring) return LVSA_OK;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) num_threads(lv_cpu_threads(e, rows *columns *inner))
#endif
    for (int64_t t = 0; t < tiles; t++) multiply_tile(c, a, b, rows, columns, inner, t * TILE, end);
    return LVSA_OK;
}
