/* state.c: the file of a state. It may come from anywhere: all of it is checked before use. */
#include "pipeline/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum { FORMAT = 1, NUMBER_TEXT = 16 };

static const char *const kept_names[LV_SCHEDULE_BUFFERS] = {"kept.0", "kept.1", "kept.2"};
static const char *const text_names[LV_MODEL_TEXTS] = {"text.0", "text.1"};

lv_weight lv_state_view(const float *data, int rank, const size_t *shape)
{
    lv_weight view = {.dtype = LVSA_F32, .rank = rank, .count = 1, .data = data};
    for (int i = 0; i < rank; i++) {
        view.shape[i] = shape[i];
        view.count *= shape[i];
    }
    return view;
}

const char *lv_state_path(const lvsa_state *s)
{
    return s->file ? lv_safetensors_path(s->file) : "the state";
}

/* ---- reading --------------------------------------------------------------------------------- */

static lv_weight view_of(const lv_tensor_entry *e)
{
    lv_weight view = {.dtype = e->dtype, .rank = e->rank, .count = e->count, .data = e->data};
    memcpy(view.shape, e->shape, sizeof view.shape);
    return view;
}

static lvsa_status damaged(const lvsa_state *s, const char *what)
{
    return lv_fail(LVSA_ERR_FORMAT, "%s: %s: it is damaged, or no file of lvsa's", lv_state_path(s),
                   what);
}

/* A note that is a number from lo to hi. */
static bool read_number(int *out, const lvsa_state *s, const char *key, int lo, int hi)
{
    const char *text = lv_safetensors_get_note(s->file, key);
    if (!text || *text < '0' || *text > '9') return false;
    char *end;
    const long number = strtol(text, &end, 10);
    *out = (int)number;
    return *end == '\0' && number >= lo && number <= hi;
}

/* A note that is a JSON object. */
static bool read_object(json_t **out, const lvsa_state *s, const char *key)
{
    const char *text = lv_safetensors_get_note(s->file, key);
    *out = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    return json_is_object(*out);
}

/* The latents' shape, a leading axis of one taken away. */
static lvsa_status read_latents(lvsa_state *s, const lv_tensor_entry *e)
{
    char text[LV_SHAPE_TEXT];
    const int extra = e->rank == 5 && e->shape[0] == 1;
    bool good = e->rank - extra == 4 && e->dtype != 0;
    for (int i = 0; i < 4 && good; i++) {
        const size_t n = e->shape[i + extra];
        good = n > 0 && n <= INT32_MAX;
        s->shape[i] = (int64_t)n;
    }
    if (!good)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: tensor %s is %s of %s; latents [C, T, Y, X] of F32, F16 or BF16 are "
                       "wanted",
                       lv_state_path(s), e->name, lv_shape_to_text(text, e->shape, e->rank),
                       e->type);
    const size_t shape[] = {e->shape[extra], e->shape[extra + 1], e->shape[extra + 2],
                            e->shape[extra + 3]};
    s->latents = lv_state_view(e->data, 4, shape);
    s->latents.dtype = e->dtype;
    return LVSA_OK;
}

/* Another program's file: the tensor "latents", or the only one. */
static lvsa_status read_foreign(lvsa_state *s)
{
    const lv_tensor_entry *e = lv_safetensors_find(s->file, "latents");
    if (!e && lv_safetensors_count(s->file) == 1) e = lv_safetensors_get(s->file, 0);
    if (e) return read_latents(s, e);
    return lv_fail(LVSA_ERR_FORMAT,
                   "%s: %zu tensors, and none is \"latents\": a file of lvsa's, or one with "
                   "latents, is wanted",
                   lv_state_path(s), lv_safetensors_count(s->file));
}

static bool same_shape(const lv_weight *a, const lv_weight *b)
{
    return a->rank == b->rank && a->dtype == b->dtype &&
           memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

/* What a run that isn't done needs besides its latents. */
static lvsa_status read_rest(lvsa_state *s)
{
    const lv_tensor_entry *e;
    for (; s->kept_count < LV_SCHEDULE_BUFFERS; s->kept_count++) {
        if (!(e = lv_safetensors_find(s->file, kept_names[s->kept_count]))) break;
        s->kept[s->kept_count] = view_of(e);
        if (!same_shape(&s->kept[s->kept_count], &s->latents))
            return damaged(s, "what the schedule keeps isn't as large as the latents");
    }
    for (; s->texts < LV_MODEL_TEXTS; s->texts++) {
        if (!(e = lv_safetensors_find(s->file, text_names[s->texts]))) break;
        if (e->rank != 2 || e->dtype != LVSA_F32 || e->count == 0 || e->shape[0] > INT32_MAX ||
            e->shape[1] > INT32_MAX)
            return damaged(s, "a text isn't [L, E] of F32");
        s->text[s->texts] = view_of(e);
    }
    return s->texts > 0 ? LVSA_OK : damaged(s, "a run that isn't done, without its texts");
}

static lvsa_status check_numbers(const lvsa_state *s)
{
    enum { PART = 1024 };
    float part[PART];
    for (size_t i = 0; i < s->latents.count; i += PART) {
        const size_t count = s->latents.count - i < PART ? s->latents.count - i : PART;
        lv_weight_to_f32(part, &s->latents, i, count);
        for (size_t j = 0; j < count; j++)
            if (!isfinite(part[j]))
                return lv_fail(LVSA_ERR_FORMAT, "%s: latent %zu is %g: it is damaged",
                               lv_state_path(s), i + j, (double)part[j]);
    }
    return LVSA_OK;
}

static lvsa_status read_state(lvsa_state *s)
{
    int format = 0;
    if (!lv_safetensors_get_note(s->file, "lvsa_state")) return read_foreign(s);
    if (!read_number(&format, s, "lvsa_state", FORMAT, FORMAT))
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: format \"%.16s\" of states; this version reads %d: a newer lvsa wrote "
                       "it",
                       lv_state_path(s), lv_safetensors_get_note(s->file, "lvsa_state"), FORMAT);
    s->version = lv_safetensors_get_note(s->file, "lvsa");
    s->note = lv_safetensors_get_note(s->file, "note");
    if (!s->version || !read_number(&s->steps, s, "steps", 1, LV_SCHEDULE_MAX_STEPS) ||
        !read_number(&s->steps_done, s, "step", 1, s->steps) || !read_object(&s->job, s, "job") ||
        !read_object(&s->machine, s, "machine"))
        return damaged(s, "its notes don't say which run it is of");
    const lv_tensor_entry *latents = lv_safetensors_find(s->file, "latents");
    if (!latents) return damaged(s, "no latents");
    LV_TRY(read_latents(s, latents));
    return lv_state_is_done(s) ? LVSA_OK : read_rest(s);
}

/* bytes NULL: what lies at `path`. */
static lvsa_status open_either(lvsa_state **out, const char *path, const void *bytes, size_t size)
{
    lvsa_state *s = lv_zalloc(sizeof *s);
    *out = s;
    if (!s) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a state", path);
    lvsa_status status = bytes ? lv_safetensors_open_memory(&s->file, bytes, size, path)
                               : lv_safetensors_open(&s->file, path);
    if (status == LVSA_OK) status = read_state(s);
    if (status == LVSA_OK) status = check_numbers(s);
    if (status != LVSA_OK) lvsa_state_close(out);
    return status;
}

lvsa_status lvsa_state_open(lvsa_state **out, const char *path)
{
    return open_either(out, path, NULL, 0);
}

lvsa_status lv_state_open_memory(lvsa_state **out, const void *bytes, size_t size, const char *name)
{
    return open_either(out, name, bytes, size);
}

void lvsa_state_close(lvsa_state **state)
{
    if (!state || !*state) return;
    json_decref((*state)->machine);
    json_decref((*state)->job);
    lv_safetensors_close(&(*state)->file);
    lv_free(*state);
    *state = NULL;
}

lvsa_status lvsa_state_get_info(lvsa_state_info *out, const lvsa_state *s)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_state_info of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    out->steps_done = s->steps_done, out->steps = s->steps;
    memcpy(out->shape, s->shape, sizeof out->shape);
    out->version = s->version, out->note = s->note;
    return LVSA_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static lv_tensor_out tensor_of(const char *name, const lv_weight *view)
{
    lv_tensor_out t = {.name = name, .dtype = view->dtype, .rank = view->rank, .data = view->data};
    memcpy(t.shape, view->shape, sizeof t.shape);
    return t;
}

enum { TENSORS = 1 + LV_SCHEDULE_BUFFERS + LV_MODEL_TEXTS };

static size_t list_tensors(lv_tensor_out out[TENSORS], const lvsa_state *s)
{
    size_t count = 0;
    out[count++] = tensor_of("latents", &s->latents);
    if (lv_state_is_done(s)) return count;
    for (int i = 0; i < s->kept_count; i++) out[count++] = tensor_of(kept_names[i], &s->kept[i]);
    for (int i = 0; i < s->texts; i++) out[count++] = tensor_of(text_names[i], &s->text[i]);
    return count;
}

int64_t lv_state_count_bytes(const lvsa_state *s)
{
    lv_tensor_out tensors[TENSORS];
    int64_t bytes = 0;
    for (size_t i = list_tensors(tensors, s); i-- > 0;) {
        int64_t size = (int64_t)lv_dtype_bytes(tensors[i].dtype);
        for (int d = 0; d < tensors[i].rank; d++) size *= (int64_t)tensors[i].shape[d];
        bytes += size;
    }
    return bytes;
}

lvsa_status lvsa_state_write(const char *path, const lvsa_state *s, const char *note)
{
    char format[NUMBER_TEXT], step[NUMBER_TEXT], steps[NUMBER_TEXT];
    lv_tensor_out tensors[TENSORS];
    const size_t count = list_tensors(tensors, s);
    if (!s->job || !s->version)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s: another program's latents aren't written again",
                       path);
    char *job = json_dumps(s->job, JSON_COMPACT), *machine = json_dumps(s->machine, JSON_COMPACT);
    snprintf(format, sizeof format, "%d", FORMAT);
    snprintf(step, sizeof step, "%d", s->steps_done);
    snprintf(steps, sizeof steps, "%d", s->steps);
    const lv_note notes[] = {{"lvsa_state", format}, {"lvsa", s->version}, {"step", step},
                             {"steps", steps},       {"job", job},         {"machine", machine},
                             {"note", note}};
    const size_t note_count = sizeof notes / sizeof notes[0] - (note == NULL);
    lvsa_status status = job && machine
                             ? lv_safetensors_write(path, tensors, count, notes, note_count)
                             : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its notes", path);
    free(machine);
    free(job);
    return status;
}
