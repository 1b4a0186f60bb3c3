/* ranks.c: a video that several processes make: each has all latents and computes the velocity of
 * its own frames. Latents are small beside what a pass works with, and a step of the schedule is
 * the same everywhere, so that any rank could go on alone. */
#include <string.h>

#include "base/mem.h"
#include "engine/pattern/pattern.h"
#include "pipeline/work.h"

/* ---- the processes --------------------------------------------------------------------------- */

lvsa_status lvsa_ranks_open(lvsa_ranks **out) { return lv_comm_open(out); }
void lvsa_ranks_close(lvsa_ranks **ranks) { lv_comm_close(ranks); }
void lvsa_ranks_abort(lvsa_ranks *ranks, int code) { lv_comm_abort(ranks, code); }
int lvsa_ranks_get_rank(const lvsa_ranks *ranks) { return ranks->rank; }
int lvsa_ranks_get_size(const lvsa_ranks *ranks) { return ranks->size; }

lvsa_status lvsa_ranks_broadcast(lvsa_ranks *ranks, void *data, size_t bytes)
{
    return lv_comm_broadcast(ranks, data, bytes, 0);
}

/* ---- one job --------------------------------------------------------------------------------- */

bool lv_work_is_first(const lv_work *w) { return !w->p->ranks || w->p->ranks->rank == 0; }

lvsa_job lv_work_mute(const lvsa_job *job)
{
    lvsa_job muted = *job;
    muted.on_progress = NULL;
    muted.on_latents = NULL;
    muted.on_frame = NULL;
    muted.on_preview = NULL;
    muted.on_state = NULL;
    muted.on_message = NULL;
    return muted;
}

/* The plan of a dense video: all frames are anchors. */
static lvsa_status make_dense_plan(lv_work *w)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = (int)w->shape[1], o.patches_per_frame = w->patches;
    o.window = 0, o.first_anchors = 0, o.keyframe_interval = 1;
    return lvsa_plan_create(&w->dense_plan, &o);
}

lvsa_status lv_work_share(lv_work *w)
{
    lv_comm *ranks = w->p->ranks;
    if (!ranks || ranks->size == 1) return LVSA_OK;
    if (!w->plan) LV_TRY(make_dense_plan(w));
    return lv_sequence_create(&w->sequence, ranks, w->plan ? w->plan : w->dense_plan,
                              w->p->geometry.heads, LVSA_SEQUENCE_HALO);
}

static int64_t first_frame(const lv_work *w, int rank)
{
    return lv_share_first(w->shape[1], rank, w->p->ranks->size);
}

static int64_t frame_size(const lv_work *w) { return w->shape[2] * w->shape[3]; }

lvsa_status lv_work_make_parts(lv_work *w)
{
    if (!w->sequence) return LVSA_OK;
    const int size = w->p->ranks->size;
    w->part = lv_zalloc_array(w->own_count, sizeof *w->part);
    w->parts = lv_zalloc_array(w->count, sizeof *w->parts);
    w->part_bytes = lv_zalloc_array((size_t)size, sizeof *w->part_bytes);
    if (!w->part || !w->parts || !w->part_bytes)
        return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory twice more", w->count);
    for (int r = 0; r < size; r++)
        w->part_bytes[r] =
            (size_t)((first_frame(w, r + 1) - first_frame(w, r)) * w->shape[0] * frame_size(w)) *
            sizeof *w->parts;
    return LVSA_OK;
}

const float *lv_work_get_own(lv_work *w)
{
    if (!w->sequence) return w->latents;
    const int64_t frame = frame_size(w), own = w->own[1] * frame;
    for (int64_t c = 0; c < w->shape[0]; c++)
        memcpy(w->part + c * own,
               w->latents + (c * w->shape[1] + w->sequence->first) * frame,
               (size_t)own * sizeof *w->part);
    return w->part;
}

lvsa_status lv_work_gather(lv_work *w, float *velocity)
{
    const int64_t frame = frame_size(w);
    LV_TRY(lv_comm_all_gather(w->p->ranks, w->parts, w->part_bytes, w->part));
    const float *part = w->parts; /* rank by rank [C, its frames, Y, X] */
    for (int r = 0; r < w->p->ranks->size; r++) {
        const int64_t first = first_frame(w, r), count = (first_frame(w, r + 1) - first) * frame;
        for (int64_t c = 0; c < w->shape[0]; c++, part += count)
            memcpy(velocity + (c * w->shape[1] + first) * frame, part,
                   (size_t)count * sizeof *part);
    }
    return LVSA_OK;
}
