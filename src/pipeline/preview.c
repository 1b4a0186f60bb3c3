/* preview.c: what a step's clean latents look like, for whoever asked to see them. */
#include "pipeline/work.h"

#include "base/mem.h"

lvsa_status lv_work_fit_preview(lv_work *w)
{
    lvsa_pipeline *p = w->p;
    return w->job->on_preview && !p->preview ? lv_preview_fit(&p->preview, p->vae) : LVSA_OK;
}

lvsa_status lv_work_prepare_preview(lv_work *w)
{
    if (!w->job->on_preview) return LVSA_OK;
    w->preview = lv_zalloc_array(w->count / (size_t)w->shape[0], 3);
    return w->preview ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "a preview doesn't fit in memory");
}

void lv_work_draw_preview(lv_work *w, int i)
{
    const float level = lv_schedule_get_sigmas(w->schedule)[i];
    if (w->preview)
        lv_preview_draw(w->preview, w->p->preview, w->latents, w->velocity, -level, w->shape);
}

lvsa_status lv_work_show_preview(const lv_work *w, int done)
{
    const lvsa_preview preview = {.step = done,
                                  .steps = w->job->steps,
                                  .frames = (int)w->shape[1],
                                  .width = (int)w->shape[3],
                                  .height = (int)w->shape[2],
                                  .rgb = w->preview};
    return w->preview && w->job->on_preview(w->job->user, &preview) ? lv_work_cancelled() : LVSA_OK;
}
