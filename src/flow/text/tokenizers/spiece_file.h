/* spiece_file.h: what a SentencePiece model file (spiece.model) says, read from its bytes.
 *
 * The file is a protocol buffer, ModelProto of sentencepiece_model.proto. Unknown fields are
 * passed over; anything that breaks the wire format, or that SentencePiece 0.2.3 itself would
 * refuse, is an error. */
#ifndef LV_FLOW_TEXT_SPIECE_FILE_H
#define LV_FLOW_TEXT_SPIECE_FILE_H

#include "flow/text/tokenizers/unigram.h"

/* A stretch of the file, borrowed. */
typedef struct lv_view {
    const char *bytes;
    size_t length;
} lv_view;

typedef struct lv_spiece_file {
    lv_piece *pieces; /* [count]; the strings lie in the file */
    size_t count;
    int32_t unk_id, eos_id, pad_id; /* -1: the file has none */
    bool byte_fallback;
    bool whitespace_is_suffix;
    lv_view charsmap; /* empty: characters stay as they are ("identity") */
    bool add_dummy_prefix;
    bool remove_extra_whitespaces;
    bool escape_whitespaces;
} lv_spiece_file;

/* Reads `size` bytes, which *out borrows; the caller lets go of *out with lv_spiece_file_free().
 * Fails with LVSA_ERR_FORMAT (`name` and the fault in the sentence) or LVSA_ERR_MEMORY. */
lvsa_status lv_spiece_file_read(lv_spiece_file *out, const void *bytes, size_t size,
                                const char *name);

void lv_spiece_file_free(lv_spiece_file *file);

#endif
