/* model.h: what every diffusion transformer gives the pipeline.
 *
 *     velocity = model(latents z, noise level, text)        z, velocity: f32 [C, T, Y, X]
 *
 * A family is one file and one lv_model_class. It says what is computed, in the operations of
 * engine/runtime/ops.h, never where. */
#ifndef LV_FLOW_MODELS_MODEL_H
#define LV_FLOW_MODELS_MODEL_H

#include "engine/runtime/device.h"

typedef struct lv_model lv_model;
typedef struct lv_sequence lv_sequence; /* engine/parallel/sequence.h */

/* RIFLEx (arXiv 2502.15894): the frequency of temporal pair `pair` (from 0) is lowered to one turn
 * in `frames` latent frames, so that no phase repeats within them. */
typedef struct lv_riflex {
    int pair;
    double frames;
} lv_riflex;

/* What one forward pass is told besides the latents. */
typedef struct lv_step {
    float timestep;          /* as the scheduler gives it, 0 .. 1000 */
    int text;                /* which of the prepared texts          */
    const lvsa_runs *runs;   /* of the video's tokens; NULL: dense   */
    lvsa_backend backend;    /* of the self-attention                */
    bool attention_fp8;      /* likewise, see lvsa_attention         */
    const lv_riflex *riflex; /* NULL: none                         */
    lv_sequence *sequence;   /* of which z and velocity hold this rank's frames; NULL: all
                                frames are here */
} lv_step;

/* Called after a stage of a forward pass, when a model is compared with another implementation:
 * "patches", "block 3", "head". `rows` is of the device, valid during the call. */
typedef struct lv_probe {
    lvsa_status (*call)(void *user, const char *stage, int index, lv_tensor rows);
    void *user;
} lv_probe;

typedef struct lv_model_class {
    const char *name;
    int64_t text_length; /* rows that set_text() takes at most */
    lvsa_status (*open)(lv_model **out, lv_device *device, const char *directory);
    void (*close)(lv_model *model);
    /* Everything that depends on the text alone, kept for `index`: embedding [length, E] f32 in
     * host memory, padded as the family does to `padded` rows, at most text_length. */
    lvsa_status (*set_text)(lv_model *model, int index, const float *embedding, int64_t length,
                            int64_t padded);
    lvsa_status (*forward)(lv_model *model, lv_exec *e, lv_tensor velocity, lv_tensor z,
                           const lv_step *step);
} lv_model_class;

/* Members that the pipeline reads; a family's own follow in its file. */
struct lv_model {
    const lv_model_class *class;
    lv_device *device;
    int64_t channels;   /* C of the latents                                   */
    int64_t patch;      /* latents along the edge of a token's square         */
    int64_t text_width; /* E of the embedding                                 */
    int64_t layers, heads, head_dim;
    int64_t temporal_pairs;   /* rotary frequencies of the time axis               */
    size_t unknown;           /* tensors in the files that nobody asked for ...     */
    const char *unknown_name; /* ... and the first of them                       */
    lv_probe probe;           /* call NULL: none                                    */
};

enum { LV_MODEL_TEXTS = 2 }; /* the prompt, and what guidance leads away from */

extern const lv_model_class lv_wan_class; /* wan.c */

static inline void lv_model_close(lv_model **model)
{
    if (model && *model) (*model)->class->close(*model);
    if (model) *model = NULL;
}

#endif
