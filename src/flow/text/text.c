/* text.c: bytes that grow, and UTF-8. */
#include "flow/text/text.h"

#include <string.h>

#include "base/mem.h"

lvsa_status lv_text_append(lv_text *text, const char *bytes, size_t length)
{
    if (length > text->room - text->length) {
        size_t room = text->room ? text->room : 64;
        while (room - text->length < length && room <= SIZE_MAX / 2) room *= 2;
        char *grown =
            room - text->length >= length ? lv_grow_array(text->bytes, text->room, room, 1) : NULL;
        if (!grown)
            return lv_fail(LVSA_ERR_MEMORY, "no memory for %zu bytes of text more than %zu", length,
                           text->length);
        text->bytes = grown;
        text->room = room;
    }
    if (length) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    return LVSA_OK;
}

lvsa_status lv_text_append_code(lv_text *text, uint32_t code)
{
    char bytes[4];
    return lv_text_append(text, bytes, lv_utf8_encode(bytes, code));
}

void lv_text_free(lv_text *text)
{
    lv_free(text->bytes);
    *text = (lv_text){0};
}

static bool is_trail(uint8_t byte) { return (byte & 0xc0) == 0x80; }

size_t lv_utf8_decode(uint32_t *code, const char *bytes, size_t length)
{
    const uint8_t *b = (const uint8_t *)bytes;
    if (length >= 1 && b[0] < 0x80) {
        *code = b[0];
        return 1;
    }
    if (length >= 2 && (b[0] & 0xe0) == 0xc0 && is_trail(b[1])) {
        *code = (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
        return *code >= 0x80 ? 2 : 0;
    }
    if (length >= 3 && (b[0] & 0xf0) == 0xe0 && is_trail(b[1]) && is_trail(b[2])) {
        *code = (b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
        return *code >= 0x800 && (*code < 0xd800 || *code > 0xdfff) ? 3 : 0;
    }
    if (length >= 4 && (b[0] & 0xf8) == 0xf0 && is_trail(b[1]) && is_trail(b[2]) &&
        is_trail(b[3])) {
        *code = (b[0] & 0x07u) << 18 | (b[1] & 0x3fu) << 12 | (b[2] & 0x3fu) << 6 | (b[3] & 0x3fu);
        return *code >= 0x10000 && *code <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

size_t lv_utf8_encode(char out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

size_t lv_utf8_find_bad(const char *bytes, size_t length)
{
    uint32_t code;
    size_t at = 0;
    for (size_t step; at < length; at += step)
        if ((step = lv_utf8_decode(&code, bytes + at, length - at)) == 0) return at;
    return length;
}

bool lv_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}
