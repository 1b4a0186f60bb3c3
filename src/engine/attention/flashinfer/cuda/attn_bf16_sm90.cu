/* attn_bf16_sm90.cu: FlashInfer's block-sparse attention for Hopper (paged: FlashAttention 3's
 * template with gathered pages), bf16, D = 64 and 128. */
#include <flashinfer/attention/hopper/default_params.cuh>
#include <flashinfer/attention/hopper/prefill_sm90.cuh>
#include <flashinfer/attention/hopper/variants.cuh>
#include <flashinfer/attention/scheduler.cuh>

#include "kernels.h"

typedef cutlass::bfloat16_t Number;
typedef flashinfer::BatchPrefillPagedParams<Number, Number, Number, int32_t> Params;

template <int D, bool kSame> static cudaError_t launch(Params &p, cudaStream_t stream)
{
    using namespace flashinfer;
    return BatchPrefillWithPagedKVCacheDispatched<D, D, MaskMode::kNone, false, kSame,
                                                  StandardAttention>(p, false, stream);
}

static void set_tensors(Params *p, const lv_flashinfer_job &j)
{
    const auto tensor = lv_flashinfer_tensor<Number>;
    p->q_ptr = tensor(j.q), p->k_ptr = tensor(j.k), p->v_ptr = tensor(j.v);
    p->o_ptr = tensor(j.out), p->lse_ptr = j.lse;
    p->q_stride_n = j.q_strides.token, p->q_stride_h = j.q_strides.head;
    p->k_stride_n = j.k_strides.token, p->k_stride_h = j.k_strides.head;
    p->v_stride_n = j.v_strides.token, p->v_stride_h = j.v_strides.head;
    p->o_stride_n = j.out_strides.token, p->o_stride_h = j.out_strides.head;
    p->k_page_stride = j.page * j.k_strides.token, p->v_page_stride = j.page * j.v_strides.token;
    p->nnz_qo = int64_t(j.frames) * j.frame_rows;
    p->num_qo_heads = j.heads, p->num_kv_heads = j.kv_heads, p->group_size = j.heads / j.kv_heads;
    p->page_size = j.page, p->window_left = -1, p->causal = false;
    p->additional_params.sm_scale = j.scale;
}

cudaError_t lv_flashinfer_sm90(const lv_flashinfer_job &j)
{
    const cudaStream_t stream = static_cast<cudaStream_t>(j.stream);
    lv_flashinfer_lists lists(j);
    lv_flashinfer_ints_taker ints(j);
    Params p = {};
    set_tensors(&p, j);
    p.kv_indices = ints.put(j.indices, size_t(j.indptr[j.frames]));
    if (!p.kv_indices) return cudaErrorMemoryAllocation;
    flashinfer::PrefillPlanSM90Info at;
    const cudaError_t e = flashinfer::PrefillSM90Plan(
        nullptr, 0, ints.rest(), ints.host(), ints.rest_size(), at, lists.rows.data(),
        lists.indptr.data(), lists.keys.data(), uint32_t(lists.rows.back()), uint32_t(j.frames),
        uint32_t(j.heads), uint32_t(j.kv_heads), uint32_t(j.head_dim), uint32_t(j.head_dim),
        uint32_t(j.page), false, false, 2, stream);
    if (e != cudaSuccess) return e;
    p.qo_tile_indices = ints.table(at.qo_tile_indices_offset);
    p.qo_indptr = ints.table(at.qo_indptr_offset);
    p.kv_indptr = ints.table(at.kv_indptr_offset);
    p.qo_lens = ints.table(at.qo_len_offset);
    p.kv_lens = ints.table(at.kv_len_offset);
    p.head_indices = ints.table(at.head_indices_offset);
    p.work_indptr = ints.table(at.work_indptr_offset);
    p.batch_indices = ints.table(at.batch_indices_offset);
    const bool same = at.same_schedule_for_all_heads;
    if (j.head_dim == 128)
        return same ? launch<128, true>(p, stream) : launch<128, false>(p, stream);
    return same ? launch<64, true>(p, stream) : launch<64, false>(p, stream);
}
