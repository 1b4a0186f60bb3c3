/* run.h: a run: settings become a video file. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "command.h"
#include "job.h"
#include "keep.h"
#include "pictures.h"
#include "record.h"

typedef struct machine_settings {
    text_setting device;
    int_setting threads, offload;
} machine_settings;

/* Of several processes. */
typedef struct sharing_settings {
    int_setting sequence, cfg, vae;
} sharing_settings;

typedef struct file_settings {
    text_setting output, folder, name;
    int_setting force, dry_run;
} file_settings;

typedef struct tell_settings {
    int_setting strict, times, memory, profile;
} tell_settings;

/* Of `lvsa generate`. */
typedef struct generate_settings {
    common_settings common; /* first: see run_command() */
    job_settings job;
    machine_settings machine;
    sharing_settings sharing;
    file_settings file;
    keep_settings keep;
    picture_settings pictures;
    tell_settings tell;
} generate_settings;

extern const option machine_options[];
extern const option sharing_options[]; /* the last is the only one of decoding */
extern const option tell_options[];

/* What to run. All borrowed. */
typedef struct run_task {
    const generate_settings *s;
    const lvsa_state *state; /* to go on from, or NULL                                       */
    const char *state_path;  /* of its file                                                  */
    const char *model;       /* that is opened where it isn't the one of s, or NULL          */
    int decode;              /* 1: the state's latents are all there is, and s says no job   */
    const char *comment;     /* of the video then, or NULL: none                             */
} run_task;

/* Makes the video and prints the path of its file. */
exit_code run_make(const run_task *task);

#endif
