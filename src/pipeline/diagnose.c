/* diagnose.c: which part of the transformer gave a number that is none. The step that ended with
 * one is run again, looked at after every block; a step that ends well costs nothing more. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "pipeline/work.h"

enum { PART = 4096 /* numbers that are looked at in one go */ };

/* The first number of a tensor that is none; *found is false where all are. */
static lvsa_status find_bad(bool *found, float *bad, lv_device *device, lv_tensor t)
{
    uint32_t raw[PART];
    const size_t size = lv_dtype_bytes(t.dtype);
    const int64_t count = lv_tensor_count(t);
    *found = false;
    for (int64_t at = 0; at < count && !*found; at += PART) {
        const size_t part = (size_t)(count - at < PART ? count - at : PART);
        LV_TRY(
            device->download(device, raw, (const char *)t.data + (size_t)at * size, part * size));
        for (size_t i = 0; i < part && !*found; i++) {
            uint16_t half;
            memcpy(&half, (const char *)raw + i * sizeof half, sizeof half);
            *bad = t.dtype == LVSA_F32   ? lv_bits_to_f32(raw[i])
                   : t.dtype == LVSA_F16 ? lv_f16_to_f32(half)
                                         : lv_bf16_to_f32(half);
            *found = !isfinite(*bad);
        }
    }
    return LVSA_OK;
}

typedef struct search {
    lv_work *w;
    int step;         /* from 1 */
    const char *text; /* whose pass it is */
} search;

/* A pass's stage; LVSA_ERR_NUMBER, and the sentence, at the first that is bad. */
static lvsa_status look(void *user, const char *stage, int index, lv_tensor rows)
{
    const search *s = user;
    char name[64];
    bool found;
    float bad;
    LV_TRY(find_bad(&found, &bad, s->w->p->device, rows));
    if (!found) return LVSA_OK;
    if (strcmp(stage, "block") == 0) snprintf(name, sizeof name, "block %d", index);
    else snprintf(name, sizeof name, "the part \"%.40s\"", stage);
    return lv_fail(
        LVSA_ERR_NUMBER,
        "step %d of %d: %s of the transformer gave %g for %s, out of finite numbers: its "
        "weights are damaged, or too large for %s; get the checkpoint again",
        s->step, s->w->job->steps, name, (double)bad, s->text,
        s->w->p->device->dtype == LVSA_F32    ? "fp32"
        : s->w->p->device->dtype == LVSA_BF16 ? "bf16"
                                              : "fp16");
}

static lvsa_status fail_plain(const lv_work *w, int i, size_t latent)
{
    return lv_fail(LVSA_ERR_NUMBER,
                   "step %d of %d: latent %zu is %g, and every part of the transformer gave finite "
                   "numbers: the guidance (%g) is too large",
                   i + 1, w->job->steps, latent, (double)w->latents[latent], w->job->guidance);
}

/* The passes of step i once more; w->z still holds what they were given. */
static lvsa_status look_again(lv_work *w, const lv_step *step, int i)
{
    static const char *const texts[] = {"the prompt", "the negative prompt"};
    lv_model *m = w->p->model;
    const lv_probe before = m->probe;
    search s = {.w = w, .step = i + 1};
    bool found;
    float bad;
    LV_TRY(find_bad(&found, &bad, w->p->device, w->z));
    if (found)
        return lv_fail(LVSA_ERR_NUMBER, "step %d of %d: the noise to start from holds %g", i + 1,
                       w->job->steps, (double)bad);
    m->probe = (lv_probe){look, &s};
    lvsa_status status = LVSA_OK;
    for (int text = w->first_text; text < w->end_text && status == LVSA_OK; text++) {
        lv_step again = *step;
        again.text = text, s.text = texts[text];
        status = m->class->forward(m, &w->exec, w->v, w->z, &again);
    }
    m->probe = before;
    return status;
}

lvsa_status lv_work_check_numbers(lv_work *w, const lv_step *step, int i)
{
    /* x - x is 0 of numbers alone; the sum is a pass that compilers make into vectors. */
    int bad = 0;
    for (size_t j = 0; j < w->count; j++) bad |= w->latents[j] - w->latents[j] != 0.0f;
    for (size_t j = 0; bad && j < w->count; j++)
        if (!isfinite(w->latents[j])) {
            LV_TRY(look_again(w, step, i));
            LV_TRY(lv_work_wait_for_all(w)); /* a rank that has found something ends all */
            return fail_plain(w, i, j);
        }
    return LVSA_OK;
}
