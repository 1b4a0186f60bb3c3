/* plain.c: products and convolutions without a library: right, and several times slower. */
#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cpu/math.h"

void lv_cpu_matmul_free(void *state) { (void)state; }

static void finish(float *c, float sum, int64_t column, const lv_epilogue *end)
{
    if (end->bias) sum += end->bias[column];
    if (end->f == LV_SILU) sum = lv_silu(sum);
    if (end->f == LV_GELU_TANH) sum = lv_gelu_tanh(sum);
    if (end->gate) sum *= end->gate[column];
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
    (void)e;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) num_threads(lv_cpu_threads(e))
#endif
    for (int64_t t = 0; t < tiles; t++) multiply_tile(c, a, b, rows, columns, inner, t * TILE, end);
    return LVSA_OK;
}

/* One output point: every tap that lies inside the picture, all output channels. */
LV_CPU_CLONES
static void conv_point(lv_tensor out, lv_tensor in, lv_tensor w, const float *bias, int64_t f,
                       int64_t y, int64_t x)
{
    const int64_t height = in.shape[1], width = in.shape[2], channels = in.shape[3];
    const int64_t kt = w.shape[1], ky = w.shape[2], kx = w.shape[3], outputs = w.shape[0];
    float *to = (float *)out.data + ((f * height + y) * width + x) * outputs;
    for (int64_t o = 0; o < outputs; o++) to[o] = bias ? bias[o] : 0.0f;
    for (int64_t t = 0; t < kt; t++)
        for (int64_t i = 0; i < ky; i++)
            for (int64_t j = 0; j < kx; j++) {
                int64_t from_y = y + i - ky / 2, from_x = x + j - kx / 2;
                if (from_y < 0 || from_y >= height || from_x < 0 || from_x >= width) continue;
                const float *from = (const float *)in.data +
                                    (((f + t) * height + from_y) * width + from_x) * channels;
                const float *tap = (const float *)w.data + ((t * ky + i) * kx + j) * channels;
                for (int64_t o = 0; o < outputs; o++)
                    to[o] += lv_dot(from, tap + o * kt * ky * kx * channels, channels);
            }
}

lvsa_status lv_cpu_conv(lv_exec *e, lv_tensor out, lv_tensor in, lv_tensor w, lv_tensor b)
{
    int64_t height = out.shape[1], width = out.shape[2], points = out.shape[0] * height * width;
    (void)e;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) num_threads(lv_cpu_threads(e))
#endif
    for (int64_t i = 0; i < points; i++)
        conv_point(out, in, w, b.data, i / (height * width), i / width % height, i % width);
    return LVSA_OK;
}
