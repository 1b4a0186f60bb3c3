/* error.c: one sentence a thread. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_MAX = 1024 };

static _Thread_local char sentence[SENTENCE_MAX];

lvsa_status lv_fail(lvsa_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return status;
}

lvsa_status lv_fail_in(lvsa_status status, const char *format, ...)
{
    char tail[SENTENCE_MAX];
    memcpy(tail, sentence, sizeof tail);

    va_list args;
    va_start(args, format);
    int used = vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof sentence)
        snprintf(sentence + used, sizeof sentence - (size_t)used, ": %s", tail);
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
