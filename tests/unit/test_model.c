/* test_model.c: what is known of a checkpoint without its weights: what it holds, what its
 * lvsa.json says, what a job will need. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lvsa/lvsa.h>

#include "allocations.h"
#include "base/machine.h"
#include "base/mem.h"
#include "engine/weights/safetensors.h"
#include "scratch.h"

#define TINY GOLDEN_DIR "/wan/tiny-a"

/* ---- what it holds --------------------------------------------------------------------------- */

static void info_counts_the_headers(void **state)
{
    (void)state;
    lvsa_model_info i = {.size = sizeof i};
    CHECK_OK(lvsa_model_get_info(&i, TINY));
    assert_string_equal(i.geometry.family, "wan2.1-1.3b");
    assert_int_equal(i.geometry.layers, 2);
    assert_int_equal(i.parts, 3);
    const lvsa_model_part *t = &i.part[1];
    assert_string_equal(t->name, "transformer");
    assert_string_equal(t->class_name, "WanTransformer3DModel");
    assert_string_equal(t->dtypes, "BF16, F32");
    assert_int_equal(t->files, 2);
    assert_int_equal(t->parameters, 535808);
    assert_int_equal(t->bytes, 1175040);
    assert_string_equal(i.part[2].dtypes, "F32");
    assert_int_equal(i.part[2].bytes, 4 * i.part[2].parameters);

    CHECK_FAILS(lvsa_model_get_info(&i, "/nowhere"), LVSA_ERR_IO, "/nowhere/model_index.json");
    i.size = 8;
    CHECK_FAILS(lvsa_model_get_info(&i, TINY), LVSA_ERR_ARGUMENT, "8 bytes");
}

/* ---- lvsa.json ------------------------------------------------------------------------------- */

/* A checkpoint's directory copied from the tiny one, without weights, with this lvsa.json. */
static const char *model_with(const char *json)
{
    static const char *const parts[] = {
        "model_index.json",         "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json", "transformer/config.json",
        "vae/config.json",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char to[128], from[512];
        snprintf(to, sizeof to, "model/%s", parts[i]);
        snprintf(from, sizeof from, TINY "/%s", parts[i]);
        scratch_copy(to, from);
    }
    scratch_write("model/lvsa.json", json, strlen(json));
    return scratch_path("model");
}

static lvsa_status open_with(lvsa_pipeline **out, const char *json)
{
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    o.model = model_with(json);
    return lvsa_pipeline_open(out, &o);
}

static void a_family_has_its_defaults(void **state)
{
    (void)state;
    lvsa_pipeline *p;
    lvsa_job job = LVSA_JOB_INIT;
    job.seed = 5, job.prompt = "kept";
    CHECK_OK(open_with(&p, "{\"frames\": null}"));
    lvsa_pipeline_job_defaults(&job, p);
    assert_int_equal(job.frames, 81);
    assert_int_equal(job.height, 480);
    assert_int_equal(job.width, 832);
    assert_int_equal(job.steps, 40);
    assert_true(job.guidance == 5.0 && job.flow_shift == 0.0);
    assert_null(job.negative_prompt);
    assert_int_equal(job.plan.reference_latent_frames, 21);
    assert_int_equal(job.plan.keyframe_interval, LVSA_INTERVAL_AUTO);
    assert_int_equal(lvsa_pipeline_get_geometry(p)->fps, 16);
    assert_int_equal(job.seed, 5);
    assert_string_equal(job.prompt, "kept");
    lvsa_pipeline_close(&p);
}

static void the_directory_comes_first(void **state)
{
    (void)state;
    lvsa_pipeline *p;
    lvsa_job job = LVSA_JOB_INIT;
    CHECK_OK(
        open_with(&p, "{\"frames\": 33, \"height\": 64, \"width\": 32, \"fps\": 12, \"steps\": 7, "
                      "\"guidance\": 3.5, \"flow_shift\": 8, \"negative_prompt\": \"blurred\", "
                      "\"reference_latent_frames\": 5, \"pattern\": {\"window_size\": 8, "
                      "\"n_first_frames\": 0, \"key_frame_interval\": 12, \"sparsity_scale\": 0.5, "
                      "\"expand_window\": false, \"rotate_keyframes\": false, "
                      "\"trained_opening\": true}}"));
    lvsa_pipeline_job_defaults(&job, p);
    assert_int_equal(job.frames, 33);
    assert_int_equal(job.height, 64);
    assert_int_equal(job.width, 32);
    assert_int_equal(lvsa_pipeline_get_geometry(p)->fps, 12);
    assert_int_equal(job.steps, 7);
    assert_true(job.guidance == 3.5 && job.flow_shift == 8.0);
    assert_string_equal(job.negative_prompt, "blurred");
    assert_int_equal(job.plan.reference_latent_frames, 5);
    assert_int_equal(job.plan.window, 2);
    assert_int_equal(job.plan.first_anchors, 0);
    assert_int_equal(job.plan.keyframe_interval, 3);
    assert_true(job.plan.sparsity_scale == 0.5);
    assert_int_equal(job.plan.expand_window, 0);
    assert_int_equal(job.hold_keyframes, 1);
    assert_int_equal(job.plan.trained_opening, 1);
    lvsa_pipeline_close(&p);

    lvsa_geometry g = {.size = sizeof g};
    CHECK_OK(lvsa_geometry_from_model(&g, scratch_path("model")));
    assert_int_equal(g.frames, 33);
    assert_int_equal(g.reference_latent_frames, 5);

    lvsa_plan_options o;
    int hold;
    CHECK_OK(lvsa_plan_options_from_model(&o, &hold, scratch_path("model")));
    assert_int_equal(o.reference_latent_frames, 5);
    assert_int_equal(o.window, 2);
    assert_int_equal(o.keyframe_interval, 3);
    assert_true(o.sparsity_scale == 0.5);
    assert_int_equal(hold, 1);
}

static void values_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *json, *words;
    } bad[] = {
        {"{", "lvsa.json: line 1"},
        {"[]", "lvsa.json"},
        {"{\"frames\": 0}", "lvsa.json: \"frames\" is 0"},
        {"{\"frames\": 2.5}", "\"frames\""},
        {"{\"height\": 481}", "lvsa.json: height 481"},
        {"{\"fps\": 1001}", "\"fps\" is 1001"},
        {"{\"steps\": -1}", "\"steps\" is -1"},
        {"{\"guidance\": -0.5}", "\"guidance\" is -0.5; 0 to 1000 is wanted"},
        {"{\"guidance\": \"5\"}", "\"guidance\""},
        {"{\"flow_shift\": 0}", "\"flow_shift\" is 0"},
        {"{\"negative_prompt\": 5}", "\"negative_prompt\""},
        {"{\"reference_latent_frames\": 0}", "\"reference_latent_frames\" is 0"},
        {"{\"pattern\": 5}", "\"pattern\": an object is wanted"},
        {"{\"pattern\": {\"window_size\": 5}}", "\"window_size\" is 5; a multiple of 4"},
        {"{\"pattern\": {\"key_frame_interval\": \"often\"}}", "\"key_frame_interval\""},
        {"{\"pattern\": {\"sparsity_scale\": 0}}", "\"sparsity_scale\" is 0"},
        {"{\"pattern\": {\"expand_window\": 1}}", "\"expand_window\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lvsa_pipeline *p;
        CHECK_FAILS(open_with(&p, bad[i].json), LVSA_ERR_FORMAT, bad[i].words);
        assert_null(p);
    }
}

/* ---- a job's needs --------------------------------------------------------------------------- */

static size_t largest, all; /* bytes of allocations */

static bool note_bytes(size_t bytes)
{
    if (bytes > largest) largest = bytes;
    all += bytes;
    return true;
}

static lvsa_pipeline *open_tiny(void)
{
    lvsa_pipeline *p;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    o.model = TINY, o.threads = 1;
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    return p;
}

static lvsa_job job_of(int frames, int edge)
{
    lvsa_job job = LVSA_JOB_INIT;
    job.prompt = "a red fox", job.steps = 1;
    job.frames = frames, job.height = job.width = edge;
    return job;
}

static void a_forecast_holds(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = job_of(121, 64);
    lvsa_forecast f = {.size = sizeof f}, longer = f;
    largest = all = 0;
    lv_mem_set_hook(note_bytes);
    lvsa_status s = lvsa_pipeline_forecast(&f, p, &job);
    const size_t to_forecast = all;
    largest = all = 0;
    if (s == LVSA_OK) s = lvsa_generate(p, &job);
    lv_mem_set_hook(NULL);
    CHECK_OK(s);

    assert_true(f.needed >= (int64_t)largest);
    assert_true(f.needed <= (int64_t)all);
    assert_true(to_forecast < all / 8); /* neither weights nor scratch */
    assert_true(f.needed >= f.text && f.needed >= f.denoise && f.needed >= f.decode);
    assert_int_equal(f.frames, 121);
    assert_int_equal(f.latent_frames, 31);
    assert_int_equal(f.sparse, 1);
    assert_true(f.available == 0 || f.available > 1 << 20);

    job.frames = 2001, job.sparsity = LVSA_SPARSITY_OFF;
    CHECK_OK(lvsa_pipeline_forecast(&longer, p, &job));
    assert_int_equal(longer.sparse, 0);
    assert_true(longer.denoise > 2 * f.denoise);
    assert_true(longer.text > f.text); /* the models stayed with the pipeline */
    lvsa_pipeline_close(&p);
}

static void count_lines(void *user, const char *line)
{
    assert_true(*line != '\0');
    ++*(int *)user;
}

static void a_forecast_refuses_what_a_job_would(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_forecast f = {.size = sizeof f};
    int lines = 0;
    lvsa_job job = job_of(12, 64);
    job.on_message = count_lines, job.user = &lines;
    CHECK_OK(lvsa_pipeline_forecast(&f, p, &job));
    assert_int_equal(f.frames, 9);
    assert_int_equal(lines, 2); /* the grid, and dense attention */
    job.strict = 1;
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_ARGUMENT, "making 9 (refused");
    CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_ARGUMENT, "making 9 (refused");
    job = job_of(9, 60);
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_SHAPE, "use 64");
    job = job_of(1 << 22, 4096), job.sparsity = LVSA_SPARSITY_OFF;
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_SHAPE, "at most 2147483647");
    job = job_of(9, 64), job.riflex.scale = -1.0;
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_ARGUMENT, "RIFLEx");
    f.size = 4, job = job_of(9, 64);
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_ARGUMENT, "4 bytes");
    lvsa_pipeline_close(&p);
}

static void a_long_prompt_is_cut(void **state)
{
    (void)state;
    char prompt[4096] = "";
    int lines = 0;
    lvsa_pipeline *p = open_tiny();
    lvsa_forecast f = {.size = sizeof f};
    lvsa_job job = job_of(9, 32);
    for (int i = 0; i < 600; i++) strcat(prompt, "fox ");
    job.prompt = prompt, job.on_message = count_lines, job.user = &lines;
    CHECK_OK(lvsa_generate(p, &job));
    assert_int_equal(lines, 2); /* this, and dense attention */
    job.strict = 1;
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_ARGUMENT,
                "the prompt: 601 tokens, and the model takes 512; the last 89");
    job.prompt = "", job.negative_prompt = prompt;
    CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_ARGUMENT, "the negative prompt: 601");
    job.guidance = 1.0; /* then nobody reads it */
    CHECK_OK(lvsa_generate(p, &job));
    lvsa_pipeline_close(&p);
}

/* ---- tensors that nobody asks for ------------------------------------------------------------ */

/* A copy of a file of the tiny checkpoint, with one tensor more. */
static void copy_with(const char *file, const char *stranger)
{
    enum { MOST = 256 };
    char from[512], to[512];
    snprintf(from, sizeof from, TINY "/%s", file);
    snprintf(to, sizeof to, "strange/%s", file);
    lv_safetensors *f;
    lv_tensor_out out[MOST];
    const float number = 1.0f;
    CHECK_OK(lv_safetensors_open(&f, from));
    const size_t count = lv_safetensors_count(f);
    assert_true(count < MOST);
    for (size_t i = 0; i < count; i++) {
        const lv_tensor_entry *e = lv_safetensors_get(f, i);
        out[i] = (lv_tensor_out){e->name, e->dtype, e->rank, {0}, e->data};
        memcpy(out[i].shape, e->shape, sizeof out[i].shape);
    }
    out[count] = (lv_tensor_out){stranger, LVSA_F32, 1, {1}, &number};
    CHECK_OK(lv_safetensors_write(scratch_path(to), out, count + 1, NULL, 0));
    lv_safetensors_close(&f);
}

static void keep_lines(void *user, const char *line)
{
    char *lines = user;
    snprintf(lines + strlen(lines), 2048 - strlen(lines), "%s\n", line);
}

static void unknown_tensors_are_told(void **state)
{
    (void)state;
    static const char *const others[] = {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "text_encoder/config.json",
        "vae/config.json",
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char to[512], from[512];
        snprintf(to, sizeof to, "strange/%s", others[i]);
        snprintf(from, sizeof from, TINY "/%s", others[i]);
        scratch_copy(to, from);
    }
    copy_with("text_encoder/model.safetensors", "encoder.adapter");
    copy_with("vae/diffusion_pytorch_model.safetensors", "decoder.adapter");

    char lines[2048] = "";
    lvsa_pipeline *p;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_job job = job_of(9, 32);
    o.model = scratch_path("strange"), job.steps = 1;
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    job.on_message = keep_lines, job.user = lines;
    CHECK_OK(lvsa_generate(p, &job));
    assert_non_null(strstr(lines, "strange/text_encoder: 1 tensors aren't known to this model and "
                                  "weren't used, the first is encoder.adapter\n"));
    assert_non_null(strstr(lines, "strange/vae: 1 tensors aren't known to this model and weren't "
                                  "used, the first is decoder.adapter\n"));
    lvsa_forecast f = {.size = sizeof f};
    job.strict = 1;
    CHECK_FAILS(lvsa_pipeline_forecast(&f, p, &job), LVSA_ERR_ARGUMENT, "text_encoder: 1 tensors");
    CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_ARGUMENT, "text_encoder: 1 tensors");
    lvsa_pipeline_close(&p);

    copy_with("text_encoder/model.safetensors", "decoder.block.0"); /* of a whole UMT5 */
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_ARGUMENT, "vae: 1 tensors");
    lvsa_pipeline_close(&p);
}

/* ---- without memory -------------------------------------------------------------------------- */

static lvsa_status look(void)
{
    lvsa_model_info i = {.size = sizeof i};
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *p = NULL;
    lvsa_forecast f = {.size = sizeof f};
    lvsa_job job = job_of(9, 32);
    o.model = TINY;
    lvsa_status s = lvsa_model_get_info(&i, TINY);
    if (s == LVSA_OK) s = lvsa_pipeline_open(&p, &o);
    if (s == LVSA_OK) s = lvsa_pipeline_forecast(&f, p, &job);
    lvsa_pipeline_close(&p);
    return s;
}

/* Some of the allocations fail, one a time; all of them would take minutes under a sanitizer. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    int failures = 0;
    for (int at = 0;; at += 1 + at / 16) {
        fail_allocation(at);
        lvsa_status s = look();
        fail_allocation(-1);
        if (s == LVSA_OK) break;
        CHECK_FAILS(s, LVSA_ERR_MEMORY, "memory");
        failures++;
    }
    assert_true(failures > 20);
}

static void the_machine_has_memory(void **state)
{
    (void)state;
#ifdef __linux__
    assert_true(lv_machine_available() > 1 << 20);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_counts_the_headers),
        cmocka_unit_test(a_family_has_its_defaults),
        cmocka_unit_test(the_directory_comes_first),
        cmocka_unit_test(values_that_make_no_sense_are_refused),
        cmocka_unit_test(a_forecast_holds),
        cmocka_unit_test(a_forecast_refuses_what_a_job_would),
        cmocka_unit_test(a_long_prompt_is_cut),
        cmocka_unit_test(unknown_tensors_are_told),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(the_machine_has_memory),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
