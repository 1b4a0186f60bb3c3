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

/* One thread: Q of each item, and all of its K. */
template <int D>
__device__ __forceinline__ void load_qk(const Args &a, Shared<D> &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch;
    int ks = 0, kp = 0, turn = 0;
    for (int w = first; w < total; w += step, turn ^= 1) {
        const Item it = item_of(a, w);
        const lv_tile_block b = a.blocks[it.block];
        Tiles<kTile<D>> t(a, b);
        bool start = true;
        do {
            ptx::bar_wait(ptx::addr(&s.k_empty[ks]), kp ^ 1);
            ptx::shared_store(ptx::addr(&s.info[ks]), t.info());
            load_tile<D>(ptx::addr(s.k[ks]), a.k, t, it.head / a.group, it.batch,
                         ptx::addr(&s.k_full[ks]), rank);
            if (++ks == kStages<D>) ks = 0, kp ^= 1;
            if (start) {
                const uint32_t bar = ptx::addr(&s.q_full);
                ptx::bar_wait(ptx::addr(&s.q_empty), turn ^ 1);
                ptx::bar_arrive_expect(bar, kRows<D> * D * 2);
#pragma unroll
                for (int c = 0; c < D / 64; c++)
                    ptx::tma_load(ptx::addr(s.q) + c * kRows<D> * 128, &a.q, c * 64,
                                  b.row + rank * kRows<D>, it.head, it.batch, bar);
                start = false;
            }
        } while (t.next());
    }
}

/* One thread: all of V. */
template <int D>
__device__ __forceinline__ void load_v(const Args &a, Shared<D> &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch;
    int vs = 0, vp = 0;
    for (int w = first; w < total; w += step) {
        const Item it = item_of(a, w);
        Tiles<kTile<D>> t(a, a.blocks[it.block]);
        do {
            const uint32_t bar = ptx::addr(t.valid() < kTile<D> ? &s.v_ragged[vs] : &s.v_full[vs]);
            ptx::bar_wait(ptx::addr(&s.v_empty[vs]), vp ^ 1);
            load_tile<D>(ptx::addr(s.v[vs]), a.v, t, it.head / a.group, it.batch, bar, rank);
            if (++vs == kStages<D>) vs = 0, vp ^= 1;
        } while (t.next());
    }
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
