/* fuzz_clean.c: any bytes as a prompt: no more text than the references can make, no white space at
 * the ends; cleaned text without references stays as it is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flow/text/clean.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lv_text once = {0}, again = {0};
    if (lv_prompt_clean(&once, (const char *)data, size) != LVSA_OK) abort();
    /* "&nGt;" and a few others are five bytes and become six. */
    if (once.length > 2 * size) abort();
    if (once.length && (once.bytes[0] == ' ' || once.bytes[once.length - 1] == ' ')) abort();
    if (lv_prompt_clean(&again, once.bytes, once.length) != LVSA_OK) abort();
    if (!once.length || !memchr(once.bytes, '&', once.length))
        if (again.length != once.length ||
            (once.length && memcmp(once.bytes, again.bytes, once.length) != 0))
            abort();
    lv_text_free(&again);
    lv_text_free(&once);
    return 0;
}
