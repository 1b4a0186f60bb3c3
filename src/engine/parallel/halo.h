/* halo.h: attention of one rank's frames: it sends and receives the keys and values of whole frames
 * once a layer, and everything else is its own. See lvsa_shard. */
#ifndef LV_ENGINE_PARALLEL_HALO_H
#define LV_ENGINE_PARALLEL_HALO_H

#include <lvsa/lvsa_attention.h>

#include "engine/parallel/comm.h"
#include "engine/parallel/self_attention.h"
#include "engine/runtime/ops.h"

typedef struct lv_halo {
    lv_comm *comm;
    lvsa_shard *shard;
    lvsa_shard_info info;       /* of the shard, as the plan is now                   */
    int64_t patches;            /* P                                                  */
    lv_message *send, *receive; /* room for every step's; keys, then values           */
    lv_tensor k, v;             /* [received_frames * P, E] of the exec's arena       */
} lv_halo;

/* This rank's part of the plan. Comm and plan are borrowed and must live longer. Fails with
 * LVSA_ERR_ARGUMENT (more ranks than frames) or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_halo_create(lv_halo **out, lv_comm *comm, const lvsa_plan *plan);
void lv_halo_free(lv_halo **halo);

/* To be called when the plan has moved. Allocates nothing. */
lvsa_status lv_halo_update(lv_halo *halo);

/* See lv_sequence_begin() and lv_sequence_attend(). One launch goes over own and received rows once
 * they are there; while queries are made they come, and at two GPUs all of them have by then
 * (docs/SPEED.md). */
lvsa_status lv_halo_begin(lv_halo *halo, lv_exec *e, lv_tensor k, lv_tensor v);
lvsa_status lv_halo_attend(lv_halo *halo, lv_exec *e, const lv_self_attention *a);

#endif
