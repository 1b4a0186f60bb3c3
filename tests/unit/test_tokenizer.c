/* test_tokenizer.c: what a tokenizer refuses and how it says so; truncation and padding; any
 * allocation may fail. That its ids are right is test_tokenizer_golden.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "base/half.h"
#include "flow/text/clean.h"
#include "flow/text/tokenizers/json_vocab.h"
#include "flow/text/tokenizers/tokenizer.h"
#include "scratch.h"

/* ---- a tokenizer.json ------------------------------------------------------------------------ */

#define VOCAB                                                                                      \
    "[[\"<pad>\",0.0],[\"</s>\",0],[\"<unk>\",0.0],[\"\xe2\x96\x81\",-2.0],[\"a\",-3.0],"          \
    "[\"\\u2581a\",-4.5],[\"b\",-3.5],[\"\\ud83d\\ude00\",-5e0]]"
#define EOS                                                                                        \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"    \
    "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":"          \
    "{\"</s>\":{\"id\":\"</s>\",\"ids\":[1],\"tokens\":[\"</s>\"]}}}"
#define METASPACE "{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"}"
#define MODEL "{\"type\":\"Unigram\",\"unk_id\":2,\"vocab\":" VOCAB "}"

/* NULL: the usual one. */
typedef struct json_parts {
    const char *normalizer, *pre_tokenizer, *post_processor, *added_tokens, *model;
} json_parts;

static lvsa_status load_json(lv_tokenizer **out, const json_parts *p)
{
    char text[8192];
    int length =
        snprintf(text, sizeof text,
                 "{\"version\":\"1.0\",\"added_tokens\":%s,\"normalizer\":%s,"
                 "\"pre_tokenizer\":%s,\"post_processor\":%s,\"model\":%s}",
                 p->added_tokens ? p->added_tokens : "[]", p->normalizer ? p->normalizer : "null",
                 p->pre_tokenizer ? p->pre_tokenizer : METASPACE,
                 p->post_processor ? p->post_processor : EOS, p->model ? p->model : MODEL);
    assert_in_range(length, 1, sizeof text - 1);
    return lv_tokenizer_load_json(out, text, (size_t)length, "x.json");
}

static void check_ids(const lv_tokenizer *t, const char *text, const int32_t *want, size_t count,
                      size_t max)
{
    int32_t ids[64];
    size_t have;
    assert_in_range(max, 0, 64);
    CHECK_OK(lv_tokenizer_encode(ids, &have, max, t, text, strlen(text)));
    assert_int_equal(have, count);
    for (size_t i = 0; i < max; i++) assert_int_equal(ids[i], i < count ? want[i] : 0);
}

static void truncates_and_pads(void **state)
{
    (void)state;
    lv_tokenizer *t;
    CHECK_OK(load_json(&t, &(json_parts){0}));
    lv_tokenizer_info info;
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.tokens, 8);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.eos_id, 1);
    assert_int_equal(info.unk_id, 2);

    check_ids(t, "ab a\xf0\x9f\x98\x80", (int32_t[]){5, 6, 5, 7, 1}, 5, 64);
    check_ids(t, "ab a\xf0\x9f\x98\x80", (int32_t[]){5, 6, 5, 7, 1}, 5, 5);
    check_ids(t, "ab a\xf0\x9f\x98\x80", (int32_t[]){5, 6, 5, 1}, 4, 4);
    check_ids(t, "ab a\xf0\x9f\x98\x80", (int32_t[]){1}, 1, 1);
    check_ids(t, "", (int32_t[]){1}, 1, 7);
    check_ids(t, "xx", (int32_t[]){3, 2, 1}, 3, 7);

    int32_t ids[4];
    size_t count = 9;
    CHECK_FAILS(lv_tokenizer_encode(ids, &count, 0, t, "a", 1), LVSA_ERR_ARGUMENT, "room for 0");
    assert_int_equal(count, 0);
    CHECK_FAILS(lv_tokenizer_encode(ids, &count, 4, t, "ab\xc3(", 4), LVSA_ERR_ARGUMENT, "byte 2");
    lv_tokenizer_close(&t);
    assert_null(t);
    lv_tokenizer_close(&t);
    lv_tokenizer_close(NULL);
}

#define ADDED(id, content) "[{\"id\":" id ",\"content\":\"" content "\"}]"
#define PIECES(vocab) "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[" vocab "]}"
static const struct {
    json_parts parts;
    const char *words;
} bad_jsons[] = {
    {{.normalizer = "{\"type\":\"NFD\"}"}, "normalizer \"NFD\" isn't supported"},
    {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\"}]}"},
     "normalizer \"Prepend\""},
    {{.normalizer = "{\"type\":\"Sequence\"}"}, "Sequence without"},
    {{.normalizer = "{\"strip_left\":true}"}, "no \"type\""},
    {{.normalizer = "[]"}, "no object"},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\"\"}"},
     "pattern of a Replace, \"\\s+\""},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"ab+\"},\"content\":\"\"}"},
     "pattern of a Replace, \"ab+\""},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a{2,3}\"},\"content\":\"\"}"},
     "pattern of a Replace, \"a{2,3}\""},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}"},
     "has to be longer"},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"\"}"},
     "without one pattern"},
    {{.normalizer = "{\"type\":\"Strip\",\"strip_left\":1}"}, "strip_left"},
    {{.normalizer = "{\"type\":\"Precompiled\"}"}, "without a precompiled_charsmap"},
    {{.normalizer = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AA=\"}"}, "base64"},
    {{.normalizer = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"A===\"}"}, "base64"},
    {{.normalizer = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AB==\"}"}, "base64"},
    {{.normalizer = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAAAAA\"}"}, "damaged"},
    {{.normalizer = "{\"type\":\"NFKC\"}",
      .pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"_\","
                       "\"prepend_scheme\":\"first\"}"},
     "prepend_scheme \"first\""},
    {{.pre_tokenizer = "{\"type\":\"ByteLevel\"}"}, "pre_tokenizer \"ByteLevel\""},
    {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"__\"}"}, "no character"},
    {{.pre_tokenizer = "{\"type\":\"Metaspace\"}"}, "no character"},
    {{.pre_tokenizer =
          "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}"},
     "\"last\""},
    {{.pre_tokenizer = "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"},
     "add_prefix_space"},
    {{.post_processor = "{\"type\":\"RobertaProcessing\"}"}, "\"RobertaProcessing\""},
    {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[]}"}, "single"},
    {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":["
                        "{\"Sequence\":{\"id\":\"B\"}}]}"},
     "single"},
    {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":["
                        "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{}}"},
     "single"},
    {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":["
                        "{\"SpecialToken\":{\"id\":\"x\"}}],"
                        "\"special_tokens\":{\"x\":{\"ids\":[8]}}}"},
     "0 to 7"},
    {{.added_tokens = "{}"}, "no list"},
    {{.added_tokens = "[1]"}, "no object"},
    {{.added_tokens = ADDED("8", "")}, "without \"content\""},
    {{.added_tokens = "[{\"content\":\"x\"}]"}, "or \"id\""},
    {{.added_tokens = ADDED("9", "new")}, "it is 8"},
    {{.added_tokens = ADDED("2", "a")}, "it is 4"},
    {{.added_tokens = "[{\"id\":8,\"content\":\" \",\"normalized\":true}]",
      .normalizer = "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}"},
     "nothing is left"},
    {{.added_tokens = "[{\"id\":4,\"content\":\"a\"},{\"id\":4,\"content\":\"a\"}]"},
     "are the same"},
    {{.model = "{\"type\":\"BPE\",\"vocab\":{}}"}, "model \"BPE\""},
    {{.model = "null"}, "no \"model\""},
    {{.model = "{\"type\":\"Unigram\",\"unk_id\":0}"}, "model.vocab has 0"},
    {{.model = "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[]}"}, "model.vocab has 0"},
    {{.model = "{\"type\":\"Unigram\",\"unk_id\":8,\"vocab\":" VOCAB "}"}, "0 to 7"},
    {{.model = "{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":" VOCAB "}"}, "unk_id"},
    {{.model = "{\"type\":\"Unigram\",\"vocab\":" VOCAB ",\"vocab\":[]}"}, "duplicate"},
    {{.model = PIECES("[\"a\",1],")}, "model.vocab[1] is damaged"},
    {{.model = PIECES("[\"a\",1][\"b\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"a\"]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"a\",01]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"a\",1,1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"a\",\"1\"]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\\ud800\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\\ud800\\u0041\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\\udc00\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\\x41\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\\u00g1\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\n\",1]")}, "model.vocab[0] is damaged"},
    {{.model = PIECES("[\"\xc3\",1]")}, "model.vocab[0] is damaged"},
};

static void refuses_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_jsons / sizeof bad_jsons[0]; i++) {
        lv_tokenizer *t = (lv_tokenizer *)&t;
        lvsa_status s = load_json(&t, &bad_jsons[i].parts);
        assert_null(t);
        CHECK_FAILS(s, LVSA_ERR_FORMAT, bad_jsons[i].words);
        assert_non_null(strstr(lvsa_last_error(), "x.json"));
    }
    static const char *const broken[] = {"", "[]", "{", "{\"model\":{\"vocab\":[[\"a\",1]", "\xff"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        lv_tokenizer *t;
        CHECK_FAILS(lv_tokenizer_load_json(&t, broken[i], strlen(broken[i]), "y.json"),
                    LVSA_ERR_FORMAT, "y.json");
    }
}

/* The values that tokenizers 0.23 gives back for these; the last ones aren't the nearest fp64. */
static void numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0},
        {"-1", -1},
        {"1E+2", 100},
        {"2.5e-3", 0x1.47ae147ae147bp-9},
        {"18446744073709551616", 0x1p+64},
        {"184467440737095516159", 0x1.4p+67},
        {"1844674407370955161.9", 0x1.999999999999ap+60},
        {"-9223372036854775809", -0x1p+63},
        {"123456789012345678901234567890.5e-20", 0x1.26580b487e6b7p+30},
        {"1e23", 0x1.52d02c7e14af6p+76},
        {"4.9e-324", 0x1p-1074},
        {"1e-320", 0x0.00000000007e8p-1022},
        {"1.7976931348623157e308", 0x1.fffffffffffffp+1023},
        {"123e-400", 0},
        {"0e999999999999", 0},
        {"1e-999999999999", 0},
        {"5e-309", 0x0.3986b3c0cf469p-1022},
        {"0.00000000000000000000000000000000000001e38", 1},
        {"-3.318878173828125", -0x1.a8d1p+1},
        {"-9.87654321098765432109", -0x1.3c0ca45917214p+3},
        {"-2.0122928619384766", -0x1.0192d00000001p+1},
        {"-15.352166175842285", -0x1.eb44f1fffffffp+3},
    };
    double value;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *end = cases[i].text + strlen(cases[i].text);
        assert_ptr_equal(lv_json_read_number(&value, cases[i].text, end), end);
        assert_true(value == cases[i].value);
    }
    static const char *const refused[] = {
        "", "01", "1.", "-", ".5", "1e", "1e+", "+1", "1e400", "NaN", "1e999999999999", "1.8e308"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_null(lv_json_read_number(&value, refused[i], refused[i] + strlen(refused[i])));
}

/* ---- a spiece.model -------------------------------------------------------------------------- */

typedef struct model {
    uint8_t bytes[8192];
    size_t size;
} model;

static void put_bytes(model *m, uint8_t number, const void *bytes, size_t length)
{
    assert_in_range(length, 0, 127);
    m->bytes[m->size++] = (uint8_t)(number << 3 | 2);
    m->bytes[m->size++] = (uint8_t)length;
    memcpy(m->bytes + m->size, bytes, length);
    m->size += length;
}

static void put_piece(model *m, const char *text, size_t length, float score, uint8_t kind)
{
    model piece = {0};
    uint32_t bits = lv_f32_to_bits(score);
    put_bytes(&piece, 1, text, length);
    piece.bytes[piece.size++] = 2 << 3 | 5;
    for (int i = 0; i < 4; i++) piece.bytes[piece.size++] = (uint8_t)(bits >> (8 * i));
    piece.bytes[piece.size++] = 3 << 3;
    piece.bytes[piece.size++] = kind;
    put_bytes(m, 1, piece.bytes, piece.size);
}

static void put_usual_pieces(model *m)
{
    put_piece(m, "<pad>", 5, 0, 3);
    put_piece(m, "</s>", 4, 0, 3);
    put_piece(m, "<unk>", 5, 0, 2);
    put_piece(m, "\xe2\x96\x81", 3, -2, 1);
    put_piece(m, "a", 1, -3, 1);
    put_piece(m,
              "\xe2\x96\x81"
              "a",
              4, -4.5f, 1);
    put_piece(m, "b", 1, -3.5f, 1);
    put_piece(m, "ab", 2, -1, 5);
}

static lvsa_status load_model(lv_tokenizer **out, const model *m)
{
    return lv_tokenizer_load_spiece(out, m->bytes, m->size, "x.model");
}

static void encodes_with_model(void **state)
{
    (void)state;
    model m = {0};
    put_usual_pieces(&m);
    lv_tokenizer *t;
    CHECK_OK(load_model(&t, &m));
    lv_tokenizer_info info;
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.tokens, 8);
    assert_int_equal(info.pad_id, 0);
    assert_int_equal(info.eos_id, 1);
    assert_int_equal(info.unk_id, 2);
    check_ids(t, "  ab  a\xff\xfe </s>", (int32_t[]){5, 6, 5, 2, 3, 2, 1}, 7, 9);
    check_ids(t, "ab a", (int32_t[]){5, 1}, 2, 2);
    check_ids(t, "   ", (int32_t[]){1}, 1, 3);
    lv_tokenizer_close(&t);
}

/* Each case is a model that is good but for its last field. */
static void refuses_models(void **state)
{
    (void)state;
    static const struct {
        uint8_t number; /* of the field that is put behind */
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {1, "", 0, "piece 8 has 0 bytes"},
        {1, "\x0a\x01x\x15\x00\x00\xc0\x7f", 8, "no number"},
        {1, "\x0a\x01x\x15\x00\x00\x80\x7f", 8, "no number"},
        {1, "\x0a\x02x\0", 4, "zero byte"},
        {1, "\x0a\x01x\x18\x02", 5, "both the unknown"},
        {1, "\x0a\x01x\x18\x06", 5, "byte_fallback is off"},
        {1,
         "\x0a\x01"
         "a",
         3, "pieces 4 and 8 are the same"},
        {1, "\x0a\x04</s>\x18\x03", 8, "pieces 1 and 8 are the same"},
        {1, "\x0a\x05xyz", 5, "past the end"},
        {1, "\x15\x00\x00", 3, "ends inside a number"},
        {1, "\x18", 1, "ends inside a number"},
        {1, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11, "64 bits"},
        {1, "\x0b", 1, "no known type"},
        {1, "\x00\x00", 2, "out of range"},
        {2, "\x18\x02", 2, "BPE model"},
        {2, "\x98\x02\x01", 3, "byte_fallback without a piece <0x00>"},
        {3, "\x12\x04zzzz", 6, "damaged"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model m = {0};
        put_usual_pieces(&m);
        put_bytes(&m, cases[i].number, cases[i].bytes, cases[i].length);
        lv_tokenizer *t = (lv_tokenizer *)&t;
        lvsa_status s = load_model(&t, &m);
        assert_null(t);
        CHECK_FAILS(s, LVSA_ERR_FORMAT, cases[i].words);
        assert_non_null(strstr(lvsa_last_error(), "x.model"));
    }
    lv_tokenizer *t;
    CHECK_FAILS(lv_tokenizer_load_spiece(&t, NULL, 0, "x.model"), LVSA_ERR_FORMAT, "0 pieces");
}

/* A cut anywhere is a sentence or a shorter model, never a crash. */
static void cut_models(void **state)
{
    (void)state;
    model m = {0};
    put_usual_pieces(&m);
    for (size_t size = 0; size < m.size; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, m.bytes, size);
        lv_tokenizer *t;
        if (lv_tokenizer_load_spiece(&t, copy, size, "cut.model") != LVSA_OK) assert_null(t);
        lv_tokenizer_close(&t);
        free(copy);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static void opens_a_directory(void **state)
{
    (void)state;
    char folder[4096];
    lv_tokenizer *t;
    lv_tokenizer_info info;
    model m = {0};
    put_usual_pieces(&m);
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    CHECK_FAILS(lv_tokenizer_open(&t, folder), LVSA_ERR_IO, "no tokenizer.json and no spiece");
    assert_null(t);

    scratch_write("spiece.model", m.bytes, m.size);
    CHECK_OK(lv_tokenizer_open(&t, folder));
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.tokens, 8);
    lv_tokenizer_close(&t);

    static const char json[] = "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
                               "\"vocab\":[[\"<unk>\",0],[\"a\",-1]]}}";
    scratch_write("tokenizer.json", json, sizeof json - 1);
    CHECK_OK(lv_tokenizer_open(&t, folder));
    lv_tokenizer_get_info(&info, t);
    assert_int_equal(info.tokens, 2);
    assert_int_equal(info.pad_id, -1);
    assert_int_equal(info.eos_id, -1);
    assert_int_equal(info.special_ids, 0);
    lv_tokenizer_close(&t);

    scratch_write("tokenizer.json", "{}", 2);
    CHECK_FAILS(lv_tokenizer_open(&t, folder), LVSA_ERR_FORMAT, "tokenizer.json");
    CHECK_FAILS(lv_tokenizer_open_json(&t, "/no/such/file"), LVSA_ERR_IO, "/no/such/file");
    CHECK_FAILS(lv_tokenizer_open_spiece(&t, "/no/such/file"), LVSA_ERR_IO, "/no/such/file");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static lvsa_status use(lv_tokenizer **t)
{
    int32_t ids[16];
    size_t count;
    return lv_tokenizer_encode(ids, &count, 16, *t, "ab  <new> a\xe2\x98\x83 b",
                               strlen("ab  <new> a\xe2\x98\x83 b"));
}

static lvsa_status work_with_json(void *user)
{
    (void)user;
    static const json_parts parts = {
        .normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"},"
                      "{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":\"Strip\"},"
                      "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},"
                      "\"content\":\"_\"}]}",
        .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":["
                         "{\"type\":\"WhitespaceSplit\"}," METASPACE "]}",
        .added_tokens = "[{\"id\":8,\"content\":\"<new>\",\"lstrip\":true,\"rstrip\":true},"
                        "{\"id\":6,\"content\":\"b\",\"normalized\":true}]"};
    lv_tokenizer *t;
    lvsa_status s = load_json(&t, &parts);
    if (s == LVSA_OK) s = use(&t);
    lv_tokenizer_close(&t);
    return s;
}

static lvsa_status work_with_model(void *user)
{
    (void)user;
    model m = {0};
    put_usual_pieces(&m);
    put_piece(&m, "<new>", 5, 0, 4);
    lv_tokenizer *t;
    lvsa_status s = load_model(&t, &m);
    if (s == LVSA_OK) s = use(&t);
    lv_tokenizer_close(&t);
    return s;
}

static lvsa_status work_with_prompt(void *user)
{
    (void)user;
    static const char prompt[] = " a &amp;lt; b &#169; &nGt;  c";
    lv_text text = {0};
    lvsa_status s = lv_prompt_clean(&text, prompt, sizeof prompt - 1);
    lv_text_free(&text);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(fail_each_allocation(work_with_json, NULL) >= 3);
    assert_true(fail_each_allocation(work_with_model, NULL) >= 3);
    assert_true(fail_each_allocation(work_with_prompt, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(truncates_and_pads),
                                       cmocka_unit_test(refuses_json),
                                       cmocka_unit_test(numbers),
                                       cmocka_unit_test(encodes_with_model),
                                       cmocka_unit_test(refuses_models),
                                       cmocka_unit_test(cut_models),
                                       cmocka_unit_test(opens_a_directory),
                                       cmocka_unit_test(any_allocation_may_fail)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
