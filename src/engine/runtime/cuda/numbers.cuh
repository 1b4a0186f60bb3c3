/* numbers.cuh: operations that go over a tensor number by number. */
#pragma once
#include "engine/runtime/cuda/gpu.cuh"

constexpr int kThreads = 256; /* of a block */

/* Numbers i of a tensor of `count`, strided by the grid. */
#define FOR_NUMBERS(i, count)                                                                      \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (count);                  \
         i += (int64_t)gridDim.x * blockDim.x)

/* Launches a kernel over `count` numbers and returns from the caller. */
#define LAUNCH(kernel, gpu, count, ...)                                                            \
    do {                                                                                           \
        if ((count) > 0)                                                                           \
            kernel<<<lv_cuda_blocks(gpu, count, kThreads), kThreads, 0, gpu->stream>>>(            \
                __VA_ARGS__);                                                                      \
        return lv_cuda_launched();                                                                 \
    } while (0)
