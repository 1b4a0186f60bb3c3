/* rope.c: cosines and sines, axis by axis. */
#include "engine/runtime/rope.h"

#include <math.h>

#include "base/mem.h"

static bool same(const lv_rope_spec *a, const lv_rope_spec *b)
{
    for (int axis = 0; axis < 3; axis++)
        if (a->length[axis] != b->length[axis] || a->pairs[axis] != b->pairs[axis]) return false;
    return a->theta == b->theta && a->replaced == b->replaced && a->frequency == b->frequency;
}

static void fill_axis(float *cosine, float *sine, const lv_rope_spec *s, int axis)
{
    const int64_t pairs = s->pairs[axis];
    for (int64_t j = 0; j < pairs; j++) {
        double frequency = pow(s->theta, -(double)j / (double)pairs);
        if (axis == 0 && j == s->replaced) frequency = s->frequency;
        for (int64_t i = 0; i < s->length[axis]; i++) {
            cosine[i * pairs + j] = (float)cos((double)i * frequency);
            sine[i * pairs + j] = (float)sin((double)i * frequency);
        }
    }
}

/* `host` has room for the largest axis, cosines and sines; NULL: there are shapes only. */
static lvsa_status fill(lv_rope_tables *t, lv_device *device, float *host)
{
    char *at = host ? t->memory : NULL;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t shape[] = {t->spec.length[axis], t->spec.pairs[axis]};
        const size_t count = (size_t)(shape[0] * shape[1]), bytes = count * sizeof *host;
        t->rope.cosine[axis] = lv_tensor_view(at, LVSA_F32, 2, shape);
        t->rope.sine[axis] = lv_tensor_view(at ? at + bytes : NULL, LVSA_F32, 2, shape);
        if (!at) continue;
        fill_axis(host, host + count, &t->spec, axis);
        LV_TRY(device->upload(device, at, host, 2 * bytes));
        at += 2 * bytes;
    }
    return LVSA_OK;
}

lvsa_status lv_rope_prepare(lv_rope_tables *t, lv_device *device, const lv_rope_spec *spec)
{
    if (t->memory && same(&t->spec, spec)) return LVSA_OK;
    lv_rope_release(t, device);

    size_t count = 0;
    for (int axis = 0; axis < 3; axis++) count += (size_t)(spec->length[axis] * spec->pairs[axis]);
    float *host = device->dry ? NULL : lv_zalloc_array(count, 2 * sizeof *host);
    if (!host && !device->dry)
        return lv_fail(LVSA_ERR_MEMORY, "rotary positions don't fit in memory");
    t->spec = *spec;
    t->rope =
        (lv_rope){.frames = spec->length[0], .height = spec->length[1], .width = spec->length[2]};
    lvsa_status s = device->allocate(device, &t->memory, 2 * count * sizeof *host);
    if (s == LVSA_OK) s = fill(t, device, host);
    if (s != LVSA_OK) lv_rope_release(t, device);
    lv_free(host);
    return s;
}

void lv_rope_release(lv_rope_tables *t, lv_device *device)
{
    if (t->memory) device->release(device, t->memory);
    *t = (lv_rope_tables){0};
}
