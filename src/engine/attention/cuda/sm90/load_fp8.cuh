/* load_fp8.cuh: the producers' copies in the attention kernel of 8 bits. Units lie in memory as
 * shared memory wants them, one after another, so that a piece of a run is one linear copy. */
#pragma once
#include "common_fp8.cuh"

namespace attn_fp8 {

using attn_sm90::item_of;
using attn_sm90::Tiles;

/* This CTA's half of a piece, to the same place in both CTAs. */
__device__ __forceinline__ void load_half(uint32_t to, const uint8_t *from, int bytes, uint32_t bar,
                                          int rank)
{
    ptx::bulk_load_multicast(to + rank * (bytes / 2), from + rank * (bytes / 2), bytes / 2, bar,
                             (uint16_t)((1 << kCtas) - 1));
}

/* A tile of kUnits units of kBytes of one key head, and the barrier's arrival for all of it. A tile
 * is always full: what is missing is its last unit again (K: a maximum doesn't change) or `zero`
 * (V). */
template <int kUnits, int kBytes>
__device__ __forceinline__ void load_tile(uint32_t stage, const uint8_t *const *tensor,
                                          const int64_t *units, int64_t head,
                                          const Tiles<kUnits> &t, const uint8_t *zero, uint32_t bar,
                                          int rank)
{
    const int valid = t.valid();
    int x = 0, skip = t.at;
    const lv_tile_run *run = t.run;
    const uint8_t *from = nullptr;
    lv_tile_run r = t.r;
    while (x < valid) {
        while (skip >= r.count) {
            skip -= r.count;
            r = Tiles<kUnits>::get(++run);
        }
        const int n = min(valid - x, r.count - skip);
        from = tensor[r.source] + (head * units[r.source] + r.start + skip) * kBytes;
        load_half(stage + x * kBytes, from, n * kBytes, bar, rank);
        from += (n - 1) * kBytes;
        x += n;
        skip += n;
    }
    if (zero) from = zero;
    for (; x < kUnits; x++) load_half(stage + x * kBytes, from, kBytes, bar, rank);
    ptx::bar_arrive_expect(bar, kUnits * kBytes);
}

__device__ __forceinline__ int64_t key_head(const Args &a, const Item &it)
{
    return (int64_t)it.batch * (a.heads / a.group) + it.head / a.group;
}

template <int D>
__device__ __forceinline__ void load_k(const Args &a, Shared<D> &s, int stage,
                                       const Tiles<kUnits<D>> &t, const Item &it, int rank)
{
    load_tile<kUnits<D>, LV_FP8_K_BYTES(D)>(ptx::addr(s.k[stage]), a.k, a.units, key_head(a, it), t,
                                            nullptr, ptx::addr(&s.k_full[stage]), rank);
}

template <int D>
__device__ __forceinline__ void load_v(const Args &a, Shared<D> &s, int stage,
                                       const Tiles<kUnits<D>> &t, const Item &it, int rank)
{
    load_tile<kUnits<D>, LV_FP8_V_BYTES(D)>(ptx::addr(s.v[stage]), a.v, a.units, key_head(a, it), t,
                                            a.zero, ptx::addr(&s.v_full[stage]), rank);
}

template <int D>
__device__ __forceinline__ void load_q(const Args &a, Shared<D> &s, const Item &it, int row)
{
    const uint32_t bar = ptx::addr(&s.q_full);
    const int64_t head = (int64_t)it.batch * a.heads + it.head;
    ptx::bar_arrive_expect(bar, kRows<D> * D);
    ptx::bulk_load(ptx::addr(s.q), a.q + (head * a.n_blocks * kCtas * kRows<D> + row) * D,
                   kRows<D> * D, bar);
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
        Tiles<kUnits<D>> t(a, b);
        bool start = true;
        do {
            ptx::bar_wait(ptx::addr(&s.k_empty[ks]), kp ^ 1);
            ptx::shared_store(ptx::addr(&s.info[ks]), t.info());
            load_k(a, s, ks, t, it, rank);
            if (++ks == kStages<D>) ks = 0, kp ^= 1;
            if (start) {
                ptx::bar_wait(ptx::addr(&s.q_empty), turn ^ 1);
                load_q(a, s, it, b.row + rank * kRows<D>);
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
        Tiles<kUnits<D>> t(a, a.blocks[it.block]);
        do {
            ptx::bar_wait(ptx::addr(&s.v_empty[vs]), vp ^ 1);
            load_v(a, s, vs, t, it, rank);
            if (++vs == kStages<D>) vs = 0, vp ^= 1;
        } while (t.next());
    }
}

} /* namespace attn_fp8 */
