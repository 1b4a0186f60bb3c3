/* bench.c: the transformer or the decoder of a checkpoint alone, over random numbers. */
#include <lvsa/lvsa_profile.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/runtime/profile.h"
#include "flow/schedule/noise.h"
#include "pipeline/work.h"

enum { TEXT = 64 /* tokens of the text, as a prompt of two sentences has */ };

/* A run that is measured. */
typedef struct bench {
    lv_work w;
    lvsa_job job;
    lv_noise noise;
    int step;      /* of the denoising steps that passes stand for */
    void *latents; /* of the device, of the decoder's runs         */
} bench;

/* ---- making ready ---------------------------------------------------------------------------- */

static lvsa_status check_options(const lvsa_bench_info *info, const lvsa_profile *profile,
                                 const lvsa_bench_options *o)
{
    if (info->size == sizeof *info && profile->size == sizeof *profile && o->size == sizeof *o &&
        o->repeat >= 1)
        return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "lvsa_bench_options: start with LVSA_BENCH_OPTIONS_INIT, repeat once at least, "
                   "and set the sizes of what is filled in");
}

/* The pipeline, the sizes and the pattern. */
static lvsa_status open_bench(bench *b, const lvsa_bench_options *o)
{
    lvsa_pipeline_options options = LVSA_PIPELINE_OPTIONS_INIT;
    options.model = o->model, options.device = o->device, options.threads = o->threads;
    options.offload = o->offload;
    options.ranks = o->ranks, options.sequence = o->sequence;
    options.cfg_parallel = o->cfg_parallel;
    options.precision = o->precision;
    LV_TRY(lvsa_pipeline_open(&b->w.p, &options));
    b->job = (lvsa_job)LVSA_JOB_INIT;
    lvsa_pipeline_job_defaults(&b->job, b->w.p);
    b->job.guidance = o->guidance ? 5.0 : 1.0;
    b->job.sparsity = o->sparsity, b->job.backend = o->backend;
    b->job.attention_fp8 = o->attention_fp8;
    if (o->frames) b->job.frames = o->frames;
    if (o->height) b->job.height = o->height;
    if (o->width) b->job.width = o->width;
    b->w.job = &b->job;
    lv_noise_seed(&b->noise, 0);
    LV_TRY(lv_work_check(&b->w));
    LV_TRY(lv_work_find_sizes(&b->w));
    return lv_work_choose_plan(&b->w);
}

/* Latents [C, T, Y, X] of noise. */
static lvsa_status make_latents(bench *b, int64_t channels, int64_t spatial)
{
    lv_work *w = &b->w;
    w->shape[0] = channels, w->shape[2] = w->height / spatial, w->shape[3] = w->width / spatial;
    w->count = (size_t)(w->shape[0] * w->shape[1] * w->shape[2] * w->shape[3]);
    w->latents = lv_zalloc_array(w->count, sizeof *w->latents);
    w->velocity = lv_zalloc_array(w->count, sizeof *w->velocity);
    if (!w->latents || !w->velocity)
        return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory twice", w->count);
    lv_noise_fill(&b->noise, w->latents, w->count);
    return LVSA_OK;
}

static void describe(lvsa_bench_info *info, const bench *b, double load_seconds, size_t scratch)
{
    const lv_work *w = &b->w;
    *info =
        (lvsa_bench_info){.size = sizeof *info,
                          .family = w->p->geometry.family,
                          .frames = w->frames,
                          .height = w->height,
                          .width = w->width,
                          .latent_frames = (int)w->shape[1],
                          .patches_per_frame = w->patches,
                          .sparse = w->plan != NULL,
                          .passes = w->texts,
                          .ranks = w->p->ranks ? w->p->ranks->size : 1,
                          .groups = w->group ? 2 : 1,
                          .sequence = w->sequence && w->sequence->ulysses ? LVSA_SEQUENCE_ULYSSES
                                                                          : LVSA_SEQUENCE_HALO,
                          .load_seconds = load_seconds,
                          .scratch = (int64_t)scratch};
}

/* One run that isn't measured, those that are, and one with every operation timed. */
static lvsa_status measure(bench *b, double *seconds, lvsa_profile *profile, int repeat,
                           lvsa_phase phase, lvsa_status (*run)(bench *b))
{
    lv_device *device = b->w.p->device;
    for (int i = -1; i < repeat; i++) {
        const double start = lv_clock_seconds();
        LV_TRY(run(b));
        if (i >= 0) seconds[i] = lv_clock_seconds() - start;
    }
    LV_TRY(lvsa_pipeline_start_profile(b->w.p));
    lv_profile_set_stage(device, (int)phase);
    LV_TRY(lv_profile_reset(device->profile));
    LV_TRY(run(b));
    return lvsa_pipeline_get_profile(profile, b->w.p);
}

static void close_bench(bench *b)
{
    if (b->latents) b->w.p->device->release(b->w.p->device, b->latents);
    lv_work_release(&b->w);
    lvsa_pipeline_close(&b->w.p);
}

typedef lvsa_status (*bench_part)(bench *, lvsa_bench_info *, double *seconds, lvsa_profile *,
                                  int repeat);

static lvsa_status run_bench(lvsa_bench_info *info, double *seconds, lvsa_profile *profile,
                             const lvsa_bench_options *o, bench_part part)
{
    bench b = {.step = 0};
    LV_TRY(check_options(info, profile, o));
    lvsa_status s = open_bench(&b, o);
    if (s == LVSA_OK) s = part(&b, info, seconds, profile, o->repeat);
    close_bench(&b);
    return s;
}

/* ---- the transformer ------------------------------------------------------------------------- */

/* A step's passes, from latents on the host to a velocity there, at the next rotation. */
static lvsa_status run_transformer(bench *b)
{
    lv_step step;
    return lv_work_find_velocity(&b->w, &step, 500.0f, b->step++ % b->w.job->steps);
}

static lvsa_status set_texts(bench *b)
{
    lv_model *m = b->w.p->model;
    const size_t count = (size_t)(TEXT * m->text_width);
    float *text = lv_zalloc_array(count, sizeof *text);
    if (!text) return lv_fail(LVSA_ERR_MEMORY, "a text doesn't fit in memory");
    lvsa_status s = LVSA_OK;
    for (int i = 0; i < b->w.texts && s == LVSA_OK; i++) {
        lv_noise_fill(&b->noise, text, count);
        s = m->class->set_text(m, i, text, TEXT, m->class->text_length);
    }
    lv_free(text);
    return s;
}

static lvsa_status bench_transformer(bench *b, lvsa_bench_info *info, double *seconds,
                                     lvsa_profile *profile, int repeat)
{
    lv_work *w = &b->w;
    lvsa_pipeline *p = w->p;
    char path[LV_PATH_MOST];
    const double start = lv_clock_seconds();
    LV_TRY(lv_work_join(w));
    LV_TRY(lv_work_share(w));
    LV_TRY(lv_pipeline_find_part(path, p, "transformer"));
    LV_TRY(lv_work_blame_files(p->class->open(&p->model, p->device, path)));
    const double load_seconds = lv_clock_seconds() - start;
    LV_TRY(lv_work_choose_riflex(w));
    LV_TRY(set_texts(b));
    LV_TRY(lv_work_make_latents(w));
    LV_TRY(lv_work_prepare_passes(w));
    LV_TRY(measure(b, seconds, profile, repeat, LVSA_PHASE_DENOISE, run_transformer));
    describe(info, b, load_seconds, w->exec.arena.size);
    return LVSA_OK;
}

lvsa_status lvsa_bench_transformer(lvsa_bench_info *info, double *seconds, lvsa_profile *profile,
                                   const lvsa_bench_options *o)
{
    return run_bench(info, seconds, profile, o, bench_transformer);
}

/* ---- the decoder ----------------------------------------------------------------------------- */

static lvsa_status forget_frame(void *user, const lv_frame *frame)
{
    (void)user, (void)frame;
    return LVSA_OK;
}

static lvsa_status run_decoder(bench *b)
{
    const lv_frame_sink sink = {.call = forget_frame};
    return lv_vae_decode(b->w.p->vae, lv_tensor_view(b->latents, LVSA_F32, 4, b->w.shape), NULL,
                         &sink);
}

static lvsa_status bench_decoder(bench *b, lvsa_bench_info *info, double *seconds,
                                 lvsa_profile *profile, int repeat)
{
    lv_work *w = &b->w;
    lvsa_pipeline *p = w->p;
    size_t scratch;
    const double start = lv_clock_seconds();
    LV_TRY(lv_work_open_decoder(w));
    const double load_seconds = lv_clock_seconds() - start;
    LV_TRY(make_latents(b, p->vae->channels, p->vae->spatial));
    LV_TRY(p->device->allocate(p->device, &b->latents, w->count * sizeof *w->latents));
    LV_TRY(p->device->upload(p->device, b->latents, w->latents, w->count * sizeof *w->latents));
    LV_TRY(lv_vae_measure(&scratch, p->vae, w->shape[2], w->shape[3], NULL));
    LV_TRY(measure(b, seconds, profile, repeat, LVSA_PHASE_DECODE, run_decoder));
    describe(info, b, load_seconds, scratch);
    return LVSA_OK;
}

lvsa_status lvsa_bench_decoder(lvsa_bench_info *info, double *seconds, lvsa_profile *profile,
                               const lvsa_bench_options *o)
{
    return run_bench(info, seconds, profile, o, bench_decoder);
}
