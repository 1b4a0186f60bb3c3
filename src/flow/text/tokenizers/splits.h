/* splits.h: a text on its way through a tokenizer.json: in pieces, some of them tokens already.
 *
 * Each step of the pipeline reads one lv_splits and writes another. Beside every byte lies a
 * mark: 1 where the byte stands for the very beginning of the input. The tokenizers library
 * keeps the whole way back to the input; a Metaspace with prepend_scheme "first" asks for no
 * more than this of it. */
#ifndef LV_FLOW_TEXT_SPLITS_H
#define LV_FLOW_TEXT_SPLITS_H

#include "flow/text/text.h"

typedef struct lv_split {
    size_t offset, length; /* bytes of the text   */
    int32_t id;            /* >= 0: it is a token */
    bool at_start;         /* the mark of its first byte when it was cut off */
} lv_split;

/* All zero is an empty one. */
typedef struct lv_splits {
    lv_text text;   /* UTF-8 */
    uint8_t *marks; /* [text.length] */
    size_t marks_room;
    lv_split *list; /* [count] */
    size_t count, room;
} lv_splits;

/* All that append fail with LVSA_ERR_MEMORY; what was there before stays. */

/* Begins a split; what is appended from now on belongs to it. */
lvsa_status lv_splits_begin(lv_splits *splits, bool at_start);

/* Ends it; one without text is dropped, as the library does. */
void lv_splits_end(lv_splits *splits);

/* Adds a whole split that is a token. */
lvsa_status lv_splits_add_token(lv_splits *splits, int32_t id);

lvsa_status lv_splits_append(lv_splits *splits, const char *bytes, size_t length, uint8_t mark);
lvsa_status lv_splits_append_code(lv_splits *splits, uint32_t code, uint8_t mark);

/* Appends bytes offset .. offset + length - 1 of `from` with their marks. */
lvsa_status lv_splits_append_range(lv_splits *splits, const lv_splits *from, size_t offset,
                                   size_t length);

/* The same as a split of its own. */
lvsa_status lv_splits_cut(lv_splits *splits, const lv_splits *from, size_t offset, size_t length);

/* Puts a whole text in, as one split. */
lvsa_status lv_splits_set_text(lv_splits *splits, const char *text, size_t length);

/* Empties it; the memory stays. */
void lv_splits_clear(lv_splits *splits);

void lv_splits_free(lv_splits *splits);

/* What a step does with one split that is no token. */
typedef lvsa_status lv_split_step(lv_splits *out, const lv_splits *in, const lv_split *split,
                                  const void *what);

/* Puts every split through the step; tokens pass. *spare, a second set, holds the old ones then. */
lvsa_status lv_splits_step(lv_splits *splits, lv_splits *spare, lv_split_step *step,
                           const void *what);

#endif
