/* module.cu: the FlashInfer module's table, and the little that moves numbers around its
 * kernels. */
#include "engine/attention/flashinfer/module.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <exception>

#include "engine/attention/cuda/gather.cuh"
#include "kernels.h"

static const char *launched()
{
    const cudaError_t e = cudaGetLastError();
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

static const char *run(const lv_flashinfer_job *job)
{
    try {
        const cudaError_t e = job->sm80 ? lv_flashinfer_sm80(*job) : lv_flashinfer_sm90(*job);
        return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
    } catch (const std::exception &e) {
        static thread_local char text[512];
        snprintf(text, sizeof text, "%s", e.what());
        return text;
    }
}

static __global__ void turn(float *to, const float *from, int64_t rows, int64_t heads)
{
    const int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
    if (i < rows * heads) to[i % heads * rows + i / heads] = from[i] * 0.69314718f;
}

static const char *turn_lse(float *to, const float *from, int64_t rows, int64_t heads, void *stream)
{
    turn<<<unsigned((rows * heads + 255) / 256), 256, 0, static_cast<cudaStream_t>(stream)>>>(
        to, from, rows, heads);
    return launched();
}

static const lv_flashinfer_table table = {LV_FLASHINFER_ABI, sizeof table, run, lv_gather::rows,
                                           turn_lse};

extern "C" LVSA_API const lv_flashinfer_table *lv_flashinfer_module_table(void) { return &table; }
