/* work.h: a pipeline, one job on its way through it, and the stages that pipeline.c calls.
 *
 * Letters: B is 1; L text tokens, E width of their embedding, C channels and T, Y, X frames, rows
 * and columns of the latents, P tokens a latent frame, N steps. */
#ifndef LV_PIPELINE_WORK_H
#define LV_PIPELINE_WORK_H

#include <lvsa/lvsa.h>

#include "base/error.h"
#include "engine/parallel/sequence.h"
#include "flow/models/defaults.h"
#include "flow/models/model.h"
#include "flow/schedule/schedule.h"
#include "flow/text/tokenizers/tokenizer.h"
#include "flow/text/umt5.h"
#include "flow/vae/preview.h"
#include "flow/vae/vae.h"
#include "pipeline/state.h"

enum { LV_PATH_MOST = 4096 };

/* Numbers from which on waking other threads pays. */
enum { LV_WORK_PARALLEL = 1 << 18 };

struct lvsa_pipeline {
    char *directory;
    lv_device *device;
    lv_comm *ranks; /* the caller's; NULL: this process makes videos alone */
    lvsa_sequence sequence;
    bool cfg_parallel, vae_parallel;
    lvsa_geometry geometry;
    lv_defaults defaults;
    const lv_model_class *class;
    lv_schedule_options schedule;
    lv_tokenizer *tokenizer;
    lv_model *model;     /* opened with the first job, then kept   */
    lv_vae *vae;         /* likewise                               */
    lv_preview *preview; /* fitted for the first job that wants it */
};

/* Everything between a job and its frames. */
typedef struct lv_work {
    lvsa_pipeline *p;
    const lvsa_job *job;
    lvsa_phase phase;
    double phase_start;
    const char *kernel; /* of the self-attention */

    int frames, height, width;        /* pixels                                     */
    int patches;                      /* P                                          */
    int64_t shape[4];                 /* of the latents: C, T, Y, X                 */
    size_t count;                     /* their product                              */
    int texts;                        /* 2 with guidance, otherwise 1               */
    int64_t padded;                   /* rows of a text                             */
    int32_t *ids[LV_MODEL_TEXTS];     /* [length]                                   */
    float *embedding[LV_MODEL_TEXTS]; /* [length, E]                                */
    int64_t length[LV_MODEL_TEXTS];
    int64_t text_width;               /* E                                          */
    lvsa_plan *plan;                  /* NULL: dense                                */
    lv_riflex riflex;                 /* pair -1: none                              */
    lv_schedule *schedule;
    int first_step;                   /* that is still to do                        */
    json_t *description, *machine;    /* of the run, see resume.c; NULL: not asked  */
    float *latents, *velocity, *away; /* [C, T, Y, X]; away: what guidance leaves   */
    uint8_t *preview;                 /* [T, Y, X, 3], or NULL: none is wanted      */
    lv_exec exec;
    lv_tensor z, v;                   /* of the device, f32: `own` latents and velocity */
    lv_tensor all;                    /* v; shared, the v of all ranks one behind the other */

    int first_text, end_text;         /* whose passes are computed here, the end not    */
    int64_t own[4];                   /* of the latents that are computed here: all, or */
    size_t own_count;                 /* those of a rank's frames                       */
    lv_comm *group;                   /* the ranks of one text; NULL: all do both       */
    lv_sequence *sequence;            /* NULL: all frames are computed here             */
    lvsa_plan *dense_plan;            /* of ranks, where there is no other              */
    float *part;                      /* own latents, in the host's memory              */
    float *parts;                     /* w->all; NULL where a device has memory for it  */
    size_t *part_bytes;               /* [ranks] of v; NULL: nobody shares              */
} lv_work;

/* Lets go of all of it but the pipeline and the job. */
void lv_work_release(lv_work *w);

/* ---- open.c ---------------------------------------------------------------------------------- */

/* "<model>/<part>" into path. */
lvsa_status lv_pipeline_find_part(char path[LV_PATH_MOST], const lvsa_pipeline *p,
                                  const char *part);

/* ---- work.c: what the caller is told --------------------------------------------------------- */

/* Fails with LVSA_ERR_CANCELLED where the caller wants the job to end. */
lvsa_status lv_work_report(lv_work *w, lvsa_phase phase, int done, int total);
lvsa_status lv_work_cancelled(void);

void lv_work_say(const lv_work *w, const char *format, ...) LV_PRINTF(2, 3);

/* A job that isn't strict goes on after it. */
lvsa_status lv_work_warn(const lv_work *w, const char *format, ...) LV_PRINTF(2, 3);

/* ---- plan.c: job -> sizes and pattern -------------------------------------------------------- */

/* All that can be refused without a look at a size. */
lvsa_status lv_work_check(lv_work *w);

/* Whether the job's state has latents that only have to be decoded; the job's size is right. */
bool lv_work_is_done(const lv_work *w);

/* The noise levels of the job, with the state of `count` latents; a count of 0 only checks them. */
lvsa_status lv_work_make_schedule(lv_work *w, size_t count);

/* Pixels -> T and P. */
lvsa_status lv_work_find_sizes(lv_work *w);

/* Sparse or dense, and the plan. */
lvsa_status lv_work_choose_plan(lv_work *w);

/* Needs the model. */
lvsa_status lv_work_choose_riflex(lv_work *w);

/* ---- texts.c: prompts -> ids [L] -> embedding [L, E] ----------------------------------------- */

lvsa_status lv_work_tokenize(lv_work *w);
lvsa_status lv_work_open_encoder(lv_umt5 **out, const lv_work *w, lv_device *device);

/* The encoder is gone before the first job's transformer comes. */
lvsa_status lv_work_encode(lv_work *w);

/* ---- models.c -------------------------------------------------------------------------------- */

/* A tensor of the wrong shape is the checkpoint's fault, not the job's. */
lvsa_status lv_work_blame_files(lvsa_status s);

/* Of `count` tensors of a part that nobody asked for. */
lvsa_status lv_work_warn_of_unknown(const lv_work *w, const char *part, size_t count,
                                    const char *first);

/* The decoder, on the pipeline's device; it stays with the pipeline. */
lvsa_status lv_work_open_decoder(lv_work *w);

/* The same for the transformer and the decoder. */
lvsa_status lv_work_open_models(lv_work *w);

/* The same with what the caller is told, and the texts' width compared. */
lvsa_status lv_work_load_models(lv_work *w);

/* embedding -> keys and values of every block. */
lvsa_status lv_work_set_texts(lv_work *w);

/* ---- denoise.c: noise -> latents [C, T, Y, X] ------------------------------------------------ */

/* Their shape, from the models and the sizes. */
void lv_work_find_latents(lv_work *w);

/* The noise, or the state's latents, to start from, and room for a step. */
lvsa_status lv_work_make_latents(lv_work *w);

/* What one pass takes: w->exec.arena.peak. */
lvsa_status lv_work_measure_passes(lv_work *w);

/* The same for every place of the keyframes, and the memory itself. */
lvsa_status lv_work_prepare_passes(lv_work *w);

/* w->velocity of the latents in step i, from all ranks; *step is what its passes were told. */
lvsa_status lv_work_find_velocity(lv_work *w, lv_step *step, float timestep, int i);

/* N times: latents -> velocity -> latents. */
lvsa_status lv_work_denoise(lv_work *w);

/* ---- diagnose.c ------------------------------------------------------------------------------ */

/* LVSA_ERR_NUMBER where a latent after step i is none, with the part of the transformer that is to
 * blame; `step` is what its passes were told. */
lvsa_status lv_work_check_numbers(lv_work *w, const lv_step *step, int i);

/* ---- preview.c: latents -> a pixel each, [T, Y, X, 3] ---------------------------------------- */

/* With the decoder, which it runs; once a pipeline. */
lvsa_status lv_work_fit_preview(lv_work *w);

/* Room for a preview, before the loop. */
lvsa_status lv_work_prepare_preview(lv_work *w);

/* Of the clean latents that step i, whose velocity is known and not yet taken, points at. */
void lv_work_draw_preview(lv_work *w, int i);

/* Hands it on; `done` steps are. */
lvsa_status lv_work_show_preview(const lv_work *w, int done);

/* ---- resume.c: states ------------------------------------------------------------------------ */

/* Gives the run as it is to whoever may want to keep it. */
lvsa_status lv_work_show_state(lv_work *w);

/* Bytes of the largest state that a run shows. Needs its latents' number and its texts' lengths. */
int64_t lv_work_count_state(const lv_work *w);

/* Whether the job's state is of this run. Needs the plan and RIFLEx's frequency. */
lvsa_status lv_work_match_state(lv_work *w);

/* The job's state, in parts: embeddings, latents, and what the schedule keeps. */
lvsa_status lv_work_take_texts(lv_work *w);
lvsa_status lv_work_take_latents(lv_work *w);
lvsa_status lv_work_take_history(lv_work *w);

/* ---- ranks.c: a video that several processes make -------------------------------------------- */

/* Whether this process is the one that tells its caller anything. */
bool lv_work_is_first(const lv_work *w);

/* Whether it decodes: the first one does, or all. */
bool lv_work_decodes(const lv_work *w);

/* The rows that it decodes, and whether all ranks can have some. */
lv_vae_tiling lv_work_share_decoding(const lv_work *w);
lvsa_status lv_work_check_decoding(const lv_work *w);

/* Messages between the ranks' devices can be sent from now on. All ranks come here. */
lvsa_status lv_work_join(lv_work *w);

/* The job of the others. */
lvsa_job lv_work_mute(const lvsa_job *job);

/* Which text and which frames are this rank's. Needs the sizes and the plan; sends nothing. */
lvsa_status lv_work_share(lv_work *w);

/* What rank 0 has encoded, to all. */
lvsa_status lv_work_send_texts(lv_work *w);

/* The latents to start from, likewise. */
lvsa_status lv_work_send_latents(lv_work *w);

/* Nobody goes on before all have come here. */
lvsa_status lv_work_wait_for_all(lv_work *w);

/* Room for this rank's latents, before the loop, and how many bytes that is on the CPU. Need the
 * latents' shape. */
lvsa_status lv_work_make_parts(lv_work *w);
int64_t lv_work_count_parts(const lv_work *w);

/* The latents of this rank's frames, `own`. Borrowed until the next call of a function here. */
const float *lv_work_get_own(lv_work *w);

/* w->all, from the passes' scratch. */
lvsa_status lv_work_take_all(lv_work *w);

/* What all ranks have in w->v into w->all. */
lvsa_status lv_work_gather(lv_work *w);

/* velocity[0] [C, T, Y, X] from w->all, which has come to the host; of two groups both. */
void lv_work_arrange(float *const velocity[], const lv_work *w, const float *all);

/* ---- decode.c: latents -> frames [F, H, W, 3] ------------------------------------------------ */

/* The decoder, and the sizes of what it makes of a state's latents. */
lvsa_status lv_work_open_latents(lv_work *w);

/* The same with what the caller is told, and the latents themselves. */
lvsa_status lv_work_load_latents(lv_work *w);

lvsa_status lv_work_decode(lv_work *w);

#endif
