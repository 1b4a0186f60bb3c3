/* bind.c: the tensors that a model's table names, with the shapes it wants. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "engine/weights/table.h"
#include "engine/weights/weights.h"

/* ---- shapes ---------------------------------------------------------------------------------- */

enum { ANY = 0 };

/* Reads one term, a number, a letter, a number times a letter or ?, and moves *text past it. */
static bool read_term(size_t *out, const char **text, const lv_dims *dims)
{
    const char *c = *text;
    if (*c == '?') {
        *out = ANY;
        *text = c + 1;
        return true;
    }
    size_t number = 0;
    for (; *c >= '0' && *c <= '9' && number < SIZE_MAX / 100; c++)
        number = number * 10 + (size_t)(*c - '0');
    bool letter = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z');
    if (letter) {
        size_t value = dims ? dims->of[(unsigned char)*c] : 0;
        number = c == *text ? value : number * value;
        c++;
    }
    *out = number;
    *text = c;
    return number > 0;
}

/* "[3E, E]" into shape; -1 for a text that is no shape or has a letter that isn't set. */
static int read_shape(size_t shape[LV_TENSOR_MAX_RANK], const char *text, const lv_dims *dims)
{
    int rank = 0;
    if (*text++ != '[') return -1;
    if (strcmp(text, "]") == 0) return 0;
    while (rank < LV_TENSOR_MAX_RANK && read_term(&shape[rank], &text, dims)) {
        rank++;
        if (strcmp(text, "]") == 0) return rank;
        if (strncmp(text, ", ", 2) != 0) return -1;
        text += 2;
    }
    return -1;
}

static bool same_shape(const lv_tensor_entry *e, const size_t *shape, int rank)
{
    if (e->rank != rank) return false;
    for (int i = 0; i < rank; i++)
        if (shape[i] != ANY && e->shape[i] != shape[i]) return false;
    return true;
}

/* "[64, 128]", with ? where any size will do. */
static const char *wanted_to_text(char text[LV_SHAPE_TEXT], const size_t *shape, int rank)
{
    size_t used = (size_t)snprintf(text, LV_SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++)
        used += (size_t)(shape[i] == ANY
                             ? snprintf(text + used, LV_SHAPE_TEXT - used, "%s?", i ? ", " : "")
                             : snprintf(text + used, LV_SHAPE_TEXT - used, "%s%zu", i ? ", " : "",
                                        shape[i]));
    snprintf(text + used, LV_SHAPE_TEXT - used, "]");
    return text;
}

/* ---- views ----------------------------------------------------------------------------------- */

static lvsa_status view(lv_weight *out, const lv_weight_row *row)
{
    const lv_tensor_entry *e = row->entry;
    if (e->dtype == 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s: tensor %s is of type %s; F32, F16 or BF16 is wanted",
                       lv_safetensors_path(row->file), e->name, e->type);
    *out = (lv_weight){.dtype = e->dtype, .rank = e->rank, .count = e->count, .data = e->data};
    memcpy(out->shape, e->shape, sizeof out->shape);
    return LVSA_OK;
}

lvsa_status lv_weights_find(lv_weight *out, lv_weights *weights, const char *name)
{
    lv_weight_row *row = lv_weights_find_row(weights, name);
    if (!row)
        return lv_fail(LVSA_ERR_FORMAT, "%s: there is no tensor %s; weights of another model?",
                       weights->path, name);
    row->asked = true;
    return view(out, row);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static bool write_name(char *name, size_t size, const char *prefix, int block, const char *rest)
{
    const char *mark = strstr(prefix, "%d");
    int length = mark ? snprintf(name, size, "%.*s%d%s%s", (int)(mark - prefix), prefix, block,
                                 mark + 2, rest)
                      : snprintf(name, size, "%s%s", prefix, rest);
    return length >= 0 && (size_t)length < size;
}

static lvsa_status bind_one(lv_weights *weights, const lv_weight_group *g,
                            const lv_weight_spec *spec, int block)
{
    char name[LV_TENSOR_MAX_NAME + 1], seen[LV_SHAPE_TEXT], wanted[LV_SHAPE_TEXT];
    size_t shape[LV_TENSOR_MAX_RANK];
    int rank = read_shape(shape, spec->shape, g->dims);
    if (rank < 0 || !write_name(name, sizeof name, g->prefix, block, spec->name))
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "weight %s%s of shape %s: no good name or shape, or a letter not set",
                       g->prefix, spec->name, spec->shape);

    lv_weight_row *row = lv_weights_find_row(weights, name);
    lv_weight_row *tied = spec->tied ? lv_weights_find_row(weights, spec->tied) : NULL;
    if (tied) tied->asked = true;
    if (!row) row = tied;
    if (!row)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: there is no tensor %s; one of shape %s is wanted: weights of another "
                       "model?",
                       weights->path, name, wanted_to_text(wanted, shape, rank));
    row->asked = true;
    const lv_tensor_entry *e = row->entry;
    if (!same_shape(e, shape, rank))
        return lv_fail(LVSA_ERR_SHAPE, "%s: tensor %s is %s; %s is wanted",
                       lv_safetensors_path(row->file), e->name,
                       lv_shape_to_text(seen, e->shape, e->rank),
                       wanted_to_text(wanted, shape, rank));
    return view((lv_weight *)(void *)((char *)g->to + (size_t)block * g->stride + spec->offset),
                row);
}

lvsa_status lv_weights_bind(lv_weights *weights, const lv_weight_group *group)
{
    if (group->repeat > 1 && !strstr(group->prefix, "%d"))
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "weights under \"%s\": %d blocks want a %%d in the prefix", group->prefix,
                       group->repeat);
    for (int block = 0; block < group->repeat; block++)
        for (size_t i = 0; i < group->spec_count; i++)
            LV_TRY(bind_one(weights, group, &group->specs[i], block));
    return LVSA_OK;
}

size_t lv_weights_count_unknown(const char **first, const lv_weights *weights,
                                const char *const *unused)
{
    size_t count = 0;
    *first = NULL;
    for (size_t i = 0; i < weights->row_count; i++) {
        const char *name = weights->rows[i].entry->name;
        bool known = weights->rows[i].asked;
        for (const char *const *pattern = unused; !known && pattern && *pattern; pattern++)
            known = fnmatch(*pattern, name, 0) == 0;
        if (!known && count++ == 0) *first = name;
    }
    return count;
}
