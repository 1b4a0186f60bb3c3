/* quantise_fp8.cuh: Q, K and V in bf16 to e4m3 as fp8_layout.h has them; see attn_fp8_sm90.cu.
 *
 *   means     of K and V over all keys of all sources, one number a head and channel
 *   K         (k - mean) / scale, one scale a head: softmax doesn't notice the mean, which adds
 *             q . mean to all scores of a query
 *   V         (v - mean) / scale, one scale a channel; the mean comes back at the end, since
 *             weights sum to 1
 *   Q         q / scale, one scale a row
 *
 * Numbers in floating point need no finer scales: what is 2^15 times smaller than the largest is
 * still exact to 3 bits. What isn't finite becomes NaN and reaches those who attend to it.
 *
 * Bound by memory: reads K and V twice, Q once. Everything is added in a fixed order. */
#pragma once
#include "engine/attention/cuda/fp8_layout.h"

#include <cuda_bf16.h>
#include <cstdint>

namespace attn_fp8 {

constexpr int kDim = LV_FP8_DIM, kUnit = LV_FP8_UNIT;
constexpr float kMost = 448.f;      /* the largest e4m3                                     */
constexpr float kMostTurned = 39.f; /* of Q and K before a turn, which makes up to sqrt(128)
                                       times more of it                                     */
constexpr float kLeast = 1e-15f;    /* tensors of less are taken for 0: no scale is 0       */

/* A tensor [B, rows, heads, D] of bf16. */
struct Rows16 {
    const __nv_bfloat16 *data;
    lvsa_strides strides;
    int64_t rows;
    int heads;

    __device__ const __nv_bfloat16 *head(int bh) const
    {
        return data + (bh / heads) * strides.batch + (bh % heads) * strides.head;
    }
};

__device__ __forceinline__ void load8(float (&x)[8], const __nv_bfloat16 *from)
{
    const uint4 bits = __ldg(reinterpret_cast<const uint4 *>(from));
    const uint32_t word[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = __uint_as_float(word[i] << 16);
        x[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
    }
}

/* Four numbers, the first in the lowest byte. */
__device__ __forceinline__ uint32_t pack_e4m3(float a, float b, float c, float d)
{
    uint32_t r;
    asm("{ .reg .b16 lo, hi;\n"
        "cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1;\n"
        "cvt.rn.satfinite.e4m3x2.f32 hi, %4, %3;\n"
        "mov.b32 %0, {lo, hi}; }"
        : "=r"(r)
        : "f"(a), "f"(b), "f"(c), "f"(d));
    return r;
}

__device__ __forceinline__ bool finite(float x) { return fabsf(x) <= 3.4028234e38f; }

/* e4m3 has no infinity, and saturating would hide one. */
__device__ __forceinline__ float marked(float x, float made) { return finite(x) ? made : NAN; }

/* ---- statistics ------------------------------------------------------------------------------ */

/* grid (chunks of a source, B * H_kv, 2), 256 threads: 16 rows at a time, 8 channels a thread.
 * Sum, least and most of each channel; numbers that are not finite are left out. */
__global__ void __launch_bounds__(256)
    measure_fp8(Rows16 k, Rows16 v, float *parts, int64_t chunk, int64_t chunks)
{
    __shared__ float shared[3][16][kDim];
    const int at = threadIdx.x % 16 * 8, sub = threadIdx.x / 16;
    const int64_t first = (int64_t)blockIdx.x * LV_FP8_CHUNK;
    const int rows = (int)min(k.rows - first, (int64_t)LV_FP8_CHUNK);
    const int64_t token = blockIdx.z ? v.strides.token : k.strides.token;
    const __nv_bfloat16 *x =
        (blockIdx.z ? v.head(blockIdx.y) : k.head(blockIdx.y)) + first * token + at;
    float sum[8], least[8], most[8], y[8];
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] = 0.f, least[j] = INFINITY, most[j] = -INFINITY;
#pragma unroll 4
    for (int r = sub; r < rows; r += 16) {
        load8(y, x + r * token);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            if (!finite(y[j])) continue;
            sum[j] += y[j];
            least[j] = fminf(least[j], y[j]);
            most[j] = fmaxf(most[j], y[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        shared[0][sub][at + j] = sum[j];
        shared[1][sub][at + j] = least[j];
        shared[2][sub][at + j] = most[j];
    }
    __syncthreads();
    if (threadIdx.x >= kDim) return;
    float s = 0.f, lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < 16; i++) {
        s += shared[0][i][threadIdx.x];
        lo = fminf(lo, shared[1][i][threadIdx.x]);
        hi = fmaxf(hi, shared[2][i][threadIdx.x]);
    }
    float *out =
        parts +
        ((blockIdx.z * (int64_t)gridDim.y + blockIdx.y) * chunks + chunk + blockIdx.x) * 3 * kDim +
        threadIdx.x;
    out[0] = s, out[kDim] = lo, out[2 * kDim] = hi;
}

/* grid (B * H_kv, 2), 128 threads, one a channel: means and scales. */
__global__ void __launch_bounds__(kDim)
    settle_fp8(const float *parts, float *means, float *scales, int64_t chunks, float rows)
{
    __shared__ float shared[kDim];
    const int64_t place = blockIdx.y * (int64_t)gridDim.x + blockIdx.x;
    const float *x = parts + place * chunks * 3 * kDim + threadIdx.x;
    float sum = 0.f, least = INFINITY, most = -INFINITY;
    for (int64_t i = 0; i < chunks; i++, x += 3 * kDim) {
        sum += x[0];
        least = fminf(least, x[kDim]);
        most = fmaxf(most, x[2 * kDim]);
    }
    const float mean = sum / rows;
    float size = fmaxf(most - mean, mean - least); /* -inf where nothing was finite */
    if (blockIdx.y == 0) {
        shared[threadIdx.x] = size;
        __syncthreads();
        for (int i = 0; i < kDim; i++) size = fmaxf(size, shared[i]);
    }
    means[place * kDim + threadIdx.x] = mean;
    scales[place * kDim + threadIdx.x] =
        fmaxf(size, kLeast) * (1.f / (blockIdx.y == 0 ? kMostTurned : kMost));
}

/* ---- the tensors ----------------------------------------------------------------------------- */

/* 16 channels of a row: where they are in a block of rows of 128 bytes. */
__device__ __forceinline__ uint4 *chunk_of(uint8_t *block, int row, int chunk)
{
    return reinterpret_cast<uint4 *>(block + row * kDim + ((chunk ^ (row & 7)) << 4));
}

__device__ __forceinline__ uint4 pack16(const float (&x)[16])
{
    return make_uint4(pack_e4m3(x[0], x[1], x[2], x[3]), pack_e4m3(x[4], x[5], x[6], x[7]),
                      pack_e4m3(x[8], x[9], x[10], x[11]), pack_e4m3(x[12], x[13], x[14], x[15]));
}

__device__ __forceinline__ void load16(float (&x)[16], const __nv_bfloat16 *from)
{
    float y[8];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        load8(y, from + 8 * half);
#pragma unroll
        for (int j = 0; j < 8; j++) x[8 * half + j] = y[j];
    }
}

/* A row's 128 channels, 16 in each of 8 neighbouring lanes, turned by Hadamard's matrix over
 * sqrt(128): Q and K alike, so that no product changes, but what one channel had alone is spread
 * over all, and is rounded as a part of all. */
__device__ __forceinline__ void turn(float (&x)[16])
{
#pragma unroll
    for (int step = 1; step < 16; step *= 2)
#pragma unroll
        for (int j = 0; j < 16; j++) {
            if (j & step) continue;
            const float a = x[j], b = x[j + step];
            x[j] = a + b, x[j + step] = a - b;
        }
#pragma unroll
    for (int step = 1; step < 8; step *= 2) {
        const float sign = threadIdx.x & step ? -1.f : 1.f;
#pragma unroll
        for (int j = 0; j < 16; j++) x[j] = fmaf(x[j], sign, __shfl_xor_sync(~0u, x[j], step));
    }
#pragma unroll
    for (int j = 0; j < 16; j++) x[j] *= 0.08838834764831845f;
}

/* grid (q_rows / 32, B * H), 256 threads, 16 channels of a row each. `to_exponent`: the softmax
 * scale / ln 2. */
__global__ void __launch_bounds__(256)
    quantise_q_fp8(Rows16 q, uint8_t *out, float *q_scale, float *q_shift, const float *means,
                   const float *scales, int group, float to_exponent)
{
    const int row = threadIdx.x / 8, chunk = threadIdx.x % 8, bh = blockIdx.y;
    const int64_t block = (int64_t)blockIdx.x * 32, rows = (int64_t)gridDim.x * 32;
    const int kv = bh / q.heads * (q.heads / group) + bh % q.heads / group;
    float x[16], size = 0.f, dot = 0.f;
#pragma unroll
    for (int j = 0; j < 16; j++) x[j] = 0.f;
    if (block + row < q.rows) load16(x, q.head(bh) + (block + row) * q.strides.token + chunk * 16);
#pragma unroll
    for (int j = 0; j < 16; j++)
        if (finite(x[j])) size = fmaxf(size, fabsf(x[j]));
    if (q_shift)
#pragma unroll
        for (int j = 0; j < 16; j++) dot += x[j] * means[kv * kDim + chunk * 16 + j];
#pragma unroll
    for (int i = 1; i < 8; i *= 2) {
        size = fmaxf(size, __shfl_xor_sync(~0u, size, i));
        dot += __shfl_xor_sync(~0u, dot, i);
    }
    bool whole = true;
    const float scale = fmaxf(size, kLeast) * (1.f / kMostTurned), inverse = 1.f / scale;
#pragma unroll
    for (int j = 0; j < 16; j++) {
        whole = whole && finite(x[j]);
        x[j] = finite(x[j]) ? x[j] * inverse : 0.f;
    }
    whole = (__ballot_sync(~0u, whole) >> (threadIdx.x & 24) & 255) == 255; /* the row's lanes */
    turn(x);
    *chunk_of(out + (bh * rows + block) * kDim, row, chunk) = pack16(x);
    if (chunk == 0) {
        q_scale[bh * rows + block + row] =
            whole ? fmaxf(scale * scales[kv * kDim] * to_exponent, 1e-37f) : NAN;
        if (q_shift) q_shift[bh * rows + block + row] = dot * to_exponent;
    }
}

/* Row of the source that is key `key` of unit `unit`, or past its group. */
struct Place {
    int64_t row;
    bool real;
};

__device__ __forceinline__ Place place_of(const lv_fp8_keys &s, int64_t rows, int64_t unit, int key)
{
    const int64_t g = unit / s.group_units, in = (unit - g * s.group_units) * kUnit + key;
    const int64_t end = min(s.group, rows - g * s.group);
    return {g * s.group + (in < end ? in : end - 1), in < end};
}

/* Where in a group of 8 rows of V the 16 keys of half a unit are. */
__device__ __forceinline__ int place_in_v(int row, int half)
{
    return row * 32 + ((half ^ row >> 2) << 4);
}

/* grid (units, B * H_kv), 256 threads, 16 channels of a key each; V's rows of ones too. A key that
 * is not finite becomes 0 and has NaN in place of its one. */
__global__ void __launch_bounds__(256)
    quantise_k_fp8(Rows16 k, lv_fp8_keys s, uint8_t *out, uint8_t *v_out, const float *means,
                   const float *scales)
{
    const int key = threadIdx.x / 8, chunk = threadIdx.x % 8, bh = blockIdx.y;
    const int64_t unit = bh * s.units + blockIdx.x;
    const float inverse = 1.f / scales[bh * kDim];
    const Place p = place_of(s, k.rows, blockIdx.x, key);
    float x[16];
    bool whole = true;
    load16(x, k.head(bh) + p.row * k.strides.token + chunk * 16);
#pragma unroll
    for (int j = 0; j < 16; j++) {
        whole = whole && finite(x[j]);
        x[j] = finite(x[j]) ? (x[j] - means[bh * kDim + chunk * 16 + j]) * inverse : 0.f;
    }
    turn(x);
    *chunk_of(out + unit * LV_FP8_K_BYTES, key, chunk) = pack16(x);
    whole = (__ballot_sync(~0u, whole) >> (threadIdx.x & 24) & 255) == 255; /* the key's lanes */
    const int in = key % 16, slot = (in & 6) * 2 + (in >> 3) * 2 + (in & 1);
    v_out[unit * LV_FP8_V_BYTES + kDim * kUnit + place_in_v(chunk, key / 16) + slot] =
        !p.real || key % 8 != chunk ? 0
        : whole                     ? 0x38
                                    : 0x7f;
}

/* grid (units, B * H_kv), 256 threads: 32 keys to shared memory, then 16 of them of one channel a
 * thread. */
__global__ void __launch_bounds__(256)
    quantise_v_fp8(Rows16 v, lv_fp8_keys s, uint8_t *out, const float *means, const float *scales)
{
    __shared__ alignas(16) __nv_bfloat16 shared[kUnit][kDim + 8];
    const int t = threadIdx.x, bh = blockIdx.y;
    uint8_t *unit = out + (bh * s.units + blockIdx.x) * LV_FP8_V_BYTES;
    for (int half = 0; half < 2; half++) {
        const int key = half * 16 + t / 16, at = t % 16 * 8;
        const Place p = place_of(s, v.rows, blockIdx.x, key);
        const __nv_bfloat16 *from = v.head(bh) + p.row * v.strides.token + at;
        uint4 bits = make_uint4(0, 0, 0, 0);
        if (p.real) bits = __ldg(reinterpret_cast<const uint4 *>(from));
        *reinterpret_cast<uint4 *>(&shared[key][at]) = bits;
    }
    __syncthreads();
    const int d = t % kDim, half = t / kDim;
    const float mean = means[bh * kDim + d], inverse = 1.f / scales[bh * kDim + d];
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const int key = half * 16 + (i >> 1 & 1) * 8 + (i >> 2) * 2 + (i & 1);
        const float y = __bfloat162float(shared[key][d]);
        x[i] = place_of(s, v.rows, blockIdx.x, key).real ? marked(y, (y - mean) * inverse) : 0.f;
    }
    *reinterpret_cast<uint4 *>(unit + d / 8 * 256 + place_in_v(d % 8, half)) = pack16(x);
}

} /* namespace attn_fp8 */
