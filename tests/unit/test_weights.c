/* test_weights.c: a component's directory, and a model's table of weights bound to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "testing.h"

#include "allocations.h"
#include "engine/weights/weights.h"
#include "scratch.h"

static const char sharded[] = GOLDEN_DIR "/safetensors/sharded";

/* ---- a model of twelve blocks, as the golden script writes it -------------------------------- */

typedef struct block {
    lv_weight norm; /* [E] */
    lv_weight q;    /* [E, E] */
} block;

typedef struct model {
    block blocks[12];
    lv_weight proj; /* [E/2, E] */
} model;

static const lv_weight_spec block_specs[] = {
    {"norm.weight", "[E]", offsetof(block, norm), NULL},
    {"to_q.weight", "[E, E]", offsetof(block, q), NULL},
};
static const lv_weight_spec model_specs[] = {
    {"proj_out.weight", "[4, 2H]", offsetof(model, proj), NULL},
};
static const lv_dims dims = {.of = {['E'] = 8, ['H'] = 4}};

static lvsa_status bind_model(model *m, lv_weights *w)
{
    const lv_weight_group whole = {model_specs, 1, &dims, "", 1, m, sizeof *m};
    const lv_weight_group blocks = {block_specs, 2,         &dims,        "blocks.%d.",
                                    12,          m->blocks, sizeof(block)};
    LV_TRY(lv_weights_bind(w, &whole));
    return lv_weights_bind(w, &blocks);
}

static void check_model(const model *m)
{
    float norm[8], q[64], proj[32];
    lv_weight_to_f32(proj, &m->proj, 0, 32);
    for (int i = 0; i < 32; i++) assert_true(proj[i] == (float)(i - 5) / 4.0f);
    for (int b = 0; b < 12; b++) {
        lv_weight_to_f32(norm, &m->blocks[b].norm, 0, 8);
        lv_weight_to_f32(q, &m->blocks[b].q, 0, 64);
        for (int i = 0; i < 8; i++) assert_true(norm[i] == (float)(i - 5) / 4.0f + (float)b);
        for (int i = 0; i < 64; i++) assert_true(q[i] == (float)(i - 5) / 4.0f);
    }
}

static void binds_shards(void **state)
{
    (void)state;
    static const char *const unused[] = {"encoder.*", NULL};
    const char *first;
    model m = {0};
    lv_weights *w;
    CHECK_OK(lv_weights_open(&w, sharded, NULL));
    assert_string_equal(lv_weights_path(w), GOLDEN_DIR
                        "/safetensors/sharded/diffusion_pytorch_model.safetensors.index.json");
    assert_int_equal(lv_weights_count_unknown(&first, w, unused), 25);
    assert_string_equal(first, "blocks.0.norm.weight");
    CHECK_OK(bind_model(&m, w));
    assert_int_equal(m.proj.rank, 2);
    assert_int_equal(m.proj.shape[0], 4);
    assert_int_equal(m.proj.count, 32);
    assert_int_equal(m.blocks[11].q.dtype, LVSA_BF16);
    check_model(&m);

    assert_int_equal(lv_weights_count_unknown(&first, w, unused), 0);
    assert_null(first);
    assert_int_equal(lv_weights_count_unknown(&first, w, NULL), 1);
    assert_string_equal(first, "encoder.unused.weight");

    lv_weights_drop(w, &m.proj);
    lv_weights_drop(w, &m.blocks[0].q);
    check_model(&m);
    lv_weights_close(&w);
    assert_null(w);
    lv_weights_close(&w);
}

/* A slash at the end of the directory changes nothing but the sentences. */
static void finds_one(void **state)
{
    (void)state;
    lv_weights *w;
    lv_weight v;
    CHECK_OK(lv_weights_open(&w, GOLDEN_DIR "/safetensors/single//", NULL));
    assert_string_equal(lv_weights_path(w), GOLDEN_DIR "/safetensors/single/model.safetensors");
    CHECK_OK(lv_weights_find(&v, w, "matrix.f16"));
    float two[2];
    lv_weight_to_f32(two, &v, 6, 2);
    assert_true(two[0] == 0.25f && two[1] == 0.5f);
    assert_true(lv_weight_is_aligned(&v));
    CHECK_FAILS(lv_weights_find(&v, w, "absent"), LVSA_ERR_FORMAT,
                "model.safetensors: there is no tensor absent");
    CHECK_FAILS(lv_weights_find(&v, w, "small.f8"), LVSA_ERR_UNSUPPORTED,
                "tensor small.f8 is of type F8_E4M3; F32, F16 or BF16");
    CHECK_FAILS(lv_weights_find(&v, w, "counts.i64"), LVSA_ERR_UNSUPPORTED, "I64");
    lv_weights_close(&w);
}

static void bind_one(lv_weights *w, const char *name, const char *tied, const char *shape,
                     lvsa_status status, const char *words)
{
    lv_weight v = {0};
    const lv_weight_spec spec = {name, shape, 0, tied};
    const lv_weight_group g = {&spec, 1, &dims, "", 1, &v, sizeof v};
    lvsa_status s = lv_weights_bind(w, &g);
    assert_string_equal(lvsa_status_name(s), lvsa_status_name(status));
    assert_true((s == LVSA_OK) == (v.data != NULL));
    if (s != LVSA_OK && !strstr(lvsa_last_error(), words))
        fail_msg("\"%s\" doesn't say \"%s\"", lvsa_last_error(), words);
}

static void shapes(void **state)
{
    (void)state;
    lv_weights *w;
    CHECK_OK(lv_weights_open(&w, GOLDEN_DIR "/safetensors/single", NULL));
    bind_one(w, "conv.bf16", NULL, "[2, 3, 1, 2, 2]", LVSA_OK, "");
    bind_one(w, "conv.bf16", NULL, "[?, 3, ?, 2, 2]", LVSA_OK, "");
    bind_one(w, "scalar", NULL, "[]", LVSA_OK, "");
    bind_one(w, "scalar", NULL, "[1]", LVSA_ERR_SHAPE, "tensor scalar is []; [1] is wanted");
    bind_one(
        w, "conv.bf16", NULL, "[2, 3, 1, 2, E]", LVSA_ERR_SHAPE,
        "single/model.safetensors: tensor conv.bf16 is [2, 3, 1, 2, 2]; [2, 3, 1, 2, 8] is wanted");
    bind_one(w, "conv.bf16", NULL, "[?, 3E, 10]", LVSA_ERR_SHAPE, "[?, 24, 10] is wanted");
    bind_one(w, "absent", NULL, "[2, E]", LVSA_ERR_FORMAT,
             "no tensor absent; one of shape [2, 8] is wanted");
    bind_one(w, "small.f8", NULL, "[4]", LVSA_ERR_UNSUPPORTED, "F8_E4M3");

    /* Either name of a tied tensor will do. */
    bind_one(w, "absent", "vector.f32", "[7]", LVSA_OK, "");
    bind_one(w, "vector.f32", "absent", "[7]", LVSA_OK, "");
    bind_one(w, "absent", "vector.f32", "[8]", LVSA_ERR_SHAPE, "tensor vector.f32 is [7]");
    bind_one(w, "absent", "nowhere", "[8]", LVSA_ERR_FORMAT, "no tensor absent");

    static const char *const bad[] = {"",
                                      "[",
                                      "]",
                                      "7",
                                      "[7",
                                      "[Q]",
                                      "[0]",
                                      "[7,7]",
                                      "[7, ]",
                                      "[E3]",
                                      "[-1]",
                                      "[7] ",
                                      "[1, 1, 1, 1, 1, 1, 1, 1, 1]",
                                      "[99999999999999999999999]"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        bind_one(w, "vector.f32", NULL, bad[i], LVSA_ERR_ARGUMENT, "weight vector.f32 of shape");

    const lv_weight_spec spec = {"x", "[1]", 0, NULL};
    const lv_weight_group g = {&spec, 1, &dims, "x.", 2, NULL, 0};
    CHECK_FAILS(lv_weights_bind(w, &g), LVSA_ERR_ARGUMENT, "%d");
    lv_weights_close(&w);
}

/* ---- directories ----------------------------------------------------------------------------- */

static const float value[2] = {1.0f, 2.0f};

/* A file with one tensor, [2]; or a text. */
static void put_tensor(const char *name, const char *tensor)
{
    const lv_tensor_out t = {
        .name = tensor, .dtype = LVSA_F32, .rank = 1, .shape = {2}, .data = value};
    CHECK_OK(lv_safetensors_write(scratch_path(name), &t, 1, NULL, 0));
}
static void put_text(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

static void fails_to_open(const char *name, lvsa_status status, const char *words)
{
    lv_weights *w = (lv_weights *)&status;
    CHECK_FAILS(lv_weights_open(&w, scratch_path(name), NULL), status, words);
    assert_null(w);
}

static void wrong_directories(void **state)
{
    (void)state;
    put_text("none/model.bin", "x");
    fails_to_open("absent", LVSA_ERR_IO, strerror(ENOENT));
    fails_to_open("none/model.bin", LVSA_ERR_IO, "a directory is wanted");
    fails_to_open("none", LVSA_ERR_IO, "no weights here");
    put_text("cut/model.safetensors", "abc");
    fails_to_open("cut", LVSA_ERR_FORMAT, "cut/model.safetensors: 3 bytes");
}

static void variants(void **state)
{
    (void)state;
    lv_weights *w;
    lv_weight v;
    put_tensor("variant/diffusion_pytorch_model.safetensors", "plain");
    put_tensor("variant/diffusion_pytorch_model.fp16.safetensors", "single");
    put_tensor("variant/model.bf16-1.safetensors", "shard");
    put_text("variant/model.safetensors.index.bf16.json",
             "{\"weight_map\": {\"shard\": \"model.bf16-1.safetensors\"}}");
    CHECK_OK(lv_weights_open(&w, scratch_path("variant"), NULL));
    CHECK_OK(lv_weights_find(&v, w, "plain"));
    lv_weights_close(&w);
    CHECK_OK(lv_weights_open(&w, scratch_path("variant"), "fp16"));
    CHECK_OK(lv_weights_find(&v, w, "single"));
    lv_weights_close(&w);
    CHECK_OK(lv_weights_open(&w, scratch_path("variant"), "bf16"));
    CHECK_OK(lv_weights_find(&v, w, "shard"));
    lv_weights_close(&w);
    CHECK_FAILS(lv_weights_open(&w, scratch_path("variant"), "ema"), LVSA_ERR_IO,
                "diffusion_pytorch_model.ema.safetensors");
    CHECK_FAILS(lv_weights_open(&w, scratch_path("variant"), "a/../b"), LVSA_ERR_ARGUMENT, "fp16");
}

/* A file of a variant isn't taken unless it was asked for. */
static void variant_only(void **state)
{
    (void)state;
    put_tensor("half/model.fp16.safetensors", "a");
    fails_to_open("half", LVSA_ERR_IO, "no weights here");
}

static void bad_index(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        lvsa_status status;
        const char *words;
    } cases[] = {
        {"", LVSA_ERR_FORMAT, "index.json: line"},
        {"{}", LVSA_ERR_FORMAT, "no \"weight_map\""},
        {"{\"weight_map\": []}", LVSA_ERR_FORMAT, "no \"weight_map\""},
        {"{\"weight_map\": {}}", LVSA_ERR_FORMAT, "no \"weight_map\""},
        {"{\"weight_map\": {\"a\": 7}}", LVSA_ERR_FORMAT, "tensor a isn't in a file"},
        {"{\"weight_map\": {\"a\": \"\"}}", LVSA_ERR_FORMAT, "tensor a isn't in a file"},
        {"{\"weight_map\": {\"a\": \"../1.safetensors\"}}", LVSA_ERR_FORMAT,
         "tensor a isn't in a file"},
        {"{\"weight_map\": {\"a\": \"3.safetensors\"}}", LVSA_ERR_IO,
         "names a shard that can't be read: "},
        {"{\"weight_map\": {\"a\": \"1.safetensors\", \"c\": \"1.safetensors\"}}", LVSA_ERR_FORMAT,
         "tensor c should be in 1.safetensors, which hasn't got it"},
        {"{\"weight_map\": {\"a\": \"2.safetensors\", \"b\": \"1.safetensors\"}}", LVSA_ERR_FORMAT,
         "which hasn't got it"},
        {"{\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"twin.safetensors\"}}",
         LVSA_ERR_FORMAT, "tensor a is in "},
        {"{\"weight_map\": {\"a\": \"cut.safetensors\"}}", LVSA_ERR_FORMAT,
         "cut.safetensors: 3 bytes"},
    };
    put_tensor("shards/1.safetensors", "a");
    put_tensor("shards/2.safetensors", "b");
    put_tensor("shards/twin.safetensors", "a");
    put_text("shards/cut.safetensors", "abc");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text("shards/diffusion_pytorch_model.safetensors.index.json", cases[i].index);
        fails_to_open("shards", cases[i].status, cases[i].words);
    }
}

/* Published checkpoints, each with one shard gone or cut. */
static void damaged_shards(void **state)
{
    (void)state;
    static const char *const names[] = {"diffusion_pytorch_model.safetensors.index.json",
                                        "diffusion_pytorch_model-00001-of-00003.safetensors",
                                        "diffusion_pytorch_model-00002-of-00003.safetensors",
                                        "diffusion_pytorch_model-00003-of-00003.safetensors"};
    char from[1024], to[256];
    for (int i = 0; i < 4; i++) {
        snprintf(from, sizeof from, "%s/%s", sharded, names[i]);
        snprintf(to, sizeof to, "damaged/%s", names[i]);
        scratch_copy(to, from);
    }
    lv_weights *w;
    CHECK_OK(lv_weights_open(&w, scratch_path("damaged"), NULL));
    lv_weights_close(&w);
    assert_int_equal(truncate(scratch_path(to), 900), 0);
    fails_to_open("damaged", LVSA_ERR_FORMAT,
                  "diffusion_pytorch_model-00003-of-00003.safetensors: tensor ");
    assert_int_equal(unlink(scratch_path(to)), 0);
    fails_to_open("damaged", LVSA_ERR_IO, strerror(ENOENT));
}

/* ---- size and memory ------------------------------------------------------------------------- */

/* 40 blocks of 50 tensors: no fixed tables. */
static void many_tensors(void **state)
{
    (void)state;
    enum { BLOCKS = 40, EACH = 50, COUNT = BLOCKS * EACH };
    static lv_tensor_out outs[COUNT];
    static char names[COUNT][32], parts[EACH][16];
    static lv_weight views[BLOCKS][EACH];
    static float values[COUNT];
    lv_weight_spec specs[EACH];
    for (int i = 0; i < COUNT; i++) {
        values[i] = (float)i;
        snprintf(names[i], sizeof names[i], "blocks.%d.part%d", i / EACH, i % EACH);
        outs[i] = (lv_tensor_out){.name = names[i], .dtype = LVSA_F32, .data = &values[i]};
    }
    for (int i = 0; i < EACH; i++) {
        snprintf(parts[i], sizeof parts[i], "part%d", i);
        specs[i] = (lv_weight_spec){parts[i], "[]", (size_t)i * sizeof(lv_weight), NULL};
    }
    CHECK_OK(lv_safetensors_write(scratch_path("many/model.safetensors"), outs, COUNT, NULL, 0));

    lv_weights *w;
    const char *first;
    const lv_weight_group g = {specs, EACH, &dims, "blocks.%d.", BLOCKS, views, sizeof views[0]};
    CHECK_OK(lv_weights_open(&w, scratch_path("many"), NULL));
    CHECK_OK(lv_weights_bind(w, &g));
    assert_int_equal(lv_weights_count_unknown(&first, w, NULL), 0);
    for (int i = 0; i < COUNT; i++) {
        float seen;
        lv_weight_to_f32(&seen, &views[i / EACH][i % EACH], 0, 1);
        assert_true(seen == values[i]);
    }
    lv_weights_close(&w);
}

static lvsa_status open_sharded(void *user)
{
    model m;
    lv_weights *w;
    (void)user;
    lvsa_status s = lv_weights_open(&w, sharded, NULL);
    assert_true((s == LVSA_OK) == (w != NULL));
    if (s == LVSA_OK) CHECK_OK(bind_model(&m, w));
    lv_weights_close(&w);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    /* three shards of four each, and the tables */
    assert_true(fail_each_allocation(open_sharded, NULL) >= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binds_shards), cmocka_unit_test(finds_one),
        cmocka_unit_test(shapes),       cmocka_unit_test(wrong_directories),
        cmocka_unit_test(variants),     cmocka_unit_test(variant_only),
        cmocka_unit_test(bad_index),    cmocka_unit_test(damaged_shards),
        cmocka_unit_test(many_tensors), cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
