/* ranks.c: a video that several processes make: each has all latents and computes the velocity of
 * its own frames, for both texts or, of two groups, for one. Latents are small beside what a pass
 * works with, and a step of the schedule is the same everywhere, so that any rank could go on
 * alone. */
#include <stdio.h>
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

lvsa_status lv_work_join(lv_work *w)
{
    return w->p->ranks ? lv_comm_join(w->p->ranks, w->p->device) : LVSA_OK;
}

bool lv_work_decodes(const lv_work *w) { return lv_work_is_first(w) || w->p->vae_parallel; }

lv_vae_tiling lv_work_share_decoding(const lv_work *w)
{
    return (lv_vae_tiling){.comm = w->p->vae_parallel ? w->p->ranks : NULL};
}

lvsa_status lv_work_check_decoding(const lv_work *w)
{
    if (!w->p->ranks || !w->p->vae_parallel) return LVSA_OK;
    return lv_rows_check(w->p->ranks, w->height / w->p->vae->spatial);
}

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

/* Ranks of one pass. */
static const lv_comm *find_group(const lv_work *w) { return w->group ? w->group : w->p->ranks; }

/* Two groups, one a text: those of half as many ranks, the first half's for the prompt. */
static lvsa_status split_passes(lv_work *w)
{
    lv_comm *ranks = w->p->ranks;
    const int size = ranks ? ranks->size : 1, half = size / 2;
    w->first_text = 0, w->end_text = w->texts;
    if (!w->p->cfg_parallel) return LVSA_OK;
    if (w->texts == 1)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "CFG parallel with guidance %g: there is one pass a step, and nothing for a "
                       "second group of ranks; a guidance above 1 is wanted, or no CFG parallel",
                       w->job->guidance);
    if (size % 2 != 0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "CFG parallel with %d rank%s: two groups of as many are wanted, so an even "
                       "number of ranks, or no CFG parallel",
                       size, size == 1 ? "" : "s");
    w->first_text = ranks->rank / half, w->end_text = w->first_text + 1;
    return lv_comm_open_group(&w->group, ranks, w->first_text * half, half);
}

static lvsa_status choose_sequence(lvsa_sequence *out, const lv_work *w, const lvsa_plan *plan,
                                   int ranks)
{
    const lvsa_shared_layer layer = {ranks, w->p->geometry.heads, w->p->geometry.head_dim,
                                     (int)lv_dtype_bytes(w->p->device->dtype)};
    lvsa_sequence_choice c = {.size = sizeof c};
    const bool asked = w->p->sequence != LVSA_SEQUENCE_AUTO;
    char heads[64];
    LV_TRY(lvsa_sequence_choose(&c, plan, &layer));
    *out = asked ? w->p->sequence : c.sequence;
    if (c.ulysses < 0) snprintf(heads, sizeof heads, "not for %d", layer.heads);
    else snprintf(heads, sizeof heads, "%.2f MB and 1.00x", 1e-6 * (double)c.ulysses);
    lv_work_say(w,
                "[LVSA] %d ranks%s -> %s (%s): at most %.2f MB a layer and %.2fx the average of "
                "frame pairs by halo, by heads %s",
                w->p->ranks->size, w->group ? " in two groups" : "", lvsa_sequence_name(*out),
                asked ? "asked for" : "auto", 1e-6 * (double)c.halo, c.halo_balance, heads);
    return LVSA_OK;
}

static lvsa_status share_frames(lv_work *w)
{
    lv_comm *group = w->group ? w->group : w->p->ranks;
    lvsa_sequence how = w->p->sequence;
    if (!group || group->size == 1) return LVSA_OK;
    if (!w->plan) LV_TRY(make_dense_plan(w));
    const lvsa_plan *plan = w->plan ? w->plan : w->dense_plan;
    if (how != LVSA_SEQUENCE_ULYSSES || w->p->geometry.heads % group->size == 0)
        LV_TRY(choose_sequence(&how, w, plan, group->size));
    return lv_sequence_create(&w->sequence, group, plan, w->p->geometry.heads, how);
}

lvsa_status lv_work_share(lv_work *w)
{
    LV_TRY(split_passes(w));
    if (w->group && w->group->size == 1)
        lv_work_say(w, "[LVSA] 2 ranks, one for each pass of guidance");
    return share_frames(w);
}

/* ---- what rank 0 has, to all ----------------------------------------------------------------- */

static bool is_alone(const lv_work *w) { return !w->p->ranks || w->p->ranks->size == 1; }

lvsa_status lv_work_send_texts(lv_work *w)
{
    if (is_alone(w)) return LVSA_OK;
    int64_t sizes[1 + LV_MODEL_TEXTS] = {w->text_width};
    memcpy(sizes + 1, w->length, sizeof w->length);
    LV_TRY(lv_comm_broadcast(w->p->ranks, sizes, sizeof sizes, 0));
    w->text_width = sizes[0];
    memcpy(w->length, sizes + 1, sizeof w->length);
    for (int i = 0; i < w->texts; i++) {
        const size_t count = (size_t)(w->length[i] * w->text_width);
        if (!w->embedding[i]) w->embedding[i] = lv_zalloc_array(count, sizeof *w->embedding[i]);
        if (!w->embedding[i])
            return lv_fail(LVSA_ERR_MEMORY, "a text's embedding doesn't fit in memory");
        LV_TRY(lv_comm_broadcast(w->p->ranks, w->embedding[i], count * sizeof *w->embedding[i], 0));
    }
    return LVSA_OK;
}

lvsa_status lv_work_send_latents(lv_work *w)
{
    if (is_alone(w)) return LVSA_OK;
    return lv_comm_broadcast(w->p->ranks, w->latents, w->count * sizeof *w->latents, 0);
}

lvsa_status lv_work_wait_for_all(lv_work *w)
{
    for (int r = 0; !is_alone(w) && r < w->p->ranks->size; r++) {
        char nothing = 0;
        LV_TRY(lv_comm_broadcast(w->p->ranks, &nothing, sizeof nothing, r));
    }
    return LVSA_OK;
}

/* ---- each rank's velocity, to all ------------------------------------------------------------ */

/* Of rank r of all; frames are dealt within a group. */
static int64_t first_frame(const lv_work *w, int rank)
{
    const int size = find_group(w)->size;
    return lv_share_first(w->shape[1], rank % size, size);
}

static int64_t count_frames(const lv_work *w, int rank)
{
    const int size = find_group(w)->size;
    return lv_share_first(w->shape[1], rank % size + 1, size) - first_frame(w, rank);
}

static int64_t frame_size(const lv_work *w) { return w->shape[2] * w->shape[3]; }

lvsa_status lv_work_make_parts(lv_work *w)
{
    if (!w->group && !w->sequence) return LVSA_OK;
    const size_t size = (size_t)w->p->ranks->size;
    const size_t all = w->count * size / (size_t)find_group(w)->size;
    const bool host = !w->p->device->fetch;
    w->part_bytes = lv_zalloc_array(size, sizeof *w->part_bytes);
    if (w->sequence) w->part = lv_zalloc_array(w->own_count, sizeof *w->part);
    if (host) w->parts = lv_zalloc_array(all, sizeof *w->parts);
    if (!w->part_bytes || (w->sequence && !w->part) || (host && !w->parts))
        return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory once more", all);
    return LVSA_OK;
}

int64_t lv_work_count_parts(const lv_work *w)
{
    if (!w->group && !w->sequence) return 0;
    const int64_t groups = w->p->ranks->size / find_group(w)->size;
    const int64_t own = w->sequence ? (int64_t)w->own_count : 0;
    return (int64_t)sizeof(float) * (own + groups * (int64_t)w->count);
}

/* `count` numbers of each channel, which begin so far apart. */
static void copy_channels(float *to, int64_t to_step, const float *from, int64_t from_step,
                          int64_t channels, int64_t count)
{
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) if (channels * count >= LV_WORK_PARALLEL)
#endif
    for (int64_t c = 0; c < channels; c++)
        memcpy(to + c * to_step, from + c * from_step, (size_t)count * sizeof *to);
}

const float *lv_work_get_own(lv_work *w)
{
    if (!w->sequence) return w->latents;
    const int64_t frame = frame_size(w), own = w->own[1] * frame;
    copy_channels(w->part, own, w->latents + w->sequence->first * frame, w->shape[1] * frame,
                  w->shape[0], own);
    return w->part;
}

lvsa_status lv_work_take_all(lv_work *w)
{
    w->all = w->v;
    if (!w->group && !w->sequence) return LVSA_OK;
    const int64_t groups = w->p->ranks->size / find_group(w)->size;
    return lv_take(&w->all, &w->exec, LVSA_F32, 2, LV_SHAPE(groups, (int64_t)w->count));
}

lvsa_status lv_work_gather(lv_work *w)
{
    if (!w->part_bytes) return LVSA_OK;
    for (int r = 0; r < w->p->ranks->size; r++)
        w->part_bytes[r] =
            (size_t)(count_frames(w, r) * w->shape[0] * frame_size(w)) * sizeof(float);
    return lv_comm_all_gather(w->p->ranks, w->p->device, w->all.data, w->part_bytes, w->v.data);
}

void lv_work_arrange(float *const velocity[], const lv_work *w, const float *all)
{
    const int64_t frame = frame_size(w);
    for (int r = 0; r < w->p->ranks->size; r++) {
        float *to = velocity[r / find_group(w)->size] + first_frame(w, r) * frame;
        const int64_t count = count_frames(w, r) * frame;
        copy_channels(to, w->shape[1] * frame, all, count, w->shape[0], count);
        all += w->shape[0] * count;
    }
}
