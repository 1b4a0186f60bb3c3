/* test_clean_golden.c: unescaped and cleaned lines against Python's, from
 * clean/make_clean_golden.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "flow/text/clean.h"

enum { FILE_MAX = 1 << 22 };

static uint8_t file_bytes[FILE_MAX];
static size_t file_size, file_at;

static size_t read_varint(void)
{
    size_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(file_at < file_size && shift < 63);
        uint8_t byte = file_bytes[file_at++];
        value |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

/* A copy, so that the sanitizers see its end. */
static char *read_text(size_t *length)
{
    *length = read_varint();
    assert_true(*length <= file_size - file_at);
    char *text = malloc(*length ? *length : 1);
    assert_non_null(text);
    memcpy(text, file_bytes + file_at, *length);
    file_at += *length;
    return text;
}

static void check(size_t i, lvsa_status (*work)(lv_text *, const char *, size_t), const char *what,
                  const char *line, size_t length)
{
    size_t want_length;
    char *want = read_text(&want_length);
    lv_text have = {0};
    CHECK_OK(work(&have, line, length));
    if (have.length != want_length || (want_length && memcmp(have.bytes, want, want_length) != 0))
        fail_msg("line %zu (%.*s): %s gives \"%.*s\", \"%.*s\" wanted", i, (int)length, line, what,
                 (int)have.length, have.bytes ? have.bytes : "", (int)want_length, want);
    lv_text_free(&have);
    free(want);
}

static void lines(void **state)
{
    (void)state;
    FILE *file = fopen(GOLDEN_DIR "/clean/clean.bin", "rb");
    assert_non_null(file);
    file_size = fread(file_bytes, 1, FILE_MAX, file);
    fclose(file);

    size_t count = read_varint(), length;
    assert_true(count > 3000);
    for (size_t i = 0; i < count; i++) {
        char *line = read_text(&length);
        check(i, lv_html_unescape, "unescape", line, length);
        check(i, lv_prompt_clean, "clean", line, length);
        free(line);
    }
    assert_int_equal(file_at, file_size);
    printf("%zu lines equal\n", count);
}

/* Of a text that isn't in the file. */
static void expect(lvsa_status (*work)(lv_text *, const char *, size_t), const char *text,
                   const char *want)
{
    lv_text have = {0};
    CHECK_OK(work(&have, text, strlen(text)));
    assert_int_equal(have.length, strlen(want));
    assert_memory_equal(have.bytes, want, have.length);
    lv_text_free(&have);
}

/* What Python can't be asked: bytes that aren't UTF-8 stay, and one is one character of a name. */
static void broken(void **state)
{
    (void)state;
    expect(lv_prompt_clean, " \xff&amp;\x80 \xe2\x96 &lt\xc3 ", "\xff&\x80 \xe2\x96 <\xc3");
}

/* Numbers past 2^32 and 2^64 that would end in "A" are too great, as Python says. */
static void great_numbers(void **state)
{
    (void)state;
    expect(lv_html_unescape, "&#1114112;&#4294967361;&#x100000041;&#18446744073709551681;",
           "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(broken),
                                       cmocka_unit_test(great_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
