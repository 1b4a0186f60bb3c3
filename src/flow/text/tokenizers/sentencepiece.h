/* sentencepiece.h: text to ids by a spiece.model, equal to SentencePiece 0.2.3's encode().
 *
 * Takes any bytes: each malformed byte of a text becomes U+FFFD, as there. Earlier SentencePiece
 * releases score user-defined pieces otherwise; models without any, as T5's and UMT5's, encode
 * the same. */
#ifndef LV_FLOW_TEXT_SENTENCEPIECE_H
#define LV_FLOW_TEXT_SENTENCEPIECE_H

#include "flow/text/text.h"
#include "flow/text/tokenizers/unigram.h"

typedef struct lv_sentencepiece lv_sentencepiece;

typedef struct lv_sentencepiece_info {
    size_t pieces;
    int32_t unk_id, eos_id, pad_id; /* -1: the file has none */
} lv_sentencepiece_info;

/* Reads a model from the bytes of its file, which it copies; the caller frees it with
 * lv_sentencepiece_free(). Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY, with `name` in the
 * sentence. */
lvsa_status lv_sentencepiece_create(lv_sentencepiece **out, const void *bytes, size_t size,
                                    const char *name);

void lv_sentencepiece_free(lv_sentencepiece **model);

void lv_sentencepiece_get_info(lv_sentencepiece_info *out, const lv_sentencepiece *model);

/* Appends the text as SentencePiece normalises it: "two  words" -> "▁two▁words". */
lvsa_status lv_sentencepiece_normalize(lv_text *out, const lv_sentencepiece *model,
                                       const char *text, size_t length);

/* Appends the ids of the text to work->ids, none of the special ones. */
lvsa_status lv_sentencepiece_encode(lv_unigram_work *work, const lv_sentencepiece *model,
                                    const char *text, size_t length);

#endif
