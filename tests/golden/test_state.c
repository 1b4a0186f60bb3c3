/* test_state.c: a run that is left after any of its steps and goes on later has the frames that it
 * would have had; whatever isn't that run's state is refused; and what a state's file promises. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "testing.h"

#include <lvsa/lvsa.h>
#include <lvsa/lvsa_profile.h>

#include "base/mem.h"
#include "engine/weights/safetensors.h"
#include "gpu.h"
#include "pipeline/work.h"
#include "scratch.h"

enum { STEPS = 4 };

/* With the argument "cuda" on a GPU; exits with 77, skipped, where there is none. */
static lvsa_device device = LVSA_DEVICE_CPU;

static lvsa_pipeline *open_pipeline(const char *path)
{
    lvsa_pipeline *p;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    o.model = path, o.threads = 2, o.device = device;
    CHECK_OK(lvsa_pipeline_open(&p, &o));
    return p;
}

static lvsa_pipeline *open_tiny(void) { return open_pipeline(GOLDEN_DIR "/wan/tiny-a"); }

/* What a run leaves: its frames' hash (FNV-1a), and a state, if one is wanted. */
typedef struct outcome {
    uint64_t hash;
    int leave_after;  /* the step; 0: none         */
    const char *path; /* of the state              */
    int seen;         /* states that were shown    */
    int first_step;   /* that progress told of     */
    char message[512];
} outcome;

static int add_frame(void *user, const lvsa_frame *f)
{
    outcome *o = user;
    for (size_t i = 0; i < (size_t)f->width * (size_t)f->height * 3; i++)
        o->hash = (o->hash ^ f->rgb[i]) * 1099511628211u;
    return 0;
}

static int note_progress(void *user, const lvsa_progress *p)
{
    outcome *o = user;
    if (p->phase == LVSA_PHASE_DENOISE && o->first_step < 0) o->first_step = p->done;
    return 0;
}

static int leave(void *user, const lvsa_state *state)
{
    outcome *o = user;
    lvsa_state_info info = {.size = sizeof info};
    CHECK_OK(lvsa_state_get_info(&info, state));
    o->seen++;
    if (info.steps_done != o->leave_after) return 0;
    CHECK_OK(lvsa_state_write(o->path, state, "a note"));
    return 1;
}

static void keep_message(void *user, const char *line)
{
    outcome *o = user;
    snprintf(o->message, sizeof o->message, "%s", line);
}

static lvsa_status run(lvsa_pipeline *p, lvsa_job job, outcome *o)
{
    o->hash = 14695981039346656037u, o->first_step = -1;
    job.on_frame = add_frame, job.on_progress = note_progress, job.on_message = keep_message;
    if (o->path) job.on_state = leave;
    job.user = o;
    return lvsa_generate(p, &job);
}

static lvsa_job sparse_job(void)
{
    lvsa_job job = LVSA_JOB_INIT;
    job.prompt = "a red fox", job.negative_prompt = "a blue one";
    job.frames = 41, job.height = 32, job.width = 48;
    job.steps = STEPS, job.seed = 7, job.plan.reference_latent_frames = 5, job.plan.window = 1;
    return job;
}

static lvsa_state *leave_after(lvsa_pipeline *p, lvsa_job job, int step, const char *name)
{
    lvsa_state *state;
    outcome o = {.leave_after = step, .path = scratch_path(name)};
    CHECK_FAILS(run(p, job, &o), LVSA_ERR_CANCELLED, "callback");
    assert_int_equal(o.seen, step);
    CHECK_OK(lvsa_state_open(&state, o.path));
    return state;
}

/* ---- the same frames ------------------------------------------------------------------------- */

static bool has_profile(const lvsa_pipeline *p, lvsa_phase phase)
{
    lvsa_profile profile = {.size = sizeof profile};
    CHECK_OK(lvsa_pipeline_get_profile(&profile, p));
    for (int i = 0; i < profile.rows; i++)
        if (profile.row[i].phase == phase) return true;
    return false;
}

static void check_every_step(lvsa_job job)
{
    lvsa_pipeline *p = open_tiny();
    outcome whole = {0};
    CHECK_OK(run(p, job, &whole));
    for (int step = 1; step <= STEPS; step++) {
        lvsa_state *state = leave_after(p, job, step, "left.safetensors");
        lvsa_pipeline *other = open_tiny();
        outcome rest = {0};
        lvsa_job going_on = job;
        going_on.state = state;
        CHECK_OK(lvsa_pipeline_start_profile(other));
        CHECK_OK(run(other, going_on, &rest));
        assert_true(rest.hash == whole.hash);
        assert_int_equal(rest.first_step, step == STEPS ? -1 : step);
        assert_true(has_profile(other, LVSA_PHASE_DENOISE) == (step < STEPS));
        lvsa_pipeline_close(&other);
        lvsa_state_close(&state);
    }
    lvsa_pipeline_close(&p);
}

static void sparse_and_rotating(void **state)
{
    (void)state;
    check_every_step(sparse_job());
}

static void without_guidance(void **state)
{
    (void)state;
    lvsa_job job = sparse_job();
    job.guidance = 1.0;
    check_every_step(job);
}

static void dense(void **state)
{
    (void)state;
    lvsa_job job = sparse_job();
    job.sparsity = LVSA_SPARSITY_OFF, job.frames = 9;
    check_every_step(job);
}

static void late_and_stretched(void **state)
{
    (void)state;
    lvsa_job job = sparse_job();
    job.late_rotation = 1, job.riflex.scale = 2.0, job.flow_shift = 5.0, job.text_tokens = 20;
    check_every_step(job);
}

/* A schedule that keeps nothing. */
static void flow_euler(void **state)
{
    (void)state;
    static const char config[] = "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"}";
    char command[1024];
    snprintf(command, sizeof command, "cp -r %s/wan/tiny-a %s", GOLDEN_DIR, scratch_path("euler"));
    assert_int_equal(system(command), 0);
    scratch_write("euler/scheduler/scheduler_config.json", config, sizeof config - 1);
    lvsa_pipeline *p = open_pipeline(scratch_path("euler"));
    outcome whole = {0}, rest = {0};
    lvsa_job job = sparse_job();
    CHECK_OK(run(p, job, &whole));
    lvsa_state *left = leave_after(p, job, 2, "euler.safetensors");
    job.state = left;
    CHECK_OK(run(p, job, &rest));
    assert_true(rest.hash == whole.hash);
    lvsa_state_close(&left);
    lvsa_pipeline_close(&p);
}

/* Left again after it went on, and written again from the file. */
static void again_and_again(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    outcome whole = {0}, rest = {0};
    lvsa_job job = sparse_job();
    CHECK_OK(run(p, job, &whole));
    lvsa_state *first = leave_after(p, job, 1, "first.safetensors"), *copy;
    job.state = first;
    outcome second = {.leave_after = 3, .path = scratch_path("second.safetensors")};
    CHECK_FAILS(run(p, job, &second), LVSA_ERR_CANCELLED, "callback");
    assert_int_equal(second.seen, 2);
    lvsa_state_close(&first);
    CHECK_OK(lvsa_state_open(&first, second.path));
    CHECK_OK(lvsa_state_write(scratch_path("copy.safetensors"), first, NULL));
    CHECK_OK(lvsa_state_open(&copy, scratch_path("copy.safetensors")));
    job.state = copy;
    CHECK_OK(run(p, job, &rest));
    assert_true(rest.hash == whole.hash);
    lvsa_state_close(&copy);
    lvsa_state_close(&first);
    lvsa_pipeline_close(&p);
}

/* ---- another run's --------------------------------------------------------------------------- */

static void refuse(lvsa_pipeline *p, lvsa_job job, const lvsa_state *s, const char *words)
{
    outcome o = {0};
    lvsa_forecast forecast = {.size = sizeof forecast};
    job.state = s;
    CHECK_FAILS(run(p, job, &o), LVSA_ERR_ARGUMENT, words);
    job.on_frame = NULL, job.on_message = NULL;
    CHECK_FAILS(lvsa_pipeline_forecast(&forecast, p, &job), LVSA_ERR_ARGUMENT, words);
}

static void another_job_is_refused(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_state *s = leave_after(p, sparse_job(), 2, "left.safetensors");
    lvsa_job job;
    job = sparse_job(), job.steps = 5, refuse(p, job, s, "its steps is 4, and this job's 5");
    job = sparse_job(), job.frames = 45, refuse(p, job, s, "its frames is 41, and this job's 45");
    job = sparse_job(), job.guidance = 4, refuse(p, job, s, "its guidance is 5.0");
    job = sparse_job(), job.guidance = 1, refuse(p, job, s, "2 texts, and the job has 1");
    job = sparse_job(), job.prompt = "a cat", refuse(p, job, s, "its prompt is");
    job = sparse_job(), job.negative_prompt = "", refuse(p, job, s, "its negative prompt is");
    job = sparse_job(), job.seed = 8, refuse(p, job, s, "its seed is \"0000000000000007\"");
    job = sparse_job(), job.flow_shift = 2, refuse(p, job, s, "its flow shift is");
    job = sparse_job(), job.plan.window = 2, refuse(p, job, s, "its window is 1");
    job = sparse_job(), job.hold_keyframes = 1, refuse(p, job, s, "its hold keyframes is 0");
    job = sparse_job(), job.late_rotation = 1, refuse(p, job, s, "its late rotation is 0");
    job = sparse_job(), job.plan.rotation = 1, refuse(p, job, s, "its rotation is 0");
    job = sparse_job(), job.sparsity = LVSA_SPARSITY_OFF, refuse(p, job, s, "its attention is");
    job = sparse_job(), job.riflex.scale = 2, refuse(p, job, s, "its RIFLEx frequency is -1");
    if (device == LVSA_DEVICE_CPU) /* a GPU has no such back end */
        job = sparse_job(), job.backend = LVSA_BACKEND_REF, refuse(p, job, s, "its backend is");
    job = sparse_job(), job.text_tokens = 32, refuse(p, job, s, "its text tokens is 512");
    job = sparse_job(), job.text_tokens = 1,
    refuse(p, job, s, "tokens, and the job takes 1: another run's");
    const lv_schedule_options schedule = p->schedule; /* as if the checkpoint said otherwise */
    p->schedule.even_grid = !schedule.even_grid, refuse(p, sparse_job(), s, "its even grid is");
    p->schedule = schedule, p->schedule.order = 1,
    refuse(p, sparse_job(), s, "its solver order is 2");
    p->schedule = schedule, p->schedule.train_steps = 500;
    refuse(p, sparse_job(), s, "its training steps is 1000");
    p->schedule = schedule;
    p->device->fp8 = true; /* as if its model, which is open, had been opened so */
    refuse(p, sparse_job(), s, "its precision is \"the device's\", and this job's \"fp8\"");
    lvsa_state_close(&s);
    lvsa_pipeline_close(&p);
}

/* The last weights of a file, zeroed. */
static void zero_end(const char *path)
{
    static const char zeros[4096];
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -(long)sizeof zeros, SEEK_END), 0);
    assert_int_equal(fwrite(zeros, sizeof zeros, 1, file), 1);
    fclose(file);
}

/* Of the same shapes; and the same weights, used otherwise. */
static void other_weights_are_refused(void **state)
{
    (void)state;
    char command[1024];
    lvsa_pipeline *p = open_tiny();
    lvsa_state *s = leave_after(p, sparse_job(), 2, "left.safetensors");
    lvsa_pipeline_close(&p);
    snprintf(command, sizeof command, "cp -r %s/wan/tiny-a %s", GOLDEN_DIR, scratch_path("vae"));
    assert_int_equal(system(command), 0);
    zero_end(scratch_path("vae/vae/diffusion_pytorch_model.safetensors"));
    p = open_pipeline(scratch_path("vae"));
    refuse(p, sparse_job(), s, "its vae is");
    lvsa_pipeline_close(&p);
    snprintf(command, sizeof command, "sed -i 's/\"eps\": 1e-06/\"eps\": 1e-05/' %s",
             scratch_path("vae/transformer/config.json"));
    assert_int_equal(system(command), 0);
    p = open_pipeline(scratch_path("vae"));
    refuse(p, sparse_job(), s, "its transformer configuration is");
    lvsa_pipeline_close(&p);
    lvsa_state_close(&s);
}

/* A state's own text, changed where it stands; both words have the same length. */
static lvsa_state *open_changed(const char *name, const char *from, const char *to)
{
    enum { MOST = 1 << 20 };
    lvsa_state *s;
    char *bytes = malloc(MOST);
    FILE *file = fopen(scratch_path("left.safetensors"), "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, MOST, file), length = strlen(from);
    fclose(file);
    bool found = false;
    for (size_t i = 0; i + length <= size && !found; i++)
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found = true;
        }
    assert_true(found);
    CHECK_OK(lvsa_state_open(&s, scratch_write(name, bytes, size)));
    free(bytes);
    return s;
}

static void another_version_is_refused_another_machine_told(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = sparse_job();
    outcome o = {0};
    lvsa_state *s = leave_after(p, job, 2, "left.safetensors");
    lvsa_state_close(&s);
    s = open_changed("old.safetensors", "\"lvsa\":\"0.", "\"lvsa\":\"9.");
    refuse(p, job, s, "lvsa 9.1.0 has written it");
    lvsa_state_close(&s);
    s = open_changed("moved.safetensors", "\\\"kernel\\\":\\\"attn", "\\\"kernel\\\":\\\"ATTN");
    job.state = s;
    CHECK_OK(run(p, job, &o));
    assert_non_null(strstr(o.message, "made by ATTN"));
    job.strict = 1;
    CHECK_FAILS(run(p, job, &o), LVSA_ERR_ARGUMENT, "the job is strict");
    lvsa_state_close(&s);
    lvsa_pipeline_close(&p);
}

/* ---- latents --------------------------------------------------------------------------------- */

typedef struct latents {
    int64_t shape[4];
    float *data;
} latents;

static int keep_latents(void *user, const float *data, const int64_t shape[4])
{
    latents *l = user;
    const size_t count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    memcpy(l->shape, shape, sizeof l->shape);
    l->data = malloc(count * sizeof *data);
    assert_non_null(l->data);
    memcpy(l->data, data, count * sizeof *data);
    return 0;
}

static void latents_of_another_program_are_decoded(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = sparse_job();
    latents l = {0};
    outcome whole = {0}, o = {0};
    lvsa_forecast forecast = {.size = sizeof forecast};
    lvsa_state_info info = {.size = sizeof info};
    CHECK_OK(run(p, job, &whole));
    job.on_latents = keep_latents, job.user = &l;
    CHECK_OK(lvsa_generate(p, &job));
    lv_tensor_out t = {.name = "x", .dtype = LVSA_F32, .rank = 5, .shape = {1}, .data = l.data};
    for (int i = 0; i < 4; i++) t.shape[i + 1] = (size_t)l.shape[i];
    CHECK_OK(lv_safetensors_write(scratch_path("x.safetensors"), &t, 1, NULL, 0));
    lvsa_state *s;
    CHECK_OK(lvsa_state_open(&s, scratch_path("x.safetensors")));
    CHECK_OK(lvsa_state_get_info(&info, s));
    assert_int_equal(info.steps, 0);
    assert_null(info.version);
    lvsa_job any = LVSA_JOB_INIT; /* its sizes don't count */
    any.state = s;
    CHECK_OK(lvsa_pipeline_forecast(&forecast, p, &any));
    assert_int_equal(forecast.frames, 41);
    assert_int_equal(forecast.width, 48);
    assert_int_equal(forecast.needed, forecast.decode);
    CHECK_OK(run(p, any, &o));
    assert_true(o.hash == whole.hash);
    CHECK_FAILS(lvsa_state_write(scratch_path("y.safetensors"), s, NULL), LVSA_ERR_ARGUMENT,
                "another program's");
    lvsa_state_close(&s);

    t.shape[1] = 8, t.shape[2] = 22; /* of 8 channels */
    CHECK_OK(lv_safetensors_write(scratch_path("x.safetensors"), &t, 1, NULL, 0));
    CHECK_OK(lvsa_state_open(&s, scratch_path("x.safetensors")));
    any.state = s;
    CHECK_FAILS(run(p, any, &o), LVSA_ERR_FORMAT, "latents of 8 channels");
    lvsa_state_close(&s);
    l.data[5] = NAN;
    CHECK_OK(lv_safetensors_write(scratch_path("x.safetensors"), &t, 1, NULL, 0));
    CHECK_FAILS(lvsa_state_open(&s, scratch_path("x.safetensors")), LVSA_ERR_FORMAT,
                "latent 5 is nan");
    t.shape[0] = 2, t.shape[1] = 4;
    CHECK_OK(lv_safetensors_write(scratch_path("x.safetensors"), &t, 1, NULL, 0));
    CHECK_FAILS(lvsa_state_open(&s, scratch_path("x.safetensors")), LVSA_ERR_FORMAT,
                "x is [2, 4, 22, 4, 6] of F32");
    assert_null(s);
    free(l.data);
    lvsa_pipeline_close(&p);
}

/* ---- the file -------------------------------------------------------------------------------- */

static void the_forecast_knows_its_size(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = sparse_job();
    lvsa_forecast forecast = {.size = sizeof forecast};
    CHECK_OK(lvsa_pipeline_forecast(&forecast, p, &job));
    lvsa_state *s = leave_after(p, job, 2, "left.safetensors");
    assert_int_equal(forecast.state, lv_state_count_bytes(s));
    lvsa_state_close(&s);
    s = leave_after(p, job, STEPS, "left.safetensors");
    assert_int_equal(forecast.latents, lv_state_count_bytes(s));
    lvsa_state_close(&s);
    lvsa_pipeline_close(&p);
}

static void a_file_that_cant_be_written_stays(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_state *s = leave_after(p, sparse_job(), 2, "left.safetensors"), *again;
    CHECK_FAILS(lvsa_state_write("/nowhere/left.safetensors", s, NULL), LVSA_ERR_IO, "/nowhere");
    CHECK_FAILS(lvsa_state_write(scratch_path("left.safetensors"), s, "\xff"), LVSA_ERR_ARGUMENT,
                "UTF-8");
    CHECK_OK(lvsa_state_open(&again, scratch_path("left.safetensors")));
    lvsa_state_info info = {.size = sizeof info};
    CHECK_OK(lvsa_state_get_info(&info, again));
    assert_string_equal(info.note, "a note");
    assert_string_equal(info.version, lvsa_version());
    assert_int_equal(info.steps_done, 2);
    assert_int_equal(info.shape[1], 11);
    info.size = 1;
    CHECK_FAILS(lvsa_state_get_info(&info, again), LVSA_ERR_ARGUMENT, "1 bytes");
    lvsa_state_close(&again);
    lvsa_state_close(&s);
    lvsa_state_close(&s);
    CHECK_FAILS(lvsa_state_open(&s, scratch_path("nothing.safetensors")), LVSA_ERR_IO, "nothing");
    assert_null(s);
    lvsa_pipeline_close(&p);
}

static int allowed;
static bool allow(size_t bytes)
{
    (void)bytes;
    return allowed-- > 0;
}

static void no_memory(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = sparse_job();
    job.frames = 9;
    lvsa_state *s = leave_after(p, job, 3, "left.safetensors");
    job.state = s;
    CHECK_OK(lvsa_generate(p, &job)); /* the models stay open */
    lvsa_status status = LVSA_ERR_MEMORY;
    int tries = 0;
    for (; status != LVSA_OK; tries++) {
        allowed = tries;
        lv_mem_set_hook(allow);
        status = lvsa_generate(p, &job);
        lv_mem_set_hook(NULL);
        if (status != LVSA_OK && status != LVSA_ERR_MEMORY)
            fail_msg("%d: %s", tries, lvsa_last_error());
    }
    assert_true(tries > 20);
    for (status = LVSA_ERR_MEMORY, tries = 0; status != LVSA_OK; tries++) {
        lvsa_state *other;
        allowed = tries;
        lv_mem_set_hook(allow);
        status = lvsa_state_open(&other, scratch_path("left.safetensors"));
        lv_mem_set_hook(NULL);
        assert_true((status == LVSA_OK) == (other != NULL));
        lvsa_state_close(&other);
    }
    assert_true(tries > 3);
    lvsa_state_close(&s);
    lvsa_pipeline_close(&p);
}

/* ---- a number that is none ------------------------------------------------------------------- */

static void poison(const char *folder, const char *tensor)
{
    char command[1024];
    lv_safetensors *f;
    snprintf(command, sizeof command, "cp -r %s/wan/tiny-b %s", GOLDEN_DIR, scratch_path(folder));
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s/transformer/diffusion_pytorch_model.safetensors", folder);
    CHECK_OK(lv_safetensors_open(&f, scratch_path(command)));
    const lv_tensor_entry *e = lv_safetensors_find(f, tensor);
    assert_non_null(e);
    assert_int_equal(e->dtype, LVSA_F16);
    FILE *file = fopen(scratch_path(command), "r+b");
    assert_non_null(file);
    struct stat status;
    assert_int_equal(fstat(fileno(file), &status), 0);
    const lv_tensor_entry *last = NULL; /* where the data ends is where the file does */
    for (size_t i = 0; i < lv_safetensors_count(f); i++) {
        const lv_tensor_entry *t = lv_safetensors_get(f, i);
        if (!last || (const char *)t->data > (const char *)last->data) last = t;
    }
    const long from_end = (long)((const char *)last->data + last->bytes - (const char *)e->data);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    const uint16_t nan = 0x7e00;
    assert_int_equal(fwrite(&nan, sizeof nan, 1, file), 1);
    fclose(file);
    lv_safetensors_close(&f);
}

static void a_bad_number_names_its_block(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *tensor, *words;
    } cases[] = {
        {"bad1", "blocks.1.ffn.net.2.bias", "step 1 of 4: block 1 of the transformer gave nan"},
        {"bad0", "blocks.0.attn1.to_v.bias", "step 1 of 4: block 0 of the transformer gave nan"},
        {"bad2", "patch_embedding.bias", "the part \"patches\" of the transformer gave nan"},
        {"bad3", "proj_out.bias", "the part \"head\" of the transformer gave nan"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        poison(cases[i].folder, cases[i].tensor);
        lvsa_pipeline *p = open_pipeline(scratch_path(cases[i].folder));
        lvsa_job job = sparse_job();
        job.frames = 9;
        CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_NUMBER, cases[i].words);
        lvsa_pipeline_close(&p);
    }
}

static void too_much_guidance_is_blamed(void **state)
{
    (void)state;
    lvsa_pipeline *p = open_tiny();
    lvsa_job job = sparse_job();
    job.guidance = 3e38;
    CHECK_FAILS(lvsa_generate(p, &job), LVSA_ERR_NUMBER, "the guidance (3e+38) is too large");
    lvsa_pipeline_close(&p);
}

static const struct CMUnitTest on_every_device[] = {
    cmocka_unit_test(sparse_and_rotating),
    cmocka_unit_test(without_guidance),
    cmocka_unit_test(dense),
    cmocka_unit_test(late_and_stretched),
    cmocka_unit_test(flow_euler),
    cmocka_unit_test(again_and_again),
    cmocka_unit_test(another_job_is_refused),
    cmocka_unit_test(another_version_is_refused_another_machine_told),
    cmocka_unit_test(latents_of_another_program_are_decoded),
    cmocka_unit_test(a_bad_number_names_its_block),
};
static const struct CMUnitTest on_the_cpu[] = {
    cmocka_unit_test(other_weights_are_refused),
    cmocka_unit_test(the_forecast_knows_its_size),
    cmocka_unit_test(a_file_that_cant_be_written_stays),
    cmocka_unit_test(no_memory),
    cmocka_unit_test(too_much_guidance_is_blamed),
};

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "cuda") == 0) {
        lvsa_device_info info;
        if (!find_gpu(&info)) return 77;
        device = LVSA_DEVICE_CUDA;
        return cmocka_run_group_tests(on_every_device, scratch_make, scratch_remove);
    }
    return cmocka_run_group_tests(on_every_device, scratch_make, scratch_remove) +
           cmocka_run_group_tests(on_the_cpu, scratch_make, scratch_remove);
}
