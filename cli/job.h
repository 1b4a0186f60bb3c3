/* job.h: the options of `lvsa generate`, and the job that they say. */
#ifndef CLI_JOB_H
#define CLI_JOB_H

#include "pattern.h"

typedef struct make_settings {
    text_setting model, prompt, prompt_file, negative_prompt, source;
} make_settings;

typedef struct video_settings {
    int_setting frames;
    number_setting seconds;
    int_setting height, width, fps;
} video_settings;

typedef struct sampling_settings {
    int_setting steps;
    number_setting guidance, flow_shift;
    whole_setting seed;
    int_setting precision, riflex;
    number_setting riflex_scale;
    int_setting riflex_index, riflex_frames;
} sampling_settings;

typedef struct sparse_settings {
    int_setting sparse, dense;
    int_setting reference;
    number_setting scale;
    int_setting expand, opening, rotate, phase;
    int_setting backend, flashinfer, attention_dtype;
    int_setting mask, compact;
} sparse_settings;

extern const option make_options[];
extern const option video_options[];
extern const option sampling_options[];
extern const option sparse_options[];

typedef struct job_settings {
    make_settings make;
    video_settings video;
    sampling_settings sampling;
    pixel_pattern_settings pattern;
    sparse_settings sparse;
} job_settings;

/* The index-th of lvsa_precision as --dtype has it, NULL past the last. */
const char *precision_name(int index);

/* What can be refused before a model is opened. */
exit_code job_check(const job_settings *s);

/* The job for this pipeline: its model's defaults, before them what the settings say. The prompt of
 * a file goes into *prompt, which the caller frees. `strict` as for warn(). */
exit_code job_make(lvsa_job *job, char **prompt, const job_settings *s,
                   const lvsa_pipeline *pipeline, int strict);

/* Frames a second. */
int job_fps(const job_settings *s, const lvsa_pipeline *pipeline);

#endif
