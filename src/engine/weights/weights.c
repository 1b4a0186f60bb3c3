/* weights.c: which files a component has, and one table of all their tensors. */
#include "engine/weights/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/half.h"
#include "base/json.h"
#include "base/mem.h"
#include "engine/weights/table.h"

/* ---- tables ---------------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
    const lv_weight_row *x = a, *y = b;
    return strcmp(x->entry->name, y->entry->name);
}

lv_weight_row *lv_weights_find_row(const lv_weights *w, const char *name)
{
    lv_tensor_entry entry = {.name = name};
    lv_weight_row key = {.entry = &entry};
    return bsearch(&key, w->rows, w->row_count, sizeof key, compare_rows);
}

/* One row for each tensor of each file, by name. */
static lvsa_status build_rows(lv_weights *w)
{
    size_t count = 0;
    for (size_t i = 0; i < w->file_count; i++) count += lv_safetensors_count(w->files[i]);
    w->rows = lv_zalloc_array(count, sizeof *w->rows);
    if (!w->rows)
        return lv_fail(LVSA_ERR_MEMORY, "%s: %zu tensors don't fit in memory", w->path, count);

    for (size_t i = 0; i < w->file_count; i++)
        for (size_t j = 0; j < lv_safetensors_count(w->files[i]); j++)
            w->rows[w->row_count++] =
                (lv_weight_row){.entry = lv_safetensors_get(w->files[i], j), .file = w->files[i]};
    qsort(w->rows, w->row_count, sizeof *w->rows, compare_rows);

    for (size_t i = 1; i < w->row_count; i++)
        if (compare_rows(&w->rows[i - 1], &w->rows[i]) == 0)
            return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s is in %s as well; one of them is wanted",
                           lv_safetensors_path(w->rows[i - 1].file), w->rows[i].entry->name,
                           lv_safetensors_path(w->rows[i].file));
    return LVSA_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* "directory/name", owned by the caller; NULL without memory. */
static char *join(const char *directory, const char *name)
{
    size_t head = strlen(directory), tail = strlen(name);
    while (head > 1 && directory[head - 1] == '/') head--;
    char *path = lv_zalloc(head + tail + 2);
    if (!path) return NULL;
    memcpy(path, directory, head);
    path[head] = '/';
    memcpy(path + head + 1, name, tail);
    return path;
}

static lvsa_status out_of_memory(const char *path)
{
    return lv_fail(LVSA_ERR_MEMORY, "%s: the list of its files doesn't fit in memory", path);
}

/* Opens directory/name as the next file. */
static lvsa_status add_file(lv_weights *w, const char *directory, const char *name)
{
    char *path = join(directory, name);
    if (!path) return out_of_memory(directory);
    lvsa_status s = lv_safetensors_open(&w->files[w->file_count], path);
    if (s == LVSA_OK) w->file_count++;
    lv_free(path);
    return s;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the shards, each once, borrowed from the index. shards: [tensors of the map]. */
static lvsa_status list_shards(const char **shards, size_t *count, json_t *map, const char *index)
{
    size_t listed = 0;
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || *shard == '\0' || strchr(shard, '/'))
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: tensor %.512s isn't in a file of this directory; the file's "
                           "name is wanted",
                           index, tensor);
        shards[listed++] = shard;
    }
    qsort(shards, listed, sizeof *shards, compare_texts);
    *count = 0;
    for (size_t i = 0; i < listed; i++)
        if (i == 0 || strcmp(shards[i], shards[*count - 1]) != 0) shards[(*count)++] = shards[i];
    return LVSA_OK;
}

/* Every tensor that the index names has to be in the shard it names. */
static lvsa_status check_index(const lv_weights *w, json_t *map)
{
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value)
    {
        const lv_weight_row *row = lv_weights_find_row(w, tensor);
        const char *path = row ? lv_safetensors_path(row->file) : NULL;
        const char *slash = row ? strrchr(path, '/') : NULL;
        if (!slash || strcmp(slash + 1, json_string_value(value)) != 0)
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: tensor %.512s should be in %s, which hasn't got it; the files "
                           "don't belong together: get them again",
                           w->path, tensor, json_string_value(value));
    }
    return LVSA_OK;
}

static lvsa_status open_shards(lv_weights *w, const char *directory, json_t *map)
{
    size_t count = 0;
    const char **shards = lv_zalloc_array(json_object_size(map), sizeof *shards);
    lvsa_status s = shards ? list_shards(shards, &count, map, w->path) : out_of_memory(w->path);
    if (s == LVSA_OK) {
        w->files = lv_zalloc_array(count, sizeof *w->files);
        if (!w->files) s = out_of_memory(w->path);
    }
    for (size_t i = 0; i < count && s == LVSA_OK; i++) s = add_file(w, directory, shards[i]);
    if (s == LVSA_ERR_IO) s = lv_fail_in(s, "%s names a shard that can't be read", w->path);
    lv_free(shards);
    return s;
}

static lvsa_status open_index(lv_weights *w, const char *directory)
{
    json_t *index;
    LV_TRY(lv_json_load(&index, w->path));
    json_t *map = json_object_get(index, "weight_map");
    lvsa_status s = json_object_size(map) > 0
                        ? open_shards(w, directory, map)
                        : lv_fail(LVSA_ERR_FORMAT,
                                  "%s: no \"weight_map\"; one with a file for each tensor is "
                                  "wanted",
                                  w->path);
    if (s == LVSA_OK) s = build_rows(w);
    if (s == LVSA_OK) s = check_index(w, map);
    json_decref(index);
    return s;
}

static lvsa_status open_single(lv_weights *w, const char *directory, const char *name)
{
    w->files = lv_zalloc_array(1, sizeof *w->files);
    if (!w->files) return out_of_memory(w->path);
    LV_TRY(add_file(w, directory, name));
    return build_rows(w);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* What libraries call these files; %s is the variant with its dot, or nothing. Indexes come first:
 * beside shards, a single file is a leftover. */
static const struct {
    const char *format;
    bool is_index;
} candidates[] = {
    {"diffusion_pytorch_model.safetensors.index%s.json", true},
    {"diffusion_pytorch_model%s.safetensors", false},
    {"model.safetensors.index%s.json", true},
    {"model%s.safetensors", false},
};
enum {
    CANDIDATES = sizeof candidates / sizeof candidates[0],
    MOST_VARIANT = 32,
    MOST_FILE_NAME = 128
};

static lvsa_status no_files(const char *directory, const char *dotted)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return lv_fail(LVSA_ERR_IO, "%s: %s", directory, strerror(errno));
    if (!S_ISDIR(status.st_mode))
        return lv_fail(LVSA_ERR_IO, "%s: a directory is wanted", directory);
    return lv_fail(
        LVSA_ERR_IO,
        "%s: no weights here; diffusion_pytorch_model%s.safetensors, model%s.safetensors or "
        "their shards with an index are wanted",
        directory, dotted, dotted);
}

static lvsa_status open_first(lv_weights *w, const char *directory, const char *dotted)
{
    char name[MOST_FILE_NAME];
    for (int i = 0; i < CANDIDATES; i++) {
        struct stat status;
        snprintf(name, sizeof name, candidates[i].format, dotted);
        w->path = join(directory, name);
        if (!w->path) return out_of_memory(directory);
        if (stat(w->path, &status) == 0)
            return candidates[i].is_index ? open_index(w, directory)
                                          : open_single(w, directory, name);
        lv_free(w->path);
        w->path = NULL;
    }
    return no_files(directory, dotted);
}

lvsa_status lv_weights_open(lv_weights **out, const char *directory, const char *variant)
{
    *out = NULL;
    char dotted[MOST_VARIANT + 2] = "";
    if (variant && (strlen(variant) > MOST_VARIANT || strchr(variant, '/')))
        return lv_fail(LVSA_ERR_ARGUMENT, "variant \"%.64s\": a word like fp16 is wanted", variant);
    if (variant && *variant) snprintf(dotted, sizeof dotted, ".%s", variant);

    lv_weights *w = lv_zalloc(sizeof *w);
    lvsa_status s = w ? open_first(w, directory, dotted) : out_of_memory(directory);
    if (s != LVSA_OK) lv_weights_close(&w);
    *out = w;
    return s;
}

void lv_weights_close(lv_weights **weights)
{
    if (!weights || !*weights) return;
    lv_weights *w = *weights;
    for (size_t i = 0; i < w->file_count; i++) lv_safetensors_close(&w->files[i]);
    lv_free(w->files);
    lv_free(w->rows);
    lv_free(w->path);
    lv_free(w);
    *weights = NULL;
}

const char *lv_weights_path(const lv_weights *weights) { return weights->path; }
size_t lv_weights_count(const lv_weights *weights) { return weights->row_count; }
size_t lv_weights_count_files(const lv_weights *weights) { return weights->file_count; }

const lv_tensor_entry *lv_weights_get_entry(const lv_weights *weights, size_t index)
{
    return weights->rows[index].entry;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The i-th 2-byte value, copied out: the file may have put it at an odd address. */
static inline uint16_t half_at(const unsigned char *from, size_t i)
{
    uint16_t half;
    memcpy(&half, from + i * sizeof half, sizeof half);
    return half;
}

void lv_weight_to_f32(float *out, const lv_weight *w, size_t first, size_t count)
{
    const unsigned char *from = (const unsigned char *)w->data + first * lv_dtype_bytes(w->dtype);
    switch (w->dtype) {
    case LVSA_F32: memcpy(out, from, count * sizeof *out); break;
    case LVSA_F16:
        for (size_t i = 0; i < count; i++) out[i] = lv_f16_to_f32(half_at(from, i));
        break;
    case LVSA_BF16:
        for (size_t i = 0; i < count; i++) out[i] = lv_bf16_to_f32(half_at(from, i));
        break;
    }
}

void lv_weights_drop(const lv_weights *weights, const lv_weight *w)
{
    for (size_t i = 0; i < weights->file_count; i++)
        lv_safetensors_drop(weights->files[i], w->data, w->count * lv_dtype_bytes(w->dtype));
}
