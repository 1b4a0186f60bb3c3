/* conv_bf16_sm80.cu: convolutions of kt x ky x kx in bf16, sums in f32, channels last, for every
 * card from sm_80 on that has no kernel of its own; see conv.h and conv_bf16_sm90.cu.
 *
 * A product of the points under the kernel, gathered into shared memory 16 bytes at a time as they
 * are needed, zeros outside of the picture, with the weights.
 *
 * Work      one tile: 128 points in a row, 96 outputs. Tiles that differ in outputs alone are
 *           neighbours.
 * CTA       256 threads, 4 x 2 warps of 32 points x 48 outputs; mma.sync m16n8k16.
 * Steps     for each tap, 32 channels: 3 stages ahead by cp.async.
 * Shared    4 stages of (128 + 96) * 64 bytes: 56 KiB; two CTAs a multiprocessor.
 * Rows      of 64 bytes, four vectors; vector v of row r lies at v ^ (r / 2 mod 4), so that the
 *           eight rows of an ldmatrix come from different banks. */
#include "conv.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstring>

namespace conv_sm80
{

constexpr int kPoints = 128, kOutputs = 96, kChunk = 32, kStages = 4, kThreads = 256;
constexpr int kRowBytes = kChunk * 2, kVectors = kRowBytes / 16;
constexpr int kABytes = kPoints * kRowBytes, kBBytes = kOutputs * kRowBytes;
constexpr int kStageBytes = kABytes + kBBytes;
constexpr int kBlocksM = 2, kBlocksN = 6; /* of a warp: 16 points, 8 outputs */

__device__ __forceinline__ uint32_t place(int row, int vector)
{
    return uint32_t(row * kRowBytes + (vector ^ (row >> 1 & (kVectors - 1))) * 16);
}

/* 16 bytes, or as many zeros. */
__device__ __forceinline__ void copy16(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(at));
}

__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* What a thread copies: two vectors of one point, and one or two of the weights. */
struct Loader {
    const lv_cuda_conv &c;
    int row, vector, y, x, n;
    bool inside;
    int step = 0, tap = 0, chunk = 0, steps;

    __device__ Loader(const lv_cuda_conv &conv, int point, int output) : c(conv)
    {
        row = threadIdx.x / 2, vector = threadIdx.x % 2 * 2;
        const int p = point + row;
        y = p / c.width, x = p - y * c.width, n = output;
        inside = y < c.height;
        steps = c.kt * c.ky * c.kx * ((c.channels + kChunk - 1) / kChunk);
    }

    /* The next step's boxes, into the stage; past the last one only the group is counted. */
    __device__ __forceinline__ void next(uint32_t stage)
    {
        if (step < steps) {
            const int dt = tap / (c.ky * c.kx), dy = tap / c.kx % c.ky, dx = tap % c.kx;
            const int from_y = y + dy - c.ky / 2, from_x = x + dx - c.kx / 2;
            const bool there =
                inside && from_y >= 0 && from_y < c.height && from_x >= 0 && from_x < c.width;
            const __nv_bfloat16 *in = static_cast<const __nv_bfloat16 *>(c.in[dt]);
            const __nv_bfloat16 *weight = static_cast<const __nv_bfloat16 *>(c.weight);
            const int taps = c.kt * c.ky * c.kx, first = chunk * kChunk;
            const int64_t point = there ? (int64_t(from_y) * c.width + from_x) * c.channels : 0;
#pragma unroll
            for (int v = 0; v < 2; v++) {
                const int channel = first + (vector + v) * 8;
                const bool used = there && channel < c.channels;
                copy16(stage + place(row, vector + v), in + (used ? point + channel : 0), used);
            }
            for (int i = threadIdx.x; i < kOutputs * kVectors; i += kThreads) {
                const int output = i / kVectors, v = i % kVectors, channel = first + v * 8;
                const bool used = n + output < c.outputs && channel < c.channels;
                copy16(stage + kABytes + place(output, v),
                       weight +
                           (used ? (int64_t(n + output) * taps + tap) * c.channels + channel : 0),
                       used);
            }
            step++;
            if (++chunk * kChunk >= c.channels) chunk = 0, tap++;
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
};

template <class T>
__device__ __forceinline__ void store(const lv_cuda_conv &c, int64_t point, int output, float sum)
{
    if (output >= c.outputs || point >= int64_t(c.height) * c.width) return;
    T *to = static_cast<T *>(c.out) + point * c.outputs + output;
    if (c.bias) sum += c.bias[output];
    *to = static_cast<T>(c.add ? sum + static_cast<float>(*to) : sum);
}

__global__ static void __launch_bounds__(kThreads, 2)
    conv(const __grid_constant__ lv_cuda_conv c, int tiles_n)
{
    extern __shared__ uint8_t raw[];
    const uint32_t shared = uint32_t(__cvta_generic_to_shared(raw));
    const int tile = blockIdx.x / tiles_n, n = (blockIdx.x - tile * tiles_n) * kOutputs;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int warp_m = warp & 3, warp_n = warp >> 2;
    float sum[kBlocksM][kBlocksN][4] = {};
    Loader loader(c, tile * kPoints, n);
    for (int s = 0; s < kStages - 1; s++) loader.next(shared + s * kStageBytes);
    for (int step = 0; step < loader.steps; step++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2) : "memory");
        __syncthreads(); /* the stage is there, and the one before is read */
        loader.next(shared + (step + kStages - 1) % kStages * kStageBytes);
        const uint32_t a_at = shared + step % kStages * kStageBytes, b_at = a_at + kABytes;
#pragma unroll
        for (int k = 0; k < kChunk / 16; k++) {
            uint32_t a[kBlocksM][4];
#pragma unroll
            for (int m = 0; m < kBlocksM; m++)
                load_matrices(a[m],
                              a_at + place(warp_m * 32 + m * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int j = 0; j < kBlocksN; j += 2) {
                uint32_t b[4]; /* two blocks, both halves of the 16 channels */
                load_matrices(b, b_at + place(warp_n * 48 + j * 8 + lane / 16 * 8 + lane % 8,
                                              2 * k + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < kBlocksM; m++) {
                    multiply(sum[m][j], a[m], b[0], b[1]);
                    multiply(sum[m][j + 1], a[m], b[2], b[3]);
                }
            }
        }
    }
#pragma unroll
    for (int m = 0; m < kBlocksM; m++)
#pragma unroll
        for (int j = 0; j < kBlocksN; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int64_t point =
                    int64_t(tile) * kPoints + warp_m * 32 + m * 16 + lane / 4 + i / 2 * 8;
                const int output = n + warp_n * 48 + j * 8 + lane % 4 * 2 + i % 2;
                if (c.f32) store<float>(c, point, output, sum[m][j][i]);
                else store<__nv_bfloat16>(c, point, output, sum[m][j][i]);
            }
}

} /* namespace conv_sm80 */

const char *lv_conv_bf16_sm80(const lv_cuda_conv *c, void *stream)
{
    using namespace conv_sm80;
    if (c->channels % 8 != 0 || c->kt > LV_CUDA_CONV_FRAMES)
        return "a convolution on sm_80 wants channels in eights and 3 frames at most";
    const int64_t points = int64_t(c->height) * c->width;
    const int tiles_n = (c->outputs + kOutputs - 1) / kOutputs;
    const int64_t tiles = (points + kPoints - 1) / kPoints * tiles_n;
    const int shared = kStages * kStageBytes;
    cudaError_t e = cudaFuncSetAttribute(conv, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (e != cudaSuccess) return cudaGetErrorString(e);
    conv<<<unsigned(tiles), kThreads, shared, static_cast<cudaStream_t>(stream)>>>(*c, tiles_n);
    e = cudaGetLastError();
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}
