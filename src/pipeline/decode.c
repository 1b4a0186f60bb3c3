/* decode.c: from latents to frames. */
#include "pipeline/work.h"

static lvsa_status hand_on(void *user, const lv_frame *f)
{
    lv_work *w = user;
    const lvsa_frame frame = {(int)f->index, (int)f->width, (int)f->height, f->rgb};
    if (w->job->on_frame && w->job->on_frame(w->job->user, &frame)) return lv_work_cancelled();
    return lv_work_report(w, LVSA_PHASE_DECODE, (int)f->index + 1, w->frames);
}

lvsa_status lv_work_decode(lv_work *w)
{
    const lv_frame_sink sink = {hand_on, w};
    lv_device *device = w->p->device;
    void *memory;
    LV_TRY(lv_work_report(w, LVSA_PHASE_DECODE, 0, w->frames));
    lv_exec_end(&w->exec); /* the passes' scratch makes room for the decoder's */
    LV_TRY(device->allocate(device, &memory, w->count * sizeof(float)));
    lvsa_status s = device->upload(device, memory, w->latents, w->count * sizeof(float));
    if (s == LVSA_OK)
        s = lv_vae_decode(w->p->vae, lv_tensor_view(memory, LVSA_F32, 4, w->shape), NULL, &sink);
    device->release(device, memory);
    return s;
}
