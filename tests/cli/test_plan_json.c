/* test_plan_json.c: `lvsa plan --json` gives the reference implementation's own answers: each case
 * of tests/golden/pattern/pattern.json, asked for by its flags, comes back whole. */
#include "testing.h"

#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 32, FLAG_LENGTH = 48 };

static char *no_environment[] = {NULL};

/* The case's flags, in storage that the caller gives. */
typedef struct command_line {
    char text[MOST_ARGUMENTS][FLAG_LENGTH];
    char *argv[MOST_ARGUMENTS + 1];
    int count;
} command_line;

static void add(command_line *c, const char *word)
{
    assert_true(c->count < MOST_ARGUMENTS);
    snprintf(c->text[c->count], FLAG_LENGTH, "%s", word);
    c->argv[c->count] = c->text[c->count];
    c->argv[++c->count] = NULL;
}

static void add_int(command_line *c, const char *flag, const json_t *golden, const char *key)
{
    char number[FLAG_LENGTH];
    snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(golden, key)));
    add(c, flag);
    add(c, number);
}

static void make_command_line(command_line *c, const json_t *golden)
{
    char scale[FLAG_LENGTH];
    snprintf(scale, sizeof scale, "%.17g",
             json_real_value(json_object_get(golden, "sparsity_scale")));
    c->count = 0;
    add(c, LVSA_PROGRAM);
    add(c, "plan");
    add(c, "--json");
    add(c, "--quiet");
    add_int(c, "--latent-frames", golden, "latent_frames");
    add_int(c, "--patches-per-frame", golden, "patches_per_frame");
    add_int(c, "--latent-window", golden, "window");
    add_int(c, "--latent-first", golden, "n_first");
    add_int(c, "--reference-latent-frames", golden, "reference");
    add_int(c, "--rotation-offset", golden, "offset");
    add(c, "--sparsity-scale");
    add(c, scale);
    if (!json_is_true(json_object_get(golden, "expand_window"))) add(c, "--no-expand-window");
    if (json_is_integer(json_object_get(golden, "interval")))
        add_int(c, "--latent-interval", golden, "interval");
}

/* Runs the program and parses its stdout, which must be one line. */
static json_t *run(command_line *c)
{
    int ends[2], status;
    pid_t child;
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    assert_int_equal(posix_spawn(&child, LVSA_PROGRAM, &actions, NULL, c->argv, no_environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);

    FILE *out = fdopen(ends[0], "r");
    assert_non_null(out);
    char *line = NULL;
    size_t size = 0;
    ssize_t length = getline(&line, &size, out);
    assert_true(length > 0 && line[length - 1] == '\n');
    assert_int_equal(fgetc(out), EOF);
    fclose(out);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!object) fail_msg("column %d: %s: %s", error.column, error.text, line);
    free(line);
    return object;
}

static void check_keys_in_order(json_t *object, json_t *golden)
{
    void *a = json_object_iter(object), *b = json_object_iter(golden);
    for (; a && b; a = json_object_iter_next(object, a), b = json_object_iter_next(golden, b))
        assert_string_equal(json_object_iter_key(a), json_object_iter_key(b));
    assert_true(!a && !b);
}

static void test_every_case(void **state)
{
    (void)state;
    json_error_t error;
    json_t *cases = json_load_file(GOLDEN_DIR "/pattern/pattern.json", 0, &error);
    if (!cases) fail_msg("pattern.json: line %d: %s", error.line, error.text);
    assert_true(json_array_size(cases) >= 140);
    size_t index;
    json_t *golden;
    json_array_foreach(cases, index, golden)
    {
        command_line line;
        make_command_line(&line, golden);
        json_t *object = run(&line);
        if (!json_equal(object, golden)) {
            char *seen = json_dumps(object, JSON_COMPACT);
            fail_msg("case %zu is another: %s", index, seen);
        }
        check_keys_in_order(object, golden);
        json_decref(object);
    }
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
