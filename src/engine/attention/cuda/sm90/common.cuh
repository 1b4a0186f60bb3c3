/* common.cuh: what all warps of the attention kernel share: sizes, arguments, shared memory, and
 * the walk over work and tiles. The kernel's card is in attn_sm90.cuh. */
#pragma once
#include "ptx.cuh"
#include "engine/attention/cuda/tile_table.h"

#include <cstring>

namespace attn_sm90 {

constexpr int kCtas = 2;  /* of a cluster; they share every tile of K and V   */
constexpr int kBoxes = 8; /* copy boxes of a source: kPart keys; 64, 32, .. 1 */

/* By head size. */
template <int D> constexpr int kGroups = D == 64 ? 3 : 2;   /* consumer warpgroups, of 64 rows */
template <int D> constexpr int kRows = 64 * kGroups<D>;     /* query rows of a CTA             */
template <int D> constexpr int kTile = D == 64 ? 128 : 192; /* keys of a tile                  */
template <int D> constexpr int kPart = kTile<D> / kCtas;    /* what one CTA loads of it        */
template <int D> constexpr int kStages = D == 64 ? 4 : 2;
template <int D> constexpr int kThreads = 128 * (kGroups<D> + 1);
template <int D> constexpr int kRegsLoad = D == 64 ? 32 : 24;
template <int D> constexpr int kRegsCompute = D == 64 ? 160 : 240;

template <int D> constexpr bool sizes_fit(void)
{
    static_assert(kCtas * kRows<D> == (D == 64 ? LV_TILE_BLOCK_64 : LV_TILE_BLOCK),
                  "a block is a cluster's rows");
    static_assert(kRegsLoad<D> + kGroups<D> * kRegsCompute<D> <=
                      65536 / kThreads<D> / 8 * 8 * (kGroups<D> + 1),
                  "setmaxnreg shares out what the launch took");
    static_assert(kPart<D> % 8 == 0 && kPart<D> < 128 && kTile<D> <= 256,
                  "swizzle atoms; box sizes; the tile word's 8 bits");
    return true;
}
static_assert(sizes_fit<64>() && sizes_fit<128>(), "checked inside");
static_assert(sizeof(lv_tile_run) == 16, "Tiles::get() reads 16 bytes");

struct Args {
    CUtensorMap q, k[LVSA_MAX_SOURCES][kBoxes], v[LVSA_MAX_SOURCES][kBoxes];
    void *out;
    int64_t out_batch, out_token, out_head; /* strides in elements */
    float *lse;
    const lv_tile_block *blocks;
    const lv_tile_run *runs;
    int n_blocks, heads, group, batch, rows; /* group: query heads a key head */
    float scale_log2;                        /* scale / ln 2: the kernel works in powers of two */
    float count_score[LVSA_MAX_SOURCES];     /* log(last_row_count) / scale */
};

template <int D> struct Shared {
    alignas(1024) uint8_t q[kRows<D> * D * 2]; /* [D / 64][rows][64], 128-byte swizzle; so k, v */
    alignas(1024) uint8_t k[kStages<D>][kTile<D> * D * 2];
    alignas(1024) uint8_t v[kStages<D>][kTile<D> * D * 2];
    alignas(8) uint64_t q_full, q_empty;
    uint64_t k_full[kStages<D>], k_empty[kStages<D>], v_full[kStages<D>], v_empty[kStages<D>];
    uint64_t v_ragged[kStages<D>]; /* V has landed; rows past the end are still to be zeroed */
    uint32_t info[kStages<D>];     /* of the tile of K in the stage */
};
static_assert(sizeof(Shared<128>) + 1024 <= 227 * 1024, "shared memory of an H100 SM");

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

/* ---- work and tiles, walked alike by all who load and zero ---------------------------------- */

struct Item {
    int block, head, batch;
};

__device__ __forceinline__ Item item_of(const Args &a, int w)
{
    const int bh = w / a.n_blocks;
    return {w - bh * a.n_blocks, bh % a.heads, bh / a.heads};
}

/* The tiles of a block: kTile keys at a time through each group of runs. */
template <int D> struct Tiles {
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
    __device__ __forceinline__ Tiles(const Args &a, const lv_tile_block &b)
        : run(a.runs + b.run), left(b.runs - 1), at(0)
    {
        r = get(run);
    }
    __device__ __forceinline__ int valid() const
    {
        const int rest = r.rest - at;
        return rest < kTile<D> ? rest : kTile<D> - (r.counted != 0 && rest == kTile<D>);
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

} /* namespace attn_sm90 */
