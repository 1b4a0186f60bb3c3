/* fuzz_record.c: any text as the comment of a video that --from names: settings in their ranges
 * that say no file to write, or a complaint. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- talk.h, silent -------------------------------------------------------------------------- */

static int complaints;

void talk_begin(const char *name, talk_level level) { (void)name, (void)level; }
talk_level talk_get_level(void) { return TALK_QUIET; }
void say(talk_level level, const char *format, ...) { (void)level, (void)format; }
void note(talk_level level, const char *format, ...) { (void)level, (void)format; }

exit_code complain(exit_code code, const char *format, ...)
{
    (void)format;
    complaints++;
    return code;
}

exit_code warn(int strict, const char *format, ...)
{
    (void)format;
    return strict ? CODE_USAGE : CODE_DONE;
}

exit_code complain_there(const char *path)
{
    (void)path;
    return CODE_FAILED;
}

exit_code complain_status(lvsa_status status)
{
    return status == LVSA_OK ? CODE_DONE : CODE_FAILED;
}

exit_code complain_model(lvsa_status status) { return complain_status(status); }

/* ---- the target ------------------------------------------------------------------------------ */

static void check_option(const option *o, const void *setting)
{
    static const char *const never[] = {"output",      "output-dir", "output-name",   "force",
                                        "prompt-file", "from",       "output-latent", "checkpoint"};
    if (o->type == OPTION_HELP || o->type == OPTION_REFUSED || !*(const origin *)setting) return;
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        if (strcmp(o->name, never[i]) == 0) abort();
    const int value = ((const int_setting *)setting)->value;
    if (o->type == OPTION_INT && (value < o->lo || value > o->hi)) abort();
    if (o->type == OPTION_FLAG && (value & ~1)) abort();
    if (o->type == OPTION_CHOICE && !o->choice(value)) abort();
    if (o->type == OPTION_TEXT && !((const text_setting *)setting)->value) abort();
    if (o->type == OPTION_NUMBER) {
        const double number = ((const number_setting *)setting)->value;
        if (!(number >= o->lo && number <= o->hi)) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const command *c = &generate_command;
    char *text = malloc(size + 1), *settings = calloc(1, c->settings_size);
    json_t *record = NULL;
    if (!text || !settings) abort();
    memcpy(text, data, size);
    text[size] = '\0';
    complaints = 0;
    exit_code code = record_parse(&record, text, "fuzz.mp4");
    if ((code == CODE_DONE) != (record != NULL)) abort();
    if (record) code = record_apply(settings, c->groups, record, "fuzz.mp4");
    if ((code == CODE_DONE) != (complaints == 0)) abort();
    for (const option_group *g = c->groups; g->options; g++)
        for (const option *o = g->options; o->name; o++)
            check_option(o, settings + g->base + o->offset);
    json_decref(record);
    free(settings);
    free(text);
    return 0;
}
