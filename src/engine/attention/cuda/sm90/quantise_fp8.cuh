/* quantise_fp8.cuh: Q, K and V in bf16 to 8 bits as fp8_layout.h has them; see attn_fp8_sm90.cu.
 *
 *   Q         turned (turn()), then q / scale in int8, one scale a row
 *   K         turned, then (k - mean) / scale in int8, one scale a head: softmax doesn't notice the
 *             mean, which adds q . mean to all scores of a query
 *   V         (v - mean) / scale in e4m3, one scale a channel; the mean comes back at the end,
 *             since weights sum to 1
 *   means     over all keys of all sources, one number a head and channel
 *
 * What isn't finite becomes NaN, of V in its place, of K in the key's one, of Q in the row's scale,
 * and so reaches those who attend to it.
 *
 * Bound by memory: reads K and V twice, Q once. Everything is added in a fixed order. */
#pragma once
#include "engine/attention/cuda/fp8_layout.h"

#include <cuda_bf16.h>
#include <cstdint>

namespace attn_fp8 {

constexpr int kUnit = LV_FP8_UNIT;
constexpr float kMost = 448.f;    /* the largest e4m3                               */
constexpr float kMostInt = 127.f; /* the largest int8                               */
constexpr float kLeast = 1e-15f;  /* tensors of less are taken for 0: no scale is 0 */

/* A row is in the hands of that many neighbouring lanes, 16 channels each. */
template <int D> constexpr int kLanes = D / 16;

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

/* The same in int8, to the nearest, 127 at most. */
__device__ __forceinline__ uint32_t pack_s8(float a, float b, float c, float d)
{
    uint32_t r;
    asm("{ .reg .s32 a, b, c, d;\n"
        ".reg .b32 high;\n"
        "cvt.rni.s32.f32 a, %1;\n"
        "cvt.rni.s32.f32 b, %2;\n"
        "cvt.rni.s32.f32 c, %3;\n"
        "cvt.rni.s32.f32 d, %4;\n"
        "cvt.pack.sat.s8.s32.b32 high, d, c, 0;\n"
        "cvt.pack.sat.s8.s32.b32 %0, b, a, high; }"
        : "=r"(r)
        : "f"(a), "f"(b), "f"(c), "f"(d));
    return r;
}

__device__ __forceinline__ bool finite(float x) { return fabsf(x) <= 3.4028234e38f; }

/* e4m3 has no infinity, and saturating would hide one. */
__device__ __forceinline__ float marked(float x, float made) { return finite(x) ? made : NAN; }

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

/* Is all of a row finite? The same for its lanes. */
template <int D> __device__ __forceinline__ bool row_finite(const float (&x)[16])
{
    constexpr uint32_t kMask = (1u << kLanes<D>) - 1u;
    bool all = true;
#pragma unroll
    for (int j = 0; j < 16; j++) all = all && finite(x[j]);
    return (__ballot_sync(~0u, all) >> (threadIdx.x & 31 & ~(kLanes<D> - 1)) & kMask) == kMask;
}

/* A row turned by Hadamard's matrix over sqrt(D): Q and K alike, so that no product changes, but
 * what one channel had alone is spread over all, and is rounded as a part of all. */
template <int D> __device__ __forceinline__ void turn(float (&x)[16])
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
    for (int step = 1; step < kLanes<D>; step *= 2) {
        const float sign = threadIdx.x & step ? -1.f : 1.f;
#pragma unroll
        for (int j = 0; j < 16; j++) x[j] = fmaf(x[j], sign, __shfl_xor_sync(~0u, x[j], step));
    }
#pragma unroll
    for (int j = 0; j < 16; j++) x[j] *= D == 64 ? 0.125f : 0.08838834764831845f;
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* grid (chunks of a source, B * H_kv, 2), 256 threads, 16 channels of a row each. Sum, least and
 * most of each channel of K, turned, and of V; rows of K and numbers of V that are not finite are
 * left out. */
template <int D>
__global__ void __launch_bounds__(256)
    measure_fp8(Rows16 k, Rows16 v, float *parts, int64_t chunk, int64_t chunks)
{
    constexpr int kStep = 256 / kLanes<D>; /* rows at a time */
    __shared__ float shared[3][8][D];
    const int at = threadIdx.x % kLanes<D> * 16, warp = threadIdx.x / 32;
    const bool is_v = blockIdx.z;
    const int64_t first = (int64_t)blockIdx.x * LV_FP8_CHUNK;
    const int rows = (int)min(k.rows - first, (int64_t)LV_FP8_CHUNK);
    const int64_t token = is_v ? v.strides.token : k.strides.token;
    const __nv_bfloat16 *from = (is_v ? v : k).head(blockIdx.y) + first * token + at;
    float sum[16], least[16], most[16], x[16];
#pragma unroll
    for (int j = 0; j < 16; j++) sum[j] = 0.f, least[j] = INFINITY, most[j] = -INFINITY;
#pragma unroll 2
    for (int i = 0; i < rows; i += kStep) {
        const int r = i + threadIdx.x / kLanes<D>;
        bool there = r < rows;
        load16(x, from + (there ? r : 0) * token);
        if (!is_v) {
            there = row_finite<D>(x) && there;
            turn<D>(x);
        }
#pragma unroll
        for (int j = 0; j < 16; j++) {
            if (!there || !finite(x[j])) continue;
            sum[j] += x[j];
            least[j] = fminf(least[j], x[j]);
            most[j] = fmaxf(most[j], x[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < 16; j++) {
#pragma unroll
        for (int step = kLanes<D>; step < 32; step *= 2) {
            sum[j] += __shfl_xor_sync(~0u, sum[j], step);
            least[j] = fminf(least[j], __shfl_xor_sync(~0u, least[j], step));
            most[j] = fmaxf(most[j], __shfl_xor_sync(~0u, most[j], step));
        }
        if (threadIdx.x % 32 >= kLanes<D>) continue;
        shared[0][warp][at + j] = sum[j];
        shared[1][warp][at + j] = least[j];
        shared[2][warp][at + j] = most[j];
    }
    __syncthreads();
    if (threadIdx.x >= D) return;
    float s = 0.f, lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < 8; i++) {
        s += shared[0][i][threadIdx.x];
        lo = fminf(lo, shared[1][i][threadIdx.x]);
        hi = fmaxf(hi, shared[2][i][threadIdx.x]);
    }
    float *out =
        parts +
        ((blockIdx.z * (int64_t)gridDim.y + blockIdx.y) * chunks + chunk + blockIdx.x) * 3 * D +
        threadIdx.x;
    out[0] = s, out[D] = lo, out[2 * D] = hi;
}

/* grid (B * H_kv, 2), D threads, one a channel: means and scales. */
template <int D>
__global__ void __launch_bounds__(D)
    settle_fp8(const float *parts, float *means, float *scales, int64_t chunks, float rows)
{
    __shared__ float shared[D];
    const int64_t place = blockIdx.y * (int64_t)gridDim.x + blockIdx.x;
    const float *x = parts + place * chunks * 3 * D + threadIdx.x;
    float sum = 0.f, least = INFINITY, most = -INFINITY;
#pragma unroll 8
    for (int64_t i = 0; i < chunks; i++, x += 3 * D) {
        sum += x[0];
        least = fminf(least, x[D]);
        most = fmaxf(most, x[2 * D]);
    }
    const float mean = sum / rows;
    float size = fmaxf(most - mean, mean - least); /* -inf where nothing was finite */
    if (blockIdx.y == 0) {
        shared[threadIdx.x] = size;
        __syncthreads();
        for (int i = 0; i < D; i++) size = fmaxf(size, shared[i]);
    }
    means[place * D + threadIdx.x] = mean;
    scales[place * D + threadIdx.x] =
        fmaxf(size, kLeast) * (1.f / (blockIdx.y == 0 ? kMostInt : kMost));
}

/* ---- the tensors ----------------------------------------------------------------------------- */

/* 16 channels of a row: where they are in a block of rows of D bytes. */
template <int D> __device__ __forceinline__ uint4 *chunk_of(uint8_t *block, int row, int chunk)
{
    const int place = D == 64 ? chunk ^ (row >> 1 & 3) : chunk ^ (row & 7);
    return reinterpret_cast<uint4 *>(block + row * D + (place << 4));
}

__device__ __forceinline__ uint4 pack16_s8(const float (&x)[16])
{
    return make_uint4(pack_s8(x[0], x[1], x[2], x[3]), pack_s8(x[4], x[5], x[6], x[7]),
                      pack_s8(x[8], x[9], x[10], x[11]), pack_s8(x[12], x[13], x[14], x[15]));
}

__device__ __forceinline__ uint4 pack16_e4m3(const float (&x)[16])
{
    return make_uint4(pack_e4m3(x[0], x[1], x[2], x[3]), pack_e4m3(x[4], x[5], x[6], x[7]),
                      pack_e4m3(x[8], x[9], x[10], x[11]), pack_e4m3(x[12], x[13], x[14], x[15]));
}

/* grid (q_rows / 32, B * H), 32 rows of kLanes threads. `to_exponent`: the softmax scale / ln 2. */
template <int D>
__global__ void __launch_bounds__(32 * kLanes<D>)
    quantise_q_fp8(Rows16 q, uint8_t *out, float *q_scale, float *q_shift, const float *means,
                   const float *scales, int group, float to_exponent)
{
    const int row = threadIdx.x / kLanes<D>, chunk = threadIdx.x % kLanes<D>, bh = blockIdx.y;
    const int64_t block = (int64_t)blockIdx.x * 32, rows = (int64_t)gridDim.x * 32;
    const int kv = bh / q.heads * (q.heads / group) + bh % q.heads / group;
    float x[16], size = 0.f, dot = 0.f;
#pragma unroll
    for (int j = 0; j < 16; j++) x[j] = 0.f;
    if (block + row < q.rows) load16(x, q.head(bh) + (block + row) * q.strides.token + chunk * 16);
    const bool whole = row_finite<D>(x);
    turn<D>(x);
#pragma unroll
    for (int j = 0; j < 16; j++) size = fmaxf(size, fabsf(x[j]));
    if (q_shift)
#pragma unroll
        for (int j = 0; j < 16; j++) dot += x[j] * means[kv * D + chunk * 16 + j];
#pragma unroll
    for (int i = 1; i < kLanes<D>; i *= 2) {
        size = fmaxf(size, __shfl_xor_sync(~0u, size, i));
        dot += __shfl_xor_sync(~0u, dot, i);
    }
    const float scale = fmaxf(size, kLeast) * (1.f / kMostInt), inverse = 1.f / scale;
#pragma unroll
    for (int j = 0; j < 16; j++) x[j] = whole ? x[j] * inverse : 0.f;
    *chunk_of<D>(out + (bh * rows + block) * D, row, chunk) = pack16_s8(x);
    if (chunk == 0) {
        q_scale[bh * rows + block + row] =
            whole ? fmaxf(scale * scales[kv * D] * to_exponent, 1e-37f) : NAN;
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

/* grid (units, B * H_kv), 32 keys of kLanes threads; V's rows of ones too. A key that is not finite
 * becomes 0 and has NaN in place of its one. */
template <int D>
__global__ void __launch_bounds__(32 * kLanes<D>)
    quantise_k_fp8(Rows16 k, lv_fp8_keys s, uint8_t *out, uint8_t *v_out, const float *means,
                   const float *scales)
{
    const int key = threadIdx.x / kLanes<D>, chunk = threadIdx.x % kLanes<D>, bh = blockIdx.y;
    const int64_t unit = bh * s.units + blockIdx.x;
    const float inverse = 1.f / scales[bh * D];
    const Place p = place_of(s, k.rows, blockIdx.x, key);
    float x[16];
    load16(x, k.head(bh) + p.row * k.strides.token + chunk * 16);
    const bool whole = row_finite<D>(x);
    turn<D>(x);
#pragma unroll
    for (int j = 0; j < 16; j++)
        x[j] = whole ? (x[j] - means[bh * D + chunk * 16 + j]) * inverse : 0.f;
    *chunk_of<D>(out + unit * LV_FP8_K_BYTES(D), key, chunk) = pack16_s8(x);
    const int in = key % 16, slot = (in & 6) * 2 + (in >> 3) * 2 + (in & 1);
    uint8_t *ones = v_out + unit * LV_FP8_V_BYTES(D) + D * kUnit + slot;
#pragma unroll
    for (int row = chunk; row < 8; row += kLanes<D>)
        ones[place_in_v(row, key / 16)] = !p.real || key % 8 != row ? 0 : whole ? 0x38 : 0x7f;
}

/* grid (units, B * H_kv), 2 D threads: 32 keys to shared memory, then 16 of them of one channel a
 * thread. */
template <int D>
__global__ void __launch_bounds__(2 * D)
    quantise_v_fp8(Rows16 v, lv_fp8_keys s, uint8_t *out, const float *means, const float *scales)
{
    __shared__ alignas(16) __nv_bfloat16 shared[kUnit][D + 8];
    const int t = threadIdx.x, bh = blockIdx.y;
    uint8_t *unit = out + (bh * s.units + blockIdx.x) * LV_FP8_V_BYTES(D);
    for (int half = 0; half < 2; half++) {
        const int key = half * 16 + t / (D / 8), at = t % (D / 8) * 8;
        const Place p = place_of(s, v.rows, blockIdx.x, key);
        const __nv_bfloat16 *from = v.head(bh) + p.row * v.strides.token + at;
        uint4 bits = make_uint4(0, 0, 0, 0);
        if (p.real) bits = __ldg(reinterpret_cast<const uint4 *>(from));
        *reinterpret_cast<uint4 *>(&shared[key][at]) = bits;
    }
    __syncthreads();
    const int d = t % D, half = t / D;
    const float mean = means[bh * D + d], inverse = 1.f / scales[bh * D + d];
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const int key = half * 16 + (i >> 1 & 1) * 8 + (i >> 2) * 2 + (i & 1);
        const float y = __bfloat162float(shared[key][d]);
        x[i] = place_of(s, v.rows, blockIdx.x, key).real ? marked(y, (y - mean) * inverse) : 0.f;
    }
    *reinterpret_cast<uint4 *>(unit + d / 8 * 256 + place_in_v(d % 8, half)) = pack16_e4m3(x);
}

} /* namespace attn_fp8 */
