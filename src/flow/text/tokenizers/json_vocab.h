/* json_vocab.h: the vocabulary of a tokenizer.json, read from the text itself.
 *
 * It isn't left to the JSON library for two reasons. A tree of 256 k pairs takes longer to build
 * than the rest of the loading. And the tokenizers library reads numbers with serde_json's quick
 * method, which is one unit in the last place off for every eighth score; sums that tie come out
 * in its order only with its numbers. */
#ifndef LV_FLOW_TEXT_JSON_VOCAB_H
#define LV_FLOW_TEXT_JSON_VOCAB_H

#include "flow/text/text.h"
#include "flow/text/tokenizers/unigram.h"

typedef struct lv_json_vocab {
    lv_piece *pieces; /* [count], all LV_PIECE_NORMAL; the strings lie in `strings` */
    size_t count;
    char *strings;
} lv_json_vocab;

/* Reads member "vocab" of member "model" of the object in json[0 .. size - 1], an array of
 * [string, number] pairs, into *out, to be freed with lv_json_vocab_free(), and writes an empty
 * array over it. Where there is no such member (or no such array), *out is empty and the text as
 * it was: the JSON library's reading says why. Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY,
 * with `name` in the sentence. */
lvsa_status lv_json_vocab_take(lv_json_vocab *out, char *json, size_t size, const char *name);

void lv_json_vocab_free(lv_json_vocab *vocab);

/* Reads a JSON number as serde_json 1.0 does without its feature float_roundtrip. Returns the first
 * byte behind it, NULL where none begins or it is out of range. */
const char *lv_json_read_number(double *out, const char *at, const char *end);

#endif
