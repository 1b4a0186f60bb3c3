/* attn_cuda.c: which calls the CUDA kernels take, and how they get there. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "engine/attention/attention.h"
#include "engine/attention/cuda/tile_table.h"
#include "engine/attention/tiles.h"
#include "engine/runtime/cuda/module.h"

static lvsa_status no_workspace(size_t *bytes, const lvsa_attention *call)
{
    (void)call;
    *bytes = 0;
    return LVSA_OK;
}

static lvsa_status run_bf16_sm90(const lvsa_attention *call)
{
    const lv_cuda_table *cuda;
    LV_TRY(lv_cuda_get_table(&cuda));
    return lv_cuda_check(cuda->attn_bf16_sm90(call, lv_tiles_get_table(call->tiles)),
                         "attn_bf16_sm90");
}

static lvsa_status run_f16_sm90(const lvsa_attention *call)
{
    const lv_cuda_table *cuda;
    LV_TRY(lv_cuda_get_table(&cuda));
    return lv_cuda_check(cuda->attn_f16_sm90(call, lv_tiles_get_table(call->tiles)),
                         "attn_f16_sm90");
}

static const lv_attn_kernel attn_bf16_sm90 = {
    .name = "attn_bf16_sm90", .needs_tiles = true, .workspace = no_workspace, .run = run_bf16_sm90};
static const lv_attn_kernel attn_f16_sm90 = {
    .name = "attn_f16_sm90", .needs_tiles = true, .workspace = no_workspace, .run = run_f16_sm90};

/* The copy engine takes strides of whole 16 bytes, below 2^40 bytes; a stride of a dimension of one
 * is never used. */
static bool stride_fits(int64_t stride, int64_t extent)
{
    return extent <= 1 || (stride > 0 && stride % 8 == 0 && stride < (int64_t)1 << 39);
}

static lvsa_status check_tensor(const char *name, int source, const void *tensor, lvsa_strides s,
                                const int64_t extent[3])
{
    char of[32] = "";
    if (source >= 0) snprintf(of, sizeof of, " of source %d", source);
    if ((uintptr_t)tensor % 16 != 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s%s begins at %p: the sm90 kernels want multiples of 16 bytes; move it, "
                       "or use device cpu",
                       name, of, tensor);
    if (!stride_fits(s.batch, extent[0]) || !stride_fits(s.token, extent[1]) ||
        !stride_fits(s.head, extent[2]))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s%s has strides of %lld (batch), %lld (row) and %lld (head) elements: the "
                       "sm90 kernels want multiples of 8; pad it, or use device cpu",
                       name, of, (long long)s.batch, (long long)s.token, (long long)s.head);
    return LVSA_OK;
}

static lvsa_status check_tensors(const lvsa_attention *c)
{
    const int64_t rows[3] = {c->batch, c->queries, c->heads};
    LV_TRY(check_tensor("q", -1, c->q, c->q_strides, rows));
    LV_TRY(check_tensor("out", -1, c->out, c->out_strides, rows));
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        const int64_t keys[3] = {c->batch, s->tokens, c->kv_heads};
        if (s->tokens == 0) continue;
        LV_TRY(check_tensor("k", i, s->k, s->k_strides, keys));
        LV_TRY(check_tensor("v", i, s->v, s->v_strides, keys));
    }
    return LVSA_OK;
}

static lvsa_status check_sizes(const lvsa_attention *c)
{
    if (c->dtype == LVSA_F32)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "data type f32: the sm90 kernels take bf16 and f16; convert, or use device "
                       "cpu");
    if (c->head_dim != 64 && c->head_dim != 128)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "head size %lld: the sm90 kernels take 64 or 128; use device cpu",
                       (long long)c->head_dim);
    /* The kernel works with scale / ln 2 in float. */
    if (!((float)lv_attn_scale(c) * 1.5f < INFINITY && (float)lv_attn_scale(c) > 1e-30f))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "softmax scale %g: the sm90 kernels want 1e-30 to 1e38; use device cpu",
                       c->scale);
    int64_t blocks = (c->queries + LV_TILE_BLOCK - 1) / LV_TILE_BLOCK, keys = 0;
    if ((double)blocks * (double)c->heads * (double)c->batch > INT_MAX / 2)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "batch %lld, %lld heads, %lld queries: the sm90 kernels take %d blocks of "
                       "%d queries at most; split the batch",
                       (long long)c->batch, (long long)c->heads, (long long)c->queries, INT_MAX / 2,
                       LV_TILE_BLOCK);
    if (c->queries > INT_MAX - LV_TILE_BLOCK)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "%lld queries: the sm90 kernels take %d at most",
                       (long long)c->queries, INT_MAX - LV_TILE_BLOCK);
    for (int i = 0; i < c->sources; i++) keys += c->source[i].tokens;
    if (keys == 0 || keys > INT_MAX)
        return lv_fail(
            LVSA_ERR_UNSUPPORTED,
            "%lld rows of keys in all sources: the sm90 kernels take 1 to %d; use device "
            "cpu",
            (long long)keys, INT_MAX);
    return LVSA_OK;
}

lvsa_status lv_attn_choose_cuda(const lv_attn_kernel **out, const lvsa_attention *call)
{
    const lv_cuda_table *cuda;
    int capability;
    LV_TRY(check_sizes(call));
    LV_TRY(check_tensors(call));
    LV_TRY(lv_cuda_get_table(&cuda));
    LV_TRY(lv_cuda_check(cuda->get_capability(&capability), "asking the GPU"));
    if (capability != 90) /* sm_90a code runs on nothing newer either */
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: the GPU is sm_%d, the attention is for sm_90 (H100, H200); "
                       "use device cpu",
                       capability);
    *out = call->dtype == LVSA_BF16 ? &attn_bf16_sm90 : &attn_f16_sm90;
    return LVSA_OK;
}
