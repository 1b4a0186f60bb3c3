/* run.h: a run: settings become a video file. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "command.h"
#include "job.h"
#include "pictures.h"
#include "record.h"

typedef struct machine_settings {
    int_setting device, threads;
} machine_settings;

typedef struct file_settings {
    text_setting output, folder, name;
    int_setting force, dry_run;
} file_settings;

typedef struct tell_settings {
    int_setting strict, times, memory;
} tell_settings;

/* Of `lvsa generate`. */
typedef struct generate_settings {
    common_settings common; /* first: see run_command() */
    job_settings job;
    machine_settings machine;
    file_settings file;
    picture_settings pictures;
    tell_settings tell;
} generate_settings;

extern const option machine_options[];
extern const option tell_options[];

/* Makes the video and prints the path of its file. */
exit_code run_make(const generate_settings *s);

#endif
