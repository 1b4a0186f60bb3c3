/* error.c: one sentence a thread. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

static _Thread_local char sentence[SENTENCE_MAX];

/* Both may be given the sentence itself, lvsa_last_error(), so it is replaced when all is said. */
lvsa_status lv_fail(lvsa_status status, const char *format, ...)
{
    char text[SENTENCE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strcpy(sentence, text);
    return status;
}

lvsa_status lv_fail_in(lvsa_status status, const char *format, ...)
{
    char text[2 * SENTENCE_MAX + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, SENTENCE_MAX, format, args);
    va_end(args);
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", sentence);
    text[SENTENCE_MAX - 1] = '\0';
    strcpy(sentence, text);
    return status;
}

const char *lvsa_last_error(void) { return sentence; }

const char *lvsa_status_name(lvsa_status status)
{
    switch (status) {
    case LVSA_OK: return "LVSA_OK";
    case LVSA_ERR_ARGUMENT: return "LVSA_ERR_ARGUMENT";
    case LVSA_ERR_SHAPE: return "LVSA_ERR_SHAPE";
    case LVSA_ERR_MEMORY: return "LVSA_ERR_MEMORY";
    case LVSA_ERR_IO: return "LVSA_ERR_IO";
    case LVSA_ERR_FORMAT: return "LVSA_ERR_FORMAT";
    case LVSA_ERR_UNSUPPORTED: return "LVSA_ERR_UNSUPPORTED";
    case LVSA_ERR_CANCELLED: return "LVSA_ERR_CANCELLED";
    case LVSA_ERR_DEVICE: return "LVSA_ERR_DEVICE";
    case LVSA_ERR_NUMBER: return "LVSA_ERR_NUMBER";
    }
    return "LVSA_ERR_UNKNOWN";
}
