/* fuzz_options.c: any words as a command's options: settings in their ranges, or a sentence. The
 * input is the number of a command, then words, each ended by a 0. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

enum { MOST_WORDS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ranges(const char *settings, const option_group *groups)
{
    for (const option_group *g = groups; g->options; g++)
        for (const option *o = g->options; o->name; o++) {
            const void *setting = settings + g->base + o->offset;
            const int_setting *i = setting;
            if (o->type == OPTION_HELP || o->type == OPTION_REFUSED) continue;
            if (!*(const origin *)setting) continue;
            if (o->type == OPTION_INT && (i->value < o->lo || i->value > o->hi)) abort();
            if (o->type == OPTION_FLAG && (i->value & ~1)) abort();
            if (o->type == OPTION_CHOICE && !o->choice(i->value)) abort();
            if (o->type == OPTION_TEXT && !((const text_setting *)setting)->value) abort();
            if (o->type == OPTION_NUMBER) {
                double value = ((const number_setting *)setting)->value;
                if (!(value >= o->lo && value <= o->hi)) abort();
            }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    int count = 0, argc = 0;
    while (commands[count]) count++;
    const command *c = commands[data[0] % count];

    char *words = calloc(1, size), *argv[MOST_WORDS], sentence[512] = "";
    char *settings = calloc(1, c->settings_size);
    if (!words || !settings) abort();
    memcpy(words, data + 1, size - 1); /* the last byte stays 0 */
    for (size_t at = 0; at + 1 < size && argc < MOST_WORDS; at += strlen(words + at) + 1)
        argv[argc++] = words + at;

    parse_result result = options_parse(settings, c->groups, argc, argv, sentence, sizeof sentence);
    if (result == PARSE_RUN) check_ranges(settings, c->groups);
    if ((result == PARSE_WRONG) != (*sentence != '\0')) abort();
    free(settings);
    free(words);
    return 0;
}
