/* method.h: what a kind of schedule is, for the files of this folder. */
#ifndef LV_FLOW_SCHEDULE_METHOD_H
#define LV_FLOW_SCHEDULE_METHOD_H

#include "flow/schedule/schedule.h"

typedef struct lv_schedule_method {
    const char *name;
    int buffers; /* arrays kept between steps: 0 or LV_SCHEDULE_BUFFERS */
    /* Fills sigmas [N + 1] and timesteps [N]. */
    void (*levels)(float *sigmas, float *timesteps, const lv_schedule_options *options);
    /* Fills one step's coefficients. */
    void (*coefficients)(lv_step_coefficients *out, const float *sigmas, int step,
                         const lv_schedule_options *options);
} lv_schedule_method;

extern const lv_schedule_method lv_schedule_unipc;
extern const lv_schedule_method lv_schedule_flow_euler;

#endif
