/* load.cuh: the producer warps of the attention kernel; see attn_sm90.cuh. */
#pragma once
#include "common.cuh"

namespace attn_sm90 {

/* This CTA's share of a tile, to the same place in both CTAs, then the barrier's arrival for the
 * bytes of both shares. A piece of a run that is not a whole share is two boxes of the largest
 * power of two in it, one from each end: where they overlap they write the same. Nothing is read
 * past the end of a run. */
template <int D>
__device__ __forceinline__ void load_tile(uint32_t stage, const CUtensorMap (*maps)[kBoxes],
                                          const Tiles<kTile<D>> &t, int head, int batch,
                                          uint32_t bar, int rank)
{
    const int valid = t.valid();
    int x = 0, skip = t.at, rows = 0; /* row of the tile; key of the run; rows of all boxes */
    const lv_tile_run *run = t.run;
    lv_tile_run r = t.r;
    while (x < valid) {
        while (skip >= r.count) {
            skip -= r.count;
            r = Tiles<kTile<D>>::get(++run);
        }
        const int share = x >= kPart<D> ? 1 : 0;
        const int n = min(min((share + 1) * kPart<D>, valid) - x, r.count - skip);
        const int m = n == kPart<D> ? kPart<D> : 1 << (31 - __clz(n));
        const CUtensorMap *map = &maps[r.source][n == kPart<D> ? 0 : __clz(n) - 24];
        if (share == rank) {
            for (int y = 0;; y = n - m) {
#pragma unroll
                for (int c = 0; c < D / 64; c++)
                    ptx::tma_load_multicast(stage + (c * kTile<D> + x + y) * 128, map, c * 64,
                                            r.start + skip + y, head, batch, bar,
                                            (uint16_t)((1 << kCtas) - 1));
                if (y == n - m) break;
            }
        }
        rows += n == m ? m : 2 * m;
        x += n;
        skip += n;
    }
    ptx::bar_arrive_expect(bar, rows * D * 2);
}

template <int D>
__device__ __forceinline__ void load_k(const Args &a, Shared<D> &s, int stage,
                                       const Tiles<kTile<D>> &t, const Item &it, int rank)
{
    load_tile<D>(ptx::addr(s.k[stage]), a.k, t, it.head / a.group, it.batch,
                 ptx::addr(&s.k_full[stage]), rank);
}

template <int D>
__device__ __forceinline__ void load_v(const Args &a, Shared<D> &s, int stage,
                                       const Tiles<kTile<D>> &t, const Item &it, int rank)
{
    const bool ragged = t.valid() < kTile<D>;
    load_tile<D>(ptx::addr(s.v[stage]), a.v, t, it.head / a.group, it.batch,
                 ptx::addr(ragged ? &s.v_ragged[stage] : &s.v_full[stage]), rank);
}

template <int D>
__device__ __forceinline__ void load_q(const Args &a, Shared<D> &s, const Item &it, int row)
{
    const uint32_t bar = ptx::addr(&s.q_full);
    ptx::bar_arrive_expect(bar, kRows<D> * D * 2);
#pragma unroll
    for (int c = 0; c < D / 64; c++)
        ptx::tma_load(ptx::addr(s.q) + c * kRows<D> * 128, &a.q, c * 64, row, it.head, it.batch,
                      bar);
}

/* One warp: zeroes the rows of V past a ragged end. P is 0 there, but 0 * NaN would not be. */
template <int D>
__device__ __forceinline__ void sweep_v(const Args &a, Shared<D> &s, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch, lane = threadIdx.x & 31;
    int vs = 0;
    uint32_t parity = 0; /* a bit a stage */
    for (int w = first; w < total; w += step) {
        Tiles<kTile<D>> t(a, a.blocks[item_of(a, w).block]);
        do {
            const int n = t.valid();
            if (n < kTile<D>) {
                ptx::bar_wait(ptx::addr(&s.v_ragged[vs]), parity >> vs & 1);
                parity ^= 1u << vs;
#pragma unroll
                for (int c = 0; c < D / 64; c++)
                    for (int x = n * 128 + lane * 16; x < kTile<D> * 128; x += 32 * 16)
                        ptx::shared_zero16(ptx::addr(&s.v[vs][c * kTile<D> * 128 + x]));
                ptx::fence_async();
                __syncwarp();
                if (lane == 0) ptx::bar_arrive(ptx::addr(&s.v_full[vs]));
            }
            if (++vs == kStages<D>) vs = 0;
        } while (t.next());
    }
}

} /* namespace attn_sm90 */
