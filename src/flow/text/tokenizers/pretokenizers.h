/* pretokenizers.h: the "pre_tokenizer" of a tokenizer.json: cuts the text into words.
 *
 * Known: Sequence, WhitespaceSplit, Metaspace. */
#ifndef LV_FLOW_TEXT_PRETOKENIZERS_H
#define LV_FLOW_TEXT_PRETOKENIZERS_H

#include <jansson.h>

#include "flow/text/tokenizers/splits.h"

typedef struct lv_pretokenizers {
    struct lv_pretokenizer *list; /* [count], in order */
    size_t count;
    bool needs_marks; /* a Metaspace with prepend_scheme "first" */
} lv_pretokenizers;

/* Reads the member's value; NULL or null is an empty chain. *out is to be freed with
 * lv_pretokenizers_free(). LVSA_ERR_FORMAT names the file and the component. */
lvsa_status lv_pretokenizers_read(lv_pretokenizers *out, const json_t *value, const char *name);

void lv_pretokenizers_free(lv_pretokenizers *chain);

/* Runs the chain over the splits; *spare is a second set to work with. Fails with
 * LVSA_ERR_MEMORY. */
lvsa_status lv_pretokenizers_run(lv_splits *splits, lv_splits *spare,
                                 const lv_pretokenizers *chain);

#endif
