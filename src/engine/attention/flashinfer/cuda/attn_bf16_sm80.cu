/* attn_bf16_sm80.cu: FlashInfer's block-sparse attention for every card (paged, FlashAttention 2's
 * template), bf16, D = 64 and 128, frames of 65 rows and more (a query group's together). */
#include <flashinfer/attention/default_prefill_params.cuh>
#include <flashinfer/attention/prefill.cuh>
#include <flashinfer/attention/scheduler.cuh>
#include <flashinfer/attention/variants.cuh>

#include "kernels.h"

typedef nv_bfloat16 Number;
typedef flashinfer::BatchPrefillPagedParams<Number, Number, Number, int32_t> Params;

template <int D> static cudaError_t launch(const Params &p, cudaStream_t stream)
{
    using namespace flashinfer;
    return BatchPrefillWithPagedKVCacheDispatched<
        true, 128, D, D, PosEncodingMode::kNone, false, MaskMode::kNone,
        DefaultAttention<false, false, false, false>>(p, nullptr, nullptr, false, stream);
}

cudaError_t lv_flashinfer_sm80(const lv_flashinfer_job &j)
{
    using namespace flashinfer;
    const cudaStream_t stream = static_cast<cudaStream_t>(j.stream);
    lv_flashinfer_lists lists(j);
    lv_flashinfer_ints_taker ints(j);
    int32_t *indices = ints.put(j.indices, size_t(j.indptr[j.frames])),
            *indptr = ints.put(lists.indptr.data(), lists.indptr.size()),
            *last_page = ints.put(lists.last_page.data(), lists.last_page.size()),
            *rows = ints.put(lists.rows.data(), lists.rows.size());
    if (!indices || !indptr || !last_page || !rows) return cudaErrorMemoryAllocation;
    PrefillPlanInfo at;
    const cudaError_t e = PrefillPlan<int32_t>(
        nullptr, 0, ints.rest(), ints.host(), ints.rest_size(), at, lists.rows.data(),
        lists.indptr.data(), uint32_t(lists.rows.back()), uint32_t(j.frames), uint32_t(j.heads),
        uint32_t(j.kv_heads), uint32_t(j.head_dim), uint32_t(j.head_dim), uint32_t(j.page), false,
        2, -1, -1, true, 0, 0, stream);
    if (e != cudaSuccess) return e;
    if (at.cta_tile_q != 128) return cudaErrorNotSupported;
    const auto tensor = lv_flashinfer_tensor<Number>;
    const int64_t strides[3] = {j.page * j.k_strides.token, j.k_strides.token, j.k_strides.head};
    const paged_kv_t<Number, int32_t> keys(uint32_t(j.kv_heads), uint32_t(j.page),
                                           uint32_t(j.head_dim), uint32_t(j.frames),
                                           QKVLayout::kNHD, tensor(j.k), tensor(j.v), strides,
                                           indices, indptr, last_page);
    Params p(tensor(j.q), keys, nullptr, rows, nullptr, nullptr, tensor(j.out), j.lse, nullptr,
             uint32_t(j.heads), int32_t(j.q_strides.token), int32_t(j.q_strides.head), -1, 0.f,
             j.scale, 1.f, 1e4f);
    p.request_indices = ints.table(at.request_indices_offset);
    p.qo_tile_indices = ints.table(at.qo_tile_indices_offset);
    p.kv_tile_indices = ints.table(at.kv_tile_indices_offset);
    p.o_indptr = ints.table(at.o_indptr_offset);
    p.kv_chunk_size_ptr = ints.table(at.kv_chunk_size_ptr_offset);
    p.padded_batch_size = uint32_t(at.padded_batch_size);
    p.max_total_num_rows = uint32_t(at.total_num_rows);
    return j.head_dim == 128 ? launch<128>(p, stream) : launch<64>(p, stream);
}
