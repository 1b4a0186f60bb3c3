/* tokenizer_json.h: text to ids by a tokenizer.json with a Unigram model, equal to the
 * tokenizers library's (0.23) encode(): added tokens, normalizer, pre_tokenizer, model,
 * post_processor.
 *
 * A component that isn't known is an error, never passed over. Not read, because they say
 * nothing about this: "decoder", and "truncation" and "padding", which transformers sets by its
 * call. */
#ifndef LV_FLOW_TEXT_TOKENIZER_JSON_H
#define LV_FLOW_TEXT_TOKENIZER_JSON_H

#include "flow/text/tokenizers/unigram.h"

typedef struct lv_tokenizer_json lv_tokenizer_json;

typedef struct lv_tokenizer_json_info {
    size_t tokens; /* the vocabulary and the added tokens that it lacks                        */
    int32_t unk_id;
    int32_t pad_id; /* of "<pad>", -1: there is none                                           */
    /* What the post_processor puts before and behind a text's own ids: */
    const int32_t *before, *behind; /* [before_count], [behind_count]; borrowed */
    size_t before_count, behind_count;
} lv_tokenizer_json_info;

/* Reads the file's text, which is overwritten; the caller frees *out with lv_tokenizer_json_free().
 * Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY, with `name` in the sentence. */
lvsa_status lv_tokenizer_json_create(lv_tokenizer_json **out, char *json, size_t size,
                                     const char *name);

void lv_tokenizer_json_free(lv_tokenizer_json **tokenizer);

void lv_tokenizer_json_get_info(lv_tokenizer_json_info *out, const lv_tokenizer_json *tokenizer);

/* Appends the ids of the text to work->ids, without those of the post_processor. Fails with
 * LVSA_ERR_ARGUMENT when the text isn't UTF-8 (the library takes nothing else), or
 * LVSA_ERR_MEMORY. */
lvsa_status lv_tokenizer_json_encode(lv_unigram_work *work, const lv_tokenizer_json *tokenizer,
                                     const char *text, size_t length);

#endif
