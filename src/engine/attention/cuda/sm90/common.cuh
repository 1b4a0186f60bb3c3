/* common.cuh: sizes, arguments and shared memory of the attention kernel of 16 bits; its card is in
 * attn_sm90.cuh, what it shares with the kernel of 8 bits in walk.cuh. */
#pragma once
#include "walk.cuh"

namespace attn_sm90 {

constexpr int kBoxes = 8; /* copy boxes of a source: kPart keys; 64, 32, .. 1 */

/* By head size. */
template <int D> constexpr int kTile = D == 64 ? 128 : 192; /* keys of a tile                  */
template <int D> constexpr int kPart = kTile<D> / kCtas;    /* what one CTA loads of it        */

template <int D> constexpr bool sizes_fit(void)
{
    static_assert(kPart<D> % 8 == 0 && kPart<D> < 128 && kTile<D> <= 256,
                  "swizzle atoms; box sizes; the tile word's 8 bits");
    return true;
}
static_assert(sizes_fit<64>() && sizes_fit<128>(), "checked inside");

struct Maps {
    CUtensorMap q, k[LVSA_MAX_SOURCES][kBoxes], v[LVSA_MAX_SOURCES][kBoxes];
};

struct Args : Maps, Work {
    float scale_log2;                    /* scale / ln 2: the kernel works in powers of two */
    float count_score[LVSA_MAX_SOURCES]; /* log(last_row_count) / scale */
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

} /* namespace attn_sm90 */
