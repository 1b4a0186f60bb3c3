/* test_schedule_golden.c: levels, timesteps and whole trajectories against diffusers'
 * schedulers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "testing.h"

#include "engine/weights/safetensors.h"
#include "flow/schedule/schedule.h"

enum { ELEMENTS = 16 };

static const int steps[] = {1, 2, 3, 4, 10, 30, 50};
static const int shifts[] = {1, 3, 5, 7, 8, 12};
static const struct {
    const char *name;
    lv_schedule_kind kind;
    int order;
    bool even_grid;
} kinds[] = {
    {"unipc", LV_SCHEDULE_UNIPC, 2, false},
    {"unipc1", LV_SCHEDULE_UNIPC, 1, false},
    {"euler", LV_SCHEDULE_FLOW_EULER, 0, false},
    {"even", LV_SCHEDULE_FLOW_EULER, 0, true},
};

static const float *find(const lv_safetensors *f, const char *name, const char *part, size_t count)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s", name, part);
    const lv_tensor_entry *e = lv_safetensors_find(f, whole);
    if (!e || e->count != count || e->dtype != LVSA_F32)
        fail_msg("golden tensor %s isn't right", whole);
    return e->data;
}

/* Floats between a and b, both of one sign. */
static int64_t ulps(float a, float b)
{
    int32_t x, y;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x > y ? (int64_t)x - y : (int64_t)y - x;
}

typedef struct worst {
    int64_t sigma_ulps;
    double x;
    char where[128];
} worst;

static void check_levels(worst *w, const lv_schedule *s, const lv_safetensors *f, const char *name)
{
    size_t n = (size_t)lv_schedule_steps(s);
    const float *sigmas = find(f, name, "sigmas", n + 1),
                *timesteps = find(f, name, "timesteps", n);
    for (size_t i = 0; i <= n; i++) {
        int64_t distance = ulps(lv_schedule_get_sigmas(s)[i], sigmas[i]);
        if (distance > w->sigma_ulps) w->sigma_ulps = distance;
        if (distance > 1) fail_msg("%s: sigma %zu is %ld ulps off", name, i, (long)distance);
    }
    for (size_t i = 0; i < n; i++)
        if (ulps(lv_schedule_get_timesteps(s)[i], timesteps[i]) > 1)
            fail_msg("%s: timestep %zu is %.9g, %.9g wanted", name, i,
                     (double)lv_schedule_get_timesteps(s)[i], (double)timesteps[i]);
}

static void check_trajectory(worst *w, lv_schedule *s, const lv_safetensors *f, const char *name)
{
    size_t n = (size_t)lv_schedule_steps(s);
    const float *target = find(f, "", "target", ELEMENTS),
                *wanted = find(f, name, "x", n * ELEMENTS);
    float x[ELEMENTS], v[ELEMENTS];
    memcpy(x, find(f, "", "start", ELEMENTS), sizeof x);
    for (size_t i = 0; i < n; i++, wanted += ELEMENTS) {
        for (int j = 0; j < ELEMENTS; j++) {
            volatile float square = x[j] * x[j]; /* rounded by itself, as in the golden script */
            volatile float bent = x[j] / (1.0f + square) - target[j];
            volatile float scaled = lv_schedule_get_sigmas(s)[i] * x[j];
            volatile float half = scaled * 0.5f;
            v[j] = bent + half;
        }
        CHECK_OK(lv_schedule_step(s, x, v, (int)i));
        double difference = 0.0, size = 0.0;
        for (int j = 0; j < ELEMENTS; j++) {
            difference += pow((double)x[j] - (double)wanted[j], 2.0);
            size += pow((double)wanted[j], 2.0);
        }
        double relative = sqrt(difference / size);
        if (relative > w->x) {
            w->x = relative;
            snprintf(w->where, sizeof w->where, "%sstep %zu", name, i);
        }
        if (!(relative <= 1e-6)) fail_msg("%s: x after step %zu is off by %.3g", name, i, relative);
    }
}

static void matches_diffusers(void **state)
{
    (void)state;
    lv_safetensors *f;
    CHECK_OK(lv_safetensors_open(&f, GOLDEN_DIR "/schedule/schedule.safetensors"));
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        worst w = {0, 0.0, "nowhere"};
        int cases = 0;
        for (size_t n = 0; n < sizeof steps / sizeof steps[0]; n++)
            for (size_t t = 0; t < sizeof shifts / sizeof shifts[0]; t++, cases++) {
                char name[64];
                snprintf(name, sizeof name, "%s.%d.%d.", kinds[k].name, steps[n], shifts[t]);
                lv_schedule_options o = LV_SCHEDULE_OPTIONS_INIT;
                o.kind = kinds[k].kind, o.order = kinds[k].order, o.even_grid = kinds[k].even_grid;
                o.steps = steps[n], o.shift = shifts[t];
                lv_schedule *s;
                CHECK_OK(lv_schedule_create(&s, &o, ELEMENTS));
                check_levels(&w, s, f, name);
                check_trajectory(&w, s, f, name);
                lv_schedule_free(&s);
            }
        print_message("%s: %d cases, sigmas within %ld ulps, x within %.2g (%s)\n", kinds[k].name,
                      cases, (long)w.sigma_ulps, w.x, w.where);
    }
    lv_safetensors_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_diffusers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
