/* flow_euler.c: Euler steps along the flow, x' = x + (sigma' - sigma) v. Equals diffusers'
 * FlowMatchEulerDiscreteScheduler (schedulers/scheduling_flow_match_euler_discrete.py), whose
 * levels are computed in float or double depending on where they come from; so are these. */
#include "flow/schedule/method.h"

static float shift_single(float s, double k)
{
    float top = (float)k * s, rise = (float)(k - 1.0) * s;
    return top / (1.0f + rise);
}

static double shift_double(double s, double k) { return k * s / (1.0 + (k - 1.0) * s); }

/* The i-th of `count` numbers from `first` to `last`, evenly spaced. */
static double even(double first, double last, int count, int i)
{
    if (i == count - 1 && count > 1) return last;
    return i * ((last - first) / (count - 1 > 0 ? count - 1 : 1)) + first;
}

static void levels(float *sigmas, float *timesteps, const lv_schedule_options *o)
{
    /* Without levels from the pipeline, the ends were shifted once already when the scheduler was
     * made. */
    double first = (double)shift_single(1.0f, o->shift) * o->train_steps;
    double last = (double)shift_single(1.0f / (float)o->train_steps, o->shift) * o->train_steps;
    for (int i = 0; i < o->steps; i++) {
        if (o->even_grid)
            sigmas[i] = shift_single((float)even(1.0, 0.0, o->steps + 1, i), o->shift);
        else
            sigmas[i] =
                (float)shift_double(even(first, last, o->steps, i) / o->train_steps, o->shift);
        timesteps[i] = sigmas[i] * (float)o->train_steps;
    }
    sigmas[o->steps] = 0.0f;
}

static void coefficients(lv_step_coefficients *out, const float *sigmas, int step,
                         const lv_schedule_options *o)
{
    (void)o;
    *out = (lv_step_coefficients){
        .velocity = sigmas[step + 1] - sigmas[step], .correct_x = 1.0f, .predict_m = {1.0f}};
}

const lv_schedule_method lv_schedule_flow_euler = {"flow_euler", 0, levels, coefficients};
