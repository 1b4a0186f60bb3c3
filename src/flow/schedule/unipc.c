/* unipc.c: UniPC, a predictor-corrector for diffusion (Zhao et al. 2023, arXiv:2302.04867), in its
 * B(h) = e^h - 1 form ("bh2") on clean-sample predictions. Equals diffusers'
 * UniPCMultistepScheduler with flow sigmas (schedulers/scheduling_unipc_multistep.py), where a
 * step's scalars are fp32 tensors: log(1 - sigma) of the first level depends on that, because
 * 1 - fp32(1 - 1e-6) is 1.3 % more than 1e-6. So these are floats as well, in the same order. With
 * a = 1 - sigma, l = log(a / sigma), h = l[i] - l[i-1], u = -h, E = e^u - 1:
 *     corrector  x  = (s[i]/s[i-1]) last - a[i] E (m1 + r1 D2 + r2 (m - m1)),    D2 = (m2 - m1) / r
 *     predictor  x' = (s[i+1]/s[i]) x - a[i+1] E (m + D1/2),                     D1 = (m1 - m) / r
 * where r is the step before in units of this one. Order 1 has neither D1 nor D2, and r2 = 1/2. */
#include <math.h>

#include "flow/schedule/method.h"

static void levels(float *sigmas, float *timesteps, const lv_schedule_options *o)
{
    const double k = o->shift, last = 1.0 / o->train_steps;
    for (int i = 0; i < o->steps; i++) {
        double s = i * ((last - 1.0) / o->steps) + 1.0;
        s = k * s / (1.0 + (k - 1.0) * s);
        if (i == 0 && fabs(s - 1.0) < 1e-6) s -= 1e-6; /* log(1 - s) has to be finite */
        sigmas[i] = (float)s;
        timesteps[i] = (float)trunc(s * o->train_steps);
    }
    sigmas[o->steps] = 0.0f;
}

/* log((1 - s) / s): -infinity at s = 1, infinity at 0. */
static float log_ratio(float sigma) { return logf(1.0f - sigma) - logf(sigma); }

/* The order of the predictor that leaves level `step`: it has to have seen enough, and the last
 * step, which goes to sigma = 0, is always of order 1. */
static int order_at(int step, const lv_schedule_options *o)
{
    int order = o->order;
    if (order > o->steps - step) order = o->steps - step;
    return order < step + 1 ? order : step + 1;
}

/* x at level i, again, now that m is known. The predictor that came here started from `last`. */
static void correct(lv_step_coefficients *c, const float *sigmas, int i, int order)
{
    float l = log_ratio(sigmas[i]), l1 = log_ratio(sigmas[i - 1]);
    float h = l - l1, u = -h, e = expm1f(u);
    float r1 = 0.0f, r2 = 0.5f, r = 1.0f;
    if (order == 2) {
        r = (log_ratio(sigmas[i - 2]) - l1) / h;
        float g1 = e / u - 1.0f, g2 = g1 / u - 0.5f;
        float b1 = g1 / e, b2 = g2 * 2.0f / e;
        r2 = (b2 - r * b1) / (1.0f - r); /* r1 + r2 = b1, r r1 + r2 = b2 */
        r1 = b1 - r2;
    }
    float scale = -(1.0f - sigmas[i]) * e;
    c->correct_x = 0.0f;
    c->correct_last = sigmas[i] / sigmas[i - 1];
    c->correct_m[0] = scale * r2;
    c->correct_m[1] = scale * (1.0f - r2 - r1 / r);
    c->correct_m[2] = scale * (r1 / r);
}

static void predict(lv_step_coefficients *c, const float *sigmas, int i, int order)
{
    float l = log_ratio(sigmas[i]), h = log_ratio(sigmas[i + 1]) - l;
    float scale = -(1.0f - sigmas[i + 1]) * expm1f(-h);
    float half = order == 2 ? 0.5f / ((log_ratio(sigmas[i - 1]) - l) / h) : 0.0f;
    c->predict_x = sigmas[i + 1] / sigmas[i];
    c->predict_m[0] = scale * (1.0f - half);
    c->predict_m[1] = scale * half;
}

static void coefficients(lv_step_coefficients *out, const float *sigmas, int step,
                         const lv_schedule_options *o)
{
    *out = (lv_step_coefficients){.velocity = -sigmas[step], .correct_x = 1.0f};
    if (step > 0) correct(out, sigmas, step, order_at(step - 1, o));
    predict(out, sigmas, step, order_at(step, o));
}

const lv_schedule_method lv_schedule_unipc = {"unipc", LV_SCHEDULE_BUFFERS, levels, coefficients};
