/* softmax.cuh: from scores to weights and from sums to the output, in registers; see attn_sm90.cuh.
 *
 * A thread holds rows r and r + 8 of its warp's 16; of 8 columns, four lanes hold two each:
 * x[4j], x[4j+1] are row r, columns 8j + 2 (lane & 3) and the next; x[4j+2], x[4j+3] the same of
 * row r + 8. */
#pragma once
#include "common.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace attn_sm90 {

template <class T> __device__ __forceinline__ uint32_t pack(float lo, float hi);

template <> __device__ __forceinline__ uint32_t pack<__nv_bfloat16>(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

template <> __device__ __forceinline__ uint32_t pack<__half>(float lo, float hi)
{
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

__device__ __forceinline__ float to_float(uint32_t x) { return __uint_as_float(x); }

/* Of two rows, over the four lanes that hold them. */
__device__ __forceinline__ void quad_sum(float &x, float &y)
{
    x += __shfl_xor_sync(~0u, x, 1);
    y += __shfl_xor_sync(~0u, y, 1);
    x += __shfl_xor_sync(~0u, x, 2);
    y += __shfl_xor_sync(~0u, y, 2);
}

__device__ __forceinline__ void quad_max(float &x, float &y)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    y = fmaxf(y, __shfl_xor_sync(~0u, y, 1));
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 2));
    y = fmaxf(y, __shfl_xor_sync(~0u, y, 2));
}

/* A row's base is raised where a score passes it by more: weights stay under 2^kSlack, which f16
 * holds too. */
constexpr float kSlack = 8.f;

/* Of a tile that is not full or not for all rows: row r keeps its first n0 keys, row r + 8 its
 * first n1; the tile's last one may count several times. */
template <int D>
__device__ __forceinline__ void cut(const Args &a, uint32_t (&x)[kTile<D> / 2], uint32_t info,
                                    int n0, int n1)
{
    if (info_counted(info)) {
        const float more = a.count_score[info_counted(info) - 1];
#pragma unroll
        for (int i = 0; i < kTile<D> / 2; i++)
            if (i / 4 * 8 + (int)(threadIdx.x & 3) * 2 + (i & 1) == info_valid(info) - 1)
                x[i] = __float_as_uint(to_float(x[i]) + more);
    }
#pragma unroll
    for (int j = 0; j < kTile<D> / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const int col = j * 8 + (int)(threadIdx.x & 3) * 2 + e;
            if (col >= n0) x[j * 4 + e] = __float_as_uint(-INFINITY);
            if (col >= n1) x[j * 4 + 2 + e] = __float_as_uint(-INFINITY);
        }
}

/* What a row's scores are taken from. kEmpty: it may have seen no key yet, its base be -inf. */
template <bool kEmpty> __device__ __forceinline__ float base(float m)
{
    return kEmpty && m == -INFINITY ? 0.f : m;
}

template <bool kEmpty> __device__ __forceinline__ void raise_to(Rows &r, float m0, float m1)
{
    r.a0 = ptx::exp2_approx(r.m0 - base<kEmpty>(m0)); /* exactly 1 where the base stays */
    r.a1 = ptx::exp2_approx(r.m1 - base<kEmpty>(m1));
    r.m0 = m0;
    r.m1 = m1;
}

/* The largest of this lane's scores of a row, kRow 0 or 1, as bits that are compared as integers,
 * which Hopper does three at a time. Right unless all are negative: of those the one with the least
 * bits is the largest; kNegative finds that. */
template <int D, int kRow, bool kNegative>
__device__ __forceinline__ int largest(const uint32_t (&x)[kTile<D> / 2])
{
    int y = (int)x[2 * kRow];
#pragma unroll
    for (int j = 0; j < kTile<D> / 8; j++) {
        const int a = (int)x[j * 4 + 2 * kRow], b = (int)x[j * 4 + 2 * kRow + 1];
        y = kNegative ? __vimin3_s32(y, a, b) : __vimax3_s32(y, a, b);
    }
    return y;
}

/* Raises the warp's bases where one of these scores passes its own by too much. */
template <int D, bool kEmpty>
__device__ __forceinline__ void raise(const uint32_t (&x)[kTile<D> / 2], Rows &r, float scale)
{
    int i0 = largest<D, 0, false>(x), i1 = largest<D, 1, false>(x);
    const bool negative = min(i0, i1) < 0; /* then i0 or i1 may be too low */
    r.up = __any_sync(~0u, to_float(i0) * scale > r.m0 + kSlack ||
                               to_float(i1) * scale > r.m1 + kSlack ||
                               (negative && fminf(r.m0, r.m1) < -kSlack));
    if (!r.up) return;
    if (__any_sync(~0u, negative)) {
        const int n0 = largest<D, 0, true>(x), n1 = largest<D, 1, true>(x);
        if (i0 < 0) i0 = n0;
        if (i1 < 0) i1 = n1;
    }
    float y0 = to_float(i0), y1 = to_float(i1);
    quad_max(y0, y1);
    raise_to<kEmpty>(r, fmaxf(r.m0, y0 * scale), fmaxf(r.m1, y1 * scale));
    r.l0 *= r.a0;
    r.l1 *= r.a1;
}

/* Scores to weights in place, and their sums. */
template <int D, bool kEmpty>
__device__ __forceinline__ void weigh(uint32_t (&x)[kTile<D> / 2], Rows &r, float scale)
{
    const float n0 = base<kEmpty>(r.m0), n1 = base<kEmpty>(r.m1);
#pragma unroll
    for (int j = 0; j < kTile<D> / 8; j++) {
        float y[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            y[e] = ptx::exp2_approx(fmaf(to_float(x[j * 4 + e]), scale, e < 2 ? -n0 : -n1));
            x[j * 4 + e] = __float_as_uint(y[e]);
        }
        r.l0 += y[0] + y[1];
        r.l1 += y[2] + y[3];
    }
}

template <int kCount> __device__ __forceinline__ void clear(float (&o)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; i++) o[i] = 0.f;
}

/* O times a, unless that changes nothing in the whole warp. */
template <int kCount> __device__ __forceinline__ void rescale(float (&o)[kCount], const Rows &r)
{
    if (__all_sync(~0u, r.a0 == 1.f && r.a1 == 1.f)) return;
#pragma unroll
    for (int i = 0; i < kCount; i++) o[i] *= i & 2 ? r.a1 : r.a0;
}

/* Four words a lane, of four lanes: transposed, so that each lane's lie side by side in memory. */
__device__ __forceinline__ void transpose4(uint32_t (&y)[4], int quad)
{
#pragma unroll
    for (int b = 1; b < 4; b *= 2)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (j & b) continue;
            const uint32_t got = __shfl_xor_sync(~0u, quad & b ? y[j] : y[j + b], b);
            if (quad & b) y[j] = got;
            else y[j + b] = got;
        }
}

/* The log-sums of the sequence's rows row0 and row0 + 8: l of base m and what the scores lacked. */
__device__ __forceinline__ void store_lse(const Work &a, const Item &it, int row0, float m0,
                                          float m1, float l0, float l1)
{
    if (a.lse && (threadIdx.x & 3) == 0) {
        float *lse = a.lse + ((int64_t)it.batch * a.heads + it.head) * a.rows;
        if (row0 < a.rows) lse[row0] = (m0 + __log2f(l0)) * 0.69314718f;
        if (row0 + 8 < a.rows) lse[row0 + 8] = (m1 + __log2f(l1)) * 0.69314718f;
    }
}

/* The output's rows row0 and row0 + 8: pair(i) makes the two numbers of o[i] and o[i + 1]. */
template <class T, int D, class Pair>
__device__ __forceinline__ void store_rows(const Work &a, const Item &it, int row0, Pair pair)
{
    const int quad = threadIdx.x & 3;
    T *out = static_cast<T *>(a.out) + it.batch * a.out_batch + it.head * a.out_head + quad * 8;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + 8 * half;
#pragma unroll
        for (int g = 0; g < D / 32; g++) { /* 32 columns */
            uint32_t y[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float2 z = pair((g * 4 + j) * 4 + half * 2);
                y[j] = pack<T>(z.x, z.y);
            }
            transpose4(y, quad);
            if (row < a.rows)
                *reinterpret_cast<uint4 *>(out + row * a.out_token + g * 32) =
                    make_uint4(y[0], y[1], y[2], y[3]);
        }
    }
}

/* O / l and the log-sums to memory. */
template <class T, int D>
__device__ __forceinline__ void store(const Args &a, const Item &it, int row0, float (&o)[D / 2],
                                      Rows &r)
{
    quad_sum(r.l0, r.l1);
    const float i0 = r.l0 == 0.f ? 0.f : 1.f / r.l0, i1 = r.l1 == 0.f ? 0.f : 1.f / r.l1;
    store_lse(a, it, row0, r.m0, r.m1, r.l0, r.l1);
    store_rows<T, D>(a, it, row0, [&](int i) {
        const float f = i & 2 ? i1 : i0;
        return make_float2(o[i] * f, o[i + 1] * f);
    });
}

} /* namespace attn_sm90 */
