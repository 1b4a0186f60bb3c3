/* normalizers.h: the "normalizer" of a tokenizer.json: a chain of rewritings of the text.
 *
 * Known: Sequence, Precompiled, Replace (a string, or one of the patterns "c+" and "c{n,}" for
 * runs of one character c), Strip, Nmt, NFKC, Lowercase. NFKC, Lowercase and the grapheme
 * clusters that Precompiled goes by are those of the Unicode version of the utf8proc in use; the
 * tokenizers library has its own tables, so that characters newer than either may come out
 * otherwise. */
#ifndef LV_FLOW_TEXT_NORMALIZERS_H
#define LV_FLOW_TEXT_NORMALIZERS_H

#include <jansson.h>

#include "flow/text/tokenizers/splits.h"

typedef struct lv_normalizers {
    struct lv_normalizer *list; /* [count], in order                              */
    size_t count;
    bool loses_marks; /* NFKC is among them: the marks behind it say nothing */
} lv_normalizers;

/* Reads the member's value; NULL or null is an empty chain. *out is to be freed with
 * lv_normalizers_free(). LVSA_ERR_FORMAT names the file and the component that isn't known or is
 * damaged. */
lvsa_status lv_normalizers_read(lv_normalizers *out, const json_t *value, const char *name);

void lv_normalizers_free(lv_normalizers *chain);

/* Runs the chain over the splits; *spare is a second set to work with. Fails with
 * LVSA_ERR_MEMORY. */
lvsa_status lv_normalizers_run(lv_splits *splits, lv_splits *spare, const lv_normalizers *chain);

#endif
