/* cpu.c: the device, and its table of operations. */
#include "engine/runtime/cpu/cpu.h"

#include <math.h>
#include <string.h>

#ifdef LVSA_HAVE_OPENMP
#include <omp.h>
#endif

#include "base/mem.h"
#include "engine/runtime/cpu/math.h"
#include "engine/runtime/cpu/rows.h"

/* A thread is worth some ten microseconds of work. */
enum { WORK_A_THREAD = 1 << 16 };

/* Enough rows for the products to run at full speed, few enough for caches and memory. */
enum { ROWS = 1024 };

int lv_cpu_threads(const lv_exec *e, int64_t work)
{
#ifdef LVSA_HAVE_OPENMP
    int64_t most = e->device->threads > 0 ? e->device->threads : omp_get_max_threads();
    int64_t useful = work / WORK_A_THREAD + 1;
    return (int)(useful < most ? useful : most);
#else
    (void)e, (void)work;
    return 1;
#endif
}

/* ---- products -------------------------------------------------------------------------------- */

static lvsa_status linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                          lv_activation f)
{
    const lv_epilogue end = {.bias = b, .f = f};
    return lv_cpu_matmul(e, out.data, x.data, w.data, x.shape[0], w.shape[0], w.shape[1], &end);
}

static lvsa_status linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                              lv_tensor gate)
{
    const lv_epilogue end = {.bias = b, .gate = gate, .add = true};
    return lv_cpu_matmul(e, x.data, y.data, w.data, y.shape[0], w.shape[0], w.shape[1], &end);
}

/* One query row of one head: scores, softmax, weighted sum; s has room for L scores. */
LV_CPU_CLONES
static void attend_row(float *out, float *s, const float *q, const float *k, const float *v,
                       const float *bias, int64_t length, int64_t dim, int64_t stride, float scale)
{
    float most = -INFINITY, sum = 0.0f;
    for (int64_t j = 0; j < length; j++) {
        s[j] = lv_dot(q, k + j * stride, dim) * scale + (bias ? bias[j] : 0.0f);
        most = s[j] > most ? s[j] : most;
    }
    for (int64_t j = 0; j < length; j++) {
        s[j] = lv_exp(s[j] - most);
        sum += s[j];
    }
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int64_t j = 0; j < length; j++) {
        float weight = s[j] / sum;
        for (int64_t d = 0; d < dim; d++) out[d] += weight * v[j * stride + d];
    }
}

/* A row of scores for each thread. */
static size_t attention_biased_scratch(lv_exec *e, int64_t length)
{
    return (size_t)lv_cpu_threads(e, INT64_MAX) * (size_t)length * sizeof(float);
}

static lvsa_status attention_biased(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v, lv_tensor bias, int64_t heads, float scale,
                                    void *scratch)
{
    const int64_t rows = q.shape[0], length = k.shape[0], stride = q.shape[1], dim = stride / heads;
    (void)e;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) num_threads(lv_cpu_threads(e, 2 * rows *length *stride))
#endif
    for (int64_t i = 0; i < heads * rows; i++) {
#ifdef LVSA_HAVE_OPENMP
        float *s = (float *)scratch + (int64_t)omp_get_thread_num() * length;
#else
        float *s = scratch;
#endif
        const int64_t h = i / rows, row = i % rows, at = row * stride + h * dim;
        const float *row_bias = bias.data ? (const float *)bias.data + i * length : NULL;
        attend_row((float *)out.data + at, s, (const float *)q.data + at,
                   (const float *)k.data + h * dim, (const float *)v.data + h * dim, row_bias,
                   length, dim, stride, scale);
    }
    return LVSA_OK;
}

const lv_ops lv_cpu_ops = {
    .linear = linear,
    .linear_add = linear_add,
    .layer_norm = lv_cpu_layer_norm,
    .rms_norm = lv_cpu_rms_norm,
    .norm_rope = lv_cpu_norm_rope,
    .attention_biased_scratch = attention_biased_scratch,
    .attention_biased = attention_biased,
    .add = lv_cpu_add,
    .gelu_multiply = lv_cpu_gelu_multiply,
    .activate = lv_cpu_activate,
    .patchify = lv_cpu_patchify,
    .unpatchify = lv_cpu_unpatchify,
    .conv_scratch = lv_cpu_conv_scratch,
    .conv = lv_cpu_conv,
    .channel_norm = lv_cpu_channel_norm,
    .upsample = lv_cpu_upsample,
    .split_frames = lv_cpu_split_frames,
    .take_frame = lv_cpu_take_frame,
    .blend = lv_cpu_blend,
    .pixels = lv_cpu_pixels,
    .copy = lv_cpu_copy,
    .zero = lv_cpu_zero,
};

/* ---- the device ------------------------------------------------------------------------------ */

static lvsa_status allocate(lv_device *device, void **out, size_t bytes)
{
    (void)device;
    *out = lv_zalloc_aligned(bytes);
    return *out ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "%zu bytes don't fit in memory", bytes);
}

static void release(lv_device *device, void *memory)
{
    (void)device;
    lv_free(memory);
}

static lvsa_status copy(lv_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
    return LVSA_OK;
}

static void close_device(lv_device *device)
{
    lv_cpu_device *cpu = (lv_cpu_device *)device;
    lv_cpu_matmul_free(cpu->matmul);
    lv_free(cpu);
}

lvsa_status lv_cpu_device_open(lv_device **out, int threads)
{
    *out = NULL;
    lv_cpu_device *cpu = lv_zalloc(sizeof *cpu);
    if (!cpu)
        return lv_fail(LVSA_ERR_MEMORY, "a device: %zu bytes don't fit in memory", sizeof *cpu);
    cpu->base = (lv_device){.kind = LVSA_DEVICE_CPU,
                            .dtype = LVSA_F32,
                            .ops = &lv_cpu_ops,
                            .threads = threads,
                            .rows = ROWS,
                            .allocate = allocate,
                            .release = release,
                            .upload = copy,
                            .download = copy,
                            .close = close_device};
    *out = &cpu->base;
    return LVSA_OK;
}
