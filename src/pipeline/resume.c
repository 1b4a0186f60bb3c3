/* resume.c: a run's state, handed to whoever may want to keep it, and a run that goes on from one.
 *
 * All that the frames depend on is put into one JSON object. A state keeps it, and a job goes on
 * from a state only if its own object is the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

static json_t *sized(int64_t number) { return json_integer((json_int_t)number); }

/* Every member of it is there. */
static bool is_whole(const json_t *object, size_t members)
{
    return object && json_object_size(object) == members;
}

static lvsa_status add_weights(json_t *to, const lv_work *w, const char *part)
{
    char path[LV_PATH_MOST];
    lv_weights *weights;
    LV_TRY(lv_pipeline_find_part(path, w->p, part));
    LV_TRY(lv_weights_open(&weights, path, NULL));
    json_object_set_new(to, part, hex(lv_weights_fingerprint(weights)));
    lv_weights_close(&weights);
    return LVSA_OK;
}

static size_t add_sizes(json_t *o, const lv_work *w)
{
    const lvsa_job *j = w->job;
    const char *away = j->negative_prompt ? j->negative_prompt : "";
    json_object_set_new(o, "family", json_string(w->p->geometry.family));
    json_object_set_new(o, "frames", sized(w->frames));
    json_object_set_new(o, "height", sized(w->height));
    json_object_set_new(o, "width", sized(w->width));
    json_object_set_new(o, "prompt", text_print(j->prompt));
    json_object_set_new(o, "negative prompt", text_print(w->texts == 2 ? away : ""));
    json_object_set_new(o, "text tokens", sized(w->padded));
    json_object_set_new(o, "guidance", json_real(w->texts == 2 ? j->guidance : 1.0));
    json_object_set_new(o, "seed", hex(j->seed));
    json_object_set_new(o, "noise", json_string(j->noise ? "given" : "of the seed"));
    return 10;
}

static size_t add_schedule(json_t *o, const lv_work *w)
{
    const lv_schedule_options *s = &w->p->schedule;
    json_object_set_new(o, "steps", sized(w->job->steps));
    json_object_set_new(o, "schedule", json_string(lv_schedule_name(w->schedule)));
    json_object_set_new(o, "flow shift",
                        json_real(w->job->flow_shift > 0.0 ? w->job->flow_shift : s->shift));
    json_object_set_new(o, "training steps", sized(s->train_steps));
    json_object_set_new(o, "solver order", sized(s->order));
    json_object_set_new(o, "even grid", json_boolean(s->even_grid));
    return 6;
}

/* What doesn't count is 0, so that it doesn't differ. */
static size_t add_attention(json_t *o, const lv_work *w)
{
    const lvsa_job *j = w->job;
    const lvsa_plan_options none = {0}, *p = w->plan ? &j->plan : &none;
    const int horizon = p->reference_latent_frames ? p->reference_latent_frames
                                                   : w->p->geometry.reference_latent_frames;
    json_object_set_new(o, "attention", json_string(w->plan ? "sparse" : "dense"));
    json_object_set_new(o, "window", sized(p->window));
    json_object_set_new(o, "first anchors", sized(p->first_anchors));
    json_object_set_new(o, "keyframe interval", sized(p->keyframe_interval));
    json_object_set_new(o, "reference latent frames", sized(w->plan ? horizon : 0));
    json_object_set_new(o, "sparsity scale", json_real(p->sparsity_scale));
    json_object_set_new(o, "expand window", sized(p->expand_window != 0));
    json_object_set_new(o, "rotation", sized(p->rotation));
    json_object_set_new(o, "hold keyframes", sized(w->plan && j->hold_keyframes));
    json_object_set_new(o, "late rotation", sized(w->plan && j->late_rotation));
    json_object_set_new(o, "backend", json_string(lvsa_backend_name(j->backend)));
    json_object_set_new(o, "RIFLEx frequency", sized(w->riflex.pair));
    json_object_set_new(o, "RIFLEx frames", json_real(w->riflex.frames));
    return 13;
}

/* Needs the sizes, the plan, the schedule's levels and RIFLEx's frequency. */
static lvsa_status describe(json_t **job, json_t **machine, const lv_work *w)
{
    enum { WEIGHTS = 2, MACHINE = 2 };
    json_t *o = *job = json_object();
    *machine =
        json_pack("{s:s,s:s}", "device", w->p->device->kind == LVSA_DEVICE_CPU ? "cpu" : "cuda",
                  "kernel", w->kernel);
    size_t members = add_sizes(o, w) + add_schedule(o, w) + add_attention(o, w);
    LV_TRY(add_weights(o, w, "transformer"));
    LV_TRY(add_weights(o, w, "vae"));
    if (is_whole(o, members + WEIGHTS) && is_whole(*machine, MACHINE)) return LVSA_OK;
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
    if (!w->description) LV_TRY(describe(&w->description, &w->machine, w));
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
    if (!w->description) LV_TRY(describe(&w->description, &w->machine, w));
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
        if ((int64_t)text->shape[1] != w->text_width || w->length[i] > w->padded)
            return lv_fail(LVSA_ERR_FORMAT, "%s: text %d is of another size: it is damaged",
                           lv_state_path(s), i);
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
