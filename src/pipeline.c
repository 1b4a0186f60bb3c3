/* pipeline.c: the program: prompt -> ids -> embedding -> noise -> [ transformer -> step ] x N ->
 * frames.
 *
 * Letters: B is 1; L text tokens, E width of their embedding, C channels and T, Y, X frames, rows
 * and columns of the latents, N steps. */
#include <lvsa/lvsa.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/machine.h"
#include "base/mem.h"
#include "flow/models/defaults.h"
#include "flow/models/model.h"
#include "flow/schedule/noise.h"
#include "flow/schedule/schedule.h"
#include "flow/text/clean.h"
#include "flow/text/tokenizers/tokenizer.h"
#include "flow/text/umt5.h"
#include "flow/vae/vae.h"

enum { PATH_MOST = 4096, TEXT_MOST = 512, THREADS_MOST = 1024 };

struct lvsa_pipeline {
    char *directory;
    lv_device *device;
    lvsa_geometry geometry;
    lv_defaults defaults;
    const lv_model_class *class;
    lv_schedule_options schedule;
    lv_tokenizer *tokenizer;
    lv_model *model; /* opened with the first job, then kept */
    lv_vae *vae;     /* likewise                             */
};

/* ---- opening --------------------------------------------------------------------------------- */

/* The families that can generate. */
static const struct {
    const char *family;
    const lv_model_class *class;
} generators[] = {{"wan2.1-1.3b", &lv_wan_class}, {"wan2.1-14b", &lv_wan_class}};

static lvsa_status find_class(lvsa_pipeline *p)
{
    for (size_t i = 0; i < sizeof generators / sizeof generators[0]; i++)
        if (strcmp(p->geometry.family, generators[i].family) == 0) {
            p->class = generators[i].class;
            return LVSA_OK;
        }
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s: a %s checkpoint; this version generates with wan2.1-1.3b and wan2.1-14b",
                   p->directory, p->geometry.family);
}

/* A tensor of the wrong shape is the checkpoint's fault, not the job's. */
static lvsa_status bad_files(lvsa_status s) { return s == LVSA_ERR_SHAPE ? LVSA_ERR_FORMAT : s; }

/* "<model>/<part>" into path. */
static lvsa_status find_part(char path[PATH_MOST], const lvsa_pipeline *p, const char *part)
{
    if (snprintf(path, PATH_MOST, "%s/%s", p->directory, part) < PATH_MOST) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO, "%.100s...: the path is too long", p->directory);
}

static lvsa_status open_parts(lvsa_pipeline *p, const lvsa_pipeline_options *o)
{
    char path[PATH_MOST];
    p->geometry.size = sizeof p->geometry;
    LV_TRY(lvsa_geometry_from_model(&p->geometry, o->model));
    LV_TRY(lv_defaults_load(&p->defaults, &p->geometry, o->model));
    LV_TRY(find_class(p));
    LV_TRY(lv_device_open(&p->device, o->device, o->threads));
    p->schedule = LV_SCHEDULE_OPTIONS_INIT;
    LV_TRY(find_part(path, p, "scheduler/scheduler_config.json"));
    LV_TRY(lv_schedule_options_from_json(&p->schedule, path));
    LV_TRY(find_part(path, p, "tokenizer"));
    return lv_tokenizer_open(&p->tokenizer, path);
}

lvsa_status lvsa_pipeline_open(lvsa_pipeline **out, const lvsa_pipeline_options *o)
{
    *out = NULL;
    if (o->size != sizeof *o || !o->model || o->threads < 0 || o->threads > THREADS_MOST)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_pipeline_options: start with LVSA_PIPELINE_OPTIONS_INIT, give a model "
                       "directory and 0 to %d threads",
                       THREADS_MOST);
    lvsa_pipeline *p = lv_zalloc(sizeof *p);
    if (p) p->directory = lv_strndup(o->model, strlen(o->model));
    lvsa_status s = p && p->directory
                        ? open_parts(p, o)
                        : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a pipeline", o->model);
    if (s != LVSA_OK) lvsa_pipeline_close(&p);
    *out = p;
    return s;
}

void lvsa_pipeline_close(lvsa_pipeline **pipeline)
{
    if (!pipeline || !*pipeline) return;
    lvsa_pipeline *p = *pipeline;
    lv_vae_close(&p->vae);
    lv_model_close(&p->model);
    lv_tokenizer_close(&p->tokenizer);
    lv_device_close(&p->device);
    lv_defaults_release(&p->defaults);
    lv_free(p->directory);
    lv_free(p);
    *pipeline = NULL;
}

const lvsa_geometry *lvsa_pipeline_get_geometry(const lvsa_pipeline *p) { return &p->geometry; }

void lvsa_pipeline_job_defaults(lvsa_job *job, const lvsa_pipeline *p)
{
    const lv_defaults *d = &p->defaults;
    job->frames = p->geometry.frames;
    job->height = p->geometry.height;
    job->width = p->geometry.width;
    job->steps = d->steps;
    job->guidance = d->guidance;
    job->flow_shift = d->flow_shift;
    job->negative_prompt = d->negative_prompt;
    job->plan = d->plan;
    job->plan.reference_latent_frames = p->geometry.reference_latent_frames;
    job->hold_keyframes = d->hold_keyframes;
}

/* ---- one job --------------------------------------------------------------------------------- */

/* Everything between the job and its frames. */
typedef struct work {
    lvsa_pipeline *p;
    const lvsa_job *job;
    lvsa_phase phase;
    double phase_start;
    const char *kernel; /* of the self-attention */

    int frames, height, width;        /* pixels                                     */
    int64_t shape[4];                 /* of the latents: C, T, Y, X                 */
    size_t count;                     /* their product                              */
    int texts;                        /* 2 with guidance, otherwise 1               */
    int64_t padded;                   /* rows of a text                             */
    int32_t *ids[LV_MODEL_TEXTS];     /* [length]                                   */
    float *embedding[LV_MODEL_TEXTS]; /* [length, E]                                */
    int64_t length[LV_MODEL_TEXTS];
    int64_t text_width; /* E */
    lvsa_plan *plan;    /* NULL: dense                                */
    lv_riflex riflex;   /* pair -1: none                              */
    lv_schedule *schedule;
    float *latents, *velocity, *away; /* [C, T, Y, X]; away: what guidance leaves   */
    lv_exec exec;
    lv_tensor z, v; /* of the device, f32 [C, T, Y, X]            */
} work;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lvsa_status cancelled(void)
{
    return lv_fail(LVSA_ERR_CANCELLED, "a callback ended the job");
}

static lvsa_status report(work *w, lvsa_phase phase, int done, int total)
{
    if (phase != w->phase || done == 0) w->phase_start = now();
    w->phase = phase;
    const lvsa_progress progress = {phase, done, total, now() - w->phase_start};
    if (w->job->on_progress && w->job->on_progress(w->job->user, &progress)) return cancelled();
    return LVSA_OK;
}

static void say(const work *w, const char *format, ...) LV_PRINTF(2, 3);
static void say(const work *w, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!w->job->on_message) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    w->job->on_message(w->job->user, line);
}

/* A job that isn't strict goes on after it. */
static lvsa_status warn(const work *w, const char *format, ...) LV_PRINTF(2, 3);
static lvsa_status warn(const work *w, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (w->job->strict) return lv_fail(LVSA_ERR_ARGUMENT, "%s (refused: the job is strict)", line);
    say(w, "%s", line);
    return LVSA_OK;
}

/* ---- sizes and pattern ----------------------------------------------------------------------- */

static lvsa_status check_job(const lvsa_job *job)
{
    if (job->size != sizeof *job || job->plan.size != sizeof job->plan)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_job of %zu bytes, %zu wanted: start with LVSA_JOB_INIT", job->size,
                       sizeof *job);
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
    if (job->text_tokens < 0 || job->text_tokens > TEXT_MOST)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "a text of %d tokens: 1 to %d is wanted, or 0 for the most",
                       job->text_tokens, TEXT_MOST);
    return LVSA_OK;
}

/* The noise levels of the job, with the state of `count` latents; a count of 0 only checks them. */
static lvsa_status make_schedule(work *w, size_t count)
{
    lv_schedule_options o = w->p->schedule;
    o.steps = w->job->steps;
    if (w->job->flow_shift > 0.0) o.shift = w->job->flow_shift;
    lv_schedule_free(&w->schedule);
    return lv_schedule_create(&w->schedule, &o, count);
}

/* Can the back end run here at all? Asked with the smallest of calls. */
static lvsa_status check_backend(work *w)
{
    const float number = 0.0f;
    float out;
    lvsa_attention call = {.size = sizeof call,
                           .dtype = w->p->device->dtype,
                           .batch = 1,
                           .queries = 1,
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = w->p->geometry.head_dim,
                           .q = &number,
                           .out = &out,
                           .sources = 1,
                           .backend = w->job->backend,
                           .device = w->p->device->kind};
    call.source[0] = (lvsa_source){.k = &number, .v = &number, .tokens = 1};
    return lvsa_attention_kernel(&w->kernel, &call);
}

static lvsa_status warn_of_unknown_key(const work *w)
{
    if (w->p->defaults.unknown[0] == '\0') return LVSA_OK;
    return warn(w, "%s/lvsa.json: \"%s\" isn't known and isn't used", w->p->directory,
                w->p->defaults.unknown);
}

/* Latents, tokens and texts from pixels and the model. */
static lvsa_status find_sizes(work *w, int *patches)
{
    const lvsa_job *job = w->job;
    const lvsa_geometry *g = &w->p->geometry;
    int latent_frames;
    w->frames = job->frames ? job->frames : g->frames;
    w->height = job->height ? job->height : g->height;
    w->width = job->width ? job->width : g->width;
    int asked = w->frames;
    LV_TRY(
        lvsa_geometry_latent(&latent_frames, patches, &w->frames, g, asked, w->height, w->width));
    if ((int64_t)latent_frames * *patches > INT32_MAX)
        return lv_fail(LVSA_ERR_SHAPE,
                       "%d frames of %dx%d are %lld tokens: at most %d are wanted; make fewer or "
                       "smaller frames",
                       w->frames, w->width, w->height, (long long)latent_frames * *patches,
                       INT32_MAX);
    if (asked != w->frames)
        LV_TRY(warn(w, "%d frames: %s takes %dk + 1; making %d", asked, g->family,
                    g->temporal_factor, w->frames));
    w->texts = job->guidance > 1.0 ? 2 : 1;
    w->padded = job->text_tokens ? job->text_tokens : TEXT_MOST;
    w->shape[1] = latent_frames;
    return LVSA_OK;
}

static void describe_plan(const work *w, const lvsa_plan_options *o, const lvsa_plan_info *i)
{
    const int T = i->latent_frames, P = i->patches_per_frame;
    say(w, "[LVSA] reference_latent_frames=%d  target_latent_frames=%d  extension_ratio=%.2fx",
        o->reference_latent_frames, T, (double)T / o->reference_latent_frames);
    if (o->keyframe_interval == LVSA_INTERVAL_AUTO && !w->job->hold_keyframes)
        say(w, "[LVSA] --rotate-keyframes: computed key_frame_interval=%d (latent frames)",
            i->keyframe_interval);
    say(w,
        "[LVSA] total_lat_frames=%d local_seq=%d rank0_frames~[0,%d] window=%d n_first=%d kfi=%d "
        "global_count=%d attended_per_frame=%d/%d",
        T, T * P, T - 1, o->window, o->first_anchors, i->keyframe_interval, i->anchors,
        i->attended_max, T);
    say(w,
        "[LVSA] installed on %d blocks num_patches=%d total_lat_frames=%d backend=%s: nnz=%lld "
        "density=%.1f%%",
        w->p->geometry.layers, P, T, w->kernel, (long long)i->attended_sum,
        100.0 * (double)i->attended_sum / ((double)T * T));
    say(w, "[LVSA] engaged (%s): T_lat=%d P=%d seq_len=%d kfi=%d W=%d |G|=%d -> %s",
        w->p->class->name, T, P, T * P, i->keyframe_interval, o->window, i->anchors,
        i->dense ? "DENSE (every frame is attended)" : "SPARSE");
}

/* Sparse or dense, and the plan. */
static lvsa_status choose_plan(work *w, int patches)
{
    lvsa_plan_options o = w->job->plan;
    lvsa_plan_info info = {.size = sizeof info};
    const int T = (int)w->shape[1];
    o.latent_frames = T, o.patches_per_frame = patches;
    if (o.reference_latent_frames == 0)
        o.reference_latent_frames = w->p->geometry.reference_latent_frames;
    if (w->job->sparsity == LVSA_SPARSITY_OFF ||
        (w->job->sparsity == LVSA_SPARSITY_AUTO && T <= o.reference_latent_frames)) {
        say(w, "[LVSA] engaged (%s): T_lat=%d P=%d seq_len=%d -> DENSE (%s)", w->p->class->name, T,
            patches, T * patches,
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
static lvsa_status choose_riflex(work *w)
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
    say(w, "[LVSA] RIFLEx: frequency k=%d has a period of %g latent frames", w->riflex.pair,
        w->riflex.frames);
    return LVSA_OK;
}

/* ---- prompt -> ids -> embedding -------------------------------------------------------------- */

/* Ids of one text, its end cut off where it is too long. */
static lvsa_status tokenize(work *w, int index, const char *name, const char *text)
{
    const lv_tokenizer *t = w->p->tokenizer;
    size_t length = 0, most = (size_t)w->padded;
    lv_text clean = {0};
    LV_TRY(lv_prompt_clean(&clean, text, strlen(text)));
    const size_t room = clean.length + TEXT_MOST; /* no token is less than a byte */
    w->ids[index] = lv_zalloc_array(room, sizeof *w->ids[index]);
    lvsa_status s =
        w->ids[index] ? LVSA_OK
                      : lv_fail(LVSA_ERR_MEMORY, "%s: %zu tokens don't fit in memory", name, room);
    if (s == LVSA_OK)
        s = lv_tokenizer_encode(w->ids[index], &length, room, t, clean.bytes, clean.length);
    if (s == LVSA_OK && length > most) {
        s = warn(w, "%s: %zu tokens, and the model takes %zu; the last %zu are left out", name,
                 length, most, length - most);
        if (s == LVSA_OK)
            s = lv_tokenizer_encode(w->ids[index], &length, most, t, clean.bytes, clean.length);
    }
    lv_text_free(&clean);
    w->length[index] = (int64_t)length;
    return s;
}

static lvsa_status tokenize_texts(work *w)
{
    const char *away = w->job->negative_prompt ? w->job->negative_prompt : "";
    LV_TRY(tokenize(w, 0, "the prompt", w->job->prompt));
    return w->texts == 2 ? tokenize(w, 1, "the negative prompt", away) : LVSA_OK;
}

static lvsa_status open_encoder(lv_umt5 **out, const work *w, lv_device *device)
{
    char path[PATH_MOST];
    LV_TRY(find_part(path, w->p, "text_encoder"));
    return bad_files(lv_umt5_open(out, device, path));
}

static lvsa_status encode_text(work *w, lv_umt5 *encoder, int index)
{
    w->embedding[index] = lv_zalloc_array((size_t)(w->length[index] * lv_umt5_width(encoder)),
                                          sizeof *w->embedding[index]);
    if (!w->embedding[index])
        return lv_fail(LVSA_ERR_MEMORY, "a text's embedding doesn't fit in memory");
    return bad_files(lv_umt5_encode(encoder, w->embedding[index], w->ids[index], w->length[index]));
}

/* The encoder is gone before the first job's transformer comes. */
static lvsa_status encode_texts(work *w)
{
    lv_umt5 *encoder;
    LV_TRY(report(w, LVSA_PHASE_TEXT, 0, w->texts));
    LV_TRY(open_encoder(&encoder, w, w->p->device));
    w->text_width = lv_umt5_width(encoder);
    lvsa_status s = LVSA_OK;
    for (int i = 0; i < w->texts && s == LVSA_OK; i++) {
        s = encode_text(w, encoder, i);
        if (s == LVSA_OK) s = report(w, LVSA_PHASE_TEXT, i + 1, w->texts);
    }
    lv_umt5_close(&encoder);
    return s;
}

/* ---- models ---------------------------------------------------------------------------------- */

static lvsa_status warn_of_unknown(const work *w, const char *part, size_t count, const char *first)
{
    if (count == 0) return LVSA_OK;
    return warn(w,
                "%s/%s: %zu tensors aren't known to this model and weren't used, the first is %s",
                w->p->directory, part, count, first);
}

static lvsa_status check_vae(const lvsa_pipeline *p)
{
    if (p->vae->channels == p->model->channels &&
        p->vae->spatial * p->model->patch == p->geometry.pixels_per_patch &&
        p->vae->temporal == p->geometry.temporal_factor)
        return LVSA_OK;
    return lv_fail(LVSA_ERR_FORMAT,
                   "%s: the VAE has %lld channels, x%lld in space and x%lld in time; the "
                   "transformer wants %lld, x%lld and x%d: they don't belong together",
                   p->directory, (long long)p->vae->channels, (long long)p->vae->spatial,
                   (long long)p->vae->temporal, (long long)p->model->channels,
                   (long long)(p->geometry.pixels_per_patch / p->model->patch),
                   p->geometry.temporal_factor);
}

static lvsa_status open_models(work *w)
{
    lvsa_pipeline *p = w->p;
    char path[PATH_MOST];
    if (!p->model) {
        LV_TRY(find_part(path, p, "transformer"));
        LV_TRY(bad_files(p->class->open(&p->model, p->device, path)));
    }
    if (!p->vae) {
        LV_TRY(find_part(path, p, "vae"));
        LV_TRY(bad_files(lv_vae_open(&p->vae, p->device, path)));
    }
    LV_TRY(warn_of_unknown(w, "transformer", p->model->unknown, p->model->unknown_name));
    LV_TRY(warn_of_unknown(w, "vae", p->vae->unknown, p->vae->unknown_name));
    return check_vae(p);
}

static lvsa_status load_models(work *w)
{
    LV_TRY(report(w, LVSA_PHASE_LOAD, 0, 1));
    LV_TRY(open_models(w));
    if (w->text_width != w->p->model->text_width)
        return lv_fail(
            LVSA_ERR_FORMAT,
            "%s: the text encoder gives %lld numbers a token, the transformer wants %lld: "
            "they don't belong together",
            w->p->directory, (long long)w->text_width, (long long)w->p->model->text_width);
    return report(w, LVSA_PHASE_LOAD, 1, 1);
}

static lvsa_status set_texts(work *w)
{
    lv_model *m = w->p->model;
    for (int i = 0; i < w->texts; i++)
        LV_TRY(m->class->set_text(m, i, w->embedding[i], w->length[i], w->padded));
    return LVSA_OK;
}

/* ---- noise -> latents ------------------------------------------------------------------------ */

static void find_latents(work *w)
{
    w->shape[0] = w->p->model->channels;
    w->shape[2] = w->height / w->p->vae->spatial;
    w->shape[3] = w->width / w->p->vae->spatial;
    w->count = (size_t)(w->shape[0] * w->shape[1] * w->shape[2] * w->shape[3]);
}

static lvsa_status make_noise(work *w)
{
    find_latents(w);
    w->latents = lv_zalloc_array(w->count, sizeof *w->latents);
    w->velocity = lv_zalloc_array(w->count, sizeof *w->velocity);
    w->away = lv_zalloc_array(w->count, sizeof *w->away);
    if (!w->latents || !w->velocity || !w->away)
        return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory three times", w->count);
    if (w->job->noise) {
        memcpy(w->latents, w->job->noise, w->count * sizeof *w->latents);
        return LVSA_OK;
    }
    lv_noise noise;
    lv_noise_seed(&noise, w->job->seed);
    lv_noise_fill(&noise, w->latents, w->count);
    return LVSA_OK;
}

/* One pass: velocity of the latents for one text, on the host. */
static lvsa_status predict(work *w, float *velocity, const lv_step *step)
{
    lv_model *m = w->p->model;
    lv_device *device = w->p->device;
    const size_t bytes = w->count * sizeof(float);
    LV_TRY(m->class->forward(m, &w->exec, w->v, w->z, step));
    return w->exec.arena.measuring ? LVSA_OK : device->download(device, velocity, w->v.data, bytes);
}

/* The passes' scratch from its start: the latents and what becomes of them, then a pass's own. */
static lvsa_status take_latents(work *w)
{
    LV_TRY(lv_take(&w->z, &w->exec, LVSA_F32, 4, w->shape));
    return lv_take(&w->v, &w->exec, LVSA_F32, 4, w->shape);
}

static lvsa_status measure_passes(work *w)
{
    const lv_step step = {.runs = w->plan ? lvsa_plan_get_runs(w->plan) : NULL,
                          .backend = w->job->backend,
                          .riflex = w->riflex.pair >= 0 ? &w->riflex : NULL};
    w->exec = lv_exec_measure(w->p->device);
    LV_TRY(take_latents(w));
    return predict(w, NULL, &step);
}

static lvsa_status prepare_passes(work *w)
{
    LV_TRY(measure_passes(w));
    LV_TRY(lv_exec_begin(&w->exec));
    return take_latents(w);
}

static lvsa_status check_finite(const work *w, int step)
{
    for (size_t i = 0; i < w->count; i++)
        if (!isfinite(w->latents[i]))
            return lv_fail(
                LVSA_ERR_NUMBER,
                "step %d of %d: latent %zu is %g: the weights are damaged or the guidance "
                "(%g) is too large",
                step + 1, w->job->steps, i, (double)w->latents[i], w->job->guidance);
    return LVSA_OK;
}

/* Moves the latents from sigma[i] to sigma[i + 1]. */
static lvsa_status denoise_step(work *w, int i)
{
    const lvsa_job *job = w->job;
    const float guidance = (float)job->guidance;
    lv_step step = {.timestep = lv_schedule_get_timesteps(w->schedule)[i], .backend = job->backend};
    if (w->riflex.pair >= 0) step.riflex = &w->riflex;
    if (w->plan) {
        if (!job->hold_keyframes)
            LV_TRY(lvsa_plan_set_step(w->plan, job->late_rotation && i > 0 ? i - 1 : i));
        step.runs = lvsa_plan_get_runs(w->plan);
    }
    LV_TRY(w->p->device->upload(w->p->device, w->z.data, w->latents, w->count * sizeof(float)));
    LV_TRY(predict(w, w->velocity, &step));
    if (w->texts == 2) {
        step.text = 1;
        LV_TRY(predict(w, w->away, &step));
        for (size_t j = 0; j < w->count; j++)
            w->velocity[j] = w->away[j] + guidance * (w->velocity[j] - w->away[j]);
    }
    LV_TRY(lv_schedule_step(w->schedule, w->latents, w->velocity, i));
    return check_finite(w, i);
}

static lvsa_status denoise(work *w)
{
    const int steps = w->job->steps;
    LV_TRY(make_schedule(w, w->count));
    LV_TRY(prepare_passes(w));
    LV_TRY(report(w, LVSA_PHASE_DENOISE, 0, steps));
    for (int i = 0; i < steps; i++) {
        LV_TRY(denoise_step(w, i));
        LV_TRY(report(w, LVSA_PHASE_DENOISE, i + 1, steps));
    }
    if (w->job->on_latents && w->job->on_latents(w->job->user, w->latents, w->shape))
        return cancelled();
    return LVSA_OK;
}

/* ---- latents -> frames ----------------------------------------------------------------------- */

static lvsa_status hand_on(void *user, const lv_frame *f)
{
    work *w = user;
    const lvsa_frame frame = {(int)f->index, (int)f->width, (int)f->height, f->rgb};
    if (w->job->on_frame && w->job->on_frame(w->job->user, &frame)) return cancelled();
    return report(w, LVSA_PHASE_DECODE, (int)f->index + 1, w->frames);
}

static lvsa_status decode(work *w)
{
    const lv_frame_sink sink = {hand_on, w};
    lv_device *device = w->p->device;
    void *memory;
    LV_TRY(report(w, LVSA_PHASE_DECODE, 0, w->frames));
    lv_exec_end(&w->exec); /* the passes' scratch makes room for the decoder's */
    LV_TRY(device->allocate(device, &memory, w->count * sizeof(float)));
    lvsa_status s = device->upload(device, memory, w->latents, w->count * sizeof(float));
    if (s == LVSA_OK)
        s = lv_vae_decode(w->p->vae, lv_tensor_view(memory, LVSA_F32, 4, w->shape), NULL, &sink);
    device->release(device, memory);
    return s;
}

/* ---- forecast -------------------------------------------------------------------------------- */

static lvsa_status forecast_text(int64_t *bytes, const work *w)
{
    lv_device *dry;
    lv_umt5 *encoder = NULL;
    size_t scratch = 0;
    const int64_t longest = w->length[1] > w->length[0] ? w->length[1] : w->length[0];
    LV_TRY(lv_device_open_dry(&dry, w->p->device->kind, w->p->device->threads));
    lvsa_status s = open_encoder(&encoder, w, dry);
    if (s == LVSA_OK) s = lv_umt5_measure(&scratch, encoder, longest);
    *bytes = (int64_t)(dry->counted + scratch);
    lv_umt5_close(&encoder);
    lv_device_close(&dry);
    return s;
}

/* w->p is a pipeline whose device only counts. */
static lvsa_status forecast_video(lvsa_forecast *out, work *w)
{
    /* latents, velocity, away and what the schedule keeps */
    const int64_t copies = 3 + LV_SCHEDULE_BUFFERS;
    size_t decoder = 0;
    LV_TRY(open_models(w));
    LV_TRY(choose_riflex(w));
    find_latents(w);
    LV_TRY(measure_passes(w));
    LV_TRY(lv_vae_measure(&decoder, w->p->vae, w->shape[2], w->shape[3], NULL));
    const int64_t weights = (int64_t)w->p->device->counted;
    const int64_t latents = (int64_t)(w->count * sizeof(float));
    out->denoise = weights + copies * latents + (int64_t)w->exec.arena.peak;
    out->decode = weights + (copies + 1) * latents + (int64_t)decoder;
    return LVSA_OK;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static lvsa_status forecast(lvsa_forecast *out, work *w)
{
    lvsa_pipeline *p = w->p, counting = *p;
    int patches;
    LV_TRY(check_job(w->job));
    LV_TRY(check_backend(w));
    LV_TRY(make_schedule(w, 0));
    LV_TRY(warn_of_unknown_key(w));
    LV_TRY(find_sizes(w, &patches));
    LV_TRY(choose_plan(w, patches));
    LV_TRY(tokenize_texts(w));
    LV_TRY(forecast_text(&out->text, w));

    counting.model = NULL, counting.vae = NULL;
    LV_TRY(lv_device_open_dry(&counting.device, p->device->kind, p->device->threads));
    w->p = &counting;
    lvsa_status s = forecast_video(out, w);
    if (p->model) out->text += (int64_t)counting.device->counted; /* kept since the last job */
    lv_vae_close(&counting.vae);
    lv_model_close(&counting.model);
    lv_device_close(&counting.device);
    w->p = p;
    out->frames = w->frames, out->height = w->height, out->width = w->width;
    out->latent_frames = (int)w->shape[1];
    out->sparse = w->plan != NULL;
    out->needed = most(out->text, most(out->denoise, out->decode));
    out->available = (int64_t)lv_machine_available();
    return s;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static lvsa_status generate(work *w)
{
    int patches;
    LV_TRY(check_job(w->job));
    LV_TRY(check_backend(w));
    LV_TRY(make_schedule(w, 0));
    LV_TRY(warn_of_unknown_key(w));
    LV_TRY(find_sizes(w, &patches)); /* pixels -> T, P                                     */
    LV_TRY(choose_plan(w, patches)); /* which frames attend to which                       */
    LV_TRY(tokenize_texts(w));       /* prompts -> ids [L]                                 */
    LV_TRY(encode_texts(w));         /* ids -> embedding [L, E]                            */
    LV_TRY(load_models(w));
    LV_TRY(choose_riflex(w));
    LV_TRY(set_texts(w));  /* embedding -> keys and values of every block        */
    LV_TRY(make_noise(w)); /* seed -> latents [C, T, Y, X]                       */
    LV_TRY(denoise(w));    /* N times: latents -> velocity -> latents            */
    return decode(w);      /* latents -> frames [F, H, W, 3]                     */
}

static void release(work *w)
{
    lv_exec_end(&w->exec);
    lv_schedule_free(&w->schedule);
    lv_free(w->away);
    lv_free(w->velocity);
    lv_free(w->latents);
    for (int i = 0; i < LV_MODEL_TEXTS; i++) {
        lv_free(w->embedding[i]);
        lv_free(w->ids[i]);
    }
    lvsa_plan_free(&w->plan);
}

lvsa_status lvsa_generate(lvsa_pipeline *pipeline, const lvsa_job *job)
{
    work w = {.p = pipeline, .job = job};
    lvsa_status s = generate(&w);
    release(&w);
    return s;
}

lvsa_status lvsa_pipeline_forecast(lvsa_forecast *out, lvsa_pipeline *pipeline, const lvsa_job *job)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_forecast of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    work w = {.p = pipeline, .job = job};
    *out = (lvsa_forecast){.size = sizeof *out};
    lvsa_status s = forecast(out, &w);
    release(&w);
    return s;
}
