/* test_schedule.c: options, settings files, the order of steps and saved states; the numbers are
 * checked in golden/test_schedule_golden.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "base/mem.h"
#include "flow/schedule/schedule.h"
#include "scratch.h"

enum { COUNT = 37, STEPS = 9 };

static lv_schedule_options make_options(lv_schedule_kind kind)
{
    lv_schedule_options o = LV_SCHEDULE_OPTIONS_INIT;
    o.kind = kind, o.steps = STEPS, o.shift = 3.0;
    return o;
}

static void velocity(float *v, const float *x)
{
    for (int j = 0; j < COUNT; j++) v[j] = x[j] / (1.0f + x[j] * x[j]) - 0.1f * (float)j;
}

static void run(lv_schedule *s, float *x, int first, int end)
{
    float v[COUNT];
    for (int i = first; i < end; i++) {
        velocity(v, x);
        CHECK_OK(lv_schedule_step(s, x, v, i));
    }
}

static void start(float *x)
{
    for (int j = 0; j < COUNT; j++) x[j] = (float)(j % 7) - 3.0f;
}

/* ---- levels ---------------------------------------------------------------------------------- */

static void levels_fall(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int steps = 1; steps <= LV_SCHEDULE_MAX_STEPS; steps += 37) {
            lv_schedule_options o = make_options((lv_schedule_kind)kind);
            lv_schedule *s;
            o.steps = steps;
            CHECK_OK(lv_schedule_create(&s, &o, 0));
            const float *sigmas = lv_schedule_get_sigmas(s);
            assert_int_equal(lv_schedule_steps(s), steps);
            for (int i = 0; i < steps; i++) {
                assert_true(sigmas[i + 1] < sigmas[i]);
                const lv_step_coefficients *c = lv_schedule_get_coefficients(s, i);
                assert_true(
                    isfinite(c->correct_x + c->correct_last + c->correct_m[0] + c->correct_m[1]));
                assert_true(
                    isfinite(c->correct_m[2] + c->predict_x + c->predict_m[0] + c->predict_m[1]));
            }
            assert_true(sigmas[steps] == 0.0f);
            assert_true(lv_schedule_get_timesteps(s)[0] ==
                        (kind == LV_SCHEDULE_UNIPC ? 999.0f : 1000.0f));
            lv_schedule_free(&s);
        }
}

/* A velocity that always points away from one clean sample, 0.5 everywhere, leads there. */
static void ends_clean(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        lv_schedule_options o = make_options((lv_schedule_kind)kind);
        lv_schedule *s;
        float x[COUNT], v[COUNT];
        CHECK_OK(lv_schedule_create(&s, &o, COUNT));
        start(x);
        for (int i = 0; i < STEPS; i++) {
            for (int j = 0; j < COUNT; j++) v[j] = (x[j] - 0.5f) / lv_schedule_get_sigmas(s)[i];
            CHECK_OK(lv_schedule_step(s, x, v, i));
        }
        for (int j = 0; j < COUNT; j++) assert_float_equal(x[j], 0.5f, 1e-5f);
        lv_schedule_free(&s);
    }
}

static void refused_options(void **state)
{
    (void)state;
    lv_schedule *s = (lv_schedule *)state;
    lv_schedule_options o = make_options(LV_SCHEDULE_UNIPC);
    o.steps = 0;
    CHECK_FAILS(lv_schedule_create(&s, &o, 1), LVSA_ERR_ARGUMENT, "0 denoising steps: 1 to 1000");
    assert_null(s);
    o = make_options(LV_SCHEDULE_UNIPC), o.shift = (double)NAN;
    CHECK_FAILS(lv_schedule_create(&s, &o, 1), LVSA_ERR_ARGUMENT, "shift");
    o = make_options(LV_SCHEDULE_UNIPC), o.order = 3;
    CHECK_FAILS(lv_schedule_create(&s, &o, 1), LVSA_ERR_ARGUMENT, "order 3");
    o = make_options(LV_SCHEDULE_UNIPC), o.train_steps = 1;
    CHECK_FAILS(lv_schedule_create(&s, &o, 1), LVSA_ERR_ARGUMENT, "1 training timesteps");
    o = make_options((lv_schedule_kind)7);
    CHECK_FAILS(lv_schedule_create(&s, &o, 1), LVSA_ERR_ARGUMENT, "schedule 7");
}

/* ---- steps and states ------------------------------------------------------------------------ */

static bool refuse(size_t bytes)
{
    (void)bytes;
    return false;
}

static void steps_in_order(void **state)
{
    (void)state;
    lv_schedule_options o = make_options(LV_SCHEDULE_UNIPC);
    float x[COUNT], first[COUNT], v[COUNT] = {0};
    lv_schedule *s;
    CHECK_OK(lv_schedule_create(&s, &o, COUNT));
    start(x);
    CHECK_FAILS(lv_schedule_step(s, x, v, 1), LVSA_ERR_ARGUMENT,
                "denoising step 1 of 9 after 0 are done");
    CHECK_FAILS(lv_schedule_step(s, x, v, -1), LVSA_ERR_ARGUMENT, "in order");
    lv_mem_set_hook(refuse); /* a step allocates nothing */
    run(s, x, 0, STEPS);
    lv_mem_set_hook(NULL);
    CHECK_FAILS(lv_schedule_step(s, x, v, STEPS), LVSA_ERR_ARGUMENT, "step 9 of 9");
    memcpy(first, x, sizeof first);

    /* Step 0 starts anew, whatever was kept. */
    for (int j = 0; j < COUNT; j++) x[j] = INFINITY;
    CHECK_OK(lv_schedule_step(s, x, v, 0));
    start(x);
    run(s, x, 0, STEPS);
    assert_memory_equal(x, first, sizeof x);
    lv_schedule_free(&s);
    assert_null(s);
    lv_schedule_free(&s);
}

static void goes_on_from_a_saved_state(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int saved = 0; saved <= STEPS; saved++) {
            lv_schedule_options o = make_options((lv_schedule_kind)kind);
            lv_schedule_state from, to;
            float whole[COUNT], x[COUNT];
            lv_schedule *a, *b;
            CHECK_OK(lv_schedule_create(&a, &o, COUNT));
            CHECK_OK(lv_schedule_create(&b, &o, COUNT));
            start(x);
            run(a, x, 0, saved);
            lv_schedule_get_state(&from, a);
            lv_schedule_get_state(&to, b);
            assert_int_equal(from.steps_done, saved);
            assert_int_equal(from.buffers, kind == LV_SCHEDULE_UNIPC ? 3 : 0);
            for (int i = 0; i < from.buffers; i++) memcpy(to.buffer[i], from.buffer[i], sizeof x);
            CHECK_OK(lv_schedule_set_steps_done(b, from.steps_done));

            memcpy(whole, x, sizeof x);
            run(a, whole, saved, STEPS);
            run(b, x, saved, STEPS);
            assert_memory_equal(x, whole, sizeof x);
            CHECK_FAILS(lv_schedule_set_steps_done(b, STEPS + 1), LVSA_ERR_ARGUMENT,
                        "10 denoising steps");
            lv_schedule_free(&b);
            lv_schedule_free(&a);
        }
}

/* What a device would compute from the coefficients alone. */
static void coefficients_say_it_all(void **state)
{
    (void)state;
    lv_schedule_options o = make_options(LV_SCHEDULE_UNIPC);
    float x[COUNT], v[COUNT], y[COUNT], last[COUNT] = {0}, m1[COUNT] = {0}, m2[COUNT] = {0};
    lv_schedule *s, *levels;
    CHECK_OK(lv_schedule_create(&s, &o, COUNT));
    CHECK_OK(lv_schedule_create(&levels, &o, 0));
    start(x);
    memcpy(y, x, sizeof y);
    for (int i = 0; i < STEPS; i++) {
        const lv_step_coefficients *c = lv_schedule_get_coefficients(levels, i);
        velocity(v, y);
        for (int j = 0; j < COUNT; j++) {
            float m = y[j] + c->velocity * v[j];
            last[j] = c->correct_x * y[j] + c->correct_last * last[j] + c->correct_m[0] * m +
                      c->correct_m[1] * m1[j] + c->correct_m[2] * m2[j];
            y[j] = c->predict_x * last[j] + c->predict_m[0] * m + c->predict_m[1] * m1[j];
            m2[j] = m1[j], m1[j] = m;
        }
        run(s, x, i, i + 1);
        for (int j = 0; j < COUNT; j++) assert_float_equal(x[j], y[j], 1e-5f);
    }
    lv_schedule_free(&levels);
    lv_schedule_free(&s);
}

/* ---- scheduler_config.json ------------------------------------------------------------------- */

#define UNIPC_START                                                                                \
    "{\"_class_name\": \"UniPCMultistepScheduler\", \"prediction_type\": \"flow_prediction\", "    \
    "\"use_flow_sigmas\": true"
#define EULER_START "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\""

static lvsa_status read_text(lv_schedule_options *o, const char *text)
{
    return lv_schedule_options_from_json(
        o, scratch_write("scheduler_config.json", text, strlen(text)));
}

static void reads_settings(void **state)
{
    (void)state;
    lv_schedule_options o = LV_SCHEDULE_OPTIONS_INIT;
    o.steps = 12, o.even_grid = true;
    CHECK_OK(
        read_text(&o, UNIPC_START
                  ", \"flow_shift\": 5.0, \"solver_order\": 2, \"solver_type\": \"bh2\", "
                  "\"lower_order_final\": true, \"disable_corrector\": [], \"solver_p\": null, "
                  "\"beta_start\": 0.0001, \"timestep_spacing\": \"linspace\"}"));
    assert_int_equal(o.kind, LV_SCHEDULE_UNIPC);
    assert_true(o.shift == 5.0 && o.order == 2 && o.train_steps == 1000 && o.steps == 12 &&
                o.even_grid);
    CHECK_OK(read_text(&o, EULER_START
                       ", \"shift\": 7, \"num_train_timesteps\": 500, \"max_shift\": 1.15}"));
    assert_int_equal(o.kind, LV_SCHEDULE_FLOW_EULER);
    assert_true(o.shift == 7.0 && o.train_steps == 500);
    CHECK_OK(read_text(&o, UNIPC_START "}"));
    assert_true(o.shift == 1.0 && o.order == 2);
}

static const struct {
    const char *text;
    lvsa_status status;
    const char *words;
} setting_cases[] = {
    {"{}", LVSA_ERR_UNSUPPORTED, "\"_class_name\" is \"\""},
    {"{\"_class_name\": \"DDIMScheduler\"}", LVSA_ERR_UNSUPPORTED, "is \"DDIMScheduler\"; UniPC"},
    {"{\"_class_name\": 3}", LVSA_ERR_FORMAT, "\"_class_name\" is an integer"},
    {"{\"_class_name\": \"UniPCMultistepScheduler\"}", LVSA_ERR_UNSUPPORTED,
     "\"prediction_type\" is \"epsilon\""},
    {"{\"_class_name\": \"UniPCMultistepScheduler\", \"prediction_type\": \"flow_prediction\"}",
     LVSA_ERR_UNSUPPORTED, "\"use_flow_sigmas\" is false; only true"},
    {UNIPC_START ", \"use_karras_sigmas\": true}", LVSA_ERR_UNSUPPORTED,
     "\"use_karras_sigmas\" is true"},
    {UNIPC_START ", \"use_beta_sigmas\": true}", LVSA_ERR_UNSUPPORTED, "\"use_beta_sigmas\""},
    {UNIPC_START ", \"use_exponential_sigmas\": true}", LVSA_ERR_UNSUPPORTED,
     "\"use_exponential_sigmas\""},
    {UNIPC_START ", \"use_dynamic_shifting\": true}", LVSA_ERR_UNSUPPORTED,
     "\"use_dynamic_shifting\""},
    {UNIPC_START ", \"solver_order\": 3}", LVSA_ERR_UNSUPPORTED, "\"solver_order\" is 3"},
    {UNIPC_START ", \"solver_order\": 0}", LVSA_ERR_FORMAT, "\"solver_order\" is 0"},
    {UNIPC_START ", \"solver_type\": \"bh1\"}", LVSA_ERR_UNSUPPORTED, "\"solver_type\" is \"bh1\""},
    {UNIPC_START ", \"predict_x0\": false}", LVSA_ERR_UNSUPPORTED, "\"predict_x0\""},
    {UNIPC_START ", \"lower_order_final\": false}", LVSA_ERR_UNSUPPORTED, "\"lower_order_final\""},
    {UNIPC_START ", \"thresholding\": true}", LVSA_ERR_UNSUPPORTED, "\"thresholding\""},
    {UNIPC_START ", \"final_sigmas_type\": \"sigma_min\"}", LVSA_ERR_UNSUPPORTED,
     "\"final_sigmas_type\""},
    {UNIPC_START ", \"disable_corrector\": [0]}", LVSA_ERR_UNSUPPORTED, "\"disable_corrector\""},
    {UNIPC_START ", \"solver_p\": {}}", LVSA_ERR_UNSUPPORTED, "\"solver_p\""},
    {UNIPC_START ", \"shift_terminal\": 0.1}", LVSA_ERR_UNSUPPORTED, "\"shift_terminal\""},
    {UNIPC_START ", \"flow_shift\": 0}", LVSA_ERR_FORMAT, "\"flow_shift\" is 0"},
    {UNIPC_START ", \"flow_shift\": \"3\"}", LVSA_ERR_FORMAT, "\"flow_shift\" is a string"},
    {UNIPC_START ", \"num_train_timesteps\": 1}", LVSA_ERR_FORMAT, "\"num_train_timesteps\" is 1"},
    {EULER_START ", \"invert_sigmas\": true}", LVSA_ERR_UNSUPPORTED, "\"invert_sigmas\""},
    {EULER_START ", \"stochastic_sampling\": true}", LVSA_ERR_UNSUPPORTED,
     "\"stochastic_sampling\""},
    {EULER_START ", \"use_dynamic_shifting\": true}", LVSA_ERR_UNSUPPORTED,
     "\"use_dynamic_shifting\""},
    {EULER_START ", \"shift\": -1}", LVSA_ERR_FORMAT, "\"shift\" is -1"},
    {"[", LVSA_ERR_FORMAT, "scheduler_config.json: line 1"},
};

static void refused_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof setting_cases / sizeof setting_cases[0]; i++) {
        lv_schedule_options o = make_options(LV_SCHEDULE_FLOW_EULER), before = o;
        CHECK_FAILS(read_text(&o, setting_cases[i].text), setting_cases[i].status,
                    setting_cases[i].words);
        assert_non_null(strstr(lvsa_last_error(), "scheduler_config.json: "));
        assert_true(o.kind == before.kind && o.shift == before.shift && o.order == before.order);
        assert_int_equal(o.train_steps, before.train_steps);
    }
    lv_schedule_options o = LV_SCHEDULE_OPTIONS_INIT;
    CHECK_FAILS(lv_schedule_options_from_json(&o, scratch_path("absent")), LVSA_ERR_IO, "absent");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static lvsa_status make_schedule(void *user)
{
    lv_schedule *schedule;
    lvsa_status s = lv_schedule_create(&schedule, user, COUNT);
    assert_true((s == LVSA_OK) == (schedule != NULL));
    lv_schedule_free(&schedule);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    lv_schedule_options o = make_options(LV_SCHEDULE_UNIPC);
    /* the schedule, three lists, three buffers */
    assert_int_equal(fail_each_allocation(make_schedule, &o), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_fall),
        cmocka_unit_test(ends_clean),
        cmocka_unit_test(refused_options),
        cmocka_unit_test(steps_in_order),
        cmocka_unit_test(goes_on_from_a_saved_state),
        cmocka_unit_test(coefficients_say_it_all),
        cmocka_unit_test(reads_settings),
        cmocka_unit_test(refused_settings),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
