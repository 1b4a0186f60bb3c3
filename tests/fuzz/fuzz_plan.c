/* fuzz_plan.c: any plan options: a sentence, or a plan whose runs are sound and computable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lvsa/lvsa_attention.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Numbers one after the other from the input; zeros past its end. Small ones are as likely as
 * any. */
static int32_t take(const uint8_t **data, size_t *size)
{
    int32_t value = 0;
    size_t bytes = *size < sizeof value ? *size : sizeof value;
    memcpy(&value, *data, bytes);
    *data += bytes, *size -= bytes;
    return value % 2 ? value / 2 : value % 512 - 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = take(&data, &size);
    if (o.latent_frames > 3000)
        o.latent_frames %= 3000; /* refused or slow: the unit tests see to it */
    o.patches_per_frame = take(&data, &size);
    o.window = take(&data, &size);
    o.first_anchors = take(&data, &size);
    o.keyframe_interval = take(&data, &size);
    o.reference_latent_frames = take(&data, &size);
    o.sparsity_scale = take(&data, &size) / 64.0;
    o.expand_window = take(&data, &size) & 1;
    o.rotation = take(&data, &size);
    int step = take(&data, &size);
    o.trained_opening = take(&data, &size) & 1;

    lvsa_plan *plan;
    if (lvsa_plan_create(&plan, &o) != LVSA_OK)
        return plan != NULL || !*lvsa_last_error() ? abort(), 0 : 0;
    lvsa_plan_set_step(plan, step);
    const lvsa_runs *runs = lvsa_plan_get_runs(plan);
    for (int32_t f = 0; f < runs->frames; f++) {
        if (runs->offsets[f] == runs->offsets[f + 1]) abort();
        int64_t end = -1;
        for (int32_t i = runs->offsets[f]; i < runs->offsets[f + 1]; i++) {
            if (runs->list[i].start <= end || runs->list[i].count < 1) abort();
            end = (int64_t)runs->list[i].start + runs->list[i].count;
        }
        if (end > (int64_t)o.latent_frames * o.patches_per_frame) abort();
    }
    lvsa_plan_free(&plan);
    return 0;
}
