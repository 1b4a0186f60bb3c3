/* text.h: bytes that grow, and UTF-8. */
#ifndef LV_FLOW_TEXT_TEXT_H
#define LV_FLOW_TEXT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* All zero is an empty text. */
typedef struct lv_text {
    char *bytes; /* [length], no 0 behind them */
    size_t length, room;
} lv_text;

/* Fail with LVSA_ERR_MEMORY; the text is then as it was. */
lvsa_status lv_text_append(lv_text *text, const char *bytes, size_t length);
lvsa_status lv_text_append_code(lv_text *text, uint32_t code);

/* Lets go of the bytes; the text is empty then. */
void lv_text_free(lv_text *text);

/* Decodes one character of `length` bytes: its bytes (1 .. 4) with the code point in *code, or 0
 * where no well-formed one begins (overlong forms, surrogates and codes past U+10FFFF are
 * malformed). */
size_t lv_utf8_decode(uint32_t *code, const char *bytes, size_t length);

/* Writes the character's bytes and says how many; `code` is a Unicode scalar value. */
size_t lv_utf8_encode(char out[4], uint32_t code);

/* The offset of the first malformed byte; `length` when there is none. */
size_t lv_utf8_find_bad(const char *bytes, size_t length);

/* Unicode's White_Space property. */
bool lv_is_space(uint32_t code);

#endif
