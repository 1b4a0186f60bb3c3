/* test_safetensors.c: one file at a time: files of the Python package, hostile ones, our own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testing.h"

#include "allocations.h"
#include "base/half.h"
#include "engine/weights/safetensors.h"
#include "scratch.h"

static const char golden[] = GOLDEN_DIR "/safetensors/single/model.safetensors";

/* ---- reading what the Python package wrote --------------------------------------------------- */

static float element(const lv_tensor_entry *e, size_t i)
{
    uint16_t half;
    float single;
    if (e->dtype == LVSA_F32) {
        memcpy(&single, (const char *)e->data + 4 * i, sizeof single);
        return single;
    }
    memcpy(&half, (const char *)e->data + 2 * i, sizeof half);
    return e->dtype == LVSA_F16 ? lv_f16_to_f32(half) : lv_bf16_to_f32(half);
}

static void check_ramp(const lv_safetensors *f, const char *name, lvsa_dtype dtype,
                       const char *shape)
{
    char text[LV_SHAPE_TEXT];
    const lv_tensor_entry *e = lv_safetensors_find(f, name);
    assert_non_null(e);
    assert_int_equal(e->dtype, dtype);
    assert_string_equal(lv_shape_to_text(text, e->shape, e->rank), shape);
    assert_int_equal(e->bytes, e->count * lv_dtype_bytes(dtype));
    for (size_t i = 0; i < e->count; i++) assert_true(element(e, i) == ((float)i - 5.0f) / 4.0f);
}

static void golden_file(void **state)
{
    (void)state;
    lv_safetensors *f;
    CHECK_OK(lv_safetensors_open(&f, golden));
    assert_int_equal(lv_safetensors_count(f), 10);
    check_ramp(f, "scalar", LVSA_F32, "[]");
    check_ramp(f, "empty", LVSA_F32, "[0, 4]");
    check_ramp(f, "vector.f32", LVSA_F32, "[7]");
    check_ramp(f, "matrix.f16", LVSA_F16, "[3, 5]");
    check_ramp(f, "matrix.bf16", LVSA_BF16, "[5, 3]");
    check_ramp(f, "conv.bf16", LVSA_BF16, "[2, 3, 1, 2, 2]");
    check_ramp(f, "na\xc3\xafve/\xe5\x90\x8d", LVSA_F32, "[2]");

    const lv_tensor_entry *f8 = lv_safetensors_find(f, "small.f8");
    assert_int_equal(f8->dtype, 0);
    assert_string_equal(f8->type, "F8_E4M3");
    assert_int_equal(lv_safetensors_find(f, "counts.i64")->bytes, 24);
    assert_null(lv_safetensors_find(f, "matrix"));
    assert_null(lv_safetensors_find(f, "__metadata__"));
    for (size_t i = 1; i < lv_safetensors_count(f); i++)
        assert_true(strcmp(lv_safetensors_get(f, i - 1)->name, lv_safetensors_get(f, i)->name) < 0);

    assert_string_equal(lv_safetensors_get_note(f, "made by"), "the golden script");
    assert_null(lv_safetensors_get_note(f, "nobody"));
    lv_safetensors_close(&f);
    assert_null(f);
    lv_safetensors_close(&f);
}

/* ---- hostile files --------------------------------------------------------------------------- */

enum { CRAFT_BYTES = 8192 };

/* A file in memory: the header's length, the header, `data` bytes. */
static size_t craft(unsigned char *bytes, const char *header, size_t data)
{
    size_t length = strlen(header);
    assert_true(8 + length + data <= CRAFT_BYTES);
    memset(bytes, 0, CRAFT_BYTES);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    return 8 + length + data;
}

static const struct {
    const char *header;
    size_t data;
    const char *words;
} header_cases[] = {
    {"", 0, "header"},
    {"[1]", 0, "no JSON object"},
    {"{\"a\":", 0, "header, byte"},
    {"{\"a\":1}", 0, "tensor a isn't described by an object"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype \"\""},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype \"F33\""},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no \"shape\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "dimension 0"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "9 dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
     "memory"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4,
     "memory"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,4]}}", 4,
     "isn't ["},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
     "header, byte"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "truncated"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
     "truncated"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "damaged"},
    {"{}", 1, "damaged"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,5]}}", 5,
     "5 bytes of data, which isn't [1]"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "isn't [1] of F4"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
     6, "tensor b begins at byte 2"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[5,9]}}",
     9, "tensor b begins at byte 5"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, "header, byte"},
    {"{\"a\\u001b[2J\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "control character 0x1b"},
    {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "header, byte"},
    {"{\"a\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "header, byte"},
};

static void hostile_headers(void **state)
{
    (void)state;
    unsigned char *bytes = malloc(CRAFT_BYTES);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof header_cases / sizeof header_cases[0]; i++) {
        size_t size = craft(bytes, header_cases[i].header, header_cases[i].data);
        lv_safetensors *f = (lv_safetensors *)bytes;
        CHECK_FAILS(lv_safetensors_open_memory(&f, bytes, size, "x.safetensors"), LVSA_ERR_FORMAT,
                    header_cases[i].words);
        assert_memory_equal(lvsa_last_error(), "x.safetensors: ", 15);
        assert_null(f);
    }
    free(bytes);
}

static void long_name(void **state)
{
    (void)state;
    static char header[CRAFT_BYTES / 2];
    static unsigned char bytes[CRAFT_BYTES];
    snprintf(header, sizeof header,
             "{\"%0*d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
             LV_TENSOR_MAX_NAME + 1, 7);
    lv_safetensors *f;
    CHECK_FAILS(lv_safetensors_open_memory(&f, bytes, craft(bytes, header, 1), "x"),
                LVSA_ERR_FORMAT, "name has 513 bytes");
}

/* Data that isn't aligned, and half-byte types whose whole is bytes, are fine. */
static void odd_but_valid(void **state)
{
    (void)state;
    static unsigned char bytes[CRAFT_BYTES];
    lv_safetensors *f;
    size_t size = craft(bytes,
                        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
                        "\"c\":{\"dtype\":\"F4\",\"shape\":[2,3],\"data_offsets\":[5,8]}}  ",
                        8);
    CHECK_OK(lv_safetensors_open_memory(&f, bytes, size, "x"));
    assert_int_equal(lv_safetensors_find(f, "c")->bytes, 3);
    assert_true(element(lv_safetensors_find(f, "b"), 0) == 0.0f);
    assert_null(lv_safetensors_get_note(f, "a"));
    lv_safetensors_close(&f);

    CHECK_OK(lv_safetensors_open_memory(&f, bytes, craft(bytes, "{}", 0), "x"));
    assert_int_equal(lv_safetensors_count(f), 0);
    assert_null(lv_safetensors_find(f, "a"));
    lv_safetensors_close(&f);
}

static void hostile_sizes(void **state)
{
    (void)state;
    lv_safetensors *f;
    static const unsigned char huge[12] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, '{',  '}'};
    static const unsigned char limit[12] = {0x01, 0xe1, 0xf5, 0x05}; /* 100,000,001 */
    static const unsigned char longer[12] = {5, 0, 0, 0, 0, 0, 0, 0, '{', '}', ' ', ' '};
    CHECK_FAILS(lv_safetensors_open_memory(&f, NULL, 0, "x"), LVSA_ERR_FORMAT, "x: 0 bytes");
    CHECK_FAILS(lv_safetensors_open_memory(&f, huge, 7, "x"), LVSA_ERR_FORMAT, "7 bytes");
    CHECK_FAILS(lv_safetensors_open_memory(&f, huge, 12, "x"), LVSA_ERR_FORMAT,
                "18446744073709551615");
    CHECK_FAILS(lv_safetensors_open_memory(&f, limit, 12, "x"), LVSA_ERR_FORMAT,
                "100000001 bytes; at most");
    CHECK_FAILS(lv_safetensors_open_memory(&f, longer, 12, "x"), LVSA_ERR_FORMAT, "truncated");
    assert_null(f);

    const char *pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
    CHECK_FAILS(lv_safetensors_open_memory(&f, pointer, strlen(pointer), "x"), LVSA_ERR_FORMAT,
                "git lfs pull");
}

/* Every way to cut the golden file short is noticed. */
static void truncated_anywhere(void **state)
{
    (void)state;
    static unsigned char bytes[1 << 12];
    FILE *file = fopen(golden, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        lv_safetensors *f;
        assert_int_equal(lv_safetensors_open_memory(&f, part, cut, "x"), LVSA_ERR_FORMAT);
        free(part);
    }
}

static void no_file(void **state)
{
    (void)state;
    lv_safetensors *f = (lv_safetensors *)state;
    CHECK_FAILS(lv_safetensors_open(&f, scratch_path("absent")), LVSA_ERR_IO, strerror(ENOENT));
    assert_null(f);
    CHECK_FAILS(lv_safetensors_open(&f, GOLDEN_DIR), LVSA_ERR_IO, "not a plain file");
    CHECK_FAILS(lv_safetensors_open(&f, scratch_write("empty", "", 0)), LVSA_ERR_FORMAT, "0 bytes");
}

/* ---- writing --------------------------------------------------------------------------------- */

static const float singles[6] = {1.0f, -2.0f, 3.5f, 0.0f, 1e-30f, 6e30f};
static const uint16_t halves[3] = {0x3c00, 0x7bff, 0x8001};

static const lv_tensor_out outs[] = {
    {.name = "z.half", .dtype = LVSA_F16, .rank = 1, .shape = {3}, .data = halves},
    {.name = "latents \"x\"", .dtype = LVSA_F32, .rank = 2, .shape = {2, 3}, .data = singles},
    {.name = "none", .dtype = LVSA_BF16, .rank = 3, .shape = {2, 0, 3}, .data = NULL},
    {.name = "one", .dtype = LVSA_F32, .rank = 0, .data = singles},
};
enum { OUTS = sizeof outs / sizeof outs[0] };

static lvsa_status write_outs(const char *path)
{
    const lv_note notes[] = {{"step", "12"}, {"prompt", "a \"cat\"\n"}};
    return lv_safetensors_write(path, outs, OUTS, notes, 2);
}

static void check_outs(const char *path)
{
    lv_safetensors *f;
    CHECK_OK(lv_safetensors_open(&f, path));
    assert_int_equal(lv_safetensors_count(f), OUTS);
    for (int i = 0; i < OUTS; i++) {
        const lv_tensor_entry *e = lv_safetensors_find(f, outs[i].name);
        assert_non_null(e);
        assert_int_equal(e->dtype, outs[i].dtype);
        assert_int_equal(e->rank, outs[i].rank);
        for (int d = 0; d < e->rank; d++) assert_int_equal(e->shape[d], outs[i].shape[d]);
        if (e->bytes) assert_memory_equal(e->data, outs[i].data, e->bytes);
        assert_int_equal((uintptr_t)e->data % lv_dtype_bytes(e->dtype), 0);
    }
    /* The 4-byte types come first, whatever their place in the call: data begins at a multiple of
     * 64. */
    assert_int_equal((uintptr_t)lv_safetensors_find(f, outs[1].name)->data % 64, 0);
    assert_string_equal(lv_safetensors_get_note(f, "step"), "12");
    assert_string_equal(lv_safetensors_get_note(f, "prompt"), "a \"cat\"\n");
    lv_safetensors_close(&f);
}

/* Writing leaves no temporary file behind and replaces what was there. */
static void round_trip(void **state)
{
    (void)state;
    const char *path = scratch_write("out/a.safetensors", "old", 3);
    CHECK_OK(write_outs(path));
    check_outs(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(scratch_path("out")), 0);
}

static void write_failures(void **state)
{
    (void)state;
    const char *path = scratch_path("w/a");
    lv_tensor_out bad = outs[0];
    const lv_tensor_out twice[2] = {outs[0], outs[0]};
    bad.dtype = 0;
    CHECK_FAILS(lv_safetensors_write(path, &bad, 1, NULL, 0), LVSA_ERR_ARGUMENT, "type 0");
    bad = outs[0], bad.rank = 9;
    CHECK_FAILS(lv_safetensors_write(path, &bad, 1, NULL, 0), LVSA_ERR_ARGUMENT, "rank 9");
    bad = outs[0], bad.name = "__metadata__";
    CHECK_FAILS(lv_safetensors_write(path, &bad, 1, NULL, 0), LVSA_ERR_ARGUMENT, "__metadata__");
    bad = outs[0], bad.name = "\xff";
    CHECK_FAILS(lv_safetensors_write(path, &bad, 1, NULL, 0), LVSA_ERR_ARGUMENT, "UTF-8");
    bad = outs[0], bad.rank = 3, bad.shape[0] = bad.shape[1] = bad.shape[2] = (size_t)1 << 31;
    CHECK_FAILS(lv_safetensors_write(path, &bad, 1, NULL, 0), LVSA_ERR_ARGUMENT, "too large");
    CHECK_FAILS(lv_safetensors_write(path, twice, 2, NULL, 0), LVSA_ERR_ARGUMENT, "taken");
    const lv_note note = {"key", "\xff"};
    CHECK_FAILS(lv_safetensors_write(path, outs, OUTS, &note, 1), LVSA_ERR_ARGUMENT, "note key");
    CHECK_FAILS(write_outs(GOLDEN_DIR "/absent/a"), LVSA_ERR_IO, strerror(ENOENT));

    /* A directory stands where the file should go: the rename fails, the temporary file goes. */
    scratch_write("w/d/x", "x", 1);
    CHECK_FAILS(write_outs(scratch_path("w/d")), LVSA_ERR_IO, "w/d");
    unlink(scratch_path("w/d/x"));
    rmdir(scratch_path("w/d"));
    assert_int_equal(rmdir(scratch_path("w")), 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static lvsa_status write_and_open(void *user)
{
    lv_safetensors *f = NULL;
    lvsa_status s = write_outs(user);
    if (s == LVSA_OK) s = lv_safetensors_open(&f, user);
    assert_true((s == LVSA_OK) == (f != NULL));
    lv_safetensors_close(&f);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("memory.safetensors"));
    assert_true(fail_each_allocation(write_and_open, path) >= 6);
    check_outs(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_file),    cmocka_unit_test(hostile_headers),
        cmocka_unit_test(long_name),      cmocka_unit_test(odd_but_valid),
        cmocka_unit_test(hostile_sizes),  cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(no_file),        cmocka_unit_test(round_trip),
        cmocka_unit_test(write_failures), cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
