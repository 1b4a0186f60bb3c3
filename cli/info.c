/* info.c: `lvsa info`: what a checkpoint is, without its weights being read. */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "forecast.h"
#include "keep.h"
#include "record.h"
#include "state.h"

typedef struct info_options {
    text_setting model;
    int_setting frames, height, width, json;
} info_options;

typedef struct info_settings {
    common_settings common; /* first: see run_command() */
    info_options info;
} info_settings;

enum { MOST_EDGE = 1 << 16, MOST_VIDEO = 1 << 22 };

/* clang-format off */
static const option info_table[] = {
    {"model", 'm', OPTION_TEXT, offsetof(info_options, model), "DIR", .operand = 1,
     .help = "directory of a diffusers-layout checkpoint, an .mp4 or .webm, or what lvsa resume or "
             "decode takes; the name of the option may be left out"},
    {"num-frames", 0, OPTION_INT, offsetof(info_options, frames), "N", .lo = 1, .hi = MOST_VIDEO,
     .aliases = "frames video-frames",
     .help = "memory for so many frames (without it: the model's usual)"},
    {"height", 'H', OPTION_INT, offsetof(info_options, height), "PIXELS", .lo = 1, .hi = MOST_EDGE,
     .help = "of this height (without it: the model's usual)"},
    {"width", 'W', OPTION_INT, offsetof(info_options, width), "PIXELS", .lo = 1, .hi = MOST_EDGE,
     .help = "and width (without it: the model's usual)"},
    {"json", 0, OPTION_FLAG, offsetof(info_options, json), NULL,
     .help = "print one JSON object in place of the table"},
    {.name = NULL}};
/* clang-format on */

static const option_group info_groups[] = {
    {"The model, and a video", info_table, offsetof(info_settings, info)},
    {"Talk", common_options, offsetof(info_settings, common)},
    {NULL, NULL, 0}};

/* ---- memory ---------------------------------------------------------------------------------- */

static void on_message(void *user, const char *line)
{
    (void)user;
    if (*line == '[') say(TALK_VERBOSE, "%s", line);
    else note(TALK_NORMAL, "%s", line);
}

/* *known is false for a family that can only be planned: that is no failure. */
static exit_code find_memory(lvsa_forecast *out, bool *known, const info_options *s)
{
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *p = NULL;
    lvsa_job job = LVSA_JOB_INIT;
    *known = false;
    o.model = s->model.value;
    lvsa_status status = lvsa_pipeline_open(&p, &o);
    if (status == LVSA_ERR_UNSUPPORTED) {
        note(TALK_NORMAL, "memory: %s", lvsa_last_error());
        return CODE_DONE;
    }
    if (status == LVSA_OK) {
        lvsa_pipeline_job_defaults(&job, p);
        if (s->frames.from) job.frames = s->frames.value;
        if (s->height.from) job.height = s->height.value;
        if (s->width.from) job.width = s->width.value;
        job.on_message = on_message;
        *out = (lvsa_forecast){.size = sizeof *out};
        status = lvsa_pipeline_forecast(out, p, &job);
    }
    lvsa_pipeline_close(&p);
    *known = status == LVSA_OK;
    return complain_model(status);
}

/* ---- output ---------------------------------------------------------------------------------- */

static void print_table(const lvsa_model_info *i, const lvsa_forecast *f)
{
    const lvsa_geometry *g = &i->geometry;
    char size[FORECAST_BYTES_TEXT];
    printf("family       %s\n", g->family);
    printf("usual        %d frames of %dx%d at %d a second\n", g->frames, g->width, g->height,
           g->fps);
    printf("reference    %d latent frames, %d frames\n", g->reference_latent_frames,
           (g->reference_latent_frames - 1) * g->temporal_factor + 1);
    printf("layers       %d, of %d heads x %d\n", g->layers, g->heads, g->head_dim);
    for (int p = 0; p < i->parts; p++) {
        const lvsa_model_part *part = &i->part[p];
        printf("%-12s %s, %.4g M parameters, %s, %s in %d file%s\n", part->name, part->class_name,
               1e-6 * (double)part->parameters, part->dtypes, forecast_bytes(size, part->bytes),
               part->files, part->files == 1 ? "" : "s");
    }
    if (f) forecast_print(f, LVSA_DEVICE_CPU, g->fps);
}

static json_t *part_object(const lvsa_model_part *p)
{
    return json_pack("{s:s,s:s,s:I,s:I,s:s,s:i}", "name", p->name, "class", p->class_name,
                     "parameters", (json_int_t)p->parameters, "bytes", (json_int_t)p->bytes,
                     "dtypes", p->dtypes, "files", p->files);
}

static json_t *forecast_object(const lvsa_forecast *f)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:b,s:I,s:I,s:I,s:I,s:I}", "frames", f->frames, "height",
                     f->height, "width", f->width, "latent_frames", f->latent_frames, "sparse",
                     f->sparse, "text_bytes", (json_int_t)f->text, "denoise_bytes",
                     (json_int_t)f->denoise, "decode_bytes", (json_int_t)f->decode, "needed_bytes",
                     (json_int_t)f->needed, "available_bytes", (json_int_t)f->available);
}

static exit_code print_json(const lvsa_model_info *i, const lvsa_forecast *f)
{
    const lvsa_geometry *g = &i->geometry;
    json_t *parts = json_array();
    for (int p = 0; p < i->parts; p++) json_array_append_new(parts, part_object(&i->part[p]));
    json_t *all =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:o,s:o}", "family", g->family,
                  "frames", g->frames, "height", g->height, "width", g->width, "fps", g->fps,
                  "reference_latent_frames", g->reference_latent_frames, "temporal_factor",
                  g->temporal_factor, "layers", g->layers, "heads", g->heads, "head_dim",
                  g->head_dim, "parts", parts, "memory", f ? forecast_object(f) : json_null());
    if (!all) return complain(CODE_MEMORY, "a JSON object doesn't fit in memory");
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(all);
    return CODE_DONE;
}

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/* A checkpoint is a folder; a video is a file. */
static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static exit_code show_record(const char *path, int as_json)
{
    json_t *record;
    TRY(record_read(&record, path));
    if (as_json) {
        json_dumpf(record, stdout, JSON_COMPACT);
        putchar('\n');
    } else record_print(record);
    json_decref(record);
    return CODE_DONE;
}

/* Frees the path. */
static exit_code show_done(char *video, int as_json)
{
    json_t *all = json_pack("{s:s}", "video", video);
    if (as_json && all) {
        json_dumpf(all, stdout, JSON_COMPACT);
        putchar('\n');
    } else printf("%-24s done: %s\n", "run", video);
    json_decref(all);
    free(video);
    return CODE_DONE;
}

static exit_code show_state(const char *path, int as_json)
{
    state_file f;
    char *video = keep_find_video(path);
    if (video) return show_done(video, as_json);
    exit_code code = state_open(&f, path);
    if (code == CODE_DONE) code = state_print(&f, as_json);
    state_close(&f);
    return code;
}

static exit_code run_info(const void *settings)
{
    const info_options *s = &((const info_settings *)settings)->info;
    lvsa_model_info info = {.size = sizeof info};
    lvsa_forecast forecast;
    bool known;
    if (!s->model.value) return complain(CODE_USAGE, "which model? Give its directory, or a video");
    if (state_is(s->model.value)) return show_state(s->model.value, s->json.value);
    if (is_file(s->model.value)) return show_record(s->model.value, s->json.value);
    if (!is_there(s->model.value))
        return complain(CODE_FAILED, "%s: %s", s->model.value, strerror(errno));
    TRY(complain_model(lvsa_model_get_info(&info, s->model.value)));
    TRY(find_memory(&forecast, &known, s));
    if (s->json.value) return print_json(&info, known ? &forecast : NULL);
    print_table(&info, known ? &forecast : NULL);
    return CODE_DONE;
}

static const char *const info_examples[] = {"lvsa info Wan2.1-T2V-1.3B-Diffusers",
                                            "the checkpoint, and what its usual video needs",
                                            "lvsa info Wan2.1-T2V-1.3B-Diffusers --num-frames 481",
                                            "the same for a longer one",
                                            "lvsa info fox.mp4",
                                            "what made a video: prompt, seed and all else",
                                            "lvsa info fox.run",
                                            "how far a run is that --checkpoint fox.run has left",
                                            NULL};

const command info_command = {
    .name = "info",
    .summary = "show what a checkpoint is and needs, what made a video, how far a run is",
    .details = "Shows a checkpoint's family, sizes, parameters and types, and the memory that a "
               "video needs, from its JSON files and the headers of its weights alone. Of an .mp4 "
               "or .webm that lvsa generate has written it shows the run that made it, and of a "
               "run that was left, or of latents, how far they are too.",
    .examples = info_examples,
    .groups = info_groups,
    .settings_size = sizeof(info_settings),
    .run = run_info};
