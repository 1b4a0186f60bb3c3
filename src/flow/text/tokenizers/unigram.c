/* unigram.c: Viterbi over byte positions. */
#include "flow/text/tokenizers/unigram.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "flow/text/tokenizers/trie.h"

/* SentencePiece src/unigram_model.cc: kUnkPenalty and kScoreResetThreshold; tokenizers
 * models/unigram/model.rs: K_UNK_PENALTY. */
static const double unknown_penalty = 10.0;
static const double reset_threshold = 100000.0;

#define NO_START UINT32_MAX

/* The best way to a byte position: its last piece. */
typedef struct lv_unigram_node {
    double score;   /* sum up to here                              */
    uint32_t start; /* where the piece begins; NO_START: no way yet */
    uint32_t end;   /* once the best path is known: where the piece that begins here ends */
    int32_t id;
} node;

struct lv_unigram {
    lv_unigram_rules rules;
    lv_trie trie;
    double *scores;  /* [count] */
    uint8_t *unused; /* [count]; 1: the piece never matches */
    double unknown_score;
    int32_t unk_id;
    bool byte_fallback;
    int32_t byte_ids[256]; /* -1: no such piece */
};

/* ---- the model ------------------------------------------------------------------------------- */

static bool matches_text(const lv_unigram_options *o, const lv_piece *piece)
{
    return o->rules == LV_RULES_TOKENIZERS || piece->kind == LV_PIECE_NORMAL ||
           piece->kind == LV_PIECE_USER_DEFINED || piece->kind == LV_PIECE_UNUSED;
}

static double score_of(const lv_unigram_options *o, const lv_piece *piece)
{
    if (o->rules == LV_RULES_TOKENIZERS) return piece->score;
    if (piece->kind == LV_PIECE_USER_DEFINED) return (float)(0.1 * (double)(piece->length - 1));
    return (float)piece->score;
}

static double least_score(const lv_unigram_options *o)
{
    bool single = o->rules == LV_RULES_SENTENCEPIECE;
    double least = single ? (double)FLT_MAX : (double)INFINITY;
    for (size_t i = 0; i < o->count; i++)
        if (!single || o->pieces[i].kind == LV_PIECE_NORMAL)
            least = fmin(least, o->pieces[i].score);
    return single ? (double)((float)least - (float)unknown_penalty) : least - unknown_penalty;
}

static lvsa_status build_trie(lv_unigram *m, const lv_unigram_options *o)
{
    lv_trie_key *keys = lv_zalloc_array(o->count, sizeof *keys);
    if (!keys) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", o->name, o->count);
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        const lv_piece *piece = &o->pieces[i];
        if (piece->length > 0 && matches_text(o, piece))
            keys[count++] = (lv_trie_key){piece->bytes, piece->length, (int32_t)i};
    }
    lvsa_status s = lv_trie_build(&m->trie, keys, count, o->name);
    if (s == LVSA_OK && o->rules == LV_RULES_SENTENCEPIECE)
        s = lv_trie_refuse_twins(keys, count, o->name);
    lv_free(keys);
    return s;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that a piece like "<0x41>" stands for, or -1. */
static int byte_of(const lv_piece *piece)
{
    const char *b = piece->bytes;
    if (piece->length != 6 || memcmp(b, "<0x", 3) != 0 || b[5] != '>') return -1;
    int high = hex_digit(b[3]), low = hex_digit(b[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* SentencePiece has a kind for byte pieces, tokenizers goes by their names. */
static void find_byte_pieces(lv_unigram *m, const lv_unigram_options *o)
{
    for (int b = 0; b < 256; b++) m->byte_ids[b] = -1;
    for (size_t i = 0; i < o->count; i++) {
        int byte = byte_of(&o->pieces[i]);
        if (byte >= 0 && (o->rules == LV_RULES_TOKENIZERS || o->pieces[i].kind == LV_PIECE_BYTE))
            m->byte_ids[byte] = (int32_t)i;
    }
}

lvsa_status lv_unigram_create(lv_unigram **out, const lv_unigram_options *o)
{
    *out = NULL;
    if (o->count == 0 || o->count > INT32_MAX)
        return lv_fail(LVSA_ERR_FORMAT, "%s: %zu pieces; 1 to 2^31 - 1 are wanted", o->name,
                       o->count);
    lv_unigram *m = lv_zalloc(sizeof *m);
    if (!m) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the vocabulary", o->name);
    m->rules = o->rules;
    m->unk_id = o->unk_id;
    m->byte_fallback = o->byte_fallback;
    m->unknown_score = least_score(o);
    m->scores = lv_zalloc_array(o->count, sizeof *m->scores);
    m->unused = lv_zalloc(o->count);
    lvsa_status s = LVSA_OK;
    if (!m->scores || !m->unused)
        s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", o->name, o->count);
    else s = build_trie(m, o);
    if (s != LVSA_OK) {
        lv_unigram_free(&m);
        return s;
    }
    for (size_t i = 0; i < o->count; i++) {
        m->scores[i] = score_of(o, &o->pieces[i]);
        m->unused[i] = o->rules == LV_RULES_SENTENCEPIECE && o->pieces[i].kind == LV_PIECE_UNUSED;
    }
    find_byte_pieces(m, o);
    *out = m;
    return LVSA_OK;
}

void lv_unigram_free(lv_unigram **model)
{
    if (!model || !*model) return;
    lv_trie_free(&(*model)->trie);
    lv_free((*model)->scores);
    lv_free((*model)->unused);
    lv_free(*model);
    *model = NULL;
}

int32_t lv_unigram_find(const lv_unigram *model, const char *bytes, size_t length)
{
    return lv_trie_find(&model->trie, bytes, length);
}

/* ---- the best path --------------------------------------------------------------------------- */

/* Bytes of the character that begins with this one, by its first half-byte alone, as both libraries
 * count: no more than are left. */
static size_t char_length(const char *text, size_t left)
{
    static const uint8_t lengths[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
    size_t length = lengths[(uint8_t)*text >> 4];
    return length < left ? length : left;
}

/* The sum in the precision of the file's library: fp32 sums are fp64 ones, rounded. */
static double add(const lv_unigram *m, double sum, double score)
{
    double more = sum + score;
    return m->rules == LV_RULES_SENTENCEPIECE ? (double)(float)more : more;
}

static void offer(node *nodes, size_t start, size_t end, int32_t id, double score)
{
    node *n = &nodes[end];
    if (n->start != NO_START && !(score > n->score)) return;
    n->score = score;
    n->start = (uint32_t)start;
    n->id = id;
}

/* SentencePiece keeps fp32 sums small: past the threshold, all that is still in play moves back
 * by the sum at `start`. `furthest`: the last position that a piece has reached. */
static void reset_scores(const lv_unigram *m, node *nodes, size_t start, size_t furthest)
{
    double by = nodes[start].score;
    if (m->rules != LV_RULES_SENTENCEPIECE || fabs(by) <= reset_threshold) return;
    for (size_t i = start; i <= furthest; i++)
        if (nodes[i].start != NO_START) nodes[i].score = add(m, nodes[i].score, -by);
}

static void find_best_path(const lv_unigram *m, node *nodes, const char *text, size_t length)
{
    size_t furthest = 0;
    for (size_t i = 0; i <= length; i++) nodes[i] = (node){.start = NO_START, .id = -1};
    for (size_t start = 0, width; start < length; start += width) {
        width = char_length(text + start, length - start);
        reset_scores(m, nodes, start, furthest);
        double sum = nodes[start].score;
        bool known = false; /* some piece is just this character */
        uint32_t at = LV_TRIE_ROOT;
        for (size_t end = start; end < length;) {
            at = lv_trie_step(&m->trie, at, (uint8_t)text[end++]);
            if (at == LV_TRIE_ROOT) break;
            int32_t id = m->trie.value[at];
            if (id < 0 || m->unused[id]) continue;
            if (end > furthest) furthest = end;
            offer(nodes, start, end, id, add(m, sum, m->scores[id]));
            known = known || end - start == width;
        }
        if (known) continue;
        if (start + width > furthest) furthest = start + width;
        offer(nodes, start, start + width, m->unk_id, add(m, sum, m->unknown_score));
    }
    for (size_t end = length; end > 0; end = nodes[end].start)
        nodes[nodes[end].start].end = (uint32_t)end;
}

/* ---- ids ------------------------------------------------------------------------------------- */

lvsa_status lv_unigram_append(lv_unigram_work *work, int32_t id)
{
    if (work->count == work->ids_room) {
        size_t room = work->ids_room ? 2 * work->ids_room : 64;
        int32_t *grown = lv_grow_array(work->ids, work->ids_room, room, sizeof *grown);
        if (!grown) return lv_fail(LVSA_ERR_MEMORY, "no memory for %zu token ids", room);
        work->ids = grown;
        work->ids_room = room;
    }
    work->ids[work->count++] = id;
    return LVSA_OK;
}

static lvsa_status append_bytes(lv_unigram_work *work, const lv_unigram *m, const char *text,
                                size_t length)
{
    for (size_t i = 0; i < length; i++)
        LV_TRY(lv_unigram_append(work, m->byte_ids[(uint8_t)text[i]]));
    return LVSA_OK;
}

static bool all_bytes_known(const lv_unigram *m, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (m->byte_ids[(uint8_t)text[i]] < 0) return false;
    return m->byte_fallback;
}

static lvsa_status append_unknown(lv_unigram_work *work, const lv_unigram *m, const char *text,
                                  size_t length)
{
    if (m->rules == LV_RULES_TOKENIZERS) {
        int32_t id = lv_trie_find(&m->trie, text, length);
        if (id >= 0) return lv_unigram_append(work, id);
        if (!all_bytes_known(m, text, length)) return lv_unigram_append(work, m->unk_id);
    } else if (!m->byte_fallback) {
        return lv_unigram_append(work, m->unk_id);
    }
    return append_bytes(work, m, text, length);
}

static lvsa_status append_path(lv_unigram_work *work, const lv_unigram *m, const char *text,
                               size_t length)
{
    const node *nodes = work->nodes;
    for (size_t start = 0, end; start < length; start = end) {
        end = nodes[start].end;
        if (nodes[end].id != m->unk_id) {
            LV_TRY(lv_unigram_append(work, nodes[end].id));
            continue;
        }
        while (end < length && nodes[nodes[end].end].id == m->unk_id) end = nodes[end].end;
        LV_TRY(append_unknown(work, m, text + start, end - start));
    }
    return LVSA_OK;
}

lvsa_status lv_unigram_encode(lv_unigram_work *work, const lv_unigram *model, const char *text,
                              size_t length)
{
    if (length >= NO_START)
        return lv_fail(LVSA_ERR_ARGUMENT, "text of %zu bytes; less than 2^32 - 1 is wanted",
                       length);
    if (length + 1 > work->nodes_room) {
        lv_free(work->nodes);
        work->nodes_room = 0;
        work->nodes = lv_zalloc_array(length + 1, sizeof *work->nodes);
        if (!work->nodes)
            return lv_fail(LVSA_ERR_MEMORY, "no memory to segment %zu bytes of text", length);
        work->nodes_room = length + 1;
    }
    find_best_path(model, work->nodes, text, length);
    return append_path(work, model, text, length);
}

void lv_unigram_work_free(lv_unigram_work *work)
{
    lv_free(work->ids);
    lv_free(work->nodes);
    *work = (lv_unigram_work){0};
}
