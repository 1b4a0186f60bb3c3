/* test_synth_golden.c: names and shapes of synthetic checkpoints against those that the modules of
 * diffusers and transformers save. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "flow/synth/synth.h"

enum { LINE = 256 };

static int compare_lines(const void *a, const void *b) { return strcmp(a, b); }

/* "blocks.0.norm2.bias [1536]" */
static void describe(char line[LINE], const lv_synth_tensor *t)
{
    int at = snprintf(line, LINE, "%s [", t->name);
    for (int i = 0; i < t->rank; i++)
        at += snprintf(line + at, (size_t)(LINE - at), "%s%lld", i ? ", " : "",
                       (long long)t->shape[i]);
    snprintf(line + at, (size_t)(LINE - at), "]");
}

/* The list, sorted by name, is the file. */
static void check_list(lv_synth_list *list, const char *file)
{
    char path[LINE], wanted[LINE];
    assert_false(list->failed);
    char(*lines)[LINE] = calloc((size_t)list->count, sizeof *lines);
    for (int64_t i = 0; i < list->count; i++) describe(lines[i], &list->tensor[i]);
    qsort(lines, (size_t)list->count, sizeof *lines, compare_lines);
    snprintf(path, sizeof path, "%s/synth/%s", GOLDEN_DIR, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int64_t count = 0;
    while (fgets(wanted, sizeof wanted, f)) {
        wanted[strcspn(wanted, "\n")] = '\0';
        assert_true(count < list->count);
        assert_string_equal(lines[count++], wanted);
    }
    assert_int_equal(count, list->count);
    fclose(f);
    free(lines);
    lv_synth_list_free(list);
}

static void test_transformers(void **state)
{
    (void)state;
    lv_synth_list list = {0};
    lv_synth_list_transformer(&list, lv_synth_find("wan2.1-1.3b"));
    check_list(&list, "transformer-1.3b.txt");
    lv_synth_list_transformer(&list, lv_synth_find("wan2.1-14b"));
    check_list(&list, "transformer-14b.txt");
}

static void test_text_encoder(void **state)
{
    (void)state;
    lv_synth_list list = {0};
    lv_synth_list_text_encoder(&list, lv_synth_find("wan2.1-1.3b"));
    check_list(&list, "text_encoder.txt");
}

static void test_vae(void **state)
{
    (void)state;
    lv_synth_list list = {0};
    lv_synth_list_vae(&list, lv_synth_find("wan2.1-14b"));
    check_list(&list, "vae.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_text_encoder),
        cmocka_unit_test(test_vae),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
