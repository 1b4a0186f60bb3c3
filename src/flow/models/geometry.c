/* geometry.c: how each model's pixels and frames become tokens, from a table or from a checkpoint's
 * JSON. */
#include <stdio.h>
#include <string.h>

#include <lvsa/lvsa.h>

#include "base/error.h"
#include "base/json.h"
#include "flow/models/defaults.h"

/* Sources: the published configurations, as diffusers reads them; the training horizons are the
 * LVSA project's (81 frames for Wan, 121 for TI2V, 129 for HunyuanVideo 1.5, 49 for CogVideoX, 189
 * for Cosmos). */
static const lvsa_geometry families[] = {
    /* family, temporal, pixels, pad, R, layers, heads, head_dim, frames, height, width, fps */
    {sizeof(lvsa_geometry), "wan2.1-1.3b", 4, 16, 0, 21, 30, 12, 128, 81, 480, 832, 16},
    {sizeof(lvsa_geometry), "wan2.1-14b", 4, 16, 0, 21, 40, 40, 128, 81, 480, 832, 16},
    {sizeof(lvsa_geometry), "wan2.2-a14b", 4, 16, 0, 21, 40, 40, 128, 81, 480, 832, 16},
    {sizeof(lvsa_geometry), "wan2.2-ti2v-5b", 4, 32, 0, 31, 30, 24, 128, 121, 704, 1280, 24},
    {sizeof(lvsa_geometry), "hunyuanvideo-1.5", 4, 16, 0, 33, 54, 16, 128, 121, 480, 848, 24},
    {sizeof(lvsa_geometry), "cogvideox-2b", 4, 16, 0, 13, 30, 30, 64, 49, 480, 720, 8},
    {sizeof(lvsa_geometry), "cogvideox-5b", 4, 16, 0, 13, 42, 48, 64, 49, 480, 720, 8},
    {sizeof(lvsa_geometry), "cosmos3-nano", 4, 32, 1, 48, 36, 32, 128, 189, 720, 1280, 24},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

static lvsa_status check_size(const lvsa_geometry *g)
{
    if (g->size == sizeof *g) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_geometry of %zu bytes, %zu wanted: set its size",
                   g->size, sizeof *g);
}

const char *lvsa_family_name(int index)
{
    return index >= 0 && index < FAMILIES ? families[index].family : NULL;
}

lvsa_status lvsa_geometry_from_family(lvsa_geometry *out, const char *family)
{
    LV_TRY(check_size(out));
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(family, families[i].family) == 0) {
            *out = families[i];
            return LVSA_OK;
        }
    char known[256] = "";
    for (int i = 0, used = 0; i < FAMILIES; i++)
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", i ? ", " : "",
                         families[i].family);
    return lv_fail(LVSA_ERR_ARGUMENT, "model family \"%s\": one of %s is wanted", family, known);
}

/* ---- from a checkpoint ----------------------------------------------------------------------- */

/* What the JSON files of a checkpoint say, as far as the shape of tokens goes. */
typedef struct config {
    const char *pipeline;                      /* model_index.json: _class_name                */
    int64_t experts;                           /* 2 with transformer_2 (A14B), otherwise 1     */
    int64_t channels, layers, heads, head_dim; /* transformer/config.json                    */
} config;

static lvsa_status read_transformer(config *c, const json_t *root, const char *path)
{
    enum { MOST = 1 << 20 };
    LV_TRY(lv_json_get_int(&c->channels, root, "in_channels", 1, MOST, path));
    LV_TRY(lv_json_get_int(&c->layers, root, "num_layers", 1, MOST, path));
    LV_TRY(lv_json_get_int(&c->layers, root, "num_hidden_layers", 1, MOST, path));
    LV_TRY(lv_json_get_int(&c->heads, root, "num_attention_heads", 1, MOST, path));
    LV_TRY(lv_json_get_int(&c->head_dim, root, "head_dim", 1, MOST, path));
    return lv_json_get_int(&c->head_dim, root, "attention_head_dim", 1, MOST, path);
}

/* The table's entry that a checkpoint belongs to, NULL for an unknown pipeline. */
static const char *match_family(const config *c)
{
    if (strcmp(c->pipeline, "WanPipeline") == 0)
        return c->channels == 48 ? "wan2.2-ti2v-5b"
               : c->experts == 2 ? "wan2.2-a14b"
               : c->heads >= 40  ? "wan2.1-14b"
                                 : "wan2.1-1.3b";
    if (strcmp(c->pipeline, "HunyuanVideo15Pipeline") == 0) return "hunyuanvideo-1.5";
    if (strcmp(c->pipeline, "CogVideoXPipeline") == 0)
        return c->heads >= 48 ? "cogvideox-5b" : "cogvideox-2b";
    if (strcmp(c->pipeline, "Cosmos3OmniPipeline") == 0) return "cosmos3-nano";
    return NULL;
}

lvsa_status lv_model_read(lvsa_geometry *out, lv_defaults *defaults, const char *directory)
{
    *defaults = (lv_defaults){0};
    LV_TRY(check_size(out));
    char path[4096];
    json_t *index = NULL, *transformer = NULL;
    config c = {.pipeline = "", .experts = 1};

    lvsa_status s = lv_json_load_in(&index, path, sizeof path, directory, "model_index.json");
    if (s == LVSA_ERR_IO)
        s = lv_fail_in(s, "the folder of a checkpoint in diffusers' layout, such as "
                          "Wan2.1-T2V-1.3B-Diffusers, is wanted");
    if (s == LVSA_OK) s = lv_json_get_string(&c.pipeline, index, "_class_name", path);
    if (s == LVSA_OK) {
        const json_t *second =
            json_object_get(index, "transformer_2"); /* [null, null] without one */
        if (json_is_array(second) && json_is_string(json_array_get(second, 0))) c.experts = 2;
        s = lv_json_load_in(&transformer, path, sizeof path, directory, "transformer/config.json");
    }
    if (s == LVSA_OK) s = read_transformer(&c, transformer, path);
    if (s == LVSA_OK) {
        const char *family = match_family(&c);
        s = family
                ? lvsa_geometry_from_family(out, family)
                : lv_fail(
                      LVSA_ERR_FORMAT,
                      "%s/model_index.json: pipeline \"%s\" isn't known; WanPipeline, "
                      "HunyuanVideo15Pipeline, CogVideoXPipeline or Cosmos3OmniPipeline is wanted",
                      directory, c.pipeline);
    }
    if (s == LVSA_OK) {
        if (c.layers) out->layers = (int)c.layers;
        if (c.heads) out->heads = (int)c.heads;
        if (c.head_dim) out->head_dim = (int)c.head_dim;
        s = lv_defaults_load(defaults, out, directory);
    }
    json_decref(transformer);
    json_decref(index);
    return s;
}

lvsa_status lvsa_geometry_from_model(lvsa_geometry *out, const char *directory)
{
    lv_defaults d;
    const lvsa_status s = lv_model_read(out, &d, directory);
    lv_defaults_release(&d);
    return s;
}

lvsa_status lvsa_plan_options_from_model(lvsa_plan_options *out, int *hold_keyframes,
                                         const char *directory)
{
    lvsa_geometry g = {.size = sizeof g};
    lv_defaults d;
    const lvsa_status s = lv_model_read(&g, &d, directory);
    if (s == LVSA_OK) {
        *out = d.plan;
        out->reference_latent_frames = g.reference_latent_frames;
        *hold_keyframes = d.hold_keyframes;
    }
    lv_defaults_release(&d);
    return s;
}

/* ---- a video --------------------------------------------------------------------------------- */

static lvsa_status check_edge(const char *name, int pixels, const lvsa_geometry *g)
{
    int grid = g->pad_to_patch ? g->pixels_per_patch / 2 : g->pixels_per_patch;
    if (pixels >= grid && pixels % grid == 0) return LVSA_OK;
    int64_t nearest = pixels < grid ? grid : ((int64_t)pixels + grid / 2) / grid * grid;
    return lv_fail(LVSA_ERR_SHAPE, "%s %d: %s takes multiples of %d pixels; use %lld", name, pixels,
                   g->family, grid, (long long)nearest);
}

lvsa_status lvsa_geometry_latent(int *latent_frames, int *patches_per_frame, int *used_frames,
                                 const lvsa_geometry *g, int frames, int height, int width)
{
    LV_TRY(check_size(g));
    if (frames < 1) return lv_fail(LVSA_ERR_SHAPE, "%d frames: at least 1 is wanted", frames);
    LV_TRY(check_edge("height", height, g));
    LV_TRY(check_edge("width", width, g));
    int64_t rows = ((int64_t)height + g->pixels_per_patch - 1) / g->pixels_per_patch;
    int64_t columns = ((int64_t)width + g->pixels_per_patch - 1) / g->pixels_per_patch;
    if (rows * columns > INT32_MAX)
        return lv_fail(LVSA_ERR_SHAPE, "%dx%d pixels: %lld patches a frame are too many", width,
                       height, (long long)(rows * columns));
    *latent_frames = (frames - 1) / g->temporal_factor + 1;
    *patches_per_frame = (int)(rows * columns);
    *used_frames = (*latent_frames - 1) * g->temporal_factor + 1;
    return LVSA_OK;
}
