/* ops.c: the operations of engine/runtime/ops.h on a GPU: what is left to do between a checked
 * call and a launch of the module. */
#include "engine/runtime/cuda/cuda.h"

static lvsa_status layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm)
{
    LV_CUDA_ENQUEUE(e, layer_norm, out, x, norm);
    return LVSA_OK;
}

static lvsa_status rms_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight, float eps)
{
    LV_CUDA_ENQUEUE(e, rms_norm, out, x, weight, eps);
    return LVSA_OK;
}

static lvsa_status norm_rope(lv_exec *e, lv_tensor x, lv_tensor weight, float eps,
                             const lv_rope *rope, int64_t first, int64_t head_dim)
{
    LV_CUDA_ENQUEUE(e, norm_rope, x, weight, eps, rope, first, head_dim);
    return LVSA_OK;
}

/* Scores stay in the multiprocessors. */
static size_t attention_biased_scratch(lv_exec *e, int64_t length)
{
    (void)e, (void)length;
    return 0;
}

static lvsa_status attention_biased(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v, lv_tensor bias, int64_t heads, float scale,
                                    void *scratch)
{
    (void)scratch;
    LV_CUDA_ENQUEUE(e, attention_biased, out, q, k, v, bias, heads, scale);
    return LVSA_OK;
}

static lvsa_status add(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    LV_CUDA_ENQUEUE(e, add, out, a, b);
    return LVSA_OK;
}

static lvsa_status gelu_multiply(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    LV_CUDA_ENQUEUE(e, gelu_multiply, out, a, b);
    return LVSA_OK;
}

static lvsa_status activate(lv_exec *e, lv_tensor out, lv_tensor a, lv_activation f)
{
    LV_CUDA_ENQUEUE(e, activate, out, a, f);
    return LVSA_OK;
}

static lvsa_status patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    LV_CUDA_ENQUEUE(e, patchify, out, z, py, px);
    return LVSA_OK;
}

static lvsa_status unpatchify(lv_exec *e, lv_tensor z, lv_tensor x, int64_t py, int64_t px)
{
    LV_CUDA_ENQUEUE(e, unpatchify, z, x, py, px);
    return LVSA_OK;
}

/* ---- decoders -------------------------------------------------------------------------------- */

static int capability(const lv_exec *e) { return ((const lv_cuda_device *)e->device)->capability; }

/* Points are read where they lie. */
static size_t conv_scratch(lv_exec *e, lv_tensor out, lv_tensor w)
{
    (void)e, (void)out, (void)w;
    return 0;
}

static lvsa_status conv(lv_exec *e, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                        bool add, void *scratch)
{
    (void)scratch;
    if (!e->arena.measuring) LV_CUDA_ENQUEUE(e, conv, out, in, w, b, add, capability(e));
    return LVSA_OK;
}

static size_t attention_picture_scratch(lv_exec *e, int64_t points, int64_t channels)
{
    return ((const lv_cuda_device *)e->device)->cuda->attention_picture_scratch(points, channels);
}

static lvsa_status attention_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                     lv_tensor v, void *scratch)
{
    LV_CUDA_ENQUEUE(e, attention_picture, out, q, k, v, scratch, capability(e));
    return LVSA_OK;
}

static lvsa_status channel_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight,
                                lv_activation f)
{
    LV_CUDA_ENQUEUE(e, channel_norm, out, x, weight, f);
    return LVSA_OK;
}

static lvsa_status upsample(lv_exec *e, lv_tensor out, lv_tensor x)
{
    LV_CUDA_ENQUEUE(e, upsample, out, x);
    return LVSA_OK;
}

static lvsa_status split_frames(lv_exec *e, lv_tensor out, lv_tensor x)
{
    LV_CUDA_ENQUEUE(e, split_frames, out, x);
    return LVSA_OK;
}

static lvsa_status take_frame(lv_exec *e, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                              lv_tensor shift)
{
    LV_CUDA_ENQUEUE(e, take_frame, out, z, t, scale, shift);
    return LVSA_OK;
}

static lvsa_status blend(lv_exec *e, lv_tensor to, lv_tensor from, const lv_blend *b)
{
    LV_CUDA_ENQUEUE(e, blend, to, from, b);
    return LVSA_OK;
}

static lvsa_status pixels(lv_exec *e, void *rgb, lv_tensor frames)
{
    LV_CUDA_ENQUEUE(e, pixels, rgb, frames);
    return LVSA_OK;
}

static lvsa_status copy(lv_exec *e, lv_tensor out, lv_tensor x)
{
    LV_CUDA_ENQUEUE(e, copy, out, x);
    return LVSA_OK;
}

static lvsa_status zero(lv_exec *e, lv_tensor out)
{
    LV_CUDA_ENQUEUE(e, zero, out);
    return LVSA_OK;
}

const lv_ops lv_cuda_ops_table = {
    .linear = lv_cuda_linear,
    .linear_add = lv_cuda_linear_add,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .norm_rope = norm_rope,
    .attention_biased_scratch = attention_biased_scratch,
    .attention_biased = attention_biased,
    .add = add,
    .gelu_multiply = gelu_multiply,
    .activate = activate,
    .patchify = patchify,
    .unpatchify = unpatchify,
    .conv_scratch = conv_scratch,
    .conv = conv,
    .attention_picture_scratch = attention_picture_scratch,
    .attention_picture = attention_picture,
    .channel_norm = channel_norm,
    .upsample = upsample,
    .split_frames = split_frames,
    .take_frame = take_frame,
    .blend = blend,
    .pixels = pixels,
    .copy = copy,
    .zero = zero,
};
