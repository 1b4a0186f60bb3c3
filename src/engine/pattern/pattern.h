/* pattern.h: which frames attend to which. Integers in, integers out; no device, no floating point
 * but for the sparsity scale. Formulas: LVSA, arXiv 2605.31057, and its public implementation
 * (LongVideoSparseAttention 1.2.0, lvsa/sparse_attention.py).
 *
 * Letters: T latent frames, W window half-width, G the set of anchors. All are at most 2^20 (plan.c
 * checks), so that sums of a few fit an int. */
#ifndef LV_ENGINE_PATTERN_PATTERN_H
#define LV_ENGINE_PATTERN_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include <lvsa/lvsa_attention.h>

/* Frames that a query may attend to under an automatic interval:
 * max(first + 1, floor(reference * scale)), at most INT32_MAX. */
int lv_pattern_budget(int reference, double scale, int first);

/* The automatic keyframe interval: 1 (dense) where T fits the budget, otherwise the larger of
 *   strict    the widest spacing that still leaves budget - min(2W+1, T) anchors, and
 *   fallback  ceil(max(T-m, budget-m) / max(budget-m, 1)), m = 2W + first. */
int lv_pattern_auto_interval(int frames, int window, int first, int budget);

/* Marks {0 .. first-1} and {(rotation + i*interval) mod T, i < ceil(T/interval)} in is_anchor [T].
 * interval 0: only the first. */
void lv_pattern_mark_anchors(uint8_t *is_anchor, int frames, int first, int interval, int rotation);

/* The plain window of a frame: [f-W, f+W], shifted (never cut) into [0, T-1]. W = 0: empty. */
lvsa_window lv_pattern_plain_window(int frame, int frames, int window);

/* Widens *w, which holds `held` frames that are no anchors, by one frame at a time, left and right
 * in turns, until it holds `wanted` of them or all frames. Returns how many it holds in the end. */
int lv_pattern_expand_window(lvsa_window *w, const uint8_t *is_anchor, int frames, int held,
                             int wanted);

/* Runs that a frame of the plan has at most, at any rotation. */
int lv_plan_get_most_runs(const lvsa_plan *plan);

/* The first of `count` frames (or rows, or the like) that a rank has, where they are dealt in order
 * and as evenly as whole ones can be; rank `ranks` would begin behind the last. */
static inline int64_t lv_share_first(int64_t count, int rank, int ranks)
{
    return rank * count / ranks;
}

#endif
