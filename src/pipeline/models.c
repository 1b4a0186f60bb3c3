/* models.c: the transformer and the decoder of a checkpoint, and whether they belong together. */
#include "pipeline/work.h"

lvsa_status lv_work_blame_files(lvsa_status s) { return s == LVSA_ERR_SHAPE ? LVSA_ERR_FORMAT : s; }

lvsa_status lv_work_warn_of_unknown(const lv_work *w, const char *part, size_t count,
                                    const char *first)
{
    if (count == 0) return LVSA_OK;
    return lv_work_warn(
        w, "%s/%s: %zu tensors aren't known to this model and weren't used, the first is %s",
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

lvsa_status lv_work_open_decoder(lv_work *w)
{
    lvsa_pipeline *p = w->p;
    char path[LV_PATH_MOST];
    if (!p->vae) {
        LV_TRY(lv_pipeline_find_part(path, p, "vae"));
        LV_TRY(lv_work_blame_files(lv_vae_open(&p->vae, p->device, path)));
    }
    return lv_work_warn_of_unknown(w, "vae", p->vae->unknown, p->vae->unknown_name);
}

lvsa_status lv_work_open_models(lv_work *w)
{
    lvsa_pipeline *p = w->p;
    char path[LV_PATH_MOST];
    if (!p->model) {
        LV_TRY(lv_pipeline_find_part(path, p, "transformer"));
        LV_TRY(lv_work_blame_files(p->class->open(&p->model, p->device, path)));
    }
    LV_TRY(lv_work_warn_of_unknown(w, "transformer", p->model->unknown, p->model->unknown_name));
    if (w->text_width != p->model->text_width)
        return lv_fail(
            LVSA_ERR_FORMAT,
            "%s: the text encoder gives %lld numbers a token, the transformer wants %lld: "
            "they don't belong together",
            p->directory, (long long)w->text_width, (long long)p->model->text_width);
    LV_TRY(lv_work_open_decoder(w));
    LV_TRY(lv_work_check_decoding(w));
    return check_vae(p);
}

lvsa_status lv_work_load_models(lv_work *w)
{
    LV_TRY(lv_work_report(w, LVSA_PHASE_LOAD, 0, 1));
    LV_TRY(lv_work_open_models(w));
    LV_TRY(lv_work_fit_preview(w));
    return lv_work_report(w, LVSA_PHASE_LOAD, 1, 1);
}

lvsa_status lv_work_set_texts(lv_work *w)
{
    lv_model *m = w->p->model;
    for (int i = 0; i < w->texts; i++)
        LV_TRY(m->class->set_text(m, i, w->embedding[i], w->length[i], w->padded));
    return LVSA_OK;
}
