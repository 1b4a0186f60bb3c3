/* added_tokens.h: the "added_tokens" of a tokenizer.json: strings that are cut out of a text as
 * tokens before anything else sees them, such as "<extra_id_0>". */
#ifndef LV_FLOW_TEXT_ADDED_TOKENS_H
#define LV_FLOW_TEXT_ADDED_TOKENS_H

#include <jansson.h>

#include "flow/text/tokenizers/normalizers.h"
#include "flow/text/tokenizers/trie.h"
#include "flow/text/tokenizers/unigram.h"

typedef struct lv_added_tokens {
    struct lv_added_token *list; /* [count] */
    size_t count;
    size_t beyond;      /* how many of them the model's vocabulary lacks     */
    lv_trie raw;        /* found in the text as it comes: index into the list */
    lv_trie normalized; /* found in the normalised text, as normalised tokens */
} lv_added_tokens;

/* Reads the member's value; NULL or null is no tokens. The ids must be those that the library
 * would give: the model's where it has the piece, from `model_pieces` on otherwise. *out is to
 * be freed with lv_added_tokens_free(). Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY. */
lvsa_status lv_added_tokens_read(lv_added_tokens *out, const json_t *value, const lv_unigram *model,
                                 size_t model_pieces, const lv_normalizers *normalizers,
                                 const char *name);

void lv_added_tokens_free(lv_added_tokens *tokens);

/* The id of an added token, or -1. */
int32_t lv_added_tokens_find(const lv_added_tokens *tokens, const char *content);

/* Cut the tokens of either kind out of the splits; *spare is a second set to work with. Fail with
 * LVSA_ERR_MEMORY. */
lvsa_status lv_added_tokens_cut_raw(lv_splits *splits, lv_splits *spare,
                                    const lv_added_tokens *tokens);
lvsa_status lv_added_tokens_cut_normalized(lv_splits *splits, lv_splits *spare,
                                           const lv_added_tokens *tokens);

#endif
