/* profile.c: adds up operations. */
#include "engine/runtime/profile.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

lvsa_status lv_profile_create(lv_device *device)
{
    if (device->profile) return LVSA_OK;
    lv_profile *p = lv_zalloc(sizeof *p);
    if (!p) return lv_fail(LVSA_ERR_MEMORY, "a profile: %zu bytes don't fit in memory", sizeof *p);
    p->device = device;
    p->stage_began = lv_clock_seconds();
    device->profile = p;
    return LVSA_OK;
}

void lv_profile_free(lv_device *device)
{
    lv_free(device->profile);
    device->profile = NULL;
}

static void end_stage(lv_profile *p)
{
    const double at = lv_clock_seconds();
    p->stage_seconds[p->stage] += at - p->stage_began;
    p->stage_began = at;
}

void lv_profile_set_stage(lv_device *device, int stage)
{
    lv_profile *p = device->profile;
    if (!p) return;
    end_stage(p);
    p->stage = stage;
}

static lvsa_status stamp(lv_profile *p, int index)
{
    if (p->device->stamp) return p->device->stamp(p->device, index);
    p->clock[index] = lv_clock_seconds();
    return LVSA_OK;
}

lvsa_status lv_profile_collect(lv_profile *p)
{
    double seconds[LV_PROFILE_PENDING];
    if (p->device->stamp && p->pending > 0)
        LV_TRY(p->device->elapsed(p->device, seconds, p->pending));
    for (int i = 0; i < p->pending; i++) {
        const lv_profile_mark *m = &p->mark[i];
        lv_profile_row *r = &p->row[m->stage][m->kind];
        r->calls++;
        r->seconds += p->device->stamp ? seconds[i] : p->clock[2 * i + 1] - p->clock[2 * i];
        r->flops += m->flops;
        r->bytes += m->bytes;
        r->least_seconds += m->least_seconds;
    }
    p->pending = 0;
    end_stage(p);
    return LVSA_OK;
}

lvsa_status lv_profile_reset(lv_profile *p)
{
    LV_TRY(lv_profile_collect(p));
    memset(p->row, 0, sizeof p->row);
    memset(p->stage_seconds, 0, sizeof p->stage_seconds);
    return LVSA_OK;
}

lvsa_status lv_profile_begin(lv_profile *p)
{
    if (p->pending == LV_PROFILE_PENDING) LV_TRY(lv_profile_collect(p));
    return stamp(p, 2 * p->pending);
}

static double peak_of(const lv_device *d, lvsa_dtype factors)
{
    return factors == LVSA_F32 ? 0.0 : factors == LV_E4M3 ? d->peak_e4m3_flops : d->peak_flops;
}

lvsa_status lv_profile_end(lv_profile *p, lv_kind kind, lvsa_dtype factors, double flops,
                           double bytes)
{
    const double peak = peak_of(p->device, factors);
    LV_TRY(stamp(p, 2 * p->pending + 1));
    p->mark[p->pending++] = (lv_profile_mark){.stage = p->stage,
                                              .kind = kind,
                                              .flops = flops,
                                              .bytes = bytes,
                                              .least_seconds = peak > 0.0 ? flops / peak : 0.0};
    return LVSA_OK;
}
