/* pretokenizers.c: reads the chain and runs it. */
#include "flow/text/tokenizers/pretokenizers.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "flow/text/tokenizers/components.h"

typedef enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend;

typedef struct lv_pretokenizer {
    lv_split_step *step;
    char space[4]; /* Metaspace: what a space becomes, one character */
    size_t space_length;
    prepend prepend;
    bool split;
} pretokenizer;

/* Cuts spaces out; each run of other characters is a split. */
static lvsa_status split_whitespace(lv_splits *out, const lv_splits *in, const lv_split *split,
                                    const void *what)
{
    (void)what;
    size_t end = split->offset + split->length, begin = split->offset;
    for (size_t at = begin, step; at < end; at += step) {
        uint32_t code = 0;
        step = lv_utf8_decode(&code, in->text.bytes + at, end - at);
        if (step == 0) step = 1; /* splits hold UTF-8 only */
        if (!lv_is_space(code)) continue;
        LV_TRY(lv_splits_cut(out, in, begin, at - begin));
        begin = at + step;
    }
    return lv_splits_cut(out, in, begin, end - begin);
}

static bool begins_with_space(const pretokenizer *p, const char *text, size_t length)
{
    return length >= p->space_length && memcmp(text, p->space, p->space_length) == 0;
}

static bool wants_prefix(const pretokenizer *p, const lv_splits *in, const lv_split *split)
{
    const char *text = in->text.bytes + split->offset;
    if (*text == ' ' || begins_with_space(p, text, split->length)) return false;
    return p->prepend == PREPEND_ALWAYS || (p->prepend == PREPEND_FIRST && split->at_start);
}

/* Puts `space` for each ' ' and before the split, then begins a new split before each `space`. */
static lvsa_status metaspace(lv_splits *out, const lv_splits *in, const lv_split *split,
                             const void *what)
{
    const pretokenizer *p = what;
    size_t begin = split->offset, end = begin + split->length;
    LV_TRY(lv_splits_begin(out, split->at_start));
    if (wants_prefix(p, in, split))
        LV_TRY(lv_splits_append(out, p->space, p->space_length, in->marks[begin]));
    for (size_t at = begin, step; at < end; at += step) {
        const char *text = in->text.bytes + at;
        bool blank = *text == ' ', space = blank || begins_with_space(p, text, end - at);
        step = blank || !space ? 1 : p->space_length;
        if (space && p->split) {
            lv_splits_end(out);
            LV_TRY(lv_splits_begin(out, in->marks[at] != 0));
        }
        LV_TRY(space ? lv_splits_append(out, p->space, p->space_length, in->marks[at])
                     : lv_splits_append(out, text, 1, in->marks[at]));
    }
    lv_splits_end(out);
    return LVSA_OK;
}

lvsa_status lv_pretokenizers_run(lv_splits *splits, lv_splits *spare, const lv_pretokenizers *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        LV_TRY(lv_splits_step(splits, spare, chain->list[i].step, &chain->list[i]));
    return LVSA_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static lvsa_status read_metaspace(pretokenizer *p, const json_t *component, const char *name)
{
    const char *scheme = "always", *space = NULL;
    bool add_prefix_space = true;
    uint32_t code;
    p->step = metaspace;
    p->split = true;
    LV_TRY(lv_json_get_string(&space, component, "replacement", name));
    LV_TRY(lv_json_get_string(&scheme, component, "prepend_scheme", name));
    LV_TRY(lv_json_get_bool(&add_prefix_space, component, "add_prefix_space", name));
    LV_TRY(lv_json_get_bool(&p->split, component, "split", name));

    p->space_length = space ? lv_utf8_decode(&code, space, strlen(space)) : 0;
    if (!space || p->space_length == 0 || space[p->space_length])
        return lv_fail(LVSA_ERR_FORMAT, "%s: the \"replacement\" of a Metaspace is no character",
                       name);
    memcpy(p->space, space, p->space_length);
    if (strcmp(scheme, "always") == 0) p->prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0) p->prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0) p->prepend = PREPEND_NEVER;
    else
        return lv_component_unknown("the prepend_scheme of a Metaspace,", scheme,
                                    "always, first and never are", name);
    if (!add_prefix_space && p->prepend != PREPEND_NEVER)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: a Metaspace with prepend_scheme \"%s\" and add_prefix_space false",
                       name, scheme);
    return LVSA_OK;
}

static lvsa_status add_pretokenizer(void *out, const json_t *component, const char *type,
                                    const char *name)
{
    lv_pretokenizers *chain = out;
    pretokenizer *grown = lv_grow_array(chain->list, chain->count, chain->count + 1, sizeof *grown);
    if (!grown) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a pre-tokenizer", name);
    chain->list = grown;
    pretokenizer *p = &grown[chain->count++];
    if (strcmp(type, "Metaspace") == 0) {
        LV_TRY(read_metaspace(p, component, name));
        chain->needs_marks = chain->needs_marks || p->prepend == PREPEND_FIRST;
        return LVSA_OK;
    }
    if (strcmp(type, "WhitespaceSplit") != 0)
        return lv_component_unknown("pre_tokenizer", type,
                                    "Sequence, WhitespaceSplit and Metaspace are", name);
    p->step = split_whitespace;
    return LVSA_OK;
}

lvsa_status lv_pretokenizers_read(lv_pretokenizers *out, const json_t *value, const char *name)
{
    *out = (lv_pretokenizers){0};
    lvsa_status s =
        lv_components_walk(value, "pre_tokenizer", "pretokenizers", add_pretokenizer, out, name);
    if (s != LVSA_OK) lv_pretokenizers_free(out);
    return s;
}

void lv_pretokenizers_free(lv_pretokenizers *chain)
{
    lv_free(chain->list);
    *chain = (lv_pretokenizers){0};
}
