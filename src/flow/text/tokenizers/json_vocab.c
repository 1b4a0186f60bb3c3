/* json_vocab.c: finds the vocabulary in a JSON text, reads it and takes it out. */
#include "flow/text/tokenizers/json_vocab.h"

#include <string.h>

#include "base/mem.h"

/* ---- the way to it --------------------------------------------------------------------------- */

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

/* From a string's opening quote to behind its closing one; NULL when there is none. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at == '\\' && ++at == end) break;
    }
    return NULL;
}

/* Behind any value; only brackets and strings are looked at. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at && at < end) {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            if (depth == 0) return at;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) return at;
        if (c == '{' || c == '[') depth++;
        at++;
        if ((c == '}' || c == ']') && --depth == 0) return at;
    }
    return at;
}

/* The value of a member of the object that begins at `at`; NULL where it isn't found. */
static const char *find_member(const char *at, const char *end, const char *key)
{
    size_t length = strlen(key);
    at = skip_space(at, end);
    if (at == end || *at != '{') return NULL;
    do {
        const char *name = skip_space(at + 1, end);
        if (name >= end || *name != '"' || !(at = skip_string(name, end))) return NULL;
        bool found = (size_t)(at - name) == length + 2 && memcmp(name + 1, key, length) == 0;
        at = skip_space(at, end);
        if (at == end || *at != ':') return NULL;
        at = skip_space(at + 1, end);
        if (found) return at < end ? at : NULL;
        at = skip_value(at, end);
        if (at) at = skip_space(at, end);
    } while (at && at < end && *at == ',');
    return NULL;
}

/* ---- the array ------------------------------------------------------------------------------- */

typedef struct reader {
    const char *at, *end;
    lv_json_vocab *out;
    size_t room;
    char *next; /* where in out->strings the next byte goes */
} reader;

/* Four hexadecimal digits at `at`, or -1. */
static int32_t read_hex(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* \uXXXX, a pair of them where the first is a high surrogate; r->at behind "\u". */
static bool read_unicode_escape(reader *r)
{
    int32_t code = read_hex(r->at, r->end);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff)) return false;
    r->at += 4;
    if (code >= 0xd800 && code <= 0xdbff) {
        if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u') return false;
        int32_t low = read_hex(r->at + 2, r->end);
        if (low < 0xdc00 || low > 0xdfff) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        r->at += 6;
    }
    r->next += lv_utf8_encode(r->next, (uint32_t)code);
    return true;
}

static bool read_escape(reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end) return false;
    char c = *r->at++;
    if (c == 'u') return read_unicode_escape(r);
    const char *found = c ? strchr(from, c) : NULL;
    if (found) *r->next++ = to[found - from];
    return found != NULL;
}

/* The string's bytes go to r->next; they are fewer than those read, so it never overtakes. */
static bool read_string(lv_piece *piece, reader *r)
{
    piece->bytes = r->next;
    if (r->at == r->end || *r->at++ != '"') return false;
    while (r->at < r->end && *r->at != '"') {
        if ((uint8_t)*r->at < 0x20) return false;
        if (*r->at != '\\') {
            *r->next++ = *r->at++;
        } else {
            r->at++;
            if (!read_escape(r)) return false;
        }
    }
    if (r->at == r->end) return false;
    r->at++;
    piece->length = (size_t)(r->next - piece->bytes);
    return lv_utf8_find_bad(piece->bytes, piece->length) == piece->length;
}

static bool read_char(reader *r, char wanted)
{
    r->at = skip_space(r->at, r->end);
    if (r->at == r->end || *r->at != wanted) return false;
    r->at = skip_space(r->at + 1, r->end);
    return true;
}

/* ["string", number] */
static bool read_pair(lv_piece *piece, reader *r)
{
    *piece = (lv_piece){.kind = LV_PIECE_NORMAL};
    if (!read_char(r, '[') || !read_string(piece, r) || !read_char(r, ',')) return false;
    const char *behind = lv_json_read_number(&piece->score, r->at, r->end);
    if (!behind) return false;
    r->at = behind;
    return read_char(r, ']');
}

static lvsa_status read_pairs(reader *r, const char *name)
{
    lv_json_vocab *v = r->out;
    bool more = read_char(r, '[') && !read_char(r, ']');
    while (more) {
        if (v->count == r->room) {
            size_t room = r->room ? 2 * r->room : 1024;
            lv_piece *grown = lv_grow_array(v->pieces, r->room, room, sizeof *grown);
            if (!grown) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", name, room);
            v->pieces = grown;
            r->room = room;
        }
        if (!read_pair(&v->pieces[v->count], r) ||
            (!(more = read_char(r, ',')) && !read_char(r, ']')))
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: model.vocab[%zu] is damaged; [string, number] is wanted", name,
                           v->count);
        v->count++;
    }
    return LVSA_OK;
}

lvsa_status lv_json_vocab_take(lv_json_vocab *out, char *json, size_t size, const char *name)
{
    *out = (lv_json_vocab){0};
    if (size == 0) return LVSA_OK;
    const char *end = json + size, *model = find_member(json, end, "model");
    const char *vocab = model ? find_member(model, end, "vocab") : NULL;
    const char *behind = vocab && *vocab == '[' ? skip_value(vocab, end) : NULL;
    if (!behind) return LVSA_OK;

    size_t length = (size_t)(behind - vocab);
    out->strings = lv_zalloc(length);
    reader r = {vocab, behind, out, 0, out->strings};
    lvsa_status s = out->strings
                        ? read_pairs(&r, name)
                        : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu bytes", name, length);
    if (s == LVSA_OK && r.at != behind)
        s = lv_fail(LVSA_ERR_FORMAT, "%s: model.vocab is damaged", name);
    if (s != LVSA_OK) {
        lv_json_vocab_free(out);
        return s;
    }
    size_t offset = (size_t)(vocab - json);
    memset(json + offset, ' ', length);
    json[offset] = '[';
    json[offset + 1] = ']';
    return LVSA_OK;
}

void lv_json_vocab_free(lv_json_vocab *vocab)
{
    lv_free(vocab->pieces);
    lv_free(vocab->strings);
    *vocab = (lv_json_vocab){0};
}
