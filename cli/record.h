/* record.h: what made a video, as JSON in the video's comment: {"lvsa": VERSION, "options": {NAME:
 * VALUE, ...}}, with the names of options of `lvsa generate`, and every option in it that changes
 * the frames. */
#ifndef CLI_RECORD_H
#define CLI_RECORD_H

#include <jansson.h>

#include "options.h"
#include "talk.h"

typedef struct record_run {
    const char *model, *device, *precision;
    int fps;
    const lvsa_job *job; /* all of it said: the defaults too */
    const lvsa_geometry *geometry;
    const lvsa_forecast *forecast;
} record_run;

/* The JSON of a run; free() it. */
exit_code record_write(char **out, const record_run *run);

/* The record in a video file or a state; json_decref() it. */
exit_code record_read(json_t **out, const char *path);

/* The same of a comment's text; `path` is for the sentences. */
exit_code record_parse(json_t **out, const char *text, const char *path);

/* Puts a record's options into settings where no flag says otherwise. Texts stay the record's. */
exit_code record_apply(void *settings, const option_group *groups, const json_t *record,
                       const char *path);

/* A line an option. */
void record_print(const json_t *record);

#endif
