/* state.h: what lvsa_state is: a run after one of its steps, in a file or as it goes on.
 *
 * The file is a .safetensors:
 *     latents   f32 [C, T, Y, X]
 *     kept.0 .. f32 [C, T, Y, X], the schedule's buffers
 *     text.0 .. f32 [L, E], the embedding of the prompt and, under guidance, of the negative one
 * After the last step there are only latents. Its notes:
 *     lvsa_state  1: counts changes of the format      lvsa     the version that wrote it
 *     step        how many are done                    steps    of how many
 *     job         JSON: all that the frames depend on  machine  JSON: what computes (resume.c)
 *     note        the caller's                                                              */
#ifndef LV_PIPELINE_STATE_H
#define LV_PIPELINE_STATE_H

#include <jansson.h>

#include <lvsa/lvsa.h>

#include "engine/weights/weights.h"
#include "flow/models/model.h"
#include "flow/schedule/schedule.h"

struct lvsa_state {
    lv_safetensors *file; /* NULL: the views are of a run's own memory */
    int steps_done, steps;
    int64_t shape[4]; /* of the latents: C, T, Y, X */
    lv_weight latents;
    int kept_count, texts;
    lv_weight kept[LV_SCHEDULE_BUFFERS];
    lv_weight text[LV_MODEL_TEXTS];
    const char *version, *note; /* NULL: none */
    json_t *job, *machine;      /* NULL with the latents of another program */
};

/* f32 numbers in memory as a view. */
lv_weight lv_state_view(const float *data, int rank, const size_t *shape);

/* Whether only decoding is left. */
static inline bool lv_state_is_done(const lvsa_state *s) { return s->steps_done == s->steps; }

/* For sentences. */
const char *lv_state_path(const lvsa_state *state);

/* The same as lvsa_state_open() for a file in memory, borrowed until the close. */
lvsa_status lv_state_open_memory(lvsa_state **out, const void *bytes, size_t size,
                                 const char *name);

/* Bytes of a file with these tensors, less what its header takes. */
int64_t lv_state_count_bytes(const lvsa_state *state);

#endif
