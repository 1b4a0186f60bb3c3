/* conv_bf16_plain.cu: convolutions of any shape in bf16, a thread a number: for the few channels of
 * small models, which the copy engine can't read, and to compare conv_bf16_sm90.cu with. */
#include "conv.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

static __global__ void conv(const lv_cuda_conv c, int64_t count)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int o = (int)(i % c.outputs), x = (int)(i / c.outputs % c.width),
              y = (int)(i / c.outputs / c.width);
    const __nv_bfloat16 *w =
        (const __nv_bfloat16 *)c.weight + (int64_t)o * c.kt * c.ky * c.kx * c.channels;
    float sum = 0.f;
    for (int t = 0; t < c.kt; t++)
        for (int j = 0; j < c.ky; j++)
            for (int k = 0; k < c.kx; k++, w += c.channels) {
                const int row = y + j - c.ky / 2, column = x + k - c.kx / 2;
                if (row < 0 || row >= c.height || column < 0 || column >= c.width) continue;
                const __nv_bfloat16 *in =
                    (const __nv_bfloat16 *)c.in[t] + ((int64_t)row * c.width + column) * c.channels;
                for (int n = 0; n < c.channels; n++)
                    sum += __bfloat162float(in[n]) * __bfloat162float(w[n]);
            }
    if (c.bias) sum += c.bias[o];
    if (c.f32) {
        float *out = (float *)c.out + i;
        *out = c.add ? sum + *out : sum;
    } else {
        __nv_bfloat16 *out = (__nv_bfloat16 *)c.out + i;
        *out = __float2bfloat16_rn(c.add ? sum + __bfloat162float(*out) : sum);
    }
}

const char *lv_conv_bf16_plain(const lv_cuda_conv *c, void *stream)
{
    const int64_t count = (int64_t)c->height * c->width * c->outputs;
    if (c->kt > LV_CUDA_CONV_FRAMES) return "a convolution on device cuda wants 3 frames at most";
    conv<<<(unsigned)((count + 255) / 256), 256, 0, static_cast<cudaStream_t>(stream)>>>(*c, count);
    const cudaError_t e = cudaGetLastError();
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}
