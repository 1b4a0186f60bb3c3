/* test_tables.c: every table of the program is sound: what parsing, --help, the man page and the
 * completion take for granted. */
#include "testing.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

typedef void on_option(const command *c, const option_group *g, const option *o);

static void for_each_option(on_option *check)
{
    for (const command *const *c = commands; *c; c++)
        for (const option_group *g = (*c)->groups; g->options; g++)
            for (const option *o = g->options; o->name; o++) check(*c, g, o);
}

static void check_words(const command *c, const option_group *g, const option *o)
{
    assert_true(strlen(o->name) > 0 &&
                strspn(o->name, "abcdefghijklmnopqrstuvwxyz-") == strlen(o->name));
    assert_true(strncmp(o->name, "no-", 3) != 0);
    assert_true(o->help && strlen(o->help) > 0);
    assert_int_not_equal(o->help[strlen(o->help) - 1], '.');
    const bool valued =
        o->type != OPTION_FLAG && o->type != OPTION_HELP && o->type != OPTION_REFUSED;
    assert_int_equal(o->value != NULL, valued);
    assert_true(!o->bare || o->type == OPTION_CHOICE);
    assert_true(!o->operand || o->type == OPTION_TEXT || o->type == OPTION_CHOICE);
    assert_int_equal(o->choice != NULL, o->type == OPTION_CHOICE);
    assert_true(!o->environment || strncmp(o->environment, "LVSA_", 5) == 0);
    assert_true(!o->fallback || o->type != OPTION_FLAG || strcmp(o->fallback, "1") == 0);
    assert_true(g->heading && c->summary && c->details && c->examples[0]);
}

static void test_words(void **state)
{
    (void)state;
    for_each_option(check_words);
}

static size_t size_of(const option *o)
{
    switch (o->type) {
    case OPTION_FLAG:
    case OPTION_INT:
    case OPTION_CHOICE: return sizeof(int_setting);
    case OPTION_WHOLE: return sizeof(whole_setting);
    case OPTION_NUMBER: return sizeof(number_setting);
    case OPTION_TEXT: return sizeof(text_setting);
    case OPTION_REFUSED:
    case OPTION_HELP: return 0;
    }
    return 0;
}

/* No two options of a command share a name, a letter or a byte of the settings. */
static void test_no_two_collide(void **state)
{
    (void)state;
    for (const command *const *c = commands; *c; c++) {
        unsigned char *taken = test_calloc(1, (*c)->settings_size);
        bool letters[256] = {false};
        char names[4096] = " ";
        for (const option_group *g = (*c)->groups; g->options; g++)
            for (const option *o = g->options; o->name; o++) {
                char all[128], word[128];
                snprintf(all, sizeof all, "%s %s", o->name, o->aliases ? o->aliases : "");
                for (char *at = strtok(all, " "); at; at = strtok(NULL, " ")) {
                    snprintf(word, sizeof word, " %s ", at);
                    if (strstr(names, word)) fail_msg("%s: two options --%s", (*c)->name, at);
                    snprintf(names + strlen(names), sizeof names - strlen(names), "%s ", at);
                }
                if (o->letter && letters[(unsigned char)o->letter])
                    fail_msg("%s: two options -%c", (*c)->name, o->letter);
                letters[(unsigned char)o->letter] = true;

                size_t from = g->base + o->offset, to = from + size_of(o);
                assert_true(to <= (*c)->settings_size);
                for (size_t i = from; i < to; i++)
                    if (taken[i]++) fail_msg("%s: --%s shares its setting", (*c)->name, o->name);
            }
        test_free(taken);
    }
}

/* Fallbacks are read by the same code as flags: all must be values that a flag may have. */
static void test_fallbacks(void **state)
{
    (void)state;
    for (const command *const *c = commands; *c; c++) {
        char sentence[512] = "";
        void *settings = test_calloc(1, (*c)->settings_size);
        if (options_parse(settings, (*c)->groups, 0, NULL, sentence, sizeof sentence) != PARSE_RUN)
            fail_msg("%s: %s", (*c)->name, sentence);
        test_free(settings);
    }
}

static parse_result parse(void *settings, const command *c, const char *word, char *sentence)
{
    char *argv[] = {(char *)(uintptr_t)word};
    return options_parse(settings, c->groups, 1, argv, sentence, 512);
}

/* --name=value at and beside both ends of the range. */
static void check_range(const command *c, const option_group *g, const option *o)
{
    if (o->type != OPTION_INT && o->type != OPTION_NUMBER) return;
    assert_true(o->lo <= o->hi);
    const struct {
        double value;
        parse_result wanted;
    } tries[] = {
        {o->lo, PARSE_RUN}, {o->hi, PARSE_RUN}, {o->lo - 1, PARSE_WRONG}, {o->hi + 1, PARSE_WRONG}};
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        char word[128], sentence[512] = "";
        char *settings = test_calloc(1, c->settings_size);
        snprintf(word, sizeof word, "--%s=%.17g", o->name, tries[i].value);
        parse_result result = parse(settings, c, word, sentence);
        if (result != tries[i].wanted) fail_msg("%s %s: %s", c->name, word, sentence);
        const void *setting = settings + g->base + o->offset;
        if (result == PARSE_RUN && o->type == OPTION_INT)
            assert_int_equal(((const int_setting *)setting)->value, (int)tries[i].value);
        if (result == PARSE_RUN && o->type == OPTION_NUMBER)
            assert_true(((const number_setting *)setting)->value == tries[i].value);
        assert_int_equal(result == PARSE_WRONG, strlen(sentence) > 0);
        test_free(settings);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    for_each_option(check_range);
}

static void check_origin(const command *c, const option_group *g, const option *o)
{
    if (!o->environment) return;
    char sentence[512] = "", word[128];
    const char *value = o->type == OPTION_CHOICE ? o->choice(0) : "1";
    char *settings = test_calloc(1, c->settings_size);
    const origin *from = (const origin *)(const void *)(settings + g->base + o->offset);
    snprintf(word, sizeof word, o->type == OPTION_FLAG ? "--no-%s" : "--%s=%s", o->name, value);

    assert_int_equal(setenv(o->environment, value, 1), 0);
    assert_int_equal(options_parse(settings, c->groups, 0, NULL, sentence, sizeof sentence),
                     PARSE_RUN);
    assert_int_equal(*from, FROM_ENVIRONMENT);
    assert_int_equal(parse(settings, c, word, sentence), PARSE_RUN);
    assert_int_equal(*from, FROM_FLAG);
    unsetenv(o->environment);
    test_free(settings);
}

static void test_a_flag_beats_the_environment(void **state)
{
    (void)state;
    for_each_option(check_origin);
}

int main(void)
{
    for (const command *const *c = commands; *c; c++)
        for (const option_group *g = (*c)->groups; g->options; g++)
            for (const option *o = g->options; o->name; o++)
                if (o->environment) unsetenv(o->environment);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words), cmocka_unit_test(test_no_two_collide),
        cmocka_unit_test(test_fallbacks), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_a_flag_beats_the_environment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
