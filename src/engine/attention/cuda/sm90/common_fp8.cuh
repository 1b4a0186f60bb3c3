/* common_fp8.cuh: sizes, arguments and shared memory of the attention in fp8; the walk over work,
 * the tile's word and the rows' softmax are the bf16 kernel's (common.cuh, softmax.cuh). The card
 * is in attn_fp8_sm90.cu. */
#pragma once
#include "engine/attention/cuda/fp8_layout.h"
#include "softmax.cuh"

namespace attn_fp8 {

using attn_sm90::info_last;
using attn_sm90::info_make;
using attn_sm90::Item;
using attn_sm90::kCtas;
using attn_sm90::row_first;
using attn_sm90::row_last;
using attn_sm90::Rows;
using attn_sm90::uniform;

constexpr int kGroups = 2;          /* consumer warpgroups, of 64 rows */
constexpr int kRows = 64 * kGroups; /* query rows of a CTA             */
constexpr int kThreads = 128 * (kGroups + 1);
constexpr int kUnits = 7; /* of a tile                       */
constexpr int kTile = kUnits * LV_FP8_UNIT;
constexpr int kStages = 2;
constexpr int kFlush = 4; /* tiles that the tensor cores add up by themselves */
constexpr int kRegsLoad = 24, kRegsCompute = 240;
constexpr int kSums = LV_FP8_DIM / 2 + 4; /* O and sums of the weights, of a thread */
static_assert(kCtas * kRows == LV_TILE_BLOCK, "a block is a cluster's rows");

struct Args {
    const uint8_t *q, *k[LVSA_MAX_SOURCES], *v[LVSA_MAX_SOURCES], *zero;
    int64_t units[LVSA_MAX_SOURCES]; /* of a head */
    const float *q_scale, *q_shift, *v_means, *v_scales;
    __nv_bfloat16 *out;
    int64_t out_batch, out_token, out_head; /* strides in elements */
    float *lse;
    const lv_tile_block *blocks;
    const lv_tile_run *runs;                 /* in units */
    int n_blocks, heads, group, batch, rows; /* group: query heads a key head */
};

struct Shared {
    alignas(1024) uint8_t q[kRows * LV_FP8_DIM];
    alignas(1024) uint8_t k[kStages][kUnits * LV_FP8_K_BYTES];
    alignas(1024) uint8_t v[kStages][kUnits * LV_FP8_V_BYTES];
    float4 sums[kSums / 4][128 * kGroups]; /* the second level: a column a thread */
    alignas(8) uint64_t q_full, q_empty;
    uint64_t k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
    uint32_t info[kStages]; /* of the tile of K in the stage */
};
static_assert(sizeof(Shared) + 1024 <= 227 * 1024, "shared memory of an H100 SM");

/* The tiles of a block: kUnits at a time through each group of runs. */
struct Tiles {
    const lv_tile_run *run;
    lv_tile_run r; /* *run                                         */
    int left, at;  /* runs after this one; its units already taken */

    __device__ __forceinline__ Tiles(const Args &a, const lv_tile_block &b)
        : run(a.runs + b.run), left(b.runs - 1), at(0)
    {
        r = get(run);
    }
    __device__ __forceinline__ static lv_tile_run get(const lv_tile_run *p)
    {
        const int4 x = __ldg(reinterpret_cast<const int4 *>(p));
        lv_tile_run r;
        memcpy(&r, &x, sizeof r);
        return r;
    }
    __device__ __forceinline__ int valid() const { return min(r.rest - at, kUnits); }
    __device__ __forceinline__ bool ends_group() const { return valid() == r.rest - at; }
    __device__ __forceinline__ uint32_t info() const
    {
        return info_make(valid(), r.first_row, r.last_row, 0, r.last && ends_group());
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

__device__ __forceinline__ Item item_of(const Args &a, int w)
{
    const int bh = w / a.n_blocks;
    return {w - bh * a.n_blocks, bh % a.heads, bh / a.heads};
}

} /* namespace attn_fp8 */
