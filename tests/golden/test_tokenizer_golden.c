/* test_tokenizer_golden.c: every line's ids against those of the library the file belongs to, from
 * tokenizer/make_tokenizer_golden.py, which says what the files hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "flow/text/tokenizers/tokenizer.h"

typedef struct bytes {
    uint8_t *data; /* [size], malloc()ed */
    size_t size;
} bytes;

static bytes read_golden(const char *name, const char *ending)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer/%s%s", GOLDEN_DIR, name, ending);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s can't be opened", path);
    bytes b = {0};
    for (size_t step = 1; step > 0; b.size += step) {
        b.data = realloc(b.data, b.size + 65536);
        assert_non_null(b.data);
        step = fread(b.data + b.size, 1, 65536, file);
    }
    fclose(file);
    return b;
}

static size_t read_varint(const bytes *b, size_t *at)
{
    size_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(*at < b->size && shift < 63);
        uint8_t byte = b->data[(*at)++];
        value |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
}

static size_t put_varint(uint8_t *out, size_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* Appends "normalizer_spec { precompiled_charsmap }": fields of the same number merge. */
static void append_charsmap(bytes *model, const bytes *map)
{
    uint8_t inner[16] = {2 << 3 | 2}, outer[16] = {3 << 3 | 2};
    size_t inner_size = 1 + put_varint(inner + 1, map->size);
    size_t outer_size = 1 + put_varint(outer + 1, inner_size + map->size);
    model->data = realloc(model->data, model->size + outer_size + inner_size + map->size);
    assert_non_null(model->data);
    uint8_t *at = model->data + model->size;
    memcpy(at, outer, outer_size);
    memcpy(at + outer_size, inner, inner_size);
    memcpy(at + outer_size + inner_size, map->data, map->size);
    model->size += outer_size + inner_size + map->size;
}

static char *to_base64(const bytes *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc(b->size / 3 * 4 + 8), *at = out;
    assert_non_null(out);
    for (size_t i = 0; i < b->size; i += 3) {
        size_t left = b->size - i;
        uint32_t group = (uint32_t)b->data[i] << 16;
        if (left > 1) group |= (uint32_t)b->data[i + 1] << 8;
        if (left > 2) group |= b->data[i + 2];
        for (size_t d = 0; d < 4; d++) *at++ = d <= left ? digits[group >> (18 - 6 * d) & 63] : '=';
    }
    *at = 0;
    return out;
}

/* Puts the charsmap's base64 text where "@NAME@" stands. */
static void insert_charsmap(bytes *json, const bytes *map, const char *name)
{
    char mark[64], *text = to_base64(map);
    snprintf(mark, sizeof mark, "@%s@", name);
    size_t mark_size = strlen(mark), text_size = strlen(text), at = 0;
    while (memcmp(json->data + at, mark, mark_size) != 0)
        assert_true(++at + mark_size <= json->size);
    json->data = realloc(json->data, json->size + text_size);
    assert_non_null(json->data);
    memmove(json->data + at + text_size, json->data + at + mark_size, json->size - at - mark_size);
    memcpy(json->data + at, text, text_size);
    json->size += text_size - mark_size;
    free(text);
}

static void check_lines(const lv_tokenizer *t, const char *name, const char *ending)
{
    enum { IDS_MAX = 20000 };
    static int32_t ids[IDS_MAX];
    bytes lines = read_golden("lines", ".bin"), wanted = read_golden(name, ending);
    size_t at = 0, ids_at = 0, total = 0, refused = 0, have;
    size_t count = read_varint(&lines, &at);
    for (size_t i = 0; i < count; i++) {
        size_t length = read_varint(&lines, &at), want = read_varint(&wanted, &ids_at);
        /* A copy, so that the sanitizers see the end of the line. */
        char *line = malloc(length ? length : 1);
        assert_non_null(line);
        memcpy(line, lines.data + at, length);
        at += length;
        if (want == 0) {
            CHECK_FAILS(lv_tokenizer_encode(ids, &have, IDS_MAX, t, line, length),
                        LVSA_ERR_ARGUMENT, "UTF-8");
            refused++;
        } else {
            CHECK_OK(lv_tokenizer_encode(ids, &have, IDS_MAX, t, line, length));
            for (size_t k = 0; k < want - 1; k++) {
                int32_t id = (int32_t)read_varint(&wanted, &ids_at);
                if (k >= have || ids[k] != id)
                    fail_msg("%s, line %zu (%.*s): id %zu is %d, %d wanted; %zu ids, %zu wanted",
                             name, i, (int)length, line, k, k < have ? (int)ids[k] : -1, (int)id,
                             have, want - 1);
            }
            assert_int_equal(have, want - 1);
            total += have;
        }
        free(line);
    }
    assert_int_equal(ids_at, wanted.size);
    assert_true(count >= 2000);
    printf("%-16s %zu lines, %zu ids equal, %zu lines refused\n", name, count - refused, total,
           refused);
    free(wanted.data);
    free(lines.data);
}

static void check_spiece(const char *name, const char *charsmap)
{
    bytes model = read_golden(name, ".spiece");
    if (charsmap) {
        bytes map = read_golden(charsmap, ".charsmap");
        append_charsmap(&model, &map);
        free(map.data);
    }
    lv_tokenizer *t;
    CHECK_OK(lv_tokenizer_load_spiece(&t, model.data, model.size, name));
    free(model.data);
    lv_tokenizer_info info;
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.eos_id, 1);
    assert_int_equal(info.unk_id, 2);
    assert_int_equal(info.special_ids, 1);
    check_lines(t, name, ".spiece.ids");
    lv_tokenizer_close(&t);
}

static void check_json(const char *name, const char *charsmap, size_t special_ids)
{
    bytes json = read_golden(name, ".json");
    if (charsmap) {
        bytes map = read_golden(charsmap, ".charsmap");
        insert_charsmap(&json, &map, charsmap);
        free(map.data);
    }
    lv_tokenizer *t;
    CHECK_OK(lv_tokenizer_load_json(&t, json.data, json.size, name));
    free(json.data);
    lv_tokenizer_info info;
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.eos_id, special_ids ? 1 : -1);
    assert_int_equal(info.unk_id, 2);
    assert_int_equal(info.special_ids, special_ids);
    check_lines(t, name, ".json.ids");
    lv_tokenizer_close(&t);
}

static void sentencepiece_models(void **state)
{
    (void)state;
    check_spiece("t5", "nmt_nfkc");
    check_spiece("bytes", "nfkc");
    check_spiece("identity", NULL);
    check_spiece("suffix", "nmt_nfkc");
    check_spiece("ties", NULL);
}

static void tokenizers_files(void **state)
{
    (void)state;
    check_json("t5_v5", "nmt_nfkc", 1);
    check_json("t5_v4", "nmt_nfkc", 1);
    check_json("bytes_first", "nfkc", 3);
    check_json("identity_all", NULL, 0);
    check_json("identity_first", "nmt_nfkc", 0);
    check_json("identity_never", NULL, 1);
    check_json("ties", NULL, 0);
    check_json("odd", NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentencepiece_models),
                                       cmocka_unit_test(tokenizers_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
