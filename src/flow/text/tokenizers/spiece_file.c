/* spiece_file.c: protocol buffer wire format, then SentencePiece's own rules. */
#include "flow/text/tokenizers/spiece_file.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "flow/text/tokenizers/trie.h"

/* ---- the wire -------------------------------------------------------------------------------- */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { PIECE_LENGTH_MAX = 7999 }; /* SentencePiece src/model_interface.cc: kMaxPieceSize */

/* What is left of a message. */
typedef struct wire {
    const uint8_t *at, *end;
    const char *name; /* the file */
} wire;

/* One field: its number, and its value by its type. */
typedef struct field {
    uint32_t number;
    int type;
    uint64_t integer; /* WIRE_VARINT, WIRE_FIXED32, WIRE_FIXED64 */
    lv_view bytes;    /* WIRE_BYTES                              */
} field;

static lvsa_status damaged(const wire *w, const char *what)
{
    return lv_fail(LVSA_ERR_FORMAT, "%s: %s; it is no SentencePiece model or cut off", w->name,
                   what);
}

static lvsa_status read_varint(uint64_t *out, wire *w)
{
    *out = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (w->at == w->end) return damaged(w, "ends inside a number");
        uint8_t byte = *w->at++;
        if (shift == 63 && byte > 1) break;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return LVSA_OK;
    }
    return damaged(w, "a number of more than 64 bits");
}

static lvsa_status read_fixed(uint64_t *out, wire *w, size_t size)
{
    *out = 0;
    if ((size_t)(w->end - w->at) < size) return damaged(w, "ends inside a number");
    for (size_t i = 0; i < size; i++) *out |= (uint64_t)w->at[i] << (8 * i);
    w->at += size;
    return LVSA_OK;
}

static lvsa_status read_bytes(lv_view *out, wire *w)
{
    uint64_t length;
    LV_TRY(read_varint(&length, w));
    if (length > (uint64_t)(w->end - w->at)) return damaged(w, "a field goes past the end");
    *out = (lv_view){(const char *)w->at, (size_t)length};
    w->at += length;
    return LVSA_OK;
}

static lvsa_status read_field(field *out, wire *w)
{
    uint64_t tag;
    LV_TRY(read_varint(&tag, w));
    *out = (field){.number = (uint32_t)(tag >> 3), .type = (int)(tag & 7)};
    if (tag > UINT32_MAX || out->number == 0) return damaged(w, "a field number out of range");
    switch (out->type) {
    case WIRE_VARINT: return read_varint(&out->integer, w);
    case WIRE_FIXED64: return read_fixed(&out->integer, w, 8);
    case WIRE_BYTES: return read_bytes(&out->bytes, w);
    case WIRE_FIXED32: return read_fixed(&out->integer, w, 4);
    }
    return damaged(w, "a field of no known type");
}

static wire enter(const wire *w, const field *f)
{
    const uint8_t *at = (const uint8_t *)f->bytes.bytes;
    return (wire){at, at + f->bytes.length, w->name};
}

/* A known field of another type than the format's is left aside, as protocol buffers do. */
static bool is(const field *f, uint32_t number, int type)
{
    return f->number == number && f->type == type;
}

static void set_bool(bool *out, const field *f, uint32_t number)
{
    if (is(f, number, WIRE_VARINT)) *out = f->integer != 0;
}

static void set_view(lv_view *out, const field *f, uint32_t number)
{
    if (is(f, number, WIRE_BYTES)) *out = f->bytes;
}

/* ---- the messages ---------------------------------------------------------------------------- */

/* What is asked of TrainerSpec. */
typedef struct trainer {
    uint64_t model_type; /* 1: unigram                            */
    lv_view eos, pad;    /* the pieces' names; empty: the usual ones */
} trainer;

static lvsa_status read_piece(lv_piece *out, wire w)
{
    field f;
    *out = (lv_piece){.bytes = "", .kind = LV_PIECE_NORMAL};
    while (w.at < w.end) {
        LV_TRY(read_field(&f, &w));
        if (is(&f, 1, WIRE_BYTES)) {
            out->bytes = f.bytes.bytes;
            out->length = f.bytes.length;
        } else if (is(&f, 2, WIRE_FIXED32)) {
            out->score = lv_bits_to_f32((uint32_t)f.integer);
        } else if (is(&f, 3, WIRE_VARINT) && f.integer >= 1 && f.integer <= 6) {
            out->kind = (lv_piece_kind)f.integer;
        }
    }
    return LVSA_OK;
}

static lvsa_status read_trainer(lv_spiece_file *out, trainer *t, wire w)
{
    field f;
    while (w.at < w.end) {
        LV_TRY(read_field(&f, &w));
        if (is(&f, 3, WIRE_VARINT) && f.integer >= 1 && f.integer <= 4) t->model_type = f.integer;
        set_bool(&out->whitespace_is_suffix, &f, 24);
        set_bool(&out->byte_fallback, &f, 35);
        set_view(&t->eos, &f, 47);
        set_view(&t->pad, &f, 48);
    }
    return LVSA_OK;
}

static lvsa_status read_normalizer(lv_spiece_file *out, wire w)
{
    field f;
    while (w.at < w.end) {
        LV_TRY(read_field(&f, &w));
        set_view(&out->charsmap, &f, 2);
        set_bool(&out->add_dummy_prefix, &f, 3);
        set_bool(&out->remove_extra_whitespaces, &f, 4);
        set_bool(&out->escape_whitespaces, &f, 5);
    }
    return LVSA_OK;
}

static lvsa_status add_piece(lv_spiece_file *out, size_t *room, const wire *w, const field *f)
{
    if (out->count == *room) {
        size_t more = *room ? 2 * *room : 1024;
        lv_piece *grown = lv_grow_array(out->pieces, *room, more, sizeof *grown);
        if (!grown) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", w->name, more);
        out->pieces = grown;
        *room = more;
    }
    return read_piece(&out->pieces[out->count++], enter(w, f));
}

static lvsa_status read_model(lv_spiece_file *out, trainer *t, wire w)
{
    field f;
    size_t room = 0;
    while (w.at < w.end) {
        LV_TRY(read_field(&f, &w));
        if (is(&f, 1, WIRE_BYTES)) LV_TRY(add_piece(out, &room, &w, &f));
        if (is(&f, 2, WIRE_BYTES)) LV_TRY(read_trainer(out, t, enter(&w, &f)));
        if (is(&f, 3, WIRE_BYTES)) LV_TRY(read_normalizer(out, enter(&w, &f)));
    }
    return LVSA_OK;
}

/* ---- SentencePiece's rules ------------------------------------------------------------------- */

static bool is_text(const lv_piece *p)
{
    return p->kind == LV_PIECE_NORMAL || p->kind == LV_PIECE_USER_DEFINED ||
           p->kind == LV_PIECE_UNUSED;
}

static lvsa_status check_piece(lv_spiece_file *file, size_t id, const char *name)
{
    lv_piece *p = &file->pieces[id];
    if (p->length == 1 && p->bytes[0] == 0 && (p->kind == LV_PIECE_UNUSED || file->byte_fallback)) {
        /* Some converters write a piece "\0"; SentencePiece passes over it. */
        *p = (lv_piece){.bytes = "", .kind = LV_PIECE_UNUSED};
        return LVSA_OK;
    }
    if (p->length == 0 || p->length > PIECE_LENGTH_MAX)
        return lv_fail(LVSA_ERR_FORMAT, "%s: piece %zu has %zu bytes; 1 to %d are wanted", name, id,
                       p->length, PIECE_LENGTH_MAX);
    if (!isfinite(p->score))
        return lv_fail(LVSA_ERR_FORMAT, "%s: the score of piece %zu is no number", name, id);
    if (memchr(p->bytes, 0, p->length))
        return lv_fail(LVSA_ERR_FORMAT, "%s: piece %zu holds a zero byte", name, id);
    if (p->kind == LV_PIECE_BYTE && !file->byte_fallback)
        return lv_fail(LVSA_ERR_FORMAT, "%s: piece %zu is a byte, but byte_fallback is off", name,
                       id);
    if (p->kind != LV_PIECE_UNKNOWN) return LVSA_OK;
    if (file->unk_id >= 0)
        return lv_fail(LVSA_ERR_FORMAT, "%s: pieces %d and %zu are both the unknown one", name,
                       (int)file->unk_id, id);
    file->unk_id = (int32_t)id;
    return LVSA_OK;
}

/* The pieces that no text matches: unknown, control, byte. */
static lvsa_status index_reserved(lv_trie *out, const lv_spiece_file *file, const char *name)
{
    lv_trie_key *keys = lv_zalloc_array(file->count, sizeof *keys);
    if (!keys) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", name, file->count);
    size_t count = 0;
    for (size_t i = 0; i < file->count; i++) {
        const lv_piece *p = &file->pieces[i];
        if (!is_text(p)) keys[count++] = (lv_trie_key){p->bytes, p->length, (int32_t)i};
    }
    lvsa_status s = lv_trie_build(out, keys, count, name);
    if (s == LVSA_OK) s = lv_trie_refuse_twins(keys, count, name);
    if (s != LVSA_OK) lv_trie_free(out);
    lv_free(keys);
    return s;
}

static int32_t find_control(const lv_spiece_file *file, const lv_trie *reserved, lv_view piece,
                            lv_view usual)
{
    if (piece.length == 0) piece = usual;
    int32_t id = lv_trie_find(reserved, piece.bytes, piece.length);
    return id >= 0 && file->pieces[id].kind == LV_PIECE_CONTROL ? id : -1;
}

static lvsa_status check_bytes(const lv_spiece_file *file, const lv_trie *reserved,
                               const char *name)
{
    static const char digits[] = "0123456789ABCDEF";
    for (int b = 0; file->byte_fallback && b < 256; b++) {
        const char piece[] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        int32_t id = lv_trie_find(reserved, piece, sizeof piece);
        if (id < 0 || file->pieces[id].kind != LV_PIECE_BYTE)
            return lv_fail(LVSA_ERR_FORMAT, "%s: byte_fallback without a piece %.6s", name, piece);
    }
    return LVSA_OK;
}

static lvsa_status check_model(lv_spiece_file *file, const trainer *t, const char *name)
{
    static const char *const types[] = {"", "unigram", "BPE", "word", "character"};
    if (t->model_type != 1)
        return lv_fail(LVSA_ERR_FORMAT, "%s: a SentencePiece %s model; a unigram one is wanted",
                       name, types[t->model_type]);
    if (file->count == 0 || file->count > INT32_MAX)
        return lv_fail(LVSA_ERR_FORMAT, "%s: %zu pieces; 1 to 2^31 - 1 are wanted", name,
                       file->count);
    for (size_t i = 0; i < file->count; i++) LV_TRY(check_piece(file, i, name));
    if (file->unk_id < 0 && !file->byte_fallback)
        return lv_fail(LVSA_ERR_FORMAT, "%s: no piece is the unknown one", name);

    lv_trie reserved;
    LV_TRY(index_reserved(&reserved, file, name));
    lvsa_status s = check_bytes(file, &reserved, name);
    file->eos_id = find_control(file, &reserved, t->eos, (lv_view){"</s>", 4});
    file->pad_id = find_control(file, &reserved, t->pad, (lv_view){"<pad>", 5});
    lv_trie_free(&reserved);
    return s;
}

lvsa_status lv_spiece_file_read(lv_spiece_file *out, const void *bytes, size_t size,
                                const char *name)
{
    *out = (lv_spiece_file){.unk_id = -1,
                            .eos_id = -1,
                            .pad_id = -1,
                            .add_dummy_prefix = true,
                            .remove_extra_whitespaces = true,
                            .escape_whitespaces = true};
    trainer t = {.model_type = 1};
    const uint8_t *at = bytes;
    lvsa_status s = read_model(out, &t, (wire){at, size ? at + size : at, name});
    if (s == LVSA_OK) s = check_model(out, &t, name);
    if (s != LVSA_OK) lv_spiece_file_free(out);
    return s;
}

void lv_spiece_file_free(lv_spiece_file *file)
{
    lv_free(file->pieces);
    *file = (lv_spiece_file){0};
}
