/* tokenizer.h: a prompt to token ids, for text encoders of the T5 family (UMT5-XXL, T5-XXL).
 *
 * From tokenizer.json the ids are those of the tokenizers library, from spiece.model those of
 * SentencePiece and the end token behind them: each file is read as its own library reads it.
 * The two agree on ordinary text; they part on characters the vocabulary lacks, on strings that
 * look like special tokens ("</s>" in a prompt is a token to the first and five characters to
 * the second) and, depending on the json's normalizer, on runs of spaces. transformers 5
 * rebuilds a T5 tokenizer.json by its own rules when it loads one; this doesn't. */
#ifndef LV_FLOW_TEXT_TOKENIZER_H
#define LV_FLOW_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct lv_tokenizer lv_tokenizer;

/* Opens the tokenizer of a directory: its tokenizer.json or, without one, its spiece.model. The
 * caller closes it with lv_tokenizer_close(). LVSA_ERR_IO: neither can be read. LVSA_ERR_FORMAT:
 * damaged, or of a kind that isn't supported; the sentence says what. LVSA_ERR_MEMORY. *out is
 * then NULL. */
lvsa_status lv_tokenizer_open(lv_tokenizer **out, const char *directory);

/* The same for one file of either format. */
lvsa_status lv_tokenizer_open_json(lv_tokenizer **out, const char *path);
lvsa_status lv_tokenizer_open_spiece(lv_tokenizer **out, const char *path);

/* The same for a file in memory, which is copied. `name` stands for it in sentences. */
lvsa_status lv_tokenizer_load_json(lv_tokenizer **out, const void *bytes, size_t size,
                                   const char *name);
lvsa_status lv_tokenizer_load_spiece(lv_tokenizer **out, const void *bytes, size_t size,
                                     const char *name);

void lv_tokenizer_close(lv_tokenizer **tokenizer);

typedef struct lv_tokenizer_info {
    size_t tokens;      /* ids are 0 .. tokens - 1                                     */
    int32_t pad_id;     /* -1: none                                                    */
    int32_t eos_id;     /* the last id of every encoded text; -1: none is put there    */
    int32_t unk_id;     /* -1: none                                                    */
    size_t special_ids; /* how many ids encoding adds to a text's own: 1 with eos alone */
} lv_tokenizer_info;

void lv_tokenizer_get_info(lv_tokenizer_info *out, const lv_tokenizer *tokenizer);

/* Encodes a text: ids[0 .. *count - 1], the special ones included. A text of more ids than fit
 * into `max` loses its last ones, never the special ones; ids[*count .. max - 1] are filled with
 * the pad id (0 without one). An empty text is the special ids alone. The tokenizer is only
 * read: any number of threads at once. LVSA_ERR_ARGUMENT: max is less than special_ids, or the
 * text isn't UTF-8 (tokenizer.json only; SentencePiece takes any bytes). LVSA_ERR_MEMORY. */
lvsa_status lv_tokenizer_encode(int32_t *ids, size_t *count, size_t max,
                                const lv_tokenizer *tokenizer, const char *text, size_t length);

#endif
