/* walk.cuh: what Hopper's attention kernels share, the one of 16 bits (attn_sm90.cuh) and the one
 * of 8 (attn_fp8_sm90.cu): items, tiles, what a tile's consumers must know, barriers, launching.
 * A kernel's Shared has q_full, q_empty and, by stage, k_full, k_empty, v_full and v_empty.
 *
 * The loops of those who load and of those who compute stand in both (load*.cuh, consume*.cuh): as
 * one template, with each kernel's copies and products given to it, the kernel of 16 bits was 1 %
 * slower on a card, though nearly the same machine code. */
#pragma once
#include "ptx.cuh"
#include "engine/attention/cuda/tile_table.h"

#include <cuda_runtime.h>

#include <cstring>

namespace attn_sm90 {

constexpr int kCtas = 2; /* of a cluster; they share every tile of K and V */

/* By head size. */
template <int D> constexpr int kGroups = D == 64 ? 3 : 2; /* consumer warpgroups, of 64 rows */
template <int D> constexpr int kRows = 64 * kGroups<D>;   /* query rows of a CTA             */
template <int D> constexpr int kStages = D == 64 ? 4 : 2;
template <int D> constexpr int kThreads = 128 * (kGroups<D> + 1);
template <int D> constexpr int kRegsLoad = D == 64 ? 32 : 24;
template <int D> constexpr int kRegsCompute = D == 64 ? 160 : 240;

template <int D> constexpr bool walk_fits(void)
{
    static_assert(kCtas * kRows<D> == (D == 64 ? LV_TILE_BLOCK_64 : LV_TILE_BLOCK),
                  "a block is a cluster's rows");
    static_assert(kRegsLoad<D> + kGroups<D> * kRegsCompute<D> <=
                      65536 / kThreads<D> / 8 * 8 * (kGroups<D> + 1),
                  "setmaxnreg shares out what the launch took");
    return true;
}
static_assert(walk_fits<64>() && walk_fits<128>(), "checked inside");

/* What every kernel's arguments have. */
struct Work {
    void *out;
    int64_t out_batch, out_token, out_head; /* strides in elements */
    float *lse;
    const lv_tile_block *blocks;
    const lv_tile_run *runs;
    int n_blocks, heads, group, batch, rows; /* group: query heads a key head */
};
static_assert(sizeof(lv_tile_run) == 16, "Tiles::get() reads 16 bytes");

/* ---- what a tile's consumers must know, in a word ------------------------------------------- */

/* counted: 0, or 1 + the source whose last row is the tile's last key and counts several times;
 * such a tile is never full. */
__device__ __forceinline__ uint32_t info_make(int valid, int first_row, int last_row, int counted,
                                              bool last)
{
    return (uint32_t)(valid - 1) | (uint32_t)first_row << 8 | (uint32_t)last_row << 17 |
           (uint32_t)counted << 26 | (uint32_t)last << 31;
}

__device__ __forceinline__ int info_valid(uint32_t i) { return (int)(i & 255) + 1; }
__device__ __forceinline__ int row_first(uint32_t i) { return (int)(i >> 8 & 511); }
__device__ __forceinline__ int row_last(uint32_t i) { return (int)(i >> 17 & 511); }
__device__ __forceinline__ int info_counted(uint32_t i) { return (int)(i >> 26 & 3); }
__device__ __forceinline__ bool info_last(uint32_t i) { return (int)i < 0; }

/* The same value in every lane of the warp, and known to be so: descriptors and branches stay in
 * uniform registers. */
__device__ __forceinline__ uint32_t uniform(uint32_t x) { return __reduce_max_sync(~0u, x); }

/* ---- items and tiles ------------------------------------------------------------------------- */

struct Item {
    int block, head, batch;
};

__device__ __forceinline__ Item item_of(const Work &a, int w)
{
    const int bh = w / a.n_blocks;
    return {w - bh * a.n_blocks, bh % a.heads, bh / a.heads};
}

/* The tiles of a block: kTile keys, or units of keys, at a time through each group of runs. */
template <int kTile> struct Tiles {
    const lv_tile_run *run;
    lv_tile_run r; /* *run                                        */
    int left, at;  /* runs after this one; its keys already taken */

    __device__ __forceinline__ static lv_tile_run get(const lv_tile_run *p)
    {
        const int4 x = __ldg(reinterpret_cast<const int4 *>(p));
        lv_tile_run r;
        memcpy(&r, &x, sizeof r);
        return r;
    }
    __device__ __forceinline__ Tiles(const Work &a, const lv_tile_block &b)
        : run(a.runs + b.run), left(b.runs - 1), at(0)
    {
        r = get(run);
    }
    __device__ __forceinline__ int valid() const
    {
        const int rest = r.rest - at;
        return rest < kTile ? rest : kTile - (r.counted != 0 && rest == kTile);
    }
    __device__ __forceinline__ bool ends_group() const { return valid() == r.rest - at; }
    __device__ __forceinline__ uint32_t info() const
    {
        return info_make(valid(), r.first_row, r.last_row, ends_group() ? r.counted : 0,
                         r.last && ends_group());
    }
    __device__ __forceinline__ bool next()
    {
        at += valid();
        while (at >= r.count) {
            if (left == 0) return false;
            at -= r.count;
            left--;
            r = get(++run);
        }
        return true;
    }
};

/* ---- those who compute ----------------------------------------------------------------------- */

/* Of two rows: m the base, which weights are taken from, times scale; l the sum so far, where the
 * products don't make it. up: the warp's bases were raised with the last tile, and a brings older
 * sums to them.
 *
 * A base is the maximum at the time that it was raised, which happens where a score passes one by
 * some bits: weights stay small enough for their type, and O is hardly ever multiplied after a
 * row's first tiles. */
struct Rows {
    float m0, m1, l0, l1, a0, a1;
    bool up;
};

/* In both CTAs, since each loads into both. Here by every warp of the group: until all have, no
 * barrier of the stage moves on from the phase that a warp may still have to look at (which would
 * let it wait for ever), and the tile's word is the one that it reads. */
__device__ __forceinline__ void free_stage(uint64_t *bar, int tid, int rank)
{
    if ((tid & 31) == 0) ptx::bar_arrive(ptx::addr(bar));
    if (tid == 0) ptx::bar_arrive_at(ptx::addr(bar), rank ^ 1);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* One thread, before the cluster goes on. ragged: v_ragged of the stages, if there is one. */
template <int D, class Shared>
__device__ __forceinline__ void bars_init(Shared &s, uint64_t *ragged)
{
    ptx::bar_init(ptx::addr(&s.q_full), 1);
    ptx::bar_init(ptx::addr(&s.q_empty), kGroups<D>);
    for (int i = 0; i < kStages<D>; i++) {
        ptx::bar_init(ptx::addr(&s.k_full[i]), 1);
        ptx::bar_init(ptx::addr(&s.k_empty[i]), kGroups<D> * (4 + kCtas - 1));
        ptx::bar_init(ptx::addr(&s.v_full[i]), 1);
        ptx::bar_init(ptx::addr(&s.v_empty[i]), kGroups<D> * (4 + kCtas - 1));
        if (ragged) ptx::bar_init(ptx::addr(&ragged[i]), 1);
    }
}

/* Shared memory from its first 1024 bytes' boundary on. */
template <class Shared> __device__ __forceinline__ Shared &shared_of(uint8_t *raw)
{
    return *reinterpret_cast<Shared *>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                       ~uintptr_t(1023));
}

static inline void work_set(Work *a, const lvsa_attention *c, const void *tiles)
{
    const int block = lv_tile_block_rows(c->head_dim);
    a->out = c->out;
    a->out_batch = c->out_strides.batch;
    a->out_token = c->out_strides.token;
    a->out_head = c->out_strides.head;
    a->lse = c->lse;
    a->n_blocks = (int)((c->queries + block - 1) / block);
    a->blocks = static_cast<const lv_tile_block *>(tiles);
    a->runs = reinterpret_cast<const lv_tile_run *>(a->blocks + a->n_blocks);
    a->heads = (int)c->heads;
    a->group = (int)(c->heads / c->kv_heads);
    a->batch = (int)c->batch;
    a->rows = (int)c->queries;
}

/* A cluster on every pair of multiprocessors. */
template <class Shared, class Args>
static cudaError_t launch_clusters(void (*kernel)(Args), int threads, const Args &a, void *stream)
{
    const int shared = (int)sizeof(Shared) + 1024;
    int device = 0, sms = 0;
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
    if (e == cudaSuccess)
        e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (e != cudaSuccess) return e;
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {kCtas, 1, 1};
    cudaLaunchConfig_t cfg = {};
    cfg.gridDim = dim3((unsigned)(sms / kCtas * kCtas));
    cfg.blockDim = dim3((unsigned)threads);
    cfg.dynamicSmemBytes = (size_t)shared;
    cfg.stream = static_cast<cudaStream_t>(stream);
    cfg.attrs = &cluster;
    cfg.numAttrs = 1;
    return cudaLaunchKernelEx(&cfg, kernel, a);
}

} /* namespace attn_sm90 */
