/* consume.cuh: a warpgroup's scores, weights and sums in the attention kernel of 16 bits; the loop
 * around them is consume() of walk.cuh. */
#pragma once
#include "softmax.cuh"
#include "wgmma.cuh"

namespace attn_sm90 {

template <class T, int D> struct Sums {
    static constexpr int kGroups = attn_sm90::kGroups<D>, kStages = attn_sm90::kStages<D>;
    typedef float O[D / 2];
    typedef uint32_t X[kTile<D> / 2]; /* scores, then weights: floats as their bits */
    typedef uint32_t P[kTile<D> / 4]; /* weights, two a word */
    const Args &a;
    Shared<D> &s;
    O &o;
    X &x;
    P &p;
    Rows &r;
    uint64_t qd; /* this warpgroup's rows of Q */

    __device__ __forceinline__ void start(int c)
    {
        qd = ptx::desc(ptx::addr(s.q), 16, 1024) + (uint32_t)(c * (64 * 128 >> 4));
    }
    __device__ __forceinline__ void begin(const Item &, int)
    {
        r.m0 = r.m1 = -INFINITY;
        r.l0 = r.l1 = 0.f;
        clear(o);
    }
    __device__ __forceinline__ void qk(int stage)
    {
        const uint64_t kd =
            ptx::desc(ptx::addr(s.k[0]), 16, 1024) + (uint32_t)(stage * (kTile<D> * D * 2 >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int d = 0; d < D / 16; d++)
            wgmma_qk(T(), x, qd + ((d >> 2) * kRows<D> * 128 + (d & 3) * 32 >> 4),
                     kd + ((d >> 2) * kTile<D> * 128 + (d & 3) * 32 >> 4), d != 0);
        ptx::wgmma_commit();
    }
    __device__ __forceinline__ void pv(int stage)
    {
        const uint64_t vd = ptx::desc(ptx::addr(s.v[0]), kTile<D> * 128, 1024) +
                            (uint32_t)(stage * (kTile<D> * D * 2 >> 4));
        ptx::wgmma_fence();
#pragma unroll
        for (int j = 0; j < kTile<D> / 16; j++) wgmma_pv(T(), o, p + 4 * j, vd + (j * 2048 >> 4));
        ptx::wgmma_commit();
    }
    __device__ __forceinline__ void raise(uint32_t info)
    {
        if (info_valid(info) < kTile<D>) cut<D>(a, x, info, info_valid(info), info_valid(info));
        attn_sm90::raise<D, false>(x, r, a.scale_log2);
    }
    template <bool kEmpty> __device__ __forceinline__ void weigh_rows()
    {
        attn_sm90::weigh<D, kEmpty>(x, r, a.scale_log2);
#pragma unroll
        for (int i = 0; i < kTile<D> / 4; i++)
            p[i] = pack<T>(to_float(x[2 * i]), to_float(x[2 * i + 1]));
        if (r.up) rescale(o, r);
    }
    __device__ __forceinline__ void weigh() { weigh_rows<false>(); }
    __device__ __forceinline__ void weigh_some(uint32_t info, bool in0, bool in1)
    {
        cut<D>(a, x, info, in0 ? info_valid(info) : 0, in1 ? info_valid(info) : 0);
        attn_sm90::raise<D, true>(x, r, a.scale_log2);
        weigh_rows<true>();
    }
    __device__ __forceinline__ void end(const Item &it, int row)
    {
        store<T, D>(a, it, a.blocks[it.block].row + row, o, r);
    }
};

} /* namespace attn_sm90 */
