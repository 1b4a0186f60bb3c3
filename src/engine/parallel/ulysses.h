/* ulysses.h: attention by heads (DeepSpeed-Ulysses, arXiv 2309.14509). Queries, keys and values go
 * from ranks that have some frames of all heads to ranks that have all frames of some heads; there
 * attention is that of one process, the pattern too; and its output goes back. */
#ifndef LV_ENGINE_PARALLEL_ULYSSES_H
#define LV_ENGINE_PARALLEL_ULYSSES_H

#include "engine/parallel/comm.h"
#include "engine/parallel/self_attention.h"
#include "engine/runtime/ops.h"

typedef struct lv_ulysses {
    lv_comm *comm;
    int64_t all, frames, patches; /* T of the video, T of this rank, P                      */
    size_t *whole, *part;         /* [ranks] bytes: of r's tokens; of this rank's, each     */
    lv_message *send, *receive;   /* [2 * ranks] of keys and values                         */
    lv_tensor k, v, packed[2];    /* from begin() to attend()                               */
} lv_ulysses;

/* Frames are dealt as lvsa_shard deals them. Comm is borrowed. Fails with LVSA_ERR_ARGUMENT (more
 * ranks than frames; heads that the ranks don't divide) or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_ulysses_create(lv_ulysses **out, lv_comm *comm, int64_t frames, int64_t patches,
                              int64_t heads);
void lv_ulysses_free(lv_ulysses **ulysses);

/* See lv_sequence_begin() and lv_sequence_attend(). Both together take six times the scratch of a
 * rank's queries. */
lvsa_status lv_ulysses_begin(lv_ulysses *ulysses, lv_exec *e, lv_tensor k, lv_tensor v);
lvsa_status lv_ulysses_attend(lv_ulysses *ulysses, lv_exec *e, const lv_self_attention *a);

#endif
