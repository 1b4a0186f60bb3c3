/* resume.c: a run's state, handed to whoever may want to keep it, and a run that goes on from one.
 *
 * All that the frames depend on is put into one JSON object. A state keeps it, and a job goes on
 * from a state only if its own object is the same. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "pipeline/work.h"

/* ---- what a run is --------------------------------------------------------------------------- */

static json_t *hex(uint64_t number)
{
    char digits[20];
    snprintf(digits, sizeof digits, "%016" PRIx64, number);
    return json_string(digits);
}

/* FNV-1a; the words themselves may be long, or no UTF-8. */
static json_t *text_print(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = text; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return hex(hash);
}

typedef struct description {
    json_t *json;
    int missing; /* members there was no memory for */
} description;

static void put(description *d, const char *name, json_t *value)
{
    d->missing += json_object_set_new(d->json, name, value) != 0;
}

static void put_number(description *d, const char *name, int64_t number)
{
    put(d, name, json_integer((json_int_t)number));
}

static void put_sizes(description *d, const lv_work *w)
{
    const lvsa_job *j = w->job;
    const char *away = j->negative_prompt ? j->negative_prompt : "";
    put(d, "family", json_string(w->p->geometry.family));
    put_number(d, "frames", w->frames);
    put_number(d, "height", w->height);
    put_number(d, "width", w->width);
    put(d, "prompt", text_print(j->prompt));
    put(d, "negative prompt", text_print(w->texts == 2 ? away : ""));
    put_number(d, "text tokens", w->padded);
    put(d, "guidance", json_real(w->texts == 2 ? j->guidance : 1.0));
    put(d, "seed", hex(j->seed));
    put(d, "noise", json_string(j->noise ? "given" : "of the seed"));
}

static void put_schedule(description *d, const lv_work *w)
{
    const lv_schedule_options *s = &w->p->schedule;
    const double shift = w->job->flow_shift > 0.0 ? w->job->flow_shift : s->shift;
    put_number(d, "steps", w->job->steps);
    put(d, "schedule", json_string(lv_schedule_name(w->schedule)));
    put(d, "flow shift", json_real(shift));
    put_number(d, "training steps", s->train_steps);
    put_number(d, "solver order", s->order);
    put(d, "even grid", json_boolean(s->even_grid));
}

/* What doesn't count is 0, so that it doesn't differ. */
static void put_attention(description *d, const lv_work *w)
{
    const lvsa_job *j = w->job;
    const lvsa_plan_options none = {0}, *p = w->plan ? &j->plan : &none;
    const int horizon = p->reference_latent_frames ? p->reference_latent_frames
                                                   : w->p->geometry.reference_latent_frames;
    put(d, "attention", json_string(w->plan ? "sparse" : "dense"));
    put_number(d, "window", p->window);
    put_number(d, "first anchors", p->first_anchors);
    put_number(d, "keyframe interval", p->keyframe_interval);
    put_number(d, "reference latent frames", w->plan ? horizon : 0);
    put(d, "sparsity scale", json_real(p->sparsity_scale));
    put_number(d, "expand window", p->expand_window != 0);
    put_number(d, "trained opening", p->trained_opening != 0);
    put_number(d, "rotation", p->rotation);
    put(d, "precision", json_string(w->p->device->fp8 ? "fp8" : "the device's"));
    put_number(d, "hold keyframes", w->plan && j->hold_keyframes);
    put_number(d, "late rotation", w->plan && j->late_rotation);
    put(d, "backend", json_string(lvsa_backend_name(j->backend)));
    put(d, "attention precision", json_string(j->attention_fp8 ? "fp8" : "the device's"));
    put_number(d, "RIFLEx frequency", w->riflex.pair);
    put(d, "RIFLEx frames", json_real(w->riflex.frames));
}

/* A part's weights and configuration. */
static lvsa_status put_part(description *d, const lv_work *w, const char *part)
{
    char path[LV_PATH_MOST], file[LV_PATH_MOST], name[64];
    lv_weights *weights;
    json_t *config;
    LV_TRY(lv_pipeline_find_part(path, w->p, part));
    LV_TRY(lv_weights_open(&weights, path, NULL));
    put(d, part, hex(lv_weights_fingerprint(weights)));
    lv_weights_close(&weights);
    LV_TRY(lv_json_load_in(&config, file, sizeof file, path, "config.json"));
    char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    snprintf(name, sizeof name, "%s configuration", part);
    put(d, name, text ? text_print(text) : NULL);
    free(text);
    json_decref(config);
    return LVSA_OK;
}

/* Needs the sizes, the plan, the schedule's levels and RIFLEx's frequency. */
static lvsa_status describe(lv_work *w)
{
    const bool cpu = w->p->device->kind == LVSA_DEVICE_CPU;
    description d = {.json = json_object()};
    w->description = d.json;
    w->machine = json_pack("{s:s,s:s}", "device", cpu ? "cpu" : "cuda", "kernel", w->kernel);
    put_sizes(&d, w);
    put_schedule(&d, w);
    put_attention(&d, w);
    LV_TRY(put_part(&d, w, "transformer"));
    LV_TRY(put_part(&d, w, "vae"));
    if (d.missing == 0 && w->machine) return LVSA_OK;
    return lv_fail(LVSA_ERR_MEMORY, "what describes the run doesn't fit in memory");
}

/* ---- handing it on --------------------------------------------------------------------------- */

/* The run's memory as a state; what it says of itself is the run's to free. */
static void find_state(lvsa_state *out, const lv_work *w)
{
    lv_schedule_state kept;
    const size_t shape[] = {(size_t)w->shape[0], (size_t)w->shape[1], (size_t)w->shape[2],
                            (size_t)w->shape[3]};
    lv_schedule_get_state(&kept, w->schedule);
    *out = (lvsa_state){.steps_done = kept.steps_done,
                        .steps = w->job->steps,
                        .latents = lv_state_view(w->latents, 4, shape),
                        .kept_count = kept.buffers,
                        .texts = w->texts,
                        .version = lvsa_version(),
                        .job = w->description,
                        .machine = w->machine};
    memcpy(out->shape, w->shape, sizeof out->shape);
    for (int i = 0; i < kept.buffers; i++) out->kept[i] = lv_state_view(kept.buffer[i], 4, shape);
    for (int i = 0; i < w->texts; i++) {
        const size_t text[] = {(size_t)w->length[i], (size_t)w->text_width};
        out->text[i] = lv_state_view(w->embedding[i], 2, text);
    }
}

lvsa_status lv_work_show_state(lv_work *w)
{
    if (!w->job->on_state) return LVSA_OK;
    lvsa_state state;
    if (!w->description) LV_TRY(describe(w));
    find_state(&state, w);
    return w->job->on_state(w->job->user, &state) ? lv_work_cancelled() : LVSA_OK;
}

int64_t lv_work_count_state(const lv_work *w)
{
    int64_t texts = 0;
    for (int i = 0; i < w->texts; i++) texts += w->length[i] * w->text_width;
    return ((1 + LV_SCHEDULE_BUFFERS) * (int64_t)w->count + texts) * (int64_t)sizeof(float);
}

/* ---- going on -------------------------------------------------------------------------------- */

/* The first thing in which the state's run isn't this one. */
static lvsa_status compare(const lvsa_state *s, const json_t *job)
{
    json_t *mine = (json_t *)(uintptr_t)job, *value; /* jansson's walk takes no const */
    const char *name;
    json_object_foreach(mine, name, value)
    {
        const json_t *theirs = json_object_get(s->job, name);
        if (theirs && json_equal(theirs, value)) continue;
        char *was = json_dumps(theirs, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        char *is = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        lvsa_status status = lv_fail(LVSA_ERR_ARGUMENT,
                                     "%s: another run's: its %s is %.40s, and this job's %.40s; "
                                     "give the job that it was made with, or begin anew",
                                     lv_state_path(s), name, was ? was : "missing", is ? is : "");
        free(is);
        free(was);
        return status;
    }
    return LVSA_OK;
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "?";
}

lvsa_status lv_work_match_state(lv_work *w)
{
    const lvsa_state *s = w->job->state;
    if (strcmp(s->version, lvsa_version()) != 0)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "%s: lvsa %.16s has written it, and this is %s, whose numbers may differ: go "
            "on with the other, or begin anew",
            lv_state_path(s), s->version, lvsa_version());
    if (!w->description) LV_TRY(describe(w));
    LV_TRY(compare(s, w->description));
    if (json_equal(s->machine, w->machine)) return LVSA_OK;
    return lv_work_warn(w,
                        "%s: made by %.40s on %.16s, and this is %s on %s: the video won't be the "
                        "same to the bit",
                        lv_state_path(s), member(s->machine, "kernel"),
                        member(s->machine, "device"), member(w->machine, "kernel"),
                        member(w->machine, "device"));
}

lvsa_status lv_work_take_texts(lv_work *w)
{
    const lvsa_state *s = w->job->state;
    if (s->texts != w->texts)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s: %d texts, and the job has %d: another run's",
                       lv_state_path(s), s->texts, w->texts);
    w->text_width = (int64_t)s->text[0].shape[1];
    for (int i = 0; i < w->texts; i++) {
        const lv_weight *text = &s->text[i];
        w->length[i] = (int64_t)text->shape[0];
        if ((int64_t)text->shape[1] != w->text_width)
            return lv_fail(LVSA_ERR_FORMAT, "%s: text %d is of another width: it is damaged",
                           lv_state_path(s), i);
        if (w->length[i] > w->padded)
            return lv_fail(LVSA_ERR_ARGUMENT,
                           "%s: a text of %lld tokens, and the job takes %lld: another run's",
                           lv_state_path(s), (long long)w->length[i], (long long)w->padded);
        w->embedding[i] = lv_zalloc_array(text->count, sizeof *w->embedding[i]);
        if (!w->embedding[i])
            return lv_fail(LVSA_ERR_MEMORY, "a text's embedding doesn't fit in memory");
        lv_weight_to_f32(w->embedding[i], text, 0, text->count);
    }
    return LVSA_OK;
}

lvsa_status lv_work_take_latents(lv_work *w)
{
    const lvsa_state *s = w->job->state;
    if (memcmp(s->shape, w->shape, sizeof w->shape) != 0)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: latents [%lld, %lld, %lld, %lld], and the job's are [%lld, %lld, %lld, "
                       "%lld]: it is damaged",
                       lv_state_path(s), (long long)s->shape[0], (long long)s->shape[1],
                       (long long)s->shape[2], (long long)s->shape[3], (long long)w->shape[0],
                       (long long)w->shape[1], (long long)w->shape[2], (long long)w->shape[3]);
    lv_weight_to_f32(w->latents, &s->latents, 0, w->count);
    return LVSA_OK;
}

lvsa_status lv_work_take_history(lv_work *w)
{
    const lvsa_state *s = w->job->state;
    lv_schedule_state kept;
    if (!s) return LVSA_OK;
    lv_schedule_get_state(&kept, w->schedule);
    if (kept.buffers != s->kept_count)
        return lv_fail(LVSA_ERR_FORMAT, "%s: %d of the schedule's %d buffers: it is damaged",
                       lv_state_path(s), s->kept_count, kept.buffers);
    for (int i = 0; i < kept.buffers; i++)
        lv_weight_to_f32(kept.buffer[i], &s->kept[i], 0, w->count);
    w->first_step = s->steps_done;
    return lv_schedule_set_steps_done(w->schedule, s->steps_done);
}
