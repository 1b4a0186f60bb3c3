/* test_synth.c: checkpoints of random weights: what they hold, and what is left where they fail. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"
#include "testing.h"

#include <lvsa/lvsa.h>

#include "base/mem.h"
#include "engine/weights/weights.h"
#include "flow/text/tokenizers/tokenizer.h"

static lvsa_synth_options tiny(const char *directory)
{
    lvsa_synth_options o = LVSA_SYNTH_OPTIONS_INIT;
    o.name = "tiny", o.directory = directory;
    return o;
}

static const char *make(const char *name, const lvsa_synth_options *like)
{
    int64_t bytes;
    lvsa_synth_options o = *like;
    o.directory = scratch_path(name);
    CHECK_OK(lvsa_synth_write(&bytes, &o));
    return o.directory;
}

/* Both directories' weights of a part are the same, to the bit. */
static bool same_weights(const char *a, const char *b, const char *part)
{
    char path[2][512];
    lv_weights *w[2];
    snprintf(path[0], sizeof path[0], "%s/%s", a, part);
    snprintf(path[1], sizeof path[1], "%s/%s", b, part);
    for (int i = 0; i < 2; i++) CHECK_OK(lv_weights_open(&w[i], path[i], NULL));
    bool same = lv_weights_count(w[0]) == lv_weights_count(w[1]);
    for (size_t i = 0; same && i < lv_weights_count(w[0]); i++) {
        const lv_tensor_entry *x = lv_weights_get_entry(w[0], i),
                              *y = lv_weights_get_entry(w[1], i);
        same = x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
    }
    for (int i = 0; i < 2; i++) lv_weights_close(&w[i]);
    return same;
}

static void test_seed_decides(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(NULL);
    o.threads = 1;
    const char *one = make("one", &o);
    o.threads = 3;
    const char *three = make("three", &o);
    o.seed = 1;
    const char *other = make("other", &o);
    static const char *const parts[] = {"transformer", "text_encoder", "vae"};
    for (int i = 0; i < 3; i++) {
        assert_true(same_weights(one, three, parts[i]));
        assert_false(same_weights(one, other, parts[i]));
    }
}

/* Mean and deviation of a matrix's numbers; a norm is 1, a bias 0. */
static void test_numbers(void **state)
{
    (void)state;
    const lvsa_synth_options o = tiny(NULL);
    char path[512];
    lv_weights *w;
    lv_weight matrix, norm, bias;
    float values[256];
    snprintf(path, sizeof path, "%s/transformer", make("numbers", &o));
    CHECK_OK(lv_weights_open(&w, path, NULL));
    CHECK_OK(lv_weights_find(&matrix, w, "blocks.1.ffn.net.2.weight")); /* [128, 256] */
    CHECK_OK(lv_weights_find(&norm, w, "blocks.0.attn1.norm_q.weight"));
    CHECK_OK(lv_weights_find(&bias, w, "proj_out.bias"));
    double sum = 0.0, squares = 0.0;
    for (size_t row = 0; row < 128; row++) {
        lv_weight_to_f32(values, &matrix, row * 256, 256);
        for (int i = 0; i < 256; i++)
            sum += (double)values[i], squares += (double)values[i] * (double)values[i];
    }
    assert_true(fabs(sum / 32768) < 0.05 / 16);
    assert_true(fabs(sqrt(squares / 32768) * 16 - 1) < 0.02); /* 1 / sqrt(256) */
    lv_weight_to_f32(values, &norm, 0, 128);
    for (int i = 0; i < 128; i++) assert_true(values[i] == 1.0f);
    lv_weight_to_f32(values, &bias, 0, 64);
    for (int i = 0; i < 64; i++) assert_true(values[i] == 0.0f);
    lv_weights_close(&w);
}

/* Fewer layers are the first ones. */
static void test_layers(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(NULL);
    lvsa_geometry geometry = {.size = sizeof geometry};
    lv_weights *all, *few;
    char path[512];
    snprintf(path, sizeof path, "%s/transformer", make("all", &o));
    CHECK_OK(lv_weights_open(&all, path, NULL));
    o.layers = 1;
    const char *directory = make("few", &o);
    CHECK_OK(lvsa_geometry_from_model(&geometry, directory));
    assert_int_equal(geometry.layers, 1);
    snprintf(path, sizeof path, "%s/transformer", directory);
    CHECK_OK(lv_weights_open(&few, path, NULL));
    assert_true(lv_weights_count(few) < lv_weights_count(all));
    for (size_t i = 0; i < lv_weights_count(few); i++) {
        const lv_tensor_entry *x = lv_weights_get_entry(few, i);
        lv_weight y;
        assert_null(strstr(x->name, "blocks.1."));
        CHECK_OK(lv_weights_find(&y, all, x->name));
        assert_memory_equal(x->data, y.data, x->bytes);
    }
    lv_weights_close(&few);
    lv_weights_close(&all);
}

/* The ids are those of the tokenizers library and of SentencePiece: make_synth_golden.py --load. */
static void test_tokenizers(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(NULL);
    o.parts = LVSA_SYNTH_VAE;
    const char *directory = make("tokenizers", &o), *text = "bada fox, \"ca\" bi";
    static const int32_t wanted[] = {2078, 134, 91, 15, 3, 5, 109, 5, 102, 1};
    static const char *const files[] = {"tokenizer.json", "spiece.model"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        lv_tokenizer *t;
        int32_t ids[32];
        size_t count;
        snprintf(path, sizeof path, "%s/tokenizer/%s", directory, files[i]);
        CHECK_OK(i ? lv_tokenizer_open_spiece(&t, path) : lv_tokenizer_open_json(&t, path));
        CHECK_OK(lv_tokenizer_encode(ids, &count, 32, t, text, strlen(text)));
        assert_int_equal(count, sizeof wanted / sizeof wanted[0]);
        assert_memory_equal(ids, wanted, sizeof wanted);
        lv_tokenizer_close(&t);
    }
}

static int count_frame(void *user, const lvsa_frame *frame)
{
    int *frames = user;
    assert_int_equal(frame->width, 32);
    *frames += 1;
    return 0;
}

/* It generates, and twice the same name needs `replace`. */
static void test_generates(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(scratch_path("whole"));
    lvsa_pipeline_options open = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_job job = LVSA_JOB_INIT;
    lvsa_pipeline *p;
    int64_t bytes;
    int frames = 0;
    CHECK_OK(lvsa_synth_write(&bytes, &o));
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_IO, "exists");
    o.replace = 1;
    CHECK_OK(lvsa_synth_write(&bytes, &o));
    assert_true(bytes > 4000000 && bytes < 6000000);
    open.model = o.directory;
    CHECK_OK(lvsa_pipeline_open(&p, &open));
    job.prompt = "bada", job.frames = 5, job.height = 32, job.width = 32, job.steps = 2;
    job.on_frame = count_frame, job.user = &frames;
    CHECK_OK(lvsa_generate(p, &job));
    assert_int_equal(frames, 5);
    lvsa_pipeline_close(&p);
}

static int stop(void *user, int64_t done, int64_t total)
{
    (void)user;
    return done <= total;
}

/* A directory that was there before is as it was. */
static void test_a_failure_replaces_nothing(void **state)
{
    (void)state;
    char path[4096];
    lvsa_synth_options o = tiny(scratch_path("kept"));
    int64_t bytes;
    CHECK_OK(lvsa_synth_write(&bytes, &o));
    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", o.directory);
    o.replace = 1, o.parts = LVSA_SYNTH_TRANSFORMER, o.on_progress = stop;
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_CANCELLED, "callback");
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/model_index.json", o.directory);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/model_index.json.part", o.directory);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(scratch_path("refused"));
    int64_t bytes;
    o.name = "wan9";
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_ARGUMENT, "wan2.1-1.3b");
    o.name = "tiny", o.parts = 8;
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_ARGUMENT, "parts 0x8");
    o.parts = LVSA_SYNTH_ALL, o.on_progress = stop;
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_CANCELLED, "callback");
    assert_int_not_equal(access(o.directory, F_OK), 0);
    o.directory = "/nowhere/at/all";
    CHECK_FAILS(lvsa_synth_write(&bytes, &o), LVSA_ERR_IO, "/nowhere/at/all");
}

static int countdown;
static bool may_allocate(size_t bytes)
{
    (void)bytes;
    return countdown-- != 0;
}

/* Each allocation fails once; nothing stays behind. */
static void test_allocation_failure(void **state)
{
    (void)state;
    lvsa_synth_options o = tiny(scratch_path("failing"));
    lvsa_status s = LVSA_ERR_MEMORY;
    int64_t bytes;
    o.parts = LVSA_SYNTH_TRANSFORMER, o.threads = 1;
    for (int i = 0; s != LVSA_OK; i++) {
        countdown = i;
        lv_mem_set_hook(may_allocate);
        s = lvsa_synth_write(&bytes, &o);
        lv_mem_set_hook(NULL);
        assert_true(i < 100 && (s == LVSA_OK || s == LVSA_ERR_MEMORY));
        assert_int_equal(access(o.directory, F_OK) == 0, s == LVSA_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seed_decides), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_layers),       cmocka_unit_test(test_tokenizers),
        cmocka_unit_test(test_generates),    cmocka_unit_test(test_a_failure_replaces_nothing),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_allocation_failure),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
