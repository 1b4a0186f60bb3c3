/* unigram.h: a vocabulary with scores and the segmentation of the greatest sum of scores.
 *
 * SentencePiece and the tokenizers library read the same vocabulary differently; a model is read
 * by the rules of the library whose file it came from (SentencePiece 0.2.3, tokenizers 0.23):
 *                        SentencePiece                tokenizers
 *   sums                 fp32, set back past 1e5      fp64
 *   pieces that match    normal, user-defined         all: "</s>" and "<0x41>" in a text too
 *   user-defined pieces  0.1 * (bytes - 1) each       their score
 *   unknown character    least normal score - 10      least score of all - 10
 *   run of unknowns      one unknown id; with byte    looked up as a whole, then its bytes if
 *                        fallback each its bytes      all are pieces, then one unknown id
 *   equal pieces         refused                      the last one counts
 * Both keep the first of equal sums: that whose last piece begins first. */
#ifndef LV_FLOW_TEXT_UNIGRAM_H
#define LV_FLOW_TEXT_UNIGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum lv_unigram_rules {
    LV_RULES_SENTENCEPIECE = 1,
    LV_RULES_TOKENIZERS = 2
} lv_unigram_rules;

/* SentencePiece's numbers (sentencepiece_model.proto). */
typedef enum lv_piece_kind {
    LV_PIECE_NORMAL = 1,
    LV_PIECE_UNKNOWN = 2,
    LV_PIECE_CONTROL = 3,
    LV_PIECE_USER_DEFINED = 4,
    LV_PIECE_UNUSED = 5,
    LV_PIECE_BYTE = 6
} lv_piece_kind;

/* A piece's id is its place in the list. */
typedef struct lv_piece {
    const char *bytes; /* borrowed while the model is made */
    size_t length;
    double score;
    lv_piece_kind kind;
} lv_piece;

typedef struct lv_unigram_options {
    lv_unigram_rules rules;
    const lv_piece *pieces;
    size_t count;       /* 1 .. 2^31 - 1                                                    */
    int32_t unk_id;     /* an id; under SentencePiece's rules -1 too, with byte_fallback    */
    bool byte_fallback; /* unknown characters as pieces "<0x00>" .. "<0xFF>" where there are */
    const char *name;   /* the file, for sentences                                          */
} lv_unigram_options;

typedef struct lv_unigram lv_unigram;

/* Makes the model; the caller frees it with lv_unigram_free(). An empty piece never matches.
 * Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_unigram_create(lv_unigram **out, const lv_unigram_options *options);

void lv_unigram_free(lv_unigram **model);

/* The id of the piece that matches exactly these bytes of a text, or -1. */
int32_t lv_unigram_find(const lv_unigram *model, const char *bytes, size_t length);

/* What one thread encodes with; all zero to begin with. */
typedef struct lv_unigram_work {
    int32_t *ids; /* [count] */
    size_t count;
    size_t ids_room, nodes_room;
    struct lv_unigram_node *nodes; /* [nodes_room], one a byte of the text and one more */
} lv_unigram_work;

/* Appends the ids of a text to work->ids. The model is only read: any number of threads, each
 * with work of its own. Fails with LVSA_ERR_MEMORY, or LVSA_ERR_ARGUMENT past 2^32 - 2 bytes. */
lvsa_status lv_unigram_encode(lv_unigram_work *work, const lv_unigram *model, const char *text,
                              size_t length);

/* Appends one id. Fails with LVSA_ERR_MEMORY. */
lvsa_status lv_unigram_append(lv_unigram_work *work, int32_t id);

void lv_unigram_work_free(lv_unigram_work *work);

#endif
