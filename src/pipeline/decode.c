/* decode.c: from latents to frames. */
#include <string.h>

#include "base/mem.h"
#include "pipeline/work.h"

static lvsa_status hand_on(void *user, const lv_frame *f)
{
    lv_work *w = user;
    const lvsa_frame frame = {(int)f->index, (int)f->width, (int)f->height, f->rgb};
    if (w->job->on_frame && w->job->on_frame(w->job->user, &frame)) return lv_work_cancelled();
    return lv_work_report(w, LVSA_PHASE_DECODE, (int)f->index + 1, w->frames);
}

/* Frames of the state's latents. */
static lvsa_status find_decoded(lv_work *w)
{
    const lvsa_state *s = w->job->state;
    const lv_vae *vae = w->p->vae;
    const int64_t frames = (s->shape[1] - 1) * vae->temporal + 1;
    const int64_t height = s->shape[2] * vae->spatial, width = s->shape[3] * vae->spatial;
    if (s->shape[0] != vae->channels)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: latents of %lld channels, and the VAE of %s takes %lld: give the model "
                       "that they were made with",
                       lv_state_path(s), (long long)s->shape[0], w->p->directory,
                       (long long)vae->channels);
    if (frames > INT32_MAX || height > INT32_MAX || width > INT32_MAX)
        return lv_fail(LVSA_ERR_FORMAT, "%s: %lld frames of %lldx%lld: it is damaged",
                       lv_state_path(s), (long long)frames, (long long)width, (long long)height);
    w->frames = (int)frames, w->height = (int)height, w->width = (int)width;
    memcpy(w->shape, s->shape, sizeof w->shape);
    w->count = s->latents.count;
    return LVSA_OK;
}

lvsa_status lv_work_open_latents(lv_work *w)
{
    LV_TRY(lv_work_open_decoder(w));
    return find_decoded(w);
}

lvsa_status lv_work_load_latents(lv_work *w)
{
    LV_TRY(lv_work_report(w, LVSA_PHASE_LOAD, 0, 1));
    LV_TRY(lv_work_open_latents(w));
    w->latents = lv_zalloc_array(w->count, sizeof *w->latents);
    if (!w->latents) return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory", w->count);
    LV_TRY(lv_work_take_latents(w));
    return lv_work_report(w, LVSA_PHASE_LOAD, 1, 1);
}

lvsa_status lv_work_decode(lv_work *w)
{
    const lv_frame_sink sink = {.call = hand_on, .user = w};
    const lv_vae_tiling shared = lv_work_share_decoding(w);
    lv_device *device = w->p->device;
    void *memory;
    LV_TRY(lv_work_report(w, LVSA_PHASE_DECODE, 0, w->frames));
    lv_exec_end(&w->exec); /* the passes' scratch makes room for the decoder's */
    LV_TRY(device->allocate(device, &memory, w->count * sizeof(float)));
    lvsa_status s = device->upload(device, memory, w->latents, w->count * sizeof(float));
    if (s == LVSA_OK)
        s = lv_vae_decode(w->p->vae, lv_tensor_view(memory, LVSA_F32, 4, w->shape), &shared, &sink);
    device->release(device, memory);
    return s;
}
