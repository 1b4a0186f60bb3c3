/* common_fp8.cuh: sizes, arguments and shared memory of the attention kernel of 8 bits; its card is
 * in attn_fp8_sm90.cu, what it shares with the kernel of 16 bits in walk.cuh. */
#pragma once
#include "engine/attention/cuda/fp8_layout.h"
#include "walk.cuh"

namespace attn_fp8 {

using attn_sm90::Item;
using attn_sm90::kCtas;
using attn_sm90::kGroups;
using attn_sm90::kRegsCompute;
using attn_sm90::kRegsLoad;
using attn_sm90::kRows;
using attn_sm90::kStages;
using attn_sm90::kThreads;

/* By head size. */
template <int D> constexpr int kUnits = D == 64 ? 4 : 7; /* of a tile */
template <int D> constexpr int kTile = kUnits<D> * LV_FP8_UNIT;
template <int D> constexpr int kFlush = D == 64 ? 21 : 12; /* tiles that the tensor cores add up */
template <int D> constexpr int kSums = D / 2 + 4; /* O and sums of the weights, of a thread */

struct Args : attn_sm90::Work {
    const uint8_t *q, *k[LVSA_MAX_SOURCES], *v[LVSA_MAX_SOURCES], *zero;
    int64_t units[LVSA_MAX_SOURCES]; /* of a head */
    const float *q_scale, *q_shift, *v_means, *v_scales;
};

template <int D> struct Shared {
    alignas(1024) uint8_t q[kRows<D> * D];
    alignas(1024) uint8_t k[kStages<D>][kUnits<D> * LV_FP8_K_BYTES(D)];
    alignas(1024) uint8_t v[kStages<D>][kUnits<D> * LV_FP8_V_BYTES(D)];
    float4 sums[kSums<D> / 4][128 * kGroups<D>]; /* the second level: a column a thread */
    alignas(8) uint64_t q_full, q_empty;
    uint64_t k_full[kStages<D>], k_empty[kStages<D>], v_full[kStages<D>], v_empty[kStages<D>];
    uint32_t info[kStages<D>]; /* of the tile of K in the stage */
};

template <int D> constexpr bool sizes_fit(void)
{
    static_assert(sizeof(Shared<D>) + 1024 <= 227 * 1024, "shared memory of an H100 SM");
    return true;
}
static_assert(sizes_fit<64>() && sizes_fit<128>(), "checked inside");

} /* namespace attn_fp8 */
