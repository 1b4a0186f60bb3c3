/* schedule.h: the denoising schedule: which noise levels are visited and how x moves from one to
 * the next.
 *
 * The models are flows: at noise level sigma, x = (1 - sigma) * clean + sigma * noise, and the
 * model says v = noise - clean. Levels fall from about 1 to 0 over N steps:
 *
 *     lv_schedule_create(&s, &options, count);
 *     for (int i = 0; i < N; i++) {
 *         v = model(x, lv_schedule_get_timesteps(s)[i]);
 *         lv_schedule_step(s, x, v, i);
 *     }
 *
 * A step is a linear combination of x, v and what was kept from the steps before, so that a device
 * needs one kernel for all of them: see lv_step_coefficients. */
#ifndef LV_FLOW_SCHEDULE_SCHEDULE_H
#define LV_FLOW_SCHEDULE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef enum lv_schedule_kind {
    LV_SCHEDULE_UNIPC = 0,     /* a predictor and a corrector of order 1 or 2 */
    LV_SCHEDULE_FLOW_EULER = 1 /* x + (sigma' - sigma) v */
} lv_schedule_kind;

enum { LV_SCHEDULE_MAX_STEPS = 1000 };

typedef struct lv_schedule_options {
    lv_schedule_kind kind;
    int steps;       /* N, 1 .. LV_SCHEDULE_MAX_STEPS */
    double shift;    /* k > 0: levels move to k s / (1 + (k - 1) s), more of them near 1 */
    int train_steps; /* timestep = train_steps * sigma */
    int order;       /* UniPC: 1 or 2 */
    bool even_grid;  /* flow Euler: s = 1, 1 - 1/N, .. 1/N before the shift, as pipelines give it;
                       otherwise the scheduler's own levels, which end at 1/train_steps */
} lv_schedule_options;

#define LV_SCHEDULE_OPTIONS_INIT ((lv_schedule_options){LV_SCHEDULE_UNIPC, 50, 1.0, 1000, 2, false})

/* Reads a checkpoint's scheduler_config.json; steps and even_grid, which it doesn't say, stay as
 * they are. Fails with LVSA_ERR_IO, LVSA_ERR_FORMAT or, for a setting that this schedule hasn't
 * got, LVSA_ERR_UNSUPPORTED; the sentence names the file and the setting. */
lvsa_status lv_schedule_options_from_json(lv_schedule_options *options, const char *path);

/* One step on every element. m is the clean sample that x and v stand for (Euler: the next x
 * itself):
 *     m  = x + velocity * v
 *     x  = correct_x * x + correct_last * last + correct_m[0..2] . (m, m1, m2)
 *     x' = predict_x * x + predict_m[0..1] . (m, m1)
 * Kept for the next step: last = the corrected x, m2 = m1, m1 = m. */
typedef struct lv_step_coefficients {
    float velocity;
    float correct_x, correct_last, correct_m[3];
    float predict_x, predict_m[2];
} lv_step_coefficients;

typedef struct lv_schedule lv_schedule;

/* Takes all memory a schedule needs for x of `count` elements. With a count of 0 it has levels and
 * coefficients only: the state lives elsewhere. Fails with LVSA_ERR_ARGUMENT or LVSA_ERR_MEMORY. */
lvsa_status lv_schedule_create(lv_schedule **out, const lv_schedule_options *options, size_t count);
void lv_schedule_free(lv_schedule **schedule);

const char *lv_schedule_name(const lv_schedule *schedule);
int lv_schedule_steps(const lv_schedule *schedule);

/* Borrowed. Step i goes from sigmas[i] to sigmas[i + 1]; the model is told timesteps[i]. */
const float *lv_schedule_get_sigmas(const lv_schedule *schedule); /* [N + 1], the last is 0 */
const float *
lv_schedule_get_timesteps(const lv_schedule *schedule); /* [N], whole numbers under UniPC */
const lv_step_coefficients *lv_schedule_get_coefficients(const lv_schedule *schedule, int step);

/* x, v: [count] f32; x becomes the sample at sigmas[step + 1]. Steps come in order, from 0; step 0
 * starts anew. Allocates nothing. Fails with LVSA_ERR_ARGUMENT on a step that isn't the next; x is
 * as it was. */
lvsa_status lv_schedule_step(lv_schedule *schedule, float *x, const float *v, int step);

/* What has to be saved to go on later: steps done and these buffers, each [count] f32. A schedule
 * made with the same options and count goes on from them once they are written into its own. */
enum { LV_SCHEDULE_BUFFERS = 3 };
typedef struct lv_schedule_state {
    int steps_done;
    int buffers; /* 3 under UniPC: last, m1, m2; 0 under Euler */
    float *buffer[LV_SCHEDULE_BUFFERS];
} lv_schedule_state;

/* The buffers are the schedule's own, to be read or written until its next step. */
void lv_schedule_get_state(lv_schedule_state *out, const lv_schedule *schedule);

/* Says that the state's buffers hold what `steps_done` (0 .. N) steps left. LVSA_ERR_ARGUMENT. */
lvsa_status lv_schedule_set_steps_done(lv_schedule *schedule, int steps_done);

#endif
