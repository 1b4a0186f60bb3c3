/* elementwise.cu: operations that go number by number, and those that move numbers.
 *
 * All bound by memory. What a transformer spends time on is in products.cu and rows.cu; these run
 * over latents, texts and vectors, so that one number a thread, coalesced, is enough. */
#include "engine/runtime/cuda/numbers.cuh"

#include <cuda_fp8.h>

/* out = a + b, b over and over */
__global__ static void add(lv_numbers out, lv_numbers a, lv_numbers b, int64_t count,
                           int64_t period)
{
    FOR_NUMBERS(i, count) out.store(i, a.load(i) + b.load(i % period));
}

const char *lv_cuda_add(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b)
{
    const int64_t count = lv_tensor_count(out);
    LAUNCH(add, gpu, count, lv_numbers(out), lv_numbers(a), lv_numbers(b), count,
           lv_tensor_count(b));
}

__global__ static void gelu_multiply(lv_numbers out, lv_numbers a, lv_numbers b, int64_t count)
{
    FOR_NUMBERS(i, count) out.store(i, lv_gelu_tanh(a.load(i)) * b.load(i));
}

const char *lv_cuda_gelu_multiply(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b)
{
    const int64_t count = lv_tensor_count(out);
    LAUNCH(gelu_multiply, gpu, count, lv_numbers(out), lv_numbers(a), lv_numbers(b), count);
}

/* Also a copy between types: f is LV_LINEAR. */
__global__ static void activate(lv_numbers out, lv_numbers a, int64_t count, lv_activation f)
{
    FOR_NUMBERS(i, count) out.store(i, lv_activate(a.load(i), f));
}

const char *lv_cuda_activate(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_activation f)
{
    const int64_t count = lv_tensor_count(out);
    LAUNCH(activate, gpu, count, lv_numbers(out), lv_numbers(a), count, f);
}

__global__ static void widen(lv_numbers out, const __nv_fp8_e4m3 *x, const float *scale,
                             int64_t width, int64_t count)
{
    FOR_NUMBERS(i, count) out.store(i, float(x[i]) * scale[i / width]);
}

const char *lv_cuda_copy(lv_cuda *gpu, lv_tensor out, lv_tensor x)
{
    const int64_t count = lv_tensor_count(out);
    if (x.dtype == LV_E4M3)
        LAUNCH(widen, gpu, count, lv_numbers(out), static_cast<const __nv_fp8_e4m3 *>(x.data),
               x.scale, x.shape[1], count);
    if (out.dtype == LV_E4M3) return lv_cuda_activate_rows(gpu, out, x, {}, LV_LINEAR);
    if (x.dtype != out.dtype) return lv_cuda_activate(gpu, out, x, LV_LINEAR);
    return lv_cuda_text(cudaMemcpyAsync(out.data, x.data,
                                        size_t(count) * (x.dtype == LVSA_F32 ? 4 : 2),
                                        cudaMemcpyDeviceToDevice, gpu->stream));
}

const char *lv_cuda_zero(lv_cuda *gpu, lv_tensor out)
{
    const size_t bytes = size_t(lv_tensor_count(out)) * (out.dtype == LVSA_F32 ? 4 : 2);
    return lv_cuda_text(cudaMemsetAsync(out.data, 0, bytes, gpu->stream));
}

/* ---- latents and tokens ---------------------------------------------------------------------- */

/* z [C, T, Y, X] against tokens [T*Y/py*X/px, py*px*C]. */
struct patches {
    int64_t channels, frames, height, width, py, px;
};

/* Where latent i stands among the tokens. */
__device__ static int64_t place_of(const patches &p, int64_t i)
{
    const int64_t x = i % p.width, y = i / p.width % p.height,
                  t = i / (p.width * p.height) % p.frames, c = i / (p.width * p.height * p.frames);
    const int64_t token = (t * (p.height / p.py) + y / p.py) * (p.width / p.px) + x / p.px;
    return token * p.channels * p.py * p.px + (y % p.py * p.px + x % p.px) * p.channels + c;
}

__global__ static void patchify(lv_numbers out, const float *z, patches p, int64_t count)
{
    FOR_NUMBERS(i, count) out.store(place_of(p, i), z[i]);
}

__global__ static void unpatchify(float *z, lv_numbers x, patches p, int64_t count)
{
    FOR_NUMBERS(i, count) z[i] = x.load(place_of(p, i));
}

static patches patches_of(lv_tensor z, int64_t py, int64_t px)
{
    return {z.shape[0], z.shape[1], z.shape[2], z.shape[3], py, px};
}

const char *lv_cuda_patchify(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    const int64_t count = lv_tensor_count(z);
    LAUNCH(patchify, gpu, count, lv_numbers(out), static_cast<const float *>(z.data),
           patches_of(z, py, px), count);
}

const char *lv_cuda_unpatchify(lv_cuda *gpu, lv_tensor z, lv_tensor x, int64_t py, int64_t px)
{
    const int64_t count = lv_tensor_count(z);
    LAUNCH(unpatchify, gpu, count, static_cast<float *>(z.data), lv_numbers(x),
           patches_of(z, py, px), count);
}
