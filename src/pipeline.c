/* pipeline.c: the program: prompt -> ids -> embedding -> noise -> [ transformer -> step ] x N ->
 * frames. A stage is a file in pipeline/; letters and declarations are in pipeline/work.h. */
#include "pipeline/work.h"

/* A state after the last step has its latents. */
static lvsa_status decode_only(lv_work *w)
{
    LV_TRY(lv_work_check(w));
    if (!lv_work_decodes(w)) return LVSA_OK;
    if (w->p->vae_parallel) LV_TRY(lv_work_join(w));
    LV_TRY(lv_work_load_latents(w));
    return lv_work_decode(w); /* latents -> frames [F, H, W, 3] */
}

static lvsa_status generate(lv_work *w)
{
    LV_TRY(lv_work_check(w));
    LV_TRY(lv_work_join(w));        /* the ranks' devices, of several processes    */
    LV_TRY(lv_work_find_sizes(w));  /* pixels -> T, P                              */
    LV_TRY(lv_work_choose_plan(w)); /* which frames attend to which                */
    LV_TRY(lv_work_share(w));       /* and which of them are this rank's           */
    if (w->job->state) {
        LV_TRY(lv_work_take_texts(w));
    } else {
        LV_TRY(lv_work_tokenize(w)); /* prompts -> ids [L]                          */
        LV_TRY(lv_work_encode(w));   /* ids -> embedding [L, E]                     */
    }
    LV_TRY(lv_work_load_models(w));
    LV_TRY(lv_work_choose_riflex(w));
    if (w->job->state) LV_TRY(lv_work_match_state(w));
    LV_TRY(lv_work_set_texts(w));    /* embedding -> keys and values of every block */
    LV_TRY(lv_work_make_latents(w)); /* seed or state -> latents [C, T, Y, X]       */
    LV_TRY(lv_work_denoise(w));      /* N times: latents -> velocity -> latents     */
    if (!lv_work_decodes(w)) return LVSA_OK;
    return lv_work_decode(w);        /* latents -> frames [F, H, W, 3]              */
}

lvsa_status lvsa_generate(lvsa_pipeline *pipeline, const lvsa_job *job)
{
    lv_work w = {.p = pipeline, .job = job};
    lvsa_job muted;
    if (job->size == sizeof *job && !lv_work_is_first(&w)) {
        muted = lv_work_mute(job);
        w.job = &muted;
    }
    const bool done = job->size == sizeof *job && lv_work_is_done(&w);
    lvsa_status s = done ? decode_only(&w) : generate(&w);
    lv_work_release(&w);
    return s;
}
