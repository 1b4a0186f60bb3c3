/* test_pipeline_golden.c: prompt to frames through the public interface, against diffusers' own
 * pipeline; and what a job promises: no allocation in its loop, the same bytes twice,
 * cancelling. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <jansson.h>

#include <lvsa/lvsa.h>

#include "base/mem.h"
#include "golden/wan/golden.h"
#include "gpu.h"

static json_t *cases;

/* With the argument "cuda" on a GPU, in bf16: latents may then be off by some steps of it, and
 * frames are close on the whole. Exits with 77, skipped, where there is none. */
static lvsa_device device = LVSA_DEVICE_CPU;
static double latent_bound = 1e-4, mean_bound = 0.01;
static int worst_bound = 1;

static const json_t *find_named(const char *list, const char *name)
{
    const json_t *all = json_object_get(cases, list);
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!strcmp(json_string_value(json_object_get(json_array_get(all, i), "name")), name))
            return json_array_get(all, i);
    fail_msg("no %s in %s", name, list);
    return NULL;
}

static const char *text_of(const json_t *c, const char *key, int *tokens)
{
    const json_t *text = find_named("text", json_string_value(json_object_get(c, key)));
    const json_t *prompt = json_object_get(json_object_get(cases, "prompts"),
                                           json_string_value(json_object_get(text, "prompt")));
    *tokens = (int)json_integer_value(json_object_get(text, "max_length"));
    return json_string_value(json_object_get(prompt, "text"));
}

static int number(const json_t *c, const char *key)
{
    return (int)json_integer_value(json_object_get(c, key));
}

static lvsa_pipeline *open_pipeline(const char *checkpoint, int threads)
{
    char path[512];
    lvsa_pipeline *p;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    snprintf(path, sizeof path, "%s/wan/%s", GOLDEN_DIR, checkpoint);
    o.model = path, o.threads = threads, o.device = device;
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    return p;
}

/* ---- against diffusers ----------------------------------------------------------------------- */

typedef struct comparison {
    const lv_safetensors *golden;
    const float *frames; /* [F, H, W, 3], 0 .. 1 */
    int worst, seen;
    double sum; /* of all differences */
} comparison;

static int compare_latents(void *user, const float *latents, const int64_t shape[4])
{
    comparison *c = user;
    size_t count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    golden_check(c->golden, "latent", latents, count, latent_bound);
    return 0;
}

static int compare_frame(void *user, const lvsa_frame *f)
{
    comparison *c = user;
    const size_t bytes = (size_t)f->width * (size_t)f->height * 3;
    assert_int_equal(f->index, c->seen++);
    for (size_t i = 0; i < bytes; i++) {
        int want = (int)(c->frames[(size_t)f->index * bytes + i] * 255.0f);
        int off = abs(want - f->rgb[i]);
        if (off > c->worst) c->worst = off;
        c->sum += off;
    }
    return 0;
}

static void frames_equal_diffusers(void **state)
{
    (void)state;
    static const char *const names[] = {"end-to-end-a", "end-to-end-b"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *c = find_named("end_to_end", names[i]);
        char file[64];
        snprintf(file, sizeof file, "wan/%s", json_string_value(json_object_get(c, "file")));
        lv_safetensors *golden = golden_open(file);
        lvsa_job job = LVSA_JOB_INIT;
        job.prompt = text_of(c, "text", &job.text_tokens);
        job.negative_prompt = text_of(c, "negative_text", &job.text_tokens);
        job.frames = number(c, "num_frames"), job.height = number(c, "height");
        job.width = number(c, "width"), job.steps = number(c, "steps");
        const size_t values = (size_t)job.frames * (size_t)job.height * (size_t)job.width * 3;
        const lv_tensor_entry *noise = lv_safetensors_find(golden, "noise");
        assert_non_null(noise);
        job.noise = golden_get(golden, "noise", noise->count);
        comparison compared = {.golden = golden, .frames = golden_get(golden, "frames", values)};
        job.on_latents = compare_latents, job.on_frame = compare_frame, job.user = &compared;

        lvsa_pipeline *p = open_pipeline(json_string_value(json_object_get(c, "checkpoint")), 2);
        CHECK_OK(lvsa_generate(p, &job));
        lvsa_pipeline_close(&p);
        print_message("%s: frames within %d/255, %.3f/255 on average\n", names[i], compared.worst,
                      compared.sum / (double)values);
        assert_int_equal(compared.seen, job.frames);
        assert_true(compared.worst <= worst_bound);
        assert_true(compared.sum / (double)values <= mean_bound);
        lv_safetensors_close(&golden);
    }
}

/* ---- what a job promises --------------------------------------------------------------------- */

static lvsa_job small_job(void)
{
    lvsa_job job = LVSA_JOB_INIT;
    job.prompt = "a red fox", job.frames = 41, job.height = 32, job.width = 48;
    job.steps = 3, job.seed = 7, job.plan.reference_latent_frames = 5, job.plan.window = 1;
    return job;
}

typedef struct record {
    uint64_t hash; /* of all frames */
    char messages[2048];
    int allocations, in_loop, cancel_phase, cancel_at;
    int previews, end_at_preview;
    uint64_t preview_hash; /* of the last */
} record;

static record *counting;

static bool count_allocation(size_t bytes)
{
    (void)bytes;
    counting->allocations += counting->in_loop;
    return true;
}

static int note_progress(void *user, const lvsa_progress *p)
{
    record *r = user;
    r->in_loop = p->phase == LVSA_PHASE_DENOISE && p->done < p->total;
    return r->cancel_at > 0 && (int)p->phase == r->cancel_phase && p->done == r->cancel_at;
}

static const uint64_t HASH_START = 14695981039346656037u; /* FNV-1a */

static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static int note_frame(void *user, const lvsa_frame *f)
{
    record *r = user;
    r->hash = hash_bytes(r->hash, f->rgb, (size_t)f->width * (size_t)f->height * 3);
    return 0;
}

static int note_preview(void *user, const lvsa_preview *p)
{
    record *r = user;
    assert_int_equal(p->step, ++r->previews);
    assert_true(p->steps == 3 && p->frames == 11 && p->width == 6 && p->height == 4);
    r->preview_hash = hash_bytes(HASH_START, p->rgb, (size_t)(3 * 11 * 6 * 4));
    return p->step == r->end_at_preview;
}

static void note_message(void *user, const char *line)
{
    record *r = user;
    size_t used = strlen(r->messages);
    snprintf(r->messages + used, sizeof r->messages - used, "%s\n", line);
}

static lvsa_status run(lvsa_pipeline *p, lvsa_job *job, record *r)
{
    *r = (record){.hash = HASH_START,
                  .cancel_at = r->cancel_at,
                  .cancel_phase = r->cancel_phase,
                  .end_at_preview = r->end_at_preview};
    job->on_progress = note_progress, job->on_frame = note_frame, job->on_message = note_message;
    job->user = r;
    return lvsa_generate(p, job);
}

static void nothing_is_allocated_in_the_loop(void **state)
{
    (void)state;
    record r = {0};
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    job.on_preview = note_preview;
    counting = &r;
    lv_mem_set_hook(count_allocation);
    lvsa_status s = run(p, &job, &r);
    lv_mem_set_hook(NULL);
    CHECK_OK(s);
    assert_int_equal(r.allocations, 0);
    lvsa_pipeline_close(&p);
}

static void a_seed_is_a_video(void **state)
{
    (void)state;
    record first = {0}, r = {0};
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    CHECK_OK(run(p, &job, &first));
    CHECK_OK(run(p, &job, &r)); /* the pipeline's second job */
    assert_true(r.hash == first.hash);
    job.seed = 8;
    CHECK_OK(run(p, &job, &r));
    assert_true(r.hash != first.hash);
    job = small_job(), job.sparsity = LVSA_SPARSITY_OFF;
    CHECK_OK(run(p, &job, &r));
    assert_true(r.hash != first.hash);
    job = small_job(), job.hold_keyframes = 1;
    CHECK_OK(run(p, &job, &r));
    assert_true(r.hash != first.hash);
    job = small_job(), job.riflex.scale = 4.0;
    CHECK_OK(run(p, &job, &r));
    assert_true(r.hash != first.hash);
    lvsa_pipeline_close(&p);
}

/* Looking changes nothing, and what is seen changes from step to step. */
static void previews_come_after_each_step(void **state)
{
    (void)state;
    record unseen = {0}, r = {.end_at_preview = 2};
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    CHECK_OK(run(p, &job, &unseen));
    assert_int_equal(unseen.previews, 0);
    job.on_preview = note_preview;
    CHECK_FAILS(run(p, &job, &r), LVSA_ERR_CANCELLED, "callback");
    const uint64_t second = r.preview_hash;
    assert_int_equal(r.previews, 2);
    r.end_at_preview = 0;
    CHECK_OK(run(p, &job, &r));
    assert_int_equal(r.previews, 3);
    assert_true(r.hash == unseen.hash && r.preview_hash != second);
    lvsa_pipeline_close(&p);
}

static lvsa_forecast forecast_of(lvsa_pipeline *p, const lvsa_job *job)
{
    lvsa_forecast f = {.size = sizeof f};
    CHECK_OK(lvsa_pipeline_forecast(&f, p, job));
    return f;
}

/* A pixel a latent while the job runs; fitting counts where it takes more than a step. */
static void previews_are_forecast(void **state)
{
    (void)state;
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    const lvsa_forecast without = forecast_of(p, &job);
    job.on_preview = note_preview;
    const lvsa_forecast with = forecast_of(p, &job);
    assert_int_equal(with.decode - without.decode, 3 * 11 * 6 * 4);
    assert_true(with.denoise >= without.denoise + 3 * 11 * 6 * 4);
    lvsa_pipeline_close(&p);
}

/* Ten minutes of 480x832: x, q, k, v and attention's output, 3.7 million rows of 128 f32 each, and
 * latents of nearly a gigabyte, in the host's memory six times and for a pass twice. */
static void ten_minutes_are_forecast(void **state)
{
    (void)state;
    const int64_t rows = (int64_t)2401 * 30 * 52, latents = 4 * rows * 4 * 16;
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    job.frames = 9601, job.height = 480, job.width = 832, job.plan.window = 3;
    job.plan.reference_latent_frames = 21;
    const lvsa_forecast f = forecast_of(p, &job);
    const int64_t least = 5 * rows * 128 * 4 + 8 * latents;
    assert_int_equal(f.latent_frames, 2401);
    assert_int_equal(f.latents, latents);
    assert_true(f.denoise >= least && f.denoise <= least + least / 10);
    lvsa_pipeline_close(&p);
}

static void the_log_says_what_runs(void **state)
{
    (void)state;
    record r = {0};
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    job.frames = 43, job.backend = LVSA_BACKEND_REF;
    CHECK_OK(run(p, &job, &r));
    assert_string_equal(
        r.messages,
        "43 frames: wan2.1-1.3b takes 4k + 1; making 41\n"
        "[LVSA] reference_latent_frames=5  target_latent_frames=11  extension_ratio=2.20x\n"
        "[LVSA] --rotate-keyframes: computed key_frame_interval=10 (latent frames)\n"
        "[LVSA] total_lat_frames=11 local_seq=66 rank0_frames~[0,10] window=1 n_first=1 kfi=10 "
        "global_count=2 attended_per_frame=5/11\n"
        "[LVSA] installed on 2 blocks num_patches=6 total_lat_frames=11 backend=attn_ref: nnz=55 "
        "density=45.5%\n"
        "[LVSA] engaged (wan): T_lat=11 P=6 seq_len=66 kfi=10 W=1 |G|=2 -> SPARSE\n");
    job = small_job(), job.frames = 9;
    CHECK_OK(run(p, &job, &r));
    assert_string_equal(r.messages,
                        "[LVSA] engaged (wan): T_lat=3 P=6 seq_len=18 -> DENSE (T_lat <= ref)\n");
    lvsa_pipeline_close(&p);
}

static void a_job_can_be_ended(void **state)
{
    (void)state;
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 2);
    for (int phase = LVSA_PHASE_TEXT; phase <= LVSA_PHASE_DECODE; phase++) {
        record r = {.cancel_phase = phase, .cancel_at = 1};
        CHECK_FAILS(run(p, &job, &r), LVSA_ERR_CANCELLED, "callback");
    }
    record r = {0};
    CHECK_OK(run(p, &job, &r)); /* and the next one runs */
    lvsa_pipeline_close(&p);
}

static void refuse(lvsa_pipeline *p, lvsa_job job, lvsa_status status, const char *words)
{
    CHECK_FAILS(lvsa_generate(p, &job), status, words);
}

static void bad_jobs_are_refused(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_pipeline("tiny-a", 1);
    lvsa_job job;
    job = small_job(), job.size = 4, refuse(p, job, LVSA_ERR_ARGUMENT, "4 bytes");
    job = small_job(), job.prompt = NULL, refuse(p, job, LVSA_ERR_ARGUMENT, "without a prompt");
    job = small_job(), job.steps = 0, refuse(p, job, LVSA_ERR_ARGUMENT, "0 denoising steps");
    job = small_job(), job.guidance = NAN, refuse(p, job, LVSA_ERR_ARGUMENT, "guidance scale");
    job = small_job(), job.flow_shift = -1, refuse(p, job, LVSA_ERR_ARGUMENT, "flow shift -1");
    job = small_job(), job.height = 33, refuse(p, job, LVSA_ERR_SHAPE, "use 32");
    job = small_job(), job.frames = -5, refuse(p, job, LVSA_ERR_SHAPE, "-5 frames");
    job = small_job(), job.text_tokens = 513, refuse(p, job, LVSA_ERR_ARGUMENT, "513 tokens");
    job = small_job(), job.plan.window = -1, refuse(p, job, LVSA_ERR_ARGUMENT, "half-width -1");
    job = small_job(), job.flow_shift = 1e6, refuse(p, job, LVSA_ERR_ARGUMENT, "told apart");
    job = small_job(), job.sparsity = (lvsa_sparsity)7;
    refuse(p, job, LVSA_ERR_ARGUMENT, "sparsity 7");
    job = small_job(), job.plan.reference_latent_frames = -5;
    refuse(p, job, LVSA_ERR_ARGUMENT, "-5 reference latent frames");
    job = small_job(), job.riflex.scale = -2, refuse(p, job, LVSA_ERR_ARGUMENT, "RIFLEx");
    job = small_job(), job.backend = LVSA_BACKEND_FLASHINFER;
    refuse(p, job, LVSA_ERR_UNSUPPORTED, "flashinfer computes on a GPU only");
    lvsa_pipeline_close(&p);

    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_ARGUMENT, "model directory");
    o.model = "/nowhere";
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_IO, "/nowhere");
    setenv("LVSA_MODULE_DIR", "/nowhere", 1);
    o.model = GOLDEN_DIR "/wan/tiny-a", o.device = LVSA_DEVICE_CUDA;
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_UNSUPPORTED, "device cuda");
    assert_null(p);
    o.device = (lvsa_device)3;
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_ARGUMENT, "device 3");
    o.device = LVSA_DEVICE_CPU, o.gpu = -1;
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_ARGUMENT, "a GPU from 0 on");
    o.device = LVSA_DEVICE_AUTO, o.gpu = 0; /* there is no module to be found */
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    assert_int_equal(lvsa_pipeline_get_device(p), LVSA_DEVICE_CPU);
    lvsa_pipeline_close(&p);
}

static void no_number_is_no_video(void **state)
{
    (void)state;
    lvsa_job job = small_job();
    lvsa_pipeline *p = open_pipeline("tiny-a", 1);
    float *noise = malloc(16 * 11 * 4 * 6 * sizeof *noise);
    assert_non_null(noise);
    for (int i = 0; i < 16 * 11 * 4 * 6; i++) noise[i] = i == 77 ? NAN : 0.5f;
    job.noise = noise;
    refuse(p, job, LVSA_ERR_NUMBER, "step 1 of 3");
    free(noise);
    lvsa_pipeline_close(&p);
}

static void a_gpu_too_many_is_refused(void **state)
{
    (void)state;
    lvsa_pipeline *p;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    o.model = GOLDEN_DIR "/wan/tiny-a", o.device = LVSA_DEVICE_CUDA, o.gpu = 1000;
    CHECK_FAILS(lvsa_pipeline_open(&p, &o), LVSA_ERR_UNSUPPORTED,
                "device cuda:1000: there is no GPU of this number; use another, or device cpu");
    assert_null(p);
}

static int open_cases(void **state)
{
    (void)state;
    json_error_t error;
    cases = json_load_file(GOLDEN_DIR "/wan/cases.json", 0, &error);
    if (!cases) fail_msg("%s: %s", error.source, error.text);
    return 0;
}

static int close_cases(void **state)
{
    (void)state;
    json_decref(cases);
    return 0;
}

static int run_on_gpu(void)
{
    lvsa_device_info info;
    device = LVSA_DEVICE_CUDA;
    latent_bound = 0.05, worst_bound = 64, mean_bound = 2.0;
    if (!find_gpu(&info)) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_equal_diffusers),
        cmocka_unit_test(nothing_is_allocated_in_the_loop),
        cmocka_unit_test(a_seed_is_a_video),
        cmocka_unit_test(previews_come_after_each_step),
        cmocka_unit_test(a_job_can_be_ended),
        cmocka_unit_test(no_number_is_no_video),
        cmocka_unit_test(a_gpu_too_many_is_refused),
    };
    return cmocka_run_group_tests(tests, open_cases, close_cases);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "cuda") == 0) return run_on_gpu();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_equal_diffusers),
        cmocka_unit_test(nothing_is_allocated_in_the_loop),
        cmocka_unit_test(a_seed_is_a_video),
        cmocka_unit_test(previews_come_after_each_step),
        cmocka_unit_test(previews_are_forecast),
        cmocka_unit_test(ten_minutes_are_forecast),
        cmocka_unit_test(the_log_says_what_runs),
        cmocka_unit_test(a_job_can_be_ended),
        cmocka_unit_test(bad_jobs_are_refused),
        cmocka_unit_test(no_number_is_no_video),
    };
    return cmocka_run_group_tests(tests, open_cases, close_cases);
}
