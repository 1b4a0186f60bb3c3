/* clean.c: html.unescape() and white space. */
#include "flow/text/clean.h"

#include <string.h>

#include "flow/text/html_entities.h"

enum { CODE_MAX = 0x10ffff };

/* Bytes of the character at `text`; a malformed byte counts as a character of its own. */
static size_t next_char(uint32_t *code, const char *text, size_t length)
{
    size_t step = lv_utf8_decode(code, text, length);
    if (step) return step;
    *code = CODE_MAX + 1;
    return 1;
}

/* ---- character references -------------------------------------------------------------------- */

/* What "&#N;" stands for by HTML's rules; 0 for nothing at all. */
static uint32_t numbered(uint32_t n)
{
    /* Windows-1252's characters at 0x80 .. 0x9f; those it lacks stand for themselves. */
    static const uint16_t windows[32] = {
        0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
        0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    if (n == 0 || n > CODE_MAX || (n >= 0xd800 && n <= 0xdfff)) return 0xfffd;
    if (n >= 0x80 && n <= 0x9f) return windows[n - 0x80];
    bool control = (n < 0x20 && n != '\t' && n != '\n' && n != '\f' && n != '\r') || n == 0x7f;
    bool no_character = (n >= 0xfdd0 && n <= 0xfdef) || (n & 0xfffe) == 0xfffe;
    return control || no_character ? 0 : n;
}

static int digit_of(char c, int base)
{
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : base;
    return digit < base ? digit : -1;
}

/* "&#65;" or "&#x41;" at `text`: its bytes, 0 when it is none. The ";" may be missing. */
static size_t read_numbered(uint32_t *code, const char *text, size_t length)
{
    bool hex = length > 2 && (text[2] == 'x' || text[2] == 'X');
    size_t first = hex ? 3 : 2, at = first;
    int base = hex ? 16 : 10, digit;
    uint32_t n = 0;
    for (; at < length && (digit = digit_of(text[at], base)) >= 0; at++)
        if (n <= CODE_MAX) n = n * (uint32_t)base + (uint32_t)digit;
    if (at == first) return 0;
    *code = numbered(n);
    return at < length && text[at] == ';' ? at + 1 : at;
}

static const lv_html_entity *find_entity(const char *name, size_t length)
{
    size_t lo = 0, hi = LV_HTML_ENTITIES;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        const lv_html_entity *entity = &lv_html_entities[middle];
        size_t have = strlen(entity->name);
        int order = memcmp(name, entity->name, length < have ? length : have);
        if (order == 0 && length == have) return entity;
        if (order > 0 || (order == 0 && length > have)) lo = middle + 1;
        else hi = middle;
    }
    return NULL;
}

/* "&name;" at `text`: its bytes, all that could be part of a name. */
static size_t measure_name(const char *text, size_t length)
{
    size_t at = 1;
    uint32_t code;
    for (int chars = 0; chars < LV_HTML_NAME_MAX && at < length; chars++) {
        size_t step = next_char(&code, text + at, length - at);
        if (strchr("\t\n\f <&#;", text[at]) && text[at]) break;
        at += step;
    }
    return at > 1 && at < length && text[at] == ';' ? at + 1 : at;
}

/* Replaces the longest name that the reference begins with, or nothing. */
static lvsa_status append_named(lv_text *out, const char *text, size_t length)
{
    size_t most = length - 1 < LV_HTML_NAME_MAX ? length - 1 : LV_HTML_NAME_MAX;
    for (size_t n = most; n >= 2; n--) {
        const lv_html_entity *entity = find_entity(text + 1, n);
        if (!entity) continue;
        LV_TRY(lv_text_append_code(out, entity->codes[0]));
        if (entity->codes[1]) LV_TRY(lv_text_append_code(out, entity->codes[1]));
        return lv_text_append(out, text + 1 + n, length - 1 - n);
    }
    return lv_text_append(out, text, length);
}

lvsa_status lv_html_unescape(lv_text *out, const char *text, size_t length)
{
    for (size_t at = 0, step; at < length; at += step) {
        const char *rest = text + at, *next = memchr(rest, '&', length - at);
        uint32_t code = 0;
        if (next != rest) {
            step = next ? (size_t)(next - rest) : length - at;
            LV_TRY(lv_text_append(out, rest, step));
        } else if (length - at < 2 || rest[1] != '#') {
            step = measure_name(rest, length - at);
            LV_TRY(append_named(out, rest, step));
        } else if ((step = read_numbered(&code, rest, length - at)) == 0) {
            step = 1;
            LV_TRY(lv_text_append(out, rest, step));
        } else if (code) {
            LV_TRY(lv_text_append_code(out, code));
        }
    }
    return LVSA_OK;
}

/* ---- white space ----------------------------------------------------------------------------- */

/* str.isspace(), "\s" and str.strip() of Python: White_Space and four separators. */
static bool is_python_space(uint32_t code)
{
    return lv_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

/* Runs of white space become one space; none is left at the ends. */
static lvsa_status append_tidy(lv_text *out, const char *text, size_t length)
{
    size_t begin = out->length;
    bool space = false;
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t code;
        step = next_char(&code, text + at, length - at);
        if (is_python_space(code)) {
            space = true;
            continue;
        }
        if (space && out->length > begin) LV_TRY(lv_text_append(out, " ", 1));
        space = false;
        LV_TRY(lv_text_append(out, text + at, step));
    }
    return LVSA_OK;
}

lvsa_status lv_prompt_clean(lv_text *out, const char *text, size_t length)
{
    lv_text once = {0}, twice = {0};
    lvsa_status s = lv_html_unescape(&once, text, length);
    if (s == LVSA_OK) s = lv_html_unescape(&twice, once.bytes, once.length);
    if (s == LVSA_OK) s = append_tidy(out, twice.bytes, twice.length);
    lv_text_free(&twice);
    lv_text_free(&once);
    return s;
}
