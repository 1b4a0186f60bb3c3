/* pipeline.c: the program: prompt -> ids -> embedding -> noise -> [ transformer -> step ] x N ->
 * frames. A stage is a file in pipeline/; letters and declarations are in pipeline/work.h. */
#include "pipeline/work.h"

static lvsa_status generate(lv_work *w)
{
    LV_TRY(lv_work_check(w));
    LV_TRY(lv_work_find_sizes(w));  /* pixels -> T, P                              */
    LV_TRY(lv_work_choose_plan(w)); /* which frames attend to which                */
    LV_TRY(lv_work_tokenize(w));    /* prompts -> ids [L]                          */
    LV_TRY(lv_work_encode(w));      /* ids -> embedding [L, E]                     */
    LV_TRY(lv_work_load_models(w));
    LV_TRY(lv_work_choose_riflex(w));
    LV_TRY(lv_work_set_texts(w));  /* embedding -> keys and values of every block */
    LV_TRY(lv_work_make_noise(w)); /* seed -> latents [C, T, Y, X]                */
    LV_TRY(lv_work_denoise(w));    /* N times: latents -> velocity -> latents     */
    return lv_work_decode(w);      /* latents -> frames [F, H, W, 3]              */
}

lvsa_status lvsa_generate(lvsa_pipeline *pipeline, const lvsa_job *job)
{
    lv_work w = {.p = pipeline, .job = job};
    lvsa_status s = generate(&w);
    lv_work_release(&w);
    return s;
}
