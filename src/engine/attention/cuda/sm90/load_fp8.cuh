/* load_fp8.cuh: the producer warps of the attention in fp8. Units lie in memory as shared memory
 * wants them, one after another, so that a piece of a run is one linear copy. */
#pragma once
#include "common_fp8.cuh"

namespace attn_fp8 {

/* This CTA's half of a piece, to the same place in both CTAs. */
__device__ __forceinline__ void load_half(uint32_t to, const uint8_t *from, int bytes, uint32_t bar,
                                          int rank)
{
    ptx::bulk_load_multicast(to + rank * (bytes / 2), from + rank * (bytes / 2), bytes / 2, bar,
                             (uint16_t)((1 << kCtas) - 1));
}

/* A tile of units of kBytes, and the barrier's arrival for all of it. A tile is always full: what
 * is missing is its last unit again (K: a maximum doesn't change) or `zero` (V). */
template <int kBytes>
__device__ __forceinline__ void load_tile(uint32_t stage, const uint8_t *const *tensor,
                                          const int64_t *units, int64_t head, const Tiles &t,
                                          const uint8_t *zero, uint32_t bar, int rank)
{
    const int valid = t.valid();
    int x = 0, skip = t.at;
    const lv_tile_run *run = t.run;
    const uint8_t *from = nullptr;
    lv_tile_run r = t.r;
    while (x < valid) {
        while (skip >= r.count) {
            skip -= r.count;
            r = Tiles::get(++run);
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

/* One thread: Q of each item, and all of its K. */
__device__ __forceinline__ void load_qk(const Args &a, Shared &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch, kv_heads = a.heads / a.group;
    int ks = 0, kp = 0, turn = 0;
    for (int w = first; w < total; w += step, turn ^= 1) {
        const Item it = item_of(a, w);
        const lv_tile_block b = a.blocks[it.block];
        const int64_t head = (int64_t)it.batch * kv_heads + it.head / a.group;
        Tiles t(a, b);
        bool start = true;
        do {
            ptx::bar_wait(ptx::addr(&s.k_empty[ks]), kp ^ 1);
            ptx::shared_store(ptx::addr(&s.info[ks]), t.info());
            load_tile<LV_FP8_K_BYTES>(ptx::addr(s.k[ks]), a.k, a.units, head, t, nullptr,
                                      ptx::addr(&s.k_full[ks]), rank);
            if (++ks == kStages) ks = 0, kp ^= 1;
            if (start) {
                const uint32_t bar = ptx::addr(&s.q_full);
                const int64_t row =
                    ((int64_t)it.batch * a.heads + it.head) * a.n_blocks * (kCtas * kRows) + b.row +
                    rank * kRows;
                ptx::bar_wait(ptx::addr(&s.q_empty), turn ^ 1);
                ptx::bar_arrive_expect(bar, kRows * LV_FP8_DIM);
                ptx::bulk_load(ptx::addr(s.q), a.q + row * LV_FP8_DIM, kRows * LV_FP8_DIM, bar);
                start = false;
            }
        } while (t.next());
    }
}

/* One thread: all of V. */
__device__ __forceinline__ void load_v(const Args &a, Shared &s, int rank, int first, int step)
{
    const int total = a.n_blocks * a.heads * a.batch, kv_heads = a.heads / a.group;
    int vs = 0, vp = 0;
    for (int w = first; w < total; w += step) {
        const Item it = item_of(a, w);
        const int64_t head = (int64_t)it.batch * kv_heads + it.head / a.group;
        Tiles t(a, a.blocks[it.block]);
        do {
            ptx::bar_wait(ptx::addr(&s.v_empty[vs]), vp ^ 1);
            load_tile<LV_FP8_V_BYTES>(ptx::addr(s.v[vs]), a.v, a.units, head, t, a.zero,
                                      ptx::addr(&s.v_full[vs]), rank);
            if (++vs == kStages) vs = 0, vp ^= 1;
        } while (t.next());
    }
}

} /* namespace attn_fp8 */
