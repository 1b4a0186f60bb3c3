/* conv.c: a convolution as products: the values under the kernel, a row for each point of the
 * picture, times the weights [O, kt*ky*kx*C].
 *
 * oneDNN 2's own convolution falls back to plain loops unless its weights are packed its own way;
 * with packed weights it takes as long as this. */
#include <string.h>

#include "engine/runtime/cpu/cpu.h"

/* Rows that are gathered at once: enough for a product to be fast, few enough to stay in a
 * cache. */
static int64_t rows_at_once(int64_t points, int64_t inner)
{
    int64_t rows = (1 << 20) / inner;
    if (rows < 256) rows = 256;
    return rows < points ? rows : points;
}

static int64_t inner_size(lv_tensor w) { return w.shape[1] * w.shape[2] * w.shape[3] * w.shape[4]; }

size_t lv_cpu_conv_scratch(lv_exec *e, lv_tensor out, lv_tensor w)
{
    const int64_t points = out.shape[1] * out.shape[2], inner = inner_size(w);
    (void)e;
    if (inner == w.shape[4]) return 0;
    return (size_t)(rows_at_once(points, inner) * inner) * sizeof(float);
}

/* The kx * C values of one line of the kernel, which lie side by side but at the picture's
 * edges. */
static void gather_line(float *to, const float *line, int64_t x, int64_t kx, int64_t width,
                        int64_t channels)
{
    const int64_t from = x - kx / 2, first = from < 0 ? -from : 0;
    const int64_t last = from + kx > width ? width - from : kx;
    const size_t value = sizeof *to;
    memset(to, 0, (size_t)(first * channels) * value);
    memcpy(to + first * channels, line + (from + first) * channels,
           (size_t)((last - first) * channels) * value);
    memset(to + last * channels, 0, (size_t)((kx - last) * channels) * value);
}

/* The values under the kernel at one point of the output. */
static void gather_point(float *to, const lv_tensor *in, lv_tensor w, int64_t point)
{
    const int64_t height = in->shape[1], width = in->shape[2], channels = in->shape[3];
    const int64_t kt = w.shape[1], ky = w.shape[2], kx = w.shape[3];
    const int64_t x = point % width, y = point / width;
    for (int64_t t = 0; t < kt; t++) {
        const float *frame = in[t].data;
        for (int64_t j = 0; j < ky; j++, to += kx * channels) {
            const int64_t row = y + j - ky / 2;
            if (row < 0 || row >= height) memset(to, 0, (size_t)(kx * channels) * sizeof *to);
            else gather_line(to, frame + row * width * channels, x, kx, width, channels);
        }
    }
}

lvsa_status lv_cpu_conv(lv_exec *e, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                        bool add, void *scratch)
{
    const int64_t points = out.shape[1] * out.shape[2], outputs = w.shape[0];
    const int64_t inner = inner_size(w), step = rows_at_once(points, inner);
    const lv_epilogue end = {.bias = b, .add = add};
    if (inner == w.shape[4])
        return lv_cpu_matmul(e, out.data, in->data, w.data, points, outputs, inner, &end);

    for (int64_t first = 0; first < points; first += step) {
        const int64_t rows = points - first < step ? points - first : step;
        if (e->arena.measuring) {
            /* Products get ready, each for its number of rows: once for all whole steps. */
            if (first == 0 || rows < step)
                LV_TRY(lv_cpu_matmul(e, NULL, scratch, w.data, rows, outputs, inner, &end));
            continue;
        }
        float *to = (float *)out.data + first * outputs;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) num_threads(lv_cpu_threads(e, rows *inner))
#endif
        for (int64_t i = 0; i < rows; i++)
            gather_point((float *)scratch + i * inner, in, w, first + i);
        LV_TRY(lv_cpu_matmul(e, to, scratch, w.data, rows, outputs, inner, &end));
    }
    return LVSA_OK;
}
