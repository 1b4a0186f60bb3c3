/* lvsa_profile.h: how long the parts of a model take, operation by operation: of a pipeline's own
 * runs, or of a transformer or decoder alone. */
#ifndef LVSA_PROFILE_H
#define LVSA_PROFILE_H

#include <lvsa/lvsa.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LVSA_PROFILE_PHASES = 4, LVSA_PROFILE_ROWS = 24 };

/* Operations of one kind in one phase. */
typedef struct lvsa_profile_row {
    lvsa_phase phase;
    const char *kind; /* "linear", "attention", "convolution", "norm", "other", or "exchange", which
                         is what it waited for other ranks; static                             */
    int64_t calls;
    double seconds;       /* on the device                                                     */
    double flops;         /* of products; of attention those of the pairs that are attended to */
    double bytes;         /* of the tensors, each read or written once                         */
    double least_seconds; /* that its products would take at the peak of what they multiply, bf16 or
                             fp8; 0: unknown */
} lvsa_profile_row;

typedef struct lvsa_profile {
    size_t size; /* sizeof(lvsa_profile), set by the caller                                       */
    int rows;
    lvsa_profile_row row[LVSA_PROFILE_ROWS]; /* phase by phase; what was never called is left out */
    double seconds[LVSA_PROFILE_PHASES];     /* each phase took, on the wall's clock              */
    double peak_flops, peak_bytes;           /* of the device, a second, as its maker states them,
                                                FLOPs of bf16; 0: unknown                         */
} lvsa_profile;

/* From now on the pipeline times every operation. That makes it wait for a GPU now and then, and so
 * a little slower. Fails with LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_pipeline_start_profile(lvsa_pipeline *pipeline);

/* What there is so far, whole phases and the one that is going on; all 0 but for the peaks
 * without a start. Fails with LVSA_ERR_ARGUMENT (the size) or LVSA_ERR_DEVICE. */
LVSA_API lvsa_status lvsa_pipeline_get_profile(lvsa_profile *out, const lvsa_pipeline *pipeline);

/* ---- one part alone -------------------------------------------------------------------------- */

/* What is measured. lvsa_synth_write() makes models for it. */
typedef struct lvsa_bench_options {
    size_t size;       /* sizeof(lvsa_bench_options): set by LVSA_BENCH_OPTIONS_INIT */
    const char *model; /* directory of a diffusers-layout checkpoint                 */
    lvsa_device device;
    int threads;               /* as in lvsa_pipeline_options                                */
    int frames, height, width; /* in pixels; 0: the model's usual                            */
    lvsa_sparsity sparsity;
    lvsa_backend backend;
    int attention_fp8;        /* as in lvsa_job */
    int repeat;               /* runs that are measured, after one that isn't               */
    int offload;              /* of the transformer, as in lvsa_pipeline_options            */
    int guidance;             /* 1: two passes a step, as with guidance; of the transformer       */
    lvsa_ranks *ranks;        /* that measure together; see lvsa_pipeline_options                 */
    lvsa_sequence sequence;   /* likewise                                                         */
    int cfg_parallel;         /* likewise; needs guidance                                         */
    lvsa_precision precision; /* as in lvsa_pipeline_options                                    */
} lvsa_bench_options;

#define LVSA_BENCH_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(lvsa_bench_options), NULL, LVSA_DEVICE_CPU, 0, 0, 0, 0, LVSA_SPARSITY_AUTO,         \
            LVSA_BACKEND_AUTO, 0, 5, 0, 0, NULL, LVSA_SEQUENCE_AUTO, 0, LVSA_PRECISION_AUTO        \
    }

/* What was measured. */
typedef struct lvsa_bench_info {
    size_t size;               /* sizeof(lvsa_bench_info), set by the caller             */
    const char *family;        /* static                                                 */
    int frames, height, width; /* of the video, in pixels                                */
    int latent_frames, patches_per_frame;
    int sparse;             /* 0: every frame attended to every frame                 */
    int passes;             /* a step's: 2 with guidance                              */
    int ranks, groups;      /* 2 groups: one a pass of guidance                       */
    lvsa_sequence sequence; /* of groups of several ranks                             */
    double load_seconds;    /* weights, from the files to the device                  */
    int64_t scratch;        /* bytes on the device besides the weights                */
} lvsa_bench_info;

/* Denoising steps of the transformer, but for the schedule's own, for texts of random numbers:
 * seconds [repeat] of each one's passes, and then the profile of one more, in LVSA_PHASE_DENOISE.
 * Of several ranks each measures its own share, and waits for the others'. Fails as
 * lvsa_pipeline_open() and lvsa_generate() do. */
LVSA_API lvsa_status lvsa_bench_transformer(lvsa_bench_info *info, double *seconds,
                                            lvsa_profile *profile, const lvsa_bench_options *o);

/* The same of the decoder: whole videos of random latents, in LVSA_PHASE_DECODE. */
LVSA_API lvsa_status lvsa_bench_decoder(lvsa_bench_info *info, double *seconds,
                                        lvsa_profile *profile, const lvsa_bench_options *o);

#ifdef __cplusplus
}
#endif
#endif
