/* profile.c: what a pipeline's operations took. */
#include <lvsa/lvsa_profile.h>

#include "engine/runtime/profile.h"
#include "pipeline/work.h"

static const char *const kinds[LV_KINDS] = {"linear", "attention", "convolution",
                                            "norm",   "other",     "exchange"};

lvsa_status lvsa_pipeline_start_profile(lvsa_pipeline *pipeline)
{
    return lv_profile_create(pipeline->device);
}

lvsa_status lvsa_pipeline_get_profile(lvsa_profile *out, const lvsa_pipeline *pipeline)
{
    lv_device *device = pipeline->device;
    lv_profile *p = device->profile;
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_profile of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    *out = (lvsa_profile){
        .size = sizeof *out, .peak_flops = device->peak_flops, .peak_bytes = device->peak_bytes};
    if (!p) return LVSA_OK;
    LV_TRY(lv_profile_collect(p));
    for (int phase = 0; phase < LVSA_PROFILE_PHASES; phase++) {
        out->seconds[phase] = p->stage_seconds[phase];
        for (int kind = 0; kind < LV_KINDS; kind++) {
            const lv_profile_row *r = &p->row[phase][kind];
            if (r->calls > 0)
                out->row[out->rows++] =
                    (lvsa_profile_row){(lvsa_phase)phase, kinds[kind], r->calls,        r->seconds,
                                       r->flops,          r->bytes,    r->least_seconds};
        }
    }
    return LVSA_OK;
}
