/* attn_cuda.c: which calls the CUDA kernels take, and how they get there. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/attention/attention.h"
#include "engine/attention/cuda/fp8_layout.h"
#include "engine/attention/cuda/fp8_tiles.h"
#include "engine/attention/cuda/sm80/attn_sm80.h"
#include "engine/attention/tiles.h"
#include "engine/runtime/cuda/module.h"

static lvsa_status no_workspace(size_t *bytes, const lvsa_attention *call)
{
    (void)call;
    *bytes = 0;
    return LVSA_OK;
}

static lvsa_status fp8_workspace(size_t *bytes, const lvsa_attention *call)
{
    lv_fp8_layout layout;
    lv_fp8_lay_out(&layout, call);
    *bytes = layout.bytes;
    return LVSA_OK;
}

/* A kernel that hands the call to the module's function of the same name. */
#define KERNEL(function, scratch)                                                                  \
    static lvsa_status run_##function(const lvsa_attention *call)                                  \
    {                                                                                              \
        const lv_cuda_table *cuda;                                                                 \
        LV_TRY(lv_cuda_get_table(&cuda));                                                          \
        return lv_cuda_check(cuda->function(call, lv_tiles_get_table(call->tiles)), #function);    \
    }                                                                                              \
    static const lv_attn_kernel function = {                                                       \
        .name = #function, .needs_tiles = true, .workspace = scratch, .run = run_##function};

KERNEL(attn_bf16_sm80, no_workspace)
KERNEL(attn_f16_sm80, no_workspace)
KERNEL(attn_bf16_sm90, no_workspace)
KERNEL(attn_f16_sm90, no_workspace)
KERNEL(attn_fp8_sm90, fp8_workspace)

/* ---- what every kernel wants ----------------------------------------------------------------- */

static lvsa_status check_sizes(const lvsa_attention *c)
{
    if (c->dtype == LVSA_F32)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "data type f32: the CUDA kernels take bf16 and f16; convert, or use device "
                       "cpu");
    if (c->head_dim > LV_ATTN_SM80_HEAD_DIM)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "head size %lld: the CUDA kernels take %d at most; use device cpu",
                       (long long)c->head_dim, LV_ATTN_SM80_HEAD_DIM);
    /* The kernels work with scale / ln 2 in float. */
    if (!((float)lv_attn_scale(c) * 1.5f < INFINITY && (float)lv_attn_scale(c) > 1e-30f))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "softmax scale %g: the CUDA kernels want 1e-30 to 1e38; use device cpu",
                       c->scale);
    const int block = lv_tile_block_rows(c->head_dim);
    int64_t blocks = (c->queries + block - 1) / block, keys = 0;
    if (c->heads > USHRT_MAX || c->batch > USHRT_MAX ||
        (double)blocks * (double)c->heads * (double)c->batch > INT_MAX / 2)
        return lv_fail(
            LVSA_ERR_UNSUPPORTED,
            "batch %lld, %lld heads, %lld queries: the CUDA kernels take %d of the first "
            "two and %d blocks of %d queries at most; split the batch",
            (long long)c->batch, (long long)c->heads, (long long)c->queries, USHRT_MAX, INT_MAX / 2,
            block);
    if (c->queries > INT_MAX - block)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "%lld queries: the CUDA kernels take %d at most",
                       (long long)c->queries, INT_MAX - block);
    for (int i = 0; i < c->sources; i++) keys += c->source[i].tokens;
    if (keys == 0 || keys > INT_MAX)
        return lv_fail(
            LVSA_ERR_UNSUPPORTED,
            "%lld rows of keys in all sources: the CUDA kernels take 1 to %d; use device cpu",
            (long long)keys, INT_MAX);
    return LVSA_OK;
}

/* ---- what the Hopper kernels want besides ---------------------------------------------------- */

/* The copy engine takes strides of whole 16 bytes, below 2^40 bytes; a stride of a dimension of one
 * is never used. */
static bool stride_fits(int64_t stride, int64_t extent)
{
    return extent <= 1 || (stride > 0 && stride % 8 == 0 && stride < (int64_t)1 << 39);
}

static bool tensor_fits(const void *tensor, lvsa_strides s, int64_t batch, int64_t rows,
                        int64_t heads)
{
    return (uintptr_t)tensor % 16 == 0 && stride_fits(s.batch, batch) &&
           stride_fits(s.token, rows) && stride_fits(s.head, heads);
}

bool lv_attn_has_vectors(const lvsa_attention *c)
{
    if (!tensor_fits(c->q, c->q_strides, c->batch, c->queries, c->heads) ||
        !tensor_fits(c->out, c->out_strides, c->batch, c->queries, c->heads))
        return false;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        if (s->tokens > 0 && (!tensor_fits(s->k, s->k_strides, c->batch, s->tokens, c->kv_heads) ||
                              !tensor_fits(s->v, s->v_strides, c->batch, s->tokens, c->kv_heads)))
            return false;
    }
    return true;
}

lvsa_status lv_attn_want_sm90(bool *out)
{
    const lv_cuda_table *cuda;
    int capability;
    LV_TRY(lv_cuda_get_table(&cuda));
    LV_TRY(lv_cuda_check(cuda->get_capability(&capability), "asking the GPU"));
    *out = capability == 90; /* sm_90a code runs on nothing newer either */
    const char *asked = getenv("LVSA_CUDA_KERNELS");
    if (!asked || !*asked || strcmp(asked, "sm90") == 0) return LVSA_OK;
    if (strcmp(asked, "sm80") != 0)
        return lv_fail(LVSA_ERR_ARGUMENT, "LVSA_CUDA_KERNELS=%s: sm80 or sm90 is wanted", asked);
    *out = false;
    return LVSA_OK;
}

static lvsa_status check_fp8(const lvsa_attention *c, bool sm90)
{
    if (!sm90)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "attention in fp8: it is written for sm_90, an H100 or H200; compute it in "
                       "bf16");
    if (c->dtype != LVSA_BF16 || (c->head_dim != 64 && c->head_dim != 128))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "attention in fp8 of %s tensors, head size %lld: it takes bf16, and 64 and "
                       "128; compute it in the tensors' own type",
                       c->dtype == LVSA_BF16 ? "bf16" : "f16", (long long)c->head_dim);
    if (!lv_attn_has_vectors(c) || c->batch * c->heads > USHRT_MAX)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "attention in fp8 takes tensors aligned to 16 bytes, strides of whole 16 "
                       "bytes and %d heads of all batch items at most; compute it in bf16",
                       USHRT_MAX);
    for (int i = 0; i < c->sources; i++)
        if (lv_attn_last_row_count(&c->source[i]) > 1)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "source %d: attention in fp8 takes no last row that counts several "
                           "times; compute it in bf16",
                           i);
    return lv_fp8_check_runs(c);
}

lvsa_status lv_attn_choose_cuda(const lv_attn_kernel **out, const lvsa_attention *call)
{
    const bool bf16 = call->dtype == LVSA_BF16;
    bool sm90;
    LV_TRY(check_sizes(call));
    LV_TRY(lv_attn_want_sm90(&sm90));
    if (call->fp8) {
        *out = &attn_fp8_sm90;
        return check_fp8(call, sm90);
    }
    *out = bf16 ? &attn_bf16_sm80 : &attn_f16_sm80;
    if (sm90 && (call->head_dim == 64 || call->head_dim == 128) && lv_attn_has_vectors(call))
        *out = bf16 ? &attn_bf16_sm90 : &attn_f16_sm90;
    return LVSA_OK;
}
