/* schedule.c: a schedule's memory and the loop over the elements. */
#include "flow/schedule/schedule.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "flow/schedule/method.h"

enum { LAST = 0, M1 = 1, M2 = 2 }; /* places in lv_schedule_state.buffer */

struct lv_schedule {
    const lv_schedule_method *method;
    int steps; /* N */
    int steps_done;
    size_t count;                       /* elements of x */
    float *sigmas;                      /* [N + 1] */
    float *timesteps;                   /* [N] */
    lv_step_coefficients *coefficients; /* [N] */
    float *buffer[LV_SCHEDULE_BUFFERS]; /* [count] each, NULL when the method keeps none */
};

static const lv_schedule_method *find_method(lv_schedule_kind kind)
{
    switch (kind) {
    case LV_SCHEDULE_UNIPC: return &lv_schedule_unipc;
    case LV_SCHEDULE_FLOW_EULER: return &lv_schedule_flow_euler;
    }
    return NULL;
}

static lvsa_status check_options(const lv_schedule_options *o)
{
    if (!find_method(o->kind))
        return lv_fail(LVSA_ERR_ARGUMENT, "schedule %d: no such kind", (int)o->kind);
    if (o->steps < 1 || o->steps > LV_SCHEDULE_MAX_STEPS)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d denoising steps: 1 to %d is wanted", o->steps,
                       LV_SCHEDULE_MAX_STEPS);
    if (!(o->shift > 0.0) || o->shift > 1e6)
        return lv_fail(LVSA_ERR_ARGUMENT, "shift %g: a number above 0 and up to 1e6 is wanted",
                       o->shift);
    if (o->train_steps < 2 || o->train_steps > 1 << 20)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d training timesteps: 2 to %d is wanted",
                       o->train_steps, 1 << 20);
    if (o->kind == LV_SCHEDULE_UNIPC && o->order != 1 && o->order != 2)
        return lv_fail(LVSA_ERR_ARGUMENT, "solver order %d: 1 or 2 is wanted", o->order);
    return LVSA_OK;
}

static bool allocate(lv_schedule *s)
{
    size_t steps = (size_t)s->steps;
    s->sigmas = lv_zalloc_array(steps + 1, sizeof *s->sigmas);
    s->timesteps = lv_zalloc_array(steps, sizeof *s->timesteps);
    s->coefficients = lv_zalloc_array(steps, sizeof *s->coefficients);
    bool good = s->sigmas && s->timesteps && s->coefficients;
    for (int i = 0; i < s->method->buffers && s->count > 0 && good; i++) {
        s->buffer[i] = lv_zalloc_array(s->count, sizeof *s->buffer[i]);
        good = s->buffer[i] != NULL;
    }
    return good;
}

/* Levels fall and every step is a number: a shift far from 1 crowds the levels at one end. */
static bool is_sound(const lv_schedule *s)
{
    for (int i = 0; i < s->steps; i++) {
        const lv_step_coefficients *c = &s->coefficients[i];
        float sum = c->velocity + c->correct_x + c->correct_last + c->predict_x;
        for (int j = 0; j < 3; j++) sum += c->correct_m[j];
        for (int j = 0; j < 2; j++) sum += c->predict_m[j];
        if (!isfinite(sum) || !(s->sigmas[i] > s->sigmas[i + 1])) return false;
    }
    return true;
}

lvsa_status lv_schedule_create(lv_schedule **out, const lv_schedule_options *options, size_t count)
{
    *out = NULL;
    LV_TRY(check_options(options));
    lv_schedule *s = lv_zalloc(sizeof *s);
    if (s) {
        s->method = find_method(options->kind);
        s->steps = options->steps;
        s->count = count;
    }
    if (!s || !allocate(s)) {
        lv_schedule_free(&s);
        return lv_fail(LVSA_ERR_MEMORY,
                       "a schedule of %d steps over %zu values doesn't fit in memory",
                       options->steps, count);
    }
    s->method->levels(s->sigmas, s->timesteps, options);
    for (int i = 0; i < s->steps; i++)
        s->method->coefficients(&s->coefficients[i], s->sigmas, i, options);
    if (!is_sound(s)) {
        lv_schedule_free(&s);
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "shift %g over %d steps: the noise levels can't be told apart; use a shift "
                       "nearer to 1 or fewer steps",
                       options->shift, options->steps);
    }
    *out = s;
    return LVSA_OK;
}

void lv_schedule_free(lv_schedule **schedule)
{
    if (!schedule || !*schedule) return;
    lv_schedule *s = *schedule;
    for (int i = LV_SCHEDULE_BUFFERS - 1; i >= 0; i--) lv_free(s->buffer[i]);
    lv_free(s->coefficients);
    lv_free(s->timesteps);
    lv_free(s->sigmas);
    lv_free(s);
    *schedule = NULL;
}

const char *lv_schedule_name(const lv_schedule *schedule) { return schedule->method->name; }
int lv_schedule_steps(const lv_schedule *schedule) { return schedule->steps; }
const float *lv_schedule_get_sigmas(const lv_schedule *schedule) { return schedule->sigmas; }
const float *lv_schedule_get_timesteps(const lv_schedule *schedule) { return schedule->timesteps; }

const lv_step_coefficients *lv_schedule_get_coefficients(const lv_schedule *schedule, int step)
{
    return &schedule->coefficients[step];
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Numbers from which on waking other threads pays. */
enum { PARALLEL = 1 << 18 };

/* Methods that keep nothing: the next x is m. */
static void step_plain(float *restrict x, const float *restrict v, size_t count,
                       const lv_step_coefficients *c)
{
    const float velocity = c->velocity;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL)
#endif
    for (size_t j = 0; j < count; j++) x[j] += velocity * v[j];
}

/* One pass: each array is read once, and m is written where m2 was. */
static void step_kept(float *restrict x, const float *restrict v, float *restrict last,
                      const float *restrict m1, float *restrict m2, size_t count,
                      const lv_step_coefficients *c)
{
    const lv_step_coefficients k = *c;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL)
#endif
    for (size_t j = 0; j < count; j++) {
        float m = x[j] + k.velocity * v[j];
        float corrected = k.correct_x * x[j] + k.correct_last * last[j] + k.correct_m[0] * m +
                          k.correct_m[1] * m1[j] + k.correct_m[2] * m2[j];
        x[j] = k.predict_x * corrected + k.predict_m[0] * m + k.predict_m[1] * m1[j];
        last[j] = corrected;
        m2[j] = m;
    }
}

lvsa_status lv_schedule_step(lv_schedule *schedule, float *x, const float *v, int step)
{
    lv_schedule *s = schedule;
    if (step < 0 || step >= s->steps || (step != 0 && step != s->steps_done))
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "denoising step %d of %d after %d are done: steps come in order", step,
                       s->steps, s->steps_done);
    const lv_step_coefficients *c = &s->coefficients[step];
    if (s->method->buffers == 0 || s->count == 0) {
        step_plain(x, v, s->count, c);
    } else {
        if (step == 0) /* nothing kept counts, but 0 times an old infinity would */
            for (int i = 0; i < LV_SCHEDULE_BUFFERS; i++)
                memset(s->buffer[i], 0, s->count * sizeof *s->buffer[i]);
        step_kept(x, v, s->buffer[LAST], s->buffer[M1], s->buffer[M2], s->count, c);
        float *m = s->buffer[M2];
        s->buffer[M2] = s->buffer[M1];
        s->buffer[M1] = m;
    }
    s->steps_done = step + 1;
    return LVSA_OK;
}

/* ---- the state ------------------------------------------------------------------------------- */

void lv_schedule_get_state(lv_schedule_state *out, const lv_schedule *schedule)
{
    *out = (lv_schedule_state){.steps_done = schedule->steps_done,
                               .buffers = schedule->count > 0 ? schedule->method->buffers : 0};
    memcpy(out->buffer, schedule->buffer, sizeof out->buffer);
}

lvsa_status lv_schedule_set_steps_done(lv_schedule *schedule, int steps_done)
{
    if (steps_done < 0 || steps_done > schedule->steps)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d denoising steps done: 0 to %d is wanted", steps_done,
                       schedule->steps);
    schedule->steps_done = steps_done;
    return LVSA_OK;
}
