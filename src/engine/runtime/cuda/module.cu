/* module.cu: the module's side: memory, and the table of all that it offers. */
#include "engine/runtime/cuda/module.h"

#include <cuda_runtime.h>

#include <cstring>

#include "engine/attention/cuda/sm80/attn_sm80.h"
#include "engine/attention/cuda/sm90/attn_sm90.h"
#include "engine/runtime/cuda/gpu.cuh"

static const char *text(cudaError_t e)
{
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

static const char *get_gpu(lv_cuda_gpu *out, int index)
{
    int count = 0, device = index;
    cudaDeviceProp p;
    *out = {};
    cudaError_t e = cudaDriverGetVersion(&out->driver);
    if (e == cudaSuccess && out->driver == 0) return "no NVIDIA driver is installed";
    if (e == cudaSuccess) e = cudaGetDeviceCount(&count);
    if (e == cudaErrorInsufficientDriver)
        return "the NVIDIA driver is older than the module's CUDA; update it";
    if (e == cudaErrorNoDevice || (e == cudaSuccess && count == 0)) return "there is no NVIDIA GPU";
    if (e == cudaSuccess && index >= count) return "there is no GPU of this number";
    if (e == cudaSuccess && index < 0) e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&p, device);
    if (e != cudaSuccess) return text(e);
    memcpy(out->name, p.name, sizeof out->name - 1); /* longer names are cut; the rest is 0 */
    out->major = p.major, out->minor = p.minor;
    out->memory = (int64_t)p.totalGlobalMem;
    out->processors = p.multiProcessorCount;
    return nullptr;
}

static const char *allocate(void **out, size_t bytes)
{
    const cudaError_t e = cudaMalloc(out, bytes);
    if (e != cudaSuccess) cudaGetLastError(); /* a refusal isn't the next launch's failure */
    return text(e);
}

static const char *release(void *memory) { return text(cudaFree(memory)); }

static const char *copy(void *to, const void *from, size_t bytes)
{
    cudaError_t e = cudaMemcpy(to, from, bytes, cudaMemcpyDefault);
    /* A small copy from ordinary memory may still be under way when the call returns. */
    return text(e == cudaSuccess ? cudaStreamSynchronize(cudaStreamLegacy) : e);
}

static const char *synchronize(void *stream)
{
    return text(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}

static const char *get_capability(int *out)
{
    int device, major = 0, minor = 0;
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    *out = 10 * major + minor;
    return text(e);
}

static const lv_cuda_table table = {
    /* In the order of module.h. */
    LV_CUDA_ABI,
    sizeof(lv_cuda_table),
    sizeof(lvsa_attention),
    sizeof(lv_cuda_ops),
    get_gpu,
    get_capability,
    allocate,
    release,
    copy,
    synchronize,
    lv_attn_bf16_sm80,
    lv_attn_f16_sm80,
    lv_attn_bf16_sm90,
    lv_attn_f16_sm90,
    lv_attn_fp8_sm90,
    &lv_cuda_module_ops,
};

extern "C" LVSA_API const lv_cuda_table *lv_cuda_module_table(void) { return &table; }
