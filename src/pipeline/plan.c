/* plan.c: what a job says, checked, and what follows from it: sizes, noise levels, the pattern. */
#include <math.h>
#include <string.h>

#include "pipeline/work.h"

static lvsa_status check_size(const lvsa_job *job)
{
    if (job->size == sizeof *job && job->plan.size == sizeof job->plan) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_job of %zu bytes, %zu wanted: start with LVSA_JOB_INIT",
                   job->size, sizeof *job);
}

static lvsa_status check_job(const lvsa_job *job, int64_t text_most)
{
    if (!job->prompt)
        return lv_fail(LVSA_ERR_ARGUMENT, "a job without a prompt: give at least \"\"");
    if (job->steps < 1 || job->steps > LV_SCHEDULE_MAX_STEPS)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d denoising steps: 1 to %d is wanted", job->steps,
                       LV_SCHEDULE_MAX_STEPS);
    if (!isfinite(job->guidance) || job->guidance < 0.0)
        return lv_fail(LVSA_ERR_ARGUMENT, "guidance scale %g: 0 or more is wanted", job->guidance);
    if (!isfinite(job->flow_shift) || job->flow_shift < 0.0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "flow shift %g: above 0 is wanted, or 0 for the model's own",
                       job->flow_shift);
    if (job->frames < 0 || job->height < 0 || job->width < 0)
        return lv_fail(LVSA_ERR_SHAPE, "%d frames of %dx%d: no size is negative", job->frames,
                       job->width, job->height);
    if ((unsigned)job->sparsity > LVSA_SPARSITY_OFF)
        return lv_fail(LVSA_ERR_ARGUMENT, "sparsity %d: there is no such", (int)job->sparsity);
    if (job->plan.reference_latent_frames < 0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "%d reference latent frames: 1 or more is wanted, or 0 for the model's own",
                       job->plan.reference_latent_frames);
    if (!isfinite(job->riflex.scale) || job->riflex.scale < 0.0 || job->riflex.frames < 0 ||
        job->riflex.index < -1)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "RIFLEx with scale %g, frequency %d, %d frames: a scale above 0, a frequency of "
            "0 or more (-1: automatic) and 0 or more frames are wanted",
            job->riflex.scale, job->riflex.index, job->riflex.frames);
    if (job->text_tokens < 0 || job->text_tokens > text_most)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "a text of %d tokens: 1 to %lld is wanted, or 0 for the most",
                       job->text_tokens, (long long)text_most);
    return LVSA_OK;
}

lvsa_status lv_work_make_schedule(lv_work *w, size_t count)
{
    lv_schedule_options o = w->p->schedule;
    o.steps = w->job->steps;
    if (w->job->flow_shift > 0.0) o.shift = w->job->flow_shift;
    lv_schedule_free(&w->schedule);
    return lv_schedule_create(&w->schedule, &o, count);
}

/* Can the back end run here at all? Asked with a small call that none refuses for its size. */
static lvsa_status check_backend(lv_work *w)
{
    enum { ROWS = 128 };
    static const _Alignas(64) float number; /* as aligned as tensors are; nothing is read */
    static _Alignas(64) float out;
    const int64_t D = w->p->geometry.head_dim;
    const lvsa_strides rows = {.batch = ROWS * D, .token = D, .head = D};
    lvsa_attention call = {.size = sizeof call,
                           .dtype = w->p->device->dtype,
                           .batch = 1,
                           .queries = ROWS,
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = D,
                           .q = &number,
                           .q_strides = rows,
                           .out = &out,
                           .out_strides = rows,
                           .sources = 1,
                           .backend = w->job->backend,
                           .fp8 = w->job->attention_fp8,
                           .device = w->p->device->kind};
    call.source[0] = (lvsa_source){
        .k = &number, .v = &number, .k_strides = rows, .v_strides = rows, .tokens = ROWS};
    return lvsa_attention_kernel(&w->kernel, &call);
}

static lvsa_status warn_of_unknown_key(const lv_work *w)
{
    if (w->p->defaults.unknown[0] == '\0') return LVSA_OK;
    return lv_work_warn(w, "%s/lvsa.json: \"%s\" isn't known and isn't used", w->p->directory,
                        w->p->defaults.unknown);
}

lvsa_status lv_work_check(lv_work *w)
{
    LV_TRY(check_size(w->job));
    if (!lv_work_is_done(w)) {
        LV_TRY(check_job(w->job, w->p->class->text_length));
        LV_TRY(check_backend(w));
        LV_TRY(lv_work_make_schedule(w, 0));
    }
    return warn_of_unknown_key(w);
}

bool lv_work_is_done(const lv_work *w) { return w->job->state && lv_state_is_done(w->job->state); }

/* Latents, tokens and texts from pixels and the model. */
lvsa_status lv_work_find_sizes(lv_work *w)
{
    const lvsa_job *job = w->job;
    const lvsa_geometry *g = &w->p->geometry;
    int latent_frames;
    w->frames = job->frames ? job->frames : g->frames;
    w->height = job->height ? job->height : g->height;
    w->width = job->width ? job->width : g->width;
    int asked = w->frames;
    LV_TRY(lvsa_geometry_latent(&latent_frames, &w->patches, &w->frames, g, asked, w->height,
                                w->width));
    if ((int64_t)latent_frames * w->patches > INT32_MAX)
        return lv_fail(LVSA_ERR_SHAPE,
                       "%d frames of %dx%d are %lld tokens: at most %d are wanted; make fewer or "
                       "smaller frames",
                       w->frames, w->width, w->height, (long long)latent_frames * w->patches,
                       INT32_MAX);
    if (asked != w->frames)
        LV_TRY(lv_work_warn(w, "%d frames: %s takes %dk + 1; making %d", asked, g->family,
                            g->temporal_factor, w->frames));
    w->texts = job->guidance > 1.0 ? 2 : 1;
    w->padded = job->text_tokens ? job->text_tokens : w->p->class->text_length;
    w->shape[1] = latent_frames;
    return LVSA_OK;
}

static void describe_plan(const lv_work *w, const lvsa_plan_options *o, const lvsa_plan_info *i)
{
    const int T = i->latent_frames, P = i->patches_per_frame;
    lv_work_say(w,
                "[LVSA] reference_latent_frames=%d  target_latent_frames=%d  extension_ratio=%.2fx",
                o->reference_latent_frames, T, (double)T / o->reference_latent_frames);
    if (o->keyframe_interval == LVSA_INTERVAL_AUTO && !w->job->hold_keyframes)
        lv_work_say(w, "[LVSA] --rotate-keyframes: computed key_frame_interval=%d (latent frames)",
                    i->keyframe_interval);
    lv_work_say(
        w,
        "[LVSA] total_lat_frames=%d local_seq=%d rank0_frames~[0,%d] window=%d n_first=%d kfi=%d "
        "global_count=%d attended_per_frame=%d/%d",
        T, T * P, T - 1, o->window, o->first_anchors, i->keyframe_interval, i->anchors,
        i->attended_max, T);
    if (i->opening)
        lv_work_say(w, "[LVSA] trained opening: frames 0 to %d attend to one another alone",
                    i->opening - 1);
    lv_work_say(
        w,
        "[LVSA] installed on %d blocks num_patches=%d total_lat_frames=%d backend=%s: nnz=%lld "
        "density=%.1f%%",
        w->p->geometry.layers, P, T, w->kernel, (long long)i->attended_sum,
        100.0 * (double)i->attended_sum / ((double)T * T));
    lv_work_say(w, "[LVSA] engaged (%s): T_lat=%d P=%d seq_len=%d kfi=%d W=%d |G|=%d -> %s",
                w->p->class->name, T, P, T * P, i->keyframe_interval, o->window, i->anchors,
                i->dense ? "DENSE (every frame is attended)" : "SPARSE");
}

lvsa_status lv_work_choose_plan(lv_work *w)
{
    lvsa_plan_options o = w->job->plan;
    lvsa_plan_info info = {.size = sizeof info};
    const int T = (int)w->shape[1];
    o.latent_frames = T, o.patches_per_frame = w->patches;
    if (o.reference_latent_frames == 0)
        o.reference_latent_frames = w->p->geometry.reference_latent_frames;
    if (w->job->sparsity == LVSA_SPARSITY_OFF ||
        (w->job->sparsity == LVSA_SPARSITY_AUTO && T <= o.reference_latent_frames)) {
        lv_work_say(w, "[LVSA] engaged (%s): T_lat=%d P=%d seq_len=%d -> DENSE (%s)",
                    w->p->class->name, T, w->patches, T * w->patches,
                    w->job->sparsity == LVSA_SPARSITY_OFF ? "asked for" : "T_lat <= ref");
        return LVSA_OK;
    }
    LV_TRY(lvsa_plan_create(&w->plan, &o));
    LV_TRY(lvsa_plan_get_info(&info, w->plan));
    describe_plan(w, &o, &info);
    return LVSA_OK;
}

/* The temporal frequency whose period, 2 pi 10000^(j / pairs) latent frames, is nearest to the
 * horizon, unless the job names one. */
lvsa_status lv_work_choose_riflex(lv_work *w)
{
    const lvsa_riflex *r = &w->job->riflex;
    const int64_t pairs = w->p->model->temporal_pairs;
    w->riflex.pair = -1;
    if (r->scale == 0.0 || r->scale == 1.0) return LVSA_OK;
    if (r->index >= pairs)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "RIFLEx with frequency %d: 0 to %lld is wanted, or -1 for automatic",
                       r->index, (long long)pairs - 1);
    int horizon = r->frames ? r->frames : w->job->plan.reference_latent_frames;
    if (horizon == 0) horizon = w->p->geometry.reference_latent_frames;
    w->riflex.frames = horizon * r->scale;
    w->riflex.pair = r->index;
    double nearest = INFINITY;
    for (int j = 0; j < pairs && r->index < 0; j++) {
        double off = fabs(6.283185307179586 * pow(10000.0, (double)j / (double)pairs) - horizon);
        if (off < nearest) nearest = off, w->riflex.pair = j;
    }
    lv_work_say(w, "[LVSA] RIFLEx: frequency k=%d has a period of %g latent frames", w->riflex.pair,
                w->riflex.frames);
    return LVSA_OK;
}
