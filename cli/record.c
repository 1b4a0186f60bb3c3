/* record.c: from a run to a comment, and back. */
#include "record.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

/* All that a record may say: a file from elsewhere says neither what is written nor where. */
static const char *const names[] = {"model",
                                    "device",
                                    "prompt",
                                    "negative-prompt",
                                    "num-frames",
                                    "height",
                                    "width",
                                    "fps",
                                    "steps",
                                    "guidance",
                                    "flow-shift",
                                    "seed",
                                    "lvsa",
                                    "dense",
                                    "window-size",
                                    "n-first-frames",
                                    "auto-keyframes",
                                    "key-frame-interval",
                                    "sparsity-scale",
                                    "reference-latent-frames",
                                    "expand-window",
                                    "rotate-keyframes",
                                    "rotation-phase",
                                    "trained-opening",
                                    "backend",
                                    "dtype",
                                    "attention-dtype",
                                    "riflex",
                                    "riflex-s",
                                    "riflex-k",
                                    "riflex-train-len"};

/* A flag for one leaves out what the record says of the other. */
static const char *const rivals[][2] = {{"seconds", "num-frames"},
                                        {"prompt-file", "prompt"},
                                        {"lvsa", "dense"},
                                        {"dense", "lvsa"},
                                        {"riflex-s", "riflex"},
                                        {"riflex-k", "riflex"},
                                        {"riflex-train-len", "riflex"},
                                        {"flashinfer", "backend"},
                                        {"key-frame-interval", "auto-keyframes"},
                                        {"auto-keyframes", "key-frame-interval"}};

enum { NAMES = sizeof names / sizeof names[0], RIVALS = sizeof rivals / sizeof rivals[0] };

/* ---- writing --------------------------------------------------------------------------------- */

static void add_int(json_t *o, const char *name, int value)
{
    json_object_set_new(o, name, json_integer(value));
}

static void add_flag(json_t *o, const char *name, int value)
{
    json_object_set_new(o, name, json_boolean(value));
}

static void add_number(json_t *o, const char *name, double value)
{
    json_object_set_new(o, name, json_real(value));
}

/* What isn't UTF-8 is left out: JSON can't say it. */
static void add_text(json_t *o, const char *name, const char *value)
{
    json_object_set_new(o, name, json_string(value));
}

static void add_seed(json_t *o, uint64_t seed)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, seed);
    if (seed <= INT64_MAX) json_object_set_new(o, "seed", json_integer((json_int_t)seed));
    else add_text(o, "seed", digits);
}

static void add_pattern(json_t *o, const record_run *r)
{
    const lvsa_job *j = r->job;
    const lvsa_plan_options *p = &j->plan;
    const int factor = r->geometry->temporal_factor;
    add_int(o, "window-size", p->window * factor);
    add_int(o, "n-first-frames", p->first_anchors * factor);
    if (p->keyframe_interval == LVSA_INTERVAL_AUTO) add_flag(o, "auto-keyframes", 1);
    else add_int(o, "key-frame-interval", p->keyframe_interval * factor);
    add_number(o, "sparsity-scale", p->sparsity_scale);
    add_int(o, "reference-latent-frames",
            p->reference_latent_frames ? p->reference_latent_frames
                                       : r->geometry->reference_latent_frames);
    add_flag(o, "expand-window", p->expand_window);
    add_flag(o, "rotate-keyframes", !j->hold_keyframes);
    add_flag(o, "trained-opening", p->trained_opening);
    add_text(o, "rotation-phase", j->late_rotation ? "script" : "index");
    if (j->sparsity == LVSA_SPARSITY_ON) add_flag(o, "lvsa", 1);
    if (j->sparsity == LVSA_SPARSITY_OFF) add_flag(o, "dense", 1);
    add_text(o, "backend", lvsa_backend_name(j->backend));
    if (j->attention_fp8) add_text(o, "attention-dtype", "fp8");
}

static void add_riflex(json_t *o, const lvsa_riflex *r)
{
    const int used = r->scale > 0.0 && r->scale != 1.0;
    add_flag(o, "riflex", used);
    if (!used) return;
    add_number(o, "riflex-s", r->scale);
    if (r->index >= 0) add_int(o, "riflex-k", r->index);
    if (r->frames > 0) add_int(o, "riflex-train-len", r->frames);
}

exit_code record_write(char **out, const record_run *r)
{
    const lvsa_job *j = r->job;
    json_t *record = json_object(), *o = json_object();
    add_text(record, "lvsa", lvsa_version());
    add_text(o, "model", r->model);
    add_text(o, "device", r->device);
    add_text(o, "prompt", j->prompt);
    add_text(o, "negative-prompt", j->negative_prompt ? j->negative_prompt : "");
    add_int(o, "num-frames", r->forecast->frames);
    add_int(o, "height", r->forecast->height);
    add_int(o, "width", r->forecast->width);
    add_int(o, "fps", r->fps);
    add_int(o, "steps", j->steps);
    add_number(o, "guidance", j->guidance);
    if (j->flow_shift > 0.0) add_number(o, "flow-shift", j->flow_shift);
    add_seed(o, j->seed);
    add_text(o, "dtype", r->precision);
    add_pattern(o, r);
    add_riflex(o, &j->riflex);
    json_object_set_new(record, "options", o);
    *out = json_dumps(record, JSON_COMPACT);
    json_decref(record);
    return *out ? CODE_DONE : complain(CODE_MEMORY, "the record of the run doesn't fit in memory");
}

/* ---- reading --------------------------------------------------------------------------------- */

exit_code record_parse(json_t **out, const char *text, const char *path)
{
    json_error_t error;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (json_is_string(json_object_get(*out, "lvsa")) &&
        json_is_object(json_object_get(*out, "options")))
        return CODE_DONE;
    json_decref(*out);
    *out = NULL;
    return complain(CODE_FAILED, "%s: its comment isn't a record of lvsa generate", path);
}

/* Of latents, and of a run that was left. */
static exit_code read_state(json_t **out, const char *path)
{
    state_file f;
    exit_code code = state_open(&f, path);
    if (code == CODE_DONE && !f.record)
        code = complain(CODE_FAILED, "%s: no record of what made it; another program has", f.path);
    *out = json_incref(f.record);
    state_close(&f);
    return code;
}

exit_code record_read(json_t **out, const char *path)
{
    char *text;
    *out = NULL;
    if (state_is(path)) return read_state(out, path);
    if (lvsa_video_read_comment(&text, path) != LVSA_OK)
        return complain(CODE_FAILED, "%s", lvsa_last_error());
    exit_code code = text ? record_parse(out, text, path)
                          : complain(CODE_FAILED,
                                     "%s: no record of what made it; an .mp4 or .webm that lvsa "
                                     "generate has written is wanted",
                                     path);
    lvsa_video_comment_free(&text);
    return code;
}

static int may_say(const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (strcmp(names[i], name) == 0) return 1;
    return 0;
}

static int has_rival(const void *settings, const option_group *groups, const char *name)
{
    for (int i = 0; i < RIVALS; i++)
        if (strcmp(rivals[i][1], name) == 0 && options_is_flag(settings, groups, rivals[i][0]))
            return 1;
    return 0;
}

/* A value as one would type it; NULL: of no type that an option has. */
static const char *value_text(const json_t *value, char *room, size_t size)
{
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_boolean(value)) return json_is_true(value) ? "1" : "0";
    if (json_is_integer(value))
        snprintf(room, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value)) snprintf(room, size, "%.17g", json_real_value(value));
    else return NULL;
    return room;
}

/* What a stranger's record says is shown as JSON in ASCII: a terminal takes no orders from that. */
static exit_code refuse(const char *path, const char *name, json_t *value)
{
    json_t *pair = json_pack("{s:O}", name, value);
    char *shown = json_dumps(pair, JSON_ENSURE_ASCII | JSON_COMPACT);
    exit_code code = complain(CODE_FAILED, "%s: its record has %.80s, which lvsa %s can't take",
                              path, shown ? shown : "too much", lvsa_version());
    free(shown);
    json_decref(pair);
    return code;
}

exit_code record_apply(void *settings, const option_group *groups, const json_t *record,
                       const char *path)
{
    /* jansson's walk takes no const; nothing is changed. */
    json_t *options = json_object_get(record, "options"), *value;
    const char *name;
    json_object_foreach(options, name, value)
    {
        char room[64], sentence[512];
        const char *text = value_text(value, room, sizeof room);
        if (!may_say(name) || !text) return refuse(path, name, value);
        if (options_is_flag(settings, groups, name) || has_rival(settings, groups, name)) continue;
        if (!options_set(settings, groups, name, text, sentence, sizeof sentence))
            return refuse(path, name, value);
    }
    return CODE_DONE;
}

/* JSON escapes what is below a space; a terminal obeys U+007F to U+009F too. */
static void print_escaped(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        const bool two = at[0] == 0xC2 && at[1] >= 0x80 && at[1] <= 0x9F;
        if (two || *at == 0x7F) printf("\\u%04x", two ? *++at : *at);
        else putchar(*at);
    }
}

static void print_value(const char *name, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("%-24s ", name);
    print_escaped(text ? text : "");
    putchar('\n');
    free(text);
}

void record_print(const json_t *record)
{
    print_value("lvsa", json_object_get(record, "lvsa"));
    json_t *options = json_object_get(record, "options");
    for (int i = 0; i < NAMES; i++) {
        const json_t *value = json_object_get(options, names[i]);
        if (value) print_value(names[i], value);
    }
}
