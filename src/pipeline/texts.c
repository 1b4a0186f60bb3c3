/* texts.c: prompt and negative prompt -> ids [L] -> embedding [L, E]. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "flow/text/clean.h"
#include "pipeline/work.h"

/* Ids of one text, its end cut off where it is too long. */
static lvsa_status tokenize(lv_work *w, int index, const char *name, const char *text)
{
    const lv_tokenizer *t = w->p->tokenizer;
    size_t length = 0, most = (size_t)w->padded;
    lv_text clean = {0};
    LV_TRY(lv_prompt_clean(&clean, text, strlen(text)));
    const size_t room = clean.length + most; /* no token is less than a byte */
    w->ids[index] = lv_zalloc_array(room, sizeof *w->ids[index]);
    lvsa_status s =
        w->ids[index] ? LVSA_OK
                      : lv_fail(LVSA_ERR_MEMORY, "%s: %zu tokens don't fit in memory", name, room);
    if (s == LVSA_OK)
        s = lv_tokenizer_encode(w->ids[index], &length, room, t, clean.bytes, clean.length);
    if (s == LVSA_OK && length > most) {
        s = lv_work_warn(w, "%s: %zu tokens, and the model takes %zu; the last %zu are left out",
                         name, length, most, length - most);
        if (s == LVSA_OK)
            s = lv_tokenizer_encode(w->ids[index], &length, most, t, clean.bytes, clean.length);
    }
    lv_text_free(&clean);
    w->length[index] = (int64_t)length;
    return s;
}

lvsa_status lv_work_tokenize(lv_work *w)
{
    if (!lv_work_is_first(w)) return LVSA_OK;
    const char *away = w->job->negative_prompt ? w->job->negative_prompt : "";
    LV_TRY(tokenize(w, 0, "the prompt", w->job->prompt));
    return w->texts == 2 ? tokenize(w, 1, "the negative prompt", away) : LVSA_OK;
}

lvsa_status lv_work_open_encoder(lv_umt5 **out, const lv_work *w, lv_device *device)
{
    char path[LV_PATH_MOST];
    const char *first;
    LV_TRY(lv_pipeline_find_part(path, w->p, "text_encoder"));
    LV_TRY(lv_work_blame_files(lv_umt5_open(out, device, path)));
    const size_t unknown = lv_umt5_count_unknown(&first, *out);
    lvsa_status s = lv_work_warn_of_unknown(w, "text_encoder", unknown, first);
    if (s != LVSA_OK) lv_umt5_close(out);
    return s;
}

static lvsa_status encode_text(lv_work *w, lv_umt5 *encoder, int index)
{
    const size_t count = (size_t)(w->length[index] * lv_umt5_width(encoder));
    w->embedding[index] = lv_zalloc_array(count, sizeof *w->embedding[index]);
    if (!w->embedding[index])
        return lv_fail(LVSA_ERR_MEMORY, "a text's embedding doesn't fit in memory");
    LV_TRY(lv_work_blame_files(
        lv_umt5_encode(encoder, w->embedding[index], w->ids[index], w->length[index])));
    for (size_t i = 0; i < count; i++)
        if (!isfinite(w->embedding[index][i]))
            return lv_fail(
                LVSA_ERR_NUMBER,
                "%s/text_encoder: it gave %g for a text: its weights are damaged; get the "
                "checkpoint again",
                w->p->directory, (double)w->embedding[index][i]);
    return LVSA_OK;
}

static lvsa_status encode(lv_work *w)
{
    lv_umt5 *encoder;
    LV_TRY(lv_work_report(w, LVSA_PHASE_TEXT, 0, w->texts));
    LV_TRY(lv_work_open_encoder(&encoder, w, w->p->device));
    w->text_width = lv_umt5_width(encoder);
    lvsa_status s = LVSA_OK;
    for (int i = 0; i < w->texts && s == LVSA_OK; i++) {
        s = encode_text(w, encoder, i);
        if (s == LVSA_OK) s = lv_work_report(w, LVSA_PHASE_TEXT, i + 1, w->texts);
    }
    lv_umt5_close(&encoder);
    return s;
}

lvsa_status lv_work_encode(lv_work *w)
{
    if (lv_work_is_first(w)) LV_TRY(encode(w));
    return lv_work_send_texts(w);
}
