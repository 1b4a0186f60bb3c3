/* talk.c: stderr and exit codes. */
#include "talk.h"

#include <stdarg.h>
#include <stdio.h>

static const char *talk_name = "lvsa";
static talk_level talk_limit = TALK_NORMAL;

void talk_begin(const char *name, talk_level level)
{
    talk_name = name;
    talk_limit = level;
}

talk_level talk_get_level(void) { return talk_limit; }

static void write_line(const char *name, const char *format, va_list args)
{
    if (name) fprintf(stderr, "%s: ", name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void say(talk_level level, const char *format, ...)
{
    if (level > talk_limit) return;
    va_list args;
    va_start(args, format);
    write_line(NULL, format, args);
    va_end(args);
}

void note(talk_level level, const char *format, ...)
{
    if (level > talk_limit) return;
    va_list args;
    va_start(args, format);
    write_line(talk_name, format, args);
    va_end(args);
}

exit_code complain(exit_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(talk_name, format, args);
    va_end(args);
    return code;
}

exit_code warn(int strict, const char *format, ...)
{
    if (!strict && talk_limit < TALK_NORMAL) return CODE_DONE;
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s%s\n", talk_name, sentence, strict ? " (refused: --strict)" : "");
    return strict ? CODE_USAGE : CODE_DONE;
}

static exit_code code_of(lvsa_status status)
{
    switch (status) {
    case LVSA_OK: return CODE_DONE;
    case LVSA_ERR_ARGUMENT:
    case LVSA_ERR_SHAPE: return CODE_USAGE;
    case LVSA_ERR_MEMORY: return CODE_MEMORY;
    case LVSA_ERR_FORMAT: return CODE_MODEL;
    case LVSA_ERR_CANCELLED: return CODE_INTERRUPTED;
    case LVSA_ERR_IO:
    case LVSA_ERR_UNSUPPORTED:
    case LVSA_ERR_DEVICE:
    case LVSA_ERR_NUMBER: break;
    }
    return CODE_FAILED;
}

exit_code complain_there(const char *path)
{
    return complain(CODE_FAILED,
                    "%s is there already; another name is wanted, or leave to replace it (--force)",
                    path);
}

exit_code complain_status(lvsa_status status)
{
    return status == LVSA_OK ? CODE_DONE : complain(code_of(status), "%s", lvsa_last_error());
}

exit_code complain_model(lvsa_status status)
{
    return status == LVSA_ERR_IO ? complain(CODE_MODEL, "%s", lvsa_last_error())
                                 : complain_status(status);
}
