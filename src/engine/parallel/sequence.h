/* sequence.h: a video whose whole frames are dealt to ranks. Each computes what a layer does with
 * its own frames' tokens; self-attention alone needs those of others, in one of two ways:
 *
 *     halo       keys and values of the frames that a rank's queries attend to come to it (halo.h)
 *     Ulysses    each rank gets all tokens of some heads, and gives their output back (ulysses.h)
 */
#ifndef LV_ENGINE_PARALLEL_SEQUENCE_H
#define LV_ENGINE_PARALLEL_SEQUENCE_H

#include "engine/parallel/halo.h"
#include "engine/parallel/ulysses.h"

typedef struct lv_sequence {
    int64_t first, frames; /* this rank's               */
    int64_t all, patches;  /* T, P of the video         */
    lv_halo *halo;         /* one of the two, not both  */
    lv_ulysses *ulysses;
} lv_sequence;

/* This rank's part of the plan's frames, of `heads` heads. Comm and plan are borrowed and must live
 * longer. Nothing is sent. Fails with LVSA_ERR_ARGUMENT (more ranks than frames; heads that can't
 * be dealt) or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_sequence_create(lv_sequence **out, lv_comm *comm, const lvsa_plan *plan,
                               int64_t heads, lvsa_sequence how);
void lv_sequence_free(lv_sequence **sequence);

/* To be called when the plan has moved. Allocates nothing. */
lvsa_status lv_sequence_update(lv_sequence *sequence);

/* To be called as soon as the keys and values of the tokens that are here are made, so that they
 * are on their way while the queries are: takes scratch that lv_sequence_attend() needs. They must
 * not change before that. */
lvsa_status lv_sequence_begin(lv_sequence *sequence, lv_exec *e, lv_tensor k, lv_tensor v);

/* Attention of the tokens that are here to all of the video; all ranks come here together. NULL:
 * all of the video is here. */
lvsa_status lv_sequence_attend(lv_sequence *sequence, lv_exec *e, const lv_self_attention *a);

#endif
