/* gather.cuh: rows of keys or values side by side, for the back ends that can't read them where
 * they lie. */
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include <lvsa/lvsa_attention.h>

namespace lv_gather {

constexpr int kRuns = 64;

struct Runs {
    int32_t start[kRuns], end[kRuns]; /* rows of the source; rows gathered up to its end */
    int count;
};

/* [rows, heads, d] of 2 bytes; a thread takes pairs of numbers. */
static __global__ void rows_kernel(uint32_t *to, const uint16_t *from, lvsa_strides s,
                                   const __grid_constant__ Runs runs, int64_t heads, int64_t pairs)
{
    const int64_t width = heads * pairs, all = runs.end[runs.count - 1] * width;
    int r = 0;
    for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < all;
         i += int64_t(gridDim.x) * blockDim.x) {
        const int64_t row = i / width;
        while (row >= runs.end[r]) r++;
        const int64_t head = i / pairs % heads,
                      at = runs.start[r] + row - (r ? runs.end[r - 1] : 0);
        const uint16_t *x = from + at * s.token + head * s.head + i % pairs * 2;
        to[i] = uint32_t(x[1]) << 16 | x[0];
    }
}

/* The rows of `runs`, `count` of them, from a tensor of 2-byte numbers with d even. */
static inline const char *rows(void *to, const void *from, lvsa_strides strides,
                               const lvsa_run *run, int count, int64_t heads, int64_t d,
                               void *stream)
{
    uint32_t *at = static_cast<uint32_t *>(to);
    for (int first = 0; first < count; first += kRuns) {
        Runs runs = {};
        int32_t rows = 0;
        for (; runs.count < kRuns && first + runs.count < count; runs.count++) {
            runs.start[runs.count] = run[first + runs.count].start;
            rows += run[first + runs.count].count;
            runs.end[runs.count] = rows;
        }
        const int64_t all = rows * heads * (d / 2);
        const int64_t blocks = (all + 255) / 256;
        rows_kernel<<<unsigned(blocks < 4096 ? blocks : 4096), 256, 0,
                      static_cast<cudaStream_t>(stream)>>>(
            at, static_cast<const uint16_t *>(from), strides, runs, heads, d / 2);
        at += all;
    }
    const cudaError_t e = cudaGetLastError();
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

} /* namespace lv_gather */
