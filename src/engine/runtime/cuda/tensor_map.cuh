/* tensor_map.cuh: the driver's function that describes a tensor to the copy engine (TMA), for the
 * kernels of sm_90a. Host code. */
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

typedef CUresult (*EncodeFn)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                             const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                             const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                             CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, found through the runtime: nothing is linked to libcuda. */
static inline EncodeFn encode_find()
{
    static const EncodeFn found = [] {
        void *f = nullptr;
        cudaDriverEntryPointQueryResult r;
        const cudaError_t e = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000,
                                                               cudaEnableDefault, &r);
        return e == cudaSuccess && r == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeFn>(f)
                                                                    : nullptr;
    }();
    return found;
}
