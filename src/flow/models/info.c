/* info.c: what a checkpoint holds, from its JSON files and the headers of its weights. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <lvsa/lvsa.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/weights/weights.h"

/* Parameters of one type. */
typedef struct share {
    const char *type;
    int64_t parameters;
} share;

enum { MOST_TYPES = 8, MOST_PATH = 4096 };

/* Keeps shares [*count] with most parameters first. */
static void add_share(share *shares, int *count, const lv_tensor_entry *e)
{
    int i = 0;
    while (i < *count && strcmp(shares[i].type, e->type) != 0) i++;
    if (i == MOST_TYPES) return;
    if (i == *count) shares[(*count)++] = (share){e->type, 0};
    shares[i].parameters += (int64_t)e->count;
    for (; i > 0 && shares[i].parameters > shares[i - 1].parameters; i--) {
        const share before = shares[i - 1];
        shares[i - 1] = shares[i], shares[i] = before;
    }
}

static void count_tensors(lvsa_model_part *part, const lv_weights *w)
{
    share shares[MOST_TYPES];
    int types = 0;
    part->files = (int)lv_weights_count_files(w);
    for (size_t i = 0; i < lv_weights_count(w); i++) {
        const lv_tensor_entry *e = lv_weights_get_entry(w, i);
        part->parameters += (int64_t)e->count;
        part->bytes += (int64_t)e->bytes;
        add_share(shares, &types, e);
    }
    size_t used = 0;
    for (int i = 0; i < types && used < sizeof part->dtypes; i++)
        used += (size_t)snprintf(part->dtypes + used, sizeof part->dtypes - used, "%s%s",
                                 i ? ", " : "", shares[i].type);
}

/* A part with a config.json is a model; schedulers and tokenizers call theirs otherwise. */
static lvsa_status add_part(lvsa_model_info *info, const char *directory, const char *name,
                            const char *class_name)
{
    char folder[MOST_PATH], path[MOST_PATH];
    lv_weights *w;
    LV_TRY(lv_path_join(folder, sizeof folder, directory, name));
    LV_TRY(lv_path_join(path, sizeof path, folder, "config.json"));
    if (access(path, F_OK) != 0) return LVSA_OK;
    if (info->parts == LVSA_MODEL_PARTS)
        return lv_fail(LVSA_ERR_FORMAT, "%s: more than %d parts with weights", directory,
                       LVSA_MODEL_PARTS);
    LV_TRY(lv_weights_open(&w, folder, NULL));
    lvsa_model_part *part = &info->part[info->parts++];
    *part = (lvsa_model_part){0};
    snprintf(part->name, sizeof part->name, "%s", name);
    snprintf(part->class_name, sizeof part->class_name, "%s", class_name);
    count_tensors(part, w);
    lv_weights_close(&w);
    return LVSA_OK;
}

lvsa_status lvsa_model_get_info(lvsa_model_info *out, const char *directory)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_model_info of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    *out = (lvsa_model_info){.size = sizeof *out, .geometry = {.size = sizeof out->geometry}};
    LV_TRY(lvsa_geometry_from_model(&out->geometry, directory));

    char path[MOST_PATH];
    json_t *index, *value;
    const char *name;
    LV_TRY(lv_json_load_in(&index, path, sizeof path, directory, "model_index.json"));
    lvsa_status s = LVSA_OK;
    json_object_foreach(index, name, value)
    {
        /* "name": [library, class], both null where a pipeline has no such part */
        const char *class_name = json_string_value(json_array_get(value, 1));
        if (class_name && !strchr(name, '/') && s == LVSA_OK)
            s = add_part(out, directory, name, class_name);
    }
    json_decref(index);
    return s;
}
