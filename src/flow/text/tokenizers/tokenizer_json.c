/* tokenizer_json.c: puts the components together. */
#include "flow/text/tokenizers/tokenizer_json.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "flow/text/tokenizers/added_tokens.h"
#include "flow/text/tokenizers/components.h"
#include "flow/text/tokenizers/json_vocab.h"
#include "flow/text/tokenizers/normalizers.h"
#include "flow/text/tokenizers/pretokenizers.h"

struct lv_tokenizer_json {
    lv_unigram *unigram;
    size_t pieces;
    int32_t unk_id;
    lv_normalizers normalizers;
    lv_added_tokens added;
    lv_pretokenizers pretokenizers;
    lv_unigram_work
        special; /* the post_processor's ids: those before the text, then those behind */
    size_t before_count;
};

/* ---- the model ------------------------------------------------------------------------------- */

static lvsa_status read_model(lv_tokenizer_json *t, const json_t *root, const lv_json_vocab *vocab,
                              const char *name)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = NULL;
    int64_t unk_id = -1;
    bool byte_fallback = false;
    if (!json_is_object(model)) return lv_fail(LVSA_ERR_FORMAT, "%s: has no \"model\"", name);
    LV_TRY(lv_json_get_string(&type, model, "type", name));
    if (!type || strcmp(type, "Unigram") != 0)
        return lv_component_unknown("model", type ? type : "", "Unigram is", name);
    if (vocab->count == 0 || vocab->count > INT32_MAX)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: model.vocab has %zu pieces; a list of 1 to 2^31 - 1 is wanted", name,
                       vocab->count);
    LV_TRY(lv_json_get_int(&unk_id, model, "unk_id", 0, (int64_t)vocab->count - 1, name));
    LV_TRY(lv_json_get_bool(&byte_fallback, model, "byte_fallback", name));
    if (unk_id < 0)
        return lv_fail(LVSA_ERR_FORMAT, "%s: model.unk_id is missing; a text may need it", name);
    lv_unigram_options o = {.rules = LV_RULES_TOKENIZERS,
                            .pieces = vocab->pieces,
                            .count = vocab->count,
                            .unk_id = (int32_t)unk_id,
                            .byte_fallback = byte_fallback,
                            .name = name};
    t->pieces = vocab->count;
    t->unk_id = (int32_t)unk_id;
    return lv_unigram_create(&t->unigram, &o);
}

/* ---- the post_processor ---------------------------------------------------------------------- */

static lvsa_status damaged_template(const char *name)
{
    return lv_fail(
        LVSA_ERR_FORMAT,
        "%s: the post_processor's \"single\" is no list of sequence A and special tokens", name);
}

/* Appends the ids of a special token of the template. */
static lvsa_status add_special(lv_tokenizer_json *t, const json_t *special, const char *name)
{
    const json_t *ids = json_object_get(special, "ids");
    if (!json_is_array(ids)) return damaged_template(name);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        int64_t most = (int64_t)(t->pieces + t->added.beyond) - 1;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > most)
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: the post_processor puts in an id that is none; 0 to %lld are", name,
                           (long long)most);
        LV_TRY(lv_unigram_append(&t->special, (int32_t)json_integer_value(id)));
    }
    return LVSA_OK;
}

static lvsa_status add_post_processor(void *out, const json_t *component, const char *type,
                                      const char *name)
{
    lv_tokenizer_json *t = out;
    const json_t *single = json_object_get(component, "single");
    const json_t *specials = json_object_get(component, "special_tokens");
    size_t texts = 0;
    if (strcmp(type, "TemplateProcessing") != 0 || t->special.count > 0)
        return lv_component_unknown("post_processor", type, "one TemplateProcessing is", name);
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *piece = json_array_get(single, i), *token;
        const char *id = NULL;
        if ((token = json_object_get(piece, "SpecialToken"))) {
            LV_TRY(lv_json_get_string(&id, token, "id", name));
            if (!id) return damaged_template(name);
            LV_TRY(add_special(t, json_object_get(specials, id), name));
        } else {
            token = json_object_get(piece, "Sequence");
            LV_TRY(lv_json_get_string(&id, token, "id", name));
            if (!id || strcmp(id, "A") != 0) return damaged_template(name);
            t->before_count = t->special.count;
            texts++;
        }
    }
    return texts == 1 ? LVSA_OK : damaged_template(name);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static lvsa_status read_root(lv_tokenizer_json *t, const json_t *root, const lv_json_vocab *vocab,
                             const char *name)
{
    const char *version = "1.0";
    LV_TRY(lv_json_get_string(&version, root, "version", name));
    if (strcmp(version, "1.0") != 0)
        return lv_component_unknown("version", version, "1.0 is", name);
    LV_TRY(read_model(t, root, vocab, name));
    LV_TRY(lv_normalizers_read(&t->normalizers, json_object_get(root, "normalizer"), name));
    LV_TRY(lv_added_tokens_read(&t->added, json_object_get(root, "added_tokens"), t->unigram,
                                t->pieces, &t->normalizers, name));
    LV_TRY(lv_pretokenizers_read(&t->pretokenizers, json_object_get(root, "pre_tokenizer"), name));
    if (t->normalizers.loses_marks && t->pretokenizers.needs_marks)
        return lv_component_unknown("prepend_scheme", "first", "behind NFKC, always and never are",
                                    name);
    return lv_components_walk(json_object_get(root, "post_processor"), "post_processor",
                              "processors", add_post_processor, t, name);
}

static lvsa_status parse(json_t **out, const char *json, size_t size, const char *name)
{
    json_error_t error;
    *out = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return lv_fail(LVSA_ERR_FORMAT, "%s: line %d, column %d: %s", name, error.line,
                       error.column, error.text);
    return json_is_object(*out) ? LVSA_OK
                                : lv_fail(LVSA_ERR_FORMAT, "%s: a JSON object is wanted", name);
}

lvsa_status lv_tokenizer_json_create(lv_tokenizer_json **out, char *json, size_t size,
                                     const char *name)
{
    lv_json_vocab vocab = {0};
    json_t *root = NULL;
    lv_tokenizer_json *t = lv_zalloc(sizeof *t);
    *out = NULL;
    lvsa_status s = t ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the tokenizer", name);
    if (s == LVSA_OK) s = lv_json_vocab_take(&vocab, json, size, name);
    if (s == LVSA_OK) s = parse(&root, json, size, name);
    if (s == LVSA_OK) s = read_root(t, root, &vocab, name);
    json_decref(root);
    lv_json_vocab_free(&vocab);
    if (s != LVSA_OK) lv_tokenizer_json_free(&t);
    *out = t;
    return s;
}

void lv_tokenizer_json_free(lv_tokenizer_json **tokenizer)
{
    if (!tokenizer || !*tokenizer) return;
    lv_tokenizer_json *t = *tokenizer;
    lv_unigram_work_free(&t->special);
    lv_pretokenizers_free(&t->pretokenizers);
    lv_added_tokens_free(&t->added);
    lv_normalizers_free(&t->normalizers);
    lv_unigram_free(&t->unigram);
    lv_free(t);
    *tokenizer = NULL;
}

void lv_tokenizer_json_get_info(lv_tokenizer_json_info *out, const lv_tokenizer_json *t)
{
    int32_t pad_id = lv_added_tokens_find(&t->added, "<pad>");
    *out = (lv_tokenizer_json_info){
        .tokens = t->pieces + t->added.beyond,
        .unk_id = t->unk_id,
        .pad_id = pad_id >= 0 ? pad_id : lv_unigram_find(t->unigram, "<pad>", 5),
        .before = t->special.ids,
        .behind = t->special.ids ? t->special.ids + t->before_count : NULL,
        .before_count = t->before_count,
        .behind_count = t->special.count - t->before_count};
}

static lvsa_status encode_splits(lv_unigram_work *work, const lv_tokenizer_json *t,
                                 const lv_splits *splits)
{
    for (size_t i = 0; i < splits->count; i++) {
        const lv_split *split = &splits->list[i];
        LV_TRY(split->id >= 0
                   ? lv_unigram_append(work, split->id)
                   : lv_unigram_encode(work, t->unigram, splits->text.bytes + split->offset,
                                       split->length));
    }
    return LVSA_OK;
}

lvsa_status lv_tokenizer_json_encode(lv_unigram_work *work, const lv_tokenizer_json *t,
                                     const char *text, size_t length)
{
    size_t bad = lv_utf8_find_bad(text, length);
    if (bad < length)
        return lv_fail(LVSA_ERR_ARGUMENT, "the text is no UTF-8 from byte %zu on (0x%02X)", bad,
                       (unsigned)(uint8_t)text[bad]);
    lv_splits splits = {0}, spare = {0};
    lvsa_status s = lv_splits_set_text(&splits, text, length);
    if (s == LVSA_OK) s = lv_added_tokens_cut_raw(&splits, &spare, &t->added);
    if (s == LVSA_OK) s = lv_normalizers_run(&splits, &spare, &t->normalizers);
    if (s == LVSA_OK) s = lv_added_tokens_cut_normalized(&splits, &spare, &t->added);
    if (s == LVSA_OK) s = lv_pretokenizers_run(&splits, &spare, &t->pretokenizers);
    if (s == LVSA_OK) s = encode_splits(work, t, &splits);
    lv_splits_free(&spare);
    lv_splits_free(&splits);
    return s;
}
