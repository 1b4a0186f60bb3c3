/* fuzz_state.c: any bytes as the file of a state: a sentence, or a state whose views stay inside
 * the bytes and that says what is in its ranges. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(const lv_weight *v, const uint8_t *bytes, size_t size)
{
    const uint8_t *at = v->data;
    const size_t length = v->count * lv_dtype_bytes(v->dtype);
    float last;
    if (at < bytes || length > size || at > bytes + size - length || v->count == 0) abort();
    lv_weight_to_f32(&last, v, v->count - 1, 1);
}

static void check_state(const lvsa_state *s, const uint8_t *bytes, size_t size)
{
    lvsa_state_info info = {.size = sizeof info};
    if (lvsa_state_get_info(&info, s) != LVSA_OK) abort();
    if (info.steps_done < 0 || info.steps_done > info.steps || info.steps > LV_SCHEDULE_MAX_STEPS)
        abort();
    int64_t count = 1;
    for (int i = 0; i < 4; i++) {
        if (info.shape[i] < 1 || info.shape[i] > INT32_MAX) abort();
        count *= info.shape[i];
    }
    if ((size_t)count != s->latents.count || lv_state_count_bytes(s) < 1) abort();
    check_view(&s->latents, bytes, size);
    for (int i = 0; i < s->kept_count; i++) check_view(&s->kept[i], bytes, size);
    for (int i = 0; i < s->texts; i++) check_view(&s->text[i], bytes, size);
    if (info.steps > 0 && (!info.version || !s->job || !s->machine)) abort();
    if (info.steps_done < info.steps && s->texts == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing;
    lvsa_state *s;
    const lvsa_status status =
        lv_state_open_memory(&s, size ? data : &nothing, size, "input.safetensors");
    if ((status == LVSA_OK) != (s != NULL)) abort();
    if (status == LVSA_OK) check_state(s, data, size);
    else if (!*lvsa_last_error()) abort();
    lvsa_state_close(&s);
    return 0;
}
