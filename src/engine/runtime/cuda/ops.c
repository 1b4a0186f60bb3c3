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

static lvsa_status combine(lv_exec *e, lv_tensor out, int terms, const float *factor,
                           const lv_tensor *in)
{
    LV_CUDA_ENQUEUE(e, combine, out, terms, factor, in);
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
    .combine = combine,
    .patchify = patchify,
    .unpatchify = unpatchify,
    .copy = copy,
    .zero = zero,
};
