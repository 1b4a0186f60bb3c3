/* forecast.c: what a job will take, by measuring its passes without computing them. */
#include "base/machine.h"
#include "pipeline/work.h"

static lvsa_status forecast_text(int64_t *bytes, lv_work *w)
{
    lv_device *dry;
    lv_umt5 *encoder = NULL;
    size_t scratch = 0;
    const int64_t longest = w->length[1] > w->length[0] ? w->length[1] : w->length[0];
    LV_TRY(lv_device_open_dry(&dry, w->p->device));
    lvsa_status s = lv_work_open_encoder(&encoder, w, dry);
    if (s == LVSA_OK) s = lv_umt5_measure(&scratch, encoder, longest);
    if (s == LVSA_OK) w->text_width = lv_umt5_width(encoder);
    *bytes = (int64_t)(dry->overhead + dry->counted + scratch);
    lv_umt5_close(&encoder);
    lv_device_close(&dry);
    return s;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The first rank encodes, and decodes alone or with all; a GPU is one rank's. */
static void add_up(lvsa_forecast *out, const lvsa_pipeline *p)
{
    out->ranks = p->ranks && p->device->kind == LVSA_DEVICE_CPU ? p->ranks->local_size : 1;
    out->needed = most(out->text, most(out->ranks * out->denoise,
                                       (p->vae_parallel ? out->ranks : 1) * out->decode));
}

/* w->p is a pipeline whose device only counts. */
static lvsa_status forecast_video(lvsa_forecast *out, lv_work *w)
{
    /* latents, velocity, away and what the schedule keeps: in the host's memory */
    const bool cpu = w->p->device->kind == LVSA_DEVICE_CPU;
    const lv_vae_tiling shared = lv_work_share_decoding(w);
    const int64_t copies = cpu ? 3 + LV_SCHEDULE_BUFFERS : 0;
    size_t decoder = 0, fitting = 0;
    LV_TRY(lv_work_open_models(w));
    LV_TRY(lv_work_choose_riflex(w));
    if (w->job->state) LV_TRY(lv_work_match_state(w));
    lv_work_find_latents(w);
    LV_TRY(lv_work_measure_passes(w));
    LV_TRY(lv_vae_measure(&decoder, w->p->vae, w->shape[2], w->shape[3], &shared));
    if (w->job->on_preview) LV_TRY(lv_preview_measure(&fitting, w->p->vae));
    const int64_t weights = (int64_t)(w->p->device->overhead + w->p->device->counted);
    const int64_t latents = (int64_t)(w->count * sizeof(float));
    const int64_t preview = cpu && w->job->on_preview ? 3 * (int64_t)w->count / w->shape[0] : 0;
    const int64_t kept = weights + copies * latents + preview + (cpu ? lv_work_count_parts(w) : 0);
    out->denoise = kept + most((int64_t)fitting, (int64_t)w->exec.arena.peak);
    out->decode = kept + latents + (int64_t)decoder;
    return LVSA_OK;
}

/* Latents that only have to be decoded. */
static lvsa_status forecast_decoder(lvsa_forecast *out, lv_work *w)
{
    const lv_vae_tiling shared = lv_work_share_decoding(w);
    size_t decoder = 0;
    LV_TRY(lv_work_open_latents(w));
    LV_TRY(lv_vae_measure(&decoder, w->p->vae, w->shape[2], w->shape[3], &shared));
    out->decode = (int64_t)(w->p->device->overhead + w->p->device->counted) +
                  2 * (int64_t)(w->count * sizeof(float)) + (int64_t)decoder;
    return LVSA_OK;
}

/* What comes before the models. */
static lvsa_status forecast_begin(lvsa_forecast *out, lv_work *w)
{
    LV_TRY(lv_work_find_sizes(w));
    LV_TRY(lv_work_choose_plan(w));
    LV_TRY(lv_work_share(w)); /* of this rank, which doesn't need the others to be measured */
    if (w->job->state) return lv_work_take_texts(w);
    LV_TRY(lv_work_tokenize(w));
    return forecast_text(&out->text, w);
}

static lvsa_status forecast(lvsa_forecast *out, lv_work *w)
{
    lvsa_pipeline *p = w->p, counting = *p;
    LV_TRY(lv_work_check(w));
    const bool done = lv_work_is_done(w);
    if (!done) LV_TRY(forecast_begin(out, w));

    counting.model = NULL, counting.vae = NULL;
    LV_TRY(lv_device_open_dry(&counting.device, p->device));
    w->p = &counting;
    lvsa_status s = done ? forecast_decoder(out, w) : forecast_video(out, w);
    if (p->model) out->text += (int64_t)counting.device->counted; /* kept since the last job */
    lv_vae_close(&counting.vae);
    lv_model_close(&counting.model);
    lv_device_close(&counting.device);
    w->p = p;
    out->frames = w->frames, out->height = w->height, out->width = w->width;
    out->latent_frames = (int)w->shape[1];
    out->sparse = w->plan != NULL;
    out->latents = (int64_t)(w->count * sizeof(float));
    if (!done) out->state = lv_work_count_state(w);
    add_up(out, p);
    out->available =
        p->device->memory ? (int64_t)p->device->memory : (int64_t)lv_machine_available();
    return s;
}

lvsa_status lvsa_pipeline_forecast(lvsa_forecast *out, lvsa_pipeline *pipeline, const lvsa_job *job)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_forecast of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    lv_work w = {.p = pipeline, .job = job};
    *out = (lvsa_forecast){.size = sizeof *out};
    lvsa_status s = forecast(out, &w);
    lv_work_release(&w);
    return s;
}
