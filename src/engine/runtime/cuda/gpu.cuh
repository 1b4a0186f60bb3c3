/* gpu.cuh: the module's side of a GPU in use, and what its kernels share. */
#ifndef LV_ENGINE_RUNTIME_CUDA_GPU_CUH
#define LV_ENGINE_RUNTIME_CUDA_GPU_CUH

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "engine/runtime/cuda/kernels.h"
#include "engine/runtime/device.h"

/* Pinned host memory that copies go through, piece by piece, so that reading a file and copying
 * overlap. */
struct lv_cuda_stage {
    void *host;       /* [LV_CUDA_STAGE], pinned                        */
    void *device;     /* the same on the GPU, for what is converted   */
    cudaEvent_t done; /* the copy out of it                           */
};

constexpr int kStages = 3;
constexpr size_t kWorkspaceBytes = size_t(32) << 20; /* of cuBLASLt */

/* Pinned host memory that frames are fetched into; it grows with what is asked. */
struct lv_cuda_slot {
    void *host;
    size_t size;
    cudaEvent_t done; /* the copy into it */
};

struct lv_cuda {
    int index, processors;
    cudaStream_t stream;
    lv_cuda_stage stage[kStages];
    int next_stage;
    lv_cuda_slot slot[2];
    cudaEvent_t mark[LV_CUDA_MARKS];
    cudaEvent_t stamp[LV_DEVICE_STAMPS]; /* made when they are first wanted */
    cublasLtHandle_t blas;
    void *workspace;
};

static inline const char *lv_cuda_text(cudaError_t e)
{
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

/* What the last launch says. */
static inline const char *lv_cuda_launched() { return lv_cuda_text(cudaGetLastError()); }

#define LV_CUDA_TRY(call)                                                                          \
    do {                                                                                           \
        const char *text_ = (call);                                                                \
        if (text_) return text_;                                                                   \
    } while (0)

/* ---- the operations, file by file ---- */

extern const lv_cuda_ops lv_cuda_module_ops; /* gpu.cu */

/* products.cu */
const char *lv_cuda_find_algorithm(lv_cuda *gpu, lv_cuda_algorithm *out, const lv_cuda_product *p,
                                   bool timed);
const char *lv_cuda_multiply(lv_cuda *gpu, const lv_cuda_product *p, const lv_cuda_algorithm *how,
                             const lv_cuda_operands *o);
const char *lv_cuda_gate_weights(lv_cuda *gpu, lv_tensor w_out, lv_tensor b_out, lv_tensor w,
                                 lv_tensor b, lv_tensor gate);

/* rows.cu */
const char *lv_cuda_layer_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, const lv_layer_norm *norm);
const char *lv_cuda_activate_rows(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor bias,
                                  lv_activation f);
const char *lv_cuda_rms_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight, float eps);
const char *lv_cuda_norm_rope(lv_cuda *gpu, lv_tensor x, lv_tensor weight, float eps,
                              const lv_rope *rope, int64_t first, int64_t head_dim);
const char *lv_cuda_attention_biased(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                     lv_tensor v, lv_tensor bias, int64_t heads, float scale);

/* decoder.cu */
const char *lv_cuda_conv_frame(lv_cuda *gpu, lv_tensor out, const lv_tensor *in, lv_tensor w,
                               lv_tensor b, bool add, int capability);
size_t lv_cuda_attention_picture_scratch(int64_t points, int64_t channels);
const char *lv_cuda_attention_picture(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                      lv_tensor v, void *scratch, int capability);
const char *lv_cuda_channel_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight,
                                 lv_activation f);
const char *lv_cuda_upsample(lv_cuda *gpu, lv_tensor out, lv_tensor x);
const char *lv_cuda_split_frames(lv_cuda *gpu, lv_tensor out, lv_tensor x);
const char *lv_cuda_take_frame(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                               lv_tensor shift);
const char *lv_cuda_blend(lv_cuda *gpu, lv_tensor to, lv_tensor from, const lv_blend *b);
const char *lv_cuda_pixels(lv_cuda *gpu, void *rgb, lv_tensor frames);

/* elementwise.cu */
const char *lv_cuda_add(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b);
const char *lv_cuda_gelu_multiply(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b);
const char *lv_cuda_activate(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_activation f);
const char *lv_cuda_patchify(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t py, int64_t px);
const char *lv_cuda_unpatchify(lv_cuda *gpu, lv_tensor z, lv_tensor x, int64_t py, int64_t px);
const char *lv_cuda_copy(lv_cuda *gpu, lv_tensor out, lv_tensor x);
const char *lv_cuda_zero(lv_cuda *gpu, lv_tensor out);

/* ---- device code ---- */

#ifdef __CUDACC__

/* A number of a tensor whose type is known when the kernel runs; f16 is read alone. */
struct lv_numbers {
    void *data;
    bool bf16, f16; /* otherwise f32 */

    __host__ explicit lv_numbers(lv_tensor t = {})
        : data(t.data), bf16(t.dtype == LVSA_BF16), f16(t.dtype == LVSA_F16)
    {
    }
    __device__ float load(int64_t i) const
    {
        if (f16) return __half2float(static_cast<const __half *>(data)[i]);
        return bf16 ? __bfloat162float(static_cast<const __nv_bfloat16 *>(data)[i])
                    : static_cast<const float *>(data)[i];
    }
    __device__ void store(int64_t i, float x) const
    {
        if (bf16) static_cast<__nv_bfloat16 *>(data)[i] = __float2bfloat16(x);
        else static_cast<float *>(data)[i] = x;
    }
};

__device__ static inline float lv_silu(float x) { return x / (1.0f + __expf(-x)); }

/* 0.5 x (1 + tanh(u)) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3); -2u in powers of 2. By
 * the two instructions that are made for it: an exact division would take most of a pass's time. */
__device__ static inline float lv_gelu_tanh(float x)
{
    float power, inverse;
    const float exponent = x * fmaf(-0.10294324f, x * x, -2.3022082f);
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
    return x * inverse;
}

__device__ static inline float lv_activate(float x, lv_activation f)
{
    return f == LV_SILU ? lv_silu(x) : f == LV_GELU_TANH ? lv_gelu_tanh(x) : x;
}

/* What numbers of up to `size` are times as e4m3. */
__device__ static inline float lv_e4m3_factor(float size)
{
    return size > 0.0f ? LV_E4M3_MOST / size : size == 0.0f ? 1.0f : size;
}

/* Blocks of `threads` for so many items, at most what fills the GPU several times: kernels stride
 * by the grid. */
static inline unsigned lv_cuda_blocks(const lv_cuda *gpu, int64_t items, int threads)
{
    const int64_t blocks = (items + threads - 1) / threads, most = (int64_t)gpu->processors * 64;
    return unsigned(blocks < most ? (blocks > 0 ? blocks : 1) : most);
}

#endif
#endif
