/* defaults.c: the families' usual jobs, and lvsa.json. */
#include "flow/models/defaults.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

/* Of the LVSA project's own scripts. */
static const struct {
    const char *family;
    int steps;
    double guidance;
} usual[] = {{"wan2.1-1.3b", 40, 5.0}, {"wan2.1-14b", 40, 5.0}};

enum { MOST_FRAMES = 1 << 22, MOST_EDGE = 1 << 16, MOST_FPS = 1000, MOST_STEPS = 1000 };

/* ---- one value ------------------------------------------------------------------------------- */

static lvsa_status get_int(int *out, const json_t *object, const char *key, int lo, int hi,
                           const char *path)
{
    int64_t value = *out;
    LV_TRY(lv_json_get_int(&value, object, key, lo, hi, path));
    *out = (int)value;
    return LVSA_OK;
}

static lvsa_status get_number(double *out, const json_t *object, const char *key, double lo,
                              double hi, const char *path)
{
    LV_TRY(lv_json_get_double(out, object, key, path));
    if (json_is_number(json_object_get(object, key)) && !(*out >= lo && *out <= hi))
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is %g; %g to %g is wanted", path, key, *out, lo,
                       hi);
    return LVSA_OK;
}

/* Frames of the video, as latent frames. */
static lvsa_status get_frames(int *latent, const json_t *object, const char *key, int factor,
                              const char *path)
{
    int frames = *latent * factor;
    LV_TRY(get_int(&frames, object, key, 0, MOST_FRAMES, path));
    if (frames % factor != 0)
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is %d; a multiple of %d is wanted", path, key,
                       frames, factor);
    *latent = frames / factor;
    return LVSA_OK;
}

static void note_unknown(lv_defaults *d, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0) k++;
        if (!*k && d->unknown[0] == '\0') snprintf(d->unknown, sizeof d->unknown, "%s", key);
    }
}

/* ---- lvsa.json ------------------------------------------------------------------------------- */

static lvsa_status read_video(lvsa_geometry *g, const json_t *root, const char *path)
{
    int latent, patches, used;
    LV_TRY(get_int(&g->frames, root, "frames", 1, MOST_FRAMES, path));
    LV_TRY(get_int(&g->height, root, "height", 1, MOST_EDGE, path));
    LV_TRY(get_int(&g->width, root, "width", 1, MOST_EDGE, path));
    LV_TRY(get_int(&g->fps, root, "fps", 1, MOST_FPS, path));
    LV_TRY(get_int(&g->reference_latent_frames, root, "reference_latent_frames", 1, MOST_FRAMES,
                   path));
    if (lvsa_geometry_latent(&latent, &patches, &used, g, g->frames, g->height, g->width) !=
        LVSA_OK)
        return lv_fail_in(LVSA_ERR_FORMAT, "%s", path);
    return LVSA_OK;
}

static lvsa_status read_pattern(lv_defaults *d, const json_t *pattern, int factor, const char *path)
{
    static const char *const known[] = {"window_size",
                                        "n_first_frames",
                                        "key_frame_interval",
                                        "sparsity_scale",
                                        "expand_window",
                                        "rotate_keyframes",
                                        "trained_opening",
                                        NULL};
    const json_t *interval = json_object_get(pattern, "key_frame_interval");
    bool expand = d->plan.expand_window, rotate = !d->hold_keyframes;
    bool opening = d->plan.trained_opening;
    if (!pattern || json_is_null(pattern)) return LVSA_OK;
    if (!json_is_object(pattern))
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"pattern\": an object is wanted", path);
    note_unknown(d, pattern, known);
    LV_TRY(get_frames(&d->plan.window, pattern, "window_size", factor, path));
    LV_TRY(get_frames(&d->plan.first_anchors, pattern, "n_first_frames", factor, path));
    LV_TRY(get_number(&d->plan.sparsity_scale, pattern, "sparsity_scale", 0.001, 1000.0, path));
    LV_TRY(lv_json_get_bool(&expand, pattern, "expand_window", path));
    LV_TRY(lv_json_get_bool(&rotate, pattern, "rotate_keyframes", path));
    LV_TRY(lv_json_get_bool(&opening, pattern, "trained_opening", path));
    d->plan.expand_window = expand, d->hold_keyframes = !rotate;
    d->plan.trained_opening = opening;
    if (!interval || json_is_null(interval) ||
        (json_is_string(interval) && strcmp(json_string_value(interval), "auto") == 0))
        return LVSA_OK;
    return get_frames(&d->plan.keyframe_interval, pattern, "key_frame_interval", factor, path);
}

static lvsa_status read_root(lv_defaults *d, lvsa_geometry *g, const json_t *root, const char *path)
{
    static const char *const known[] = {"frames",
                                        "height",
                                        "width",
                                        "fps",
                                        "steps",
                                        "guidance",
                                        "flow_shift",
                                        "negative_prompt",
                                        "reference_latent_frames",
                                        "pattern",
                                        NULL};
    const char *negative = NULL;
    note_unknown(d, root, known);
    LV_TRY(read_video(g, root, path));
    LV_TRY(get_int(&d->steps, root, "steps", 1, MOST_STEPS, path));
    LV_TRY(get_number(&d->guidance, root, "guidance", 0.0, 1000.0, path));
    LV_TRY(get_number(&d->flow_shift, root, "flow_shift", 0.001, 1000.0, path));
    LV_TRY(lv_json_get_string(&negative, root, "negative_prompt", path));
    if (negative) {
        d->negative_prompt = lv_strndup(negative, strlen(negative));
        if (!d->negative_prompt)
            return lv_fail(LVSA_ERR_MEMORY, "%s: its negative prompt doesn't fit in memory", path);
    }
    return read_pattern(d, json_object_get(root, "pattern"), g->temporal_factor, path);
}

lvsa_status lv_defaults_load(lv_defaults *out, lvsa_geometry *g, const char *directory)
{
    char path[4096];
    json_t *root;
    *out = (lv_defaults){.steps = 50, .guidance = 5.0, .plan = LVSA_PLAN_OPTIONS_INIT};
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (strcmp(g->family, usual[i].family) == 0)
            out->steps = usual[i].steps, out->guidance = usual[i].guidance;
    LV_TRY(lv_path_join(path, sizeof path, directory, "lvsa.json"));
    if (access(path, F_OK) != 0) return LVSA_OK;
    LV_TRY(lv_json_load(&root, path));
    lvsa_status s = read_root(out, g, root, path);
    json_decref(root);
    return s;
}

void lv_defaults_release(lv_defaults *d)
{
    lv_free(d->negative_prompt);
    *d = (lv_defaults){0};
}
