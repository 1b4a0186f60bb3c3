/* kernels.h: FlashInfer's kernels, one a file; C++, and they throw what FlashInfer throws. */
#ifndef LV_ENGINE_ATTENTION_FLASHINFER_CUDA_KERNELS_H
#define LV_ENGINE_ATTENTION_FLASHINFER_CUDA_KERNELS_H

#include <cuda_runtime.h>

#include <vector>

#include "engine/attention/flashinfer/module.h"

cudaError_t lv_flashinfer_sm80(const lv_flashinfer_job &job);
cudaError_t lv_flashinfer_sm90(const lv_flashinfer_job &job);

/* A job's tensor as FlashInfer takes it. */
template <class Number> Number *lv_flashinfer_tensor(const void *x)
{
    return static_cast<Number *>(const_cast<void *>(x));
}

/* What both plan from: query and key rows of each frame, as FlashInfer wants them. */
struct lv_flashinfer_lists {
    std::vector<int32_t> rows, indptr, keys, last_page;
    explicit lv_flashinfer_lists(const lv_flashinfer_job &j)
        : rows(size_t(j.frames) + 1), indptr(j.indptr, j.indptr + j.frames + 1),
          keys(size_t(j.frames)), last_page(size_t(j.frames), j.page)
    {
        for (int f = 0; f <= j.frames; f++) rows[f] = f * j.frame_rows;
        for (int f = 0; f < j.frames; f++) keys[f] = (j.indptr[f + 1] - j.indptr[f]) * j.page;
    }
};

/* The device's integers, handed out 256 bytes at a time; and memory of the host that a plan is
 * written into first, the thread's own. */
class lv_flashinfer_ints_taker {
    char *at, *end;
    cudaStream_t stream;

public:
    explicit lv_flashinfer_ints_taker(const lv_flashinfer_job &j)
        : at(static_cast<char *>(j.ints)), end(at + j.ints_size),
          stream(static_cast<cudaStream_t>(j.stream))
    {
    }
    int32_t *put(const int32_t *list, size_t count)
    {
        char *mine = at;
        at += (count * sizeof *list + 255) / 256 * 256;
        if (at > end || cudaMemcpyAsync(mine, list, count * sizeof *list, cudaMemcpyHostToDevice,
                                        stream) != cudaSuccess)
            return nullptr;
        return reinterpret_cast<int32_t *>(mine);
    }
    char *rest() const { return at; }
    /* One of a plan's tables, which lie in the rest. */
    int32_t *table(int64_t offset) const { return reinterpret_cast<int32_t *>(at + offset); }
    size_t rest_size() const { return size_t(end - at); }
    char *host() const
    {
        static thread_local std::vector<char> memory;
        if (memory.size() < rest_size()) memory.resize(rest_size());
        return memory.data();
    }
};

#endif
