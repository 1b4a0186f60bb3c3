/* rows.c: operations that go over tensors row by row or number by number. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cpu/math.h"
#include "engine/runtime/cpu/rows.h"

/* Numbers a thread takes at a time: enough to be worth a thread, little enough for a cache. */
enum { PIECE = 1 << 14 };

static float *f32(lv_tensor t) { return t.data; }

/* The loop that follows, over `work` numbers, is shared by the threads. */
#ifdef LVSA_HAVE_OPENMP
#define PRAGMA_(text) _Pragma(#text)
#define PARALLEL(e, work)                                                                          \
    PRAGMA_(omp parallel for schedule(static) num_threads(lv_cpu_threads(e, work)))
#else
#define PARALLEL(e, work) (void)e;
#endif

/* ---- norms ----------------------------------------------------------------------------------- */

LV_CPU_CLONES
static void layer_norm_row(float *out, const float *x, int64_t width, const lv_layer_norm *n)
{
    float mean = lv_sum(x, width) / (float)width;
    float variance = lv_dot_shifted(x, x, width, mean) / (float)width;
    float inverse = 1.0f / sqrtf(variance + n->eps);
    const float *weight = f32(n->weight), *bias = f32(n->bias);
    const float *scale = f32(n->scale), *shift = f32(n->shift);
    for (int64_t i = 0; i < width; i++) out[i] = (x[i] - mean) * inverse;
    if (weight)
        for (int64_t i = 0; i < width; i++) out[i] = out[i] * weight[i];
    if (bias)
        for (int64_t i = 0; i < width; i++) out[i] = out[i] + bias[i];
    if (scale)
        for (int64_t i = 0; i < width; i++) out[i] = out[i] * (1.0f + scale[i]);
    if (shift)
        for (int64_t i = 0; i < width; i++) out[i] = out[i] + shift[i];
}

lvsa_status lv_cpu_layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm)
{
    int64_t rows = x.shape[0], width = x.shape[1];
    PARALLEL(e, rows * width)
    for (int64_t row = 0; row < rows; row++)
        layer_norm_row(f32(out) + row * width, f32(x) + row * width, width, norm);
    return LVSA_OK;
}

LV_CPU_CLONES
static void rms_norm_row(float *out, const float *x, const float *weight, int64_t width, float eps)
{
    float inverse = 1.0f / sqrtf(lv_dot(x, x, width) / (float)width + eps);
    for (int64_t i = 0; i < width; i++) out[i] = x[i] * inverse * weight[i];
}

lvsa_status lv_cpu_rms_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight, float eps)
{
    int64_t rows = x.shape[0], width = x.shape[1];
    PARALLEL(e, rows * width)
    for (int64_t row = 0; row < rows; row++)
        rms_norm_row(f32(out) + row * width, f32(x) + row * width, f32(weight), width, eps);
    return LVSA_OK;
}

/* Turns the pairs of every head of one row; the token stands at position[axis] on each axis. */
LV_CPU_CLONES
static void rotate_row(float *x, int64_t width, int64_t head_dim, const lv_rope *rope,
                       const int64_t position[3])
{
    for (float *head = x; head < x + width; head += head_dim) {
        float *pair = head;
        for (int axis = 0; axis < 3; axis++) {
            int64_t pairs = rope->cosine[axis].shape[1];
            const float *cosine = f32(rope->cosine[axis]) + position[axis] * pairs;
            const float *sine = f32(rope->sine[axis]) + position[axis] * pairs;
            for (int64_t j = 0; j < pairs; j++) {
                float a = pair[2 * j], b = pair[2 * j + 1];
                pair[2 * j] = a * cosine[j] - b * sine[j];
                pair[2 * j + 1] = a * sine[j] + b * cosine[j];
            }
            pair += 2 * pairs;
        }
    }
}

lvsa_status lv_cpu_norm_rope(lv_exec *e, lv_tensor x, lv_tensor weight, float eps,
                             const lv_rope *rope, int64_t first, int64_t head_dim)
{
    int64_t rows = x.shape[0], width = x.shape[1];
    PARALLEL(e, rows * width)
    for (int64_t i = 0; i < rows; i++) {
        float *row = f32(x) + i * width;
        rms_norm_row(row, row, f32(weight), width, eps);
        if (!rope) continue;
        int64_t token = first + i, frame_tokens = rope->height * rope->width;
        const int64_t position[] = {token / frame_tokens, token / rope->width % rope->height,
                                    token % rope->width};
        rotate_row(row, width, head_dim, rope, position);
    }
    return LVSA_OK;
}

LV_CPU_CLONES
static void activate_piece(float *out, const float *in, int64_t count, lv_activation f)
{
    switch (f) {
    case LV_LINEAR:
        if (out != in) memcpy(out, in, (size_t)count * sizeof *out);
        break;
    case LV_SILU:
        for (int64_t i = 0; i < count; i++) out[i] = lv_silu(in[i]);
        break;
    case LV_GELU_TANH:
        for (int64_t i = 0; i < count; i++) out[i] = lv_gelu_tanh(in[i]);
        break;
    }
}

LV_CPU_CLONES
static void channel_norm_row(float *out, const float *x, const float *weight, int64_t channels)
{
    float inverse = sqrtf((float)channels) / fmaxf(sqrtf(lv_dot(x, x, channels)), 1e-12f);
    for (int64_t i = 0; i < channels; i++) out[i] = x[i] * inverse * weight[i];
}

lvsa_status lv_cpu_channel_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight,
                                lv_activation f)
{
    int64_t channels = x.shape[x.rank - 1], rows = lv_tensor_count(x) / channels;
    PARALLEL(e, rows * channels)
    for (int64_t row = 0; row < rows; row++) {
        float *to = f32(out) + row * channels;
        channel_norm_row(to, f32(x) + row * channels, f32(weight), channels);
        activate_piece(to, to, channels, f);
    }
    return LVSA_OK;
}

/* ---- elementwise ----------------------------------------------------------------------------- */

static int64_t piece_size(int64_t count, int64_t at)
{
    return count - at < PIECE ? count - at : PIECE;
}

lvsa_status lv_cpu_activate(lv_exec *e, lv_tensor out, lv_tensor a, lv_activation f)
{
    int64_t count = lv_tensor_count(out);
    PARALLEL(e, count)
    for (int64_t at = 0; at < count; at += PIECE)
        activate_piece(f32(out) + at, f32(a) + at, piece_size(count, at), f);
    return LVSA_OK;
}

LV_CPU_CLONES
static void add_piece(float *out, const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

lvsa_status lv_cpu_add(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    int64_t period = lv_tensor_count(b), rows = lv_tensor_count(a) / period;
    PARALLEL(e, rows * period)
    for (int64_t row = 0; row < rows; row++)
        add_piece(f32(out) + row * period, f32(a) + row * period, f32(b), period);
    return LVSA_OK;
}

LV_CPU_CLONES
static void gelu_multiply_piece(float *out, const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) out[i] = lv_gelu_tanh(a[i]) * b[i];
}

lvsa_status lv_cpu_gelu_multiply(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    int64_t count = lv_tensor_count(out);
    PARALLEL(e, count)
    for (int64_t at = 0; at < count; at += PIECE)
        gelu_multiply_piece(f32(out) + at, f32(a) + at, f32(b) + at, piece_size(count, at));
    return LVSA_OK;
}

/* How many of the numbers are none. */
LV_CPU_CLONES
static uint32_t pixels_piece(uint8_t *rgb, float *values, int64_t count)
{
    uint32_t nans = 0;
    for (int64_t i = 0; i < count; i++) {
        float v = values[i];
        nans += v != v;
        v = v > -1.0f ? v : -1.0f;
        v = v < 1.0f ? v : 1.0f;
        values[i] = v;
        rgb[i] = (uint8_t)((v * 0.5f + 0.5f) * 255.0f);
    }
    return nans;
}

lvsa_status lv_cpu_pixels(lv_exec *e, void *rgb, lv_tensor frames)
{
    const int64_t count = lv_tensor_count(frames);
    uint32_t nans = 0;
    (void)e;
    for (int64_t at = 0; at < count; at += PIECE)
        nans += pixels_piece((uint8_t *)rgb + at, f32(frames) + at, piece_size(count, at));
    memcpy((uint8_t *)rgb + lv_pixels_bytes(count) - sizeof nans, &nans, sizeof nans);
    return LVSA_OK;
}

lvsa_status lv_cpu_copy(lv_exec *e, lv_tensor out, lv_tensor x)
{
    (void)e;
    memmove(out.data, x.data, (size_t)lv_tensor_count(out) * sizeof(float));
    return LVSA_OK;
}

lvsa_status lv_cpu_zero(lv_exec *e, lv_tensor out)
{
    (void)e;
    memset(out.data, 0, (size_t)lv_tensor_count(out) * sizeof(float));
    return LVSA_OK;
}
