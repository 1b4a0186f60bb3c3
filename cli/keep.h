/* keep.h: what of a run is kept on the disk besides its video, so that no work is lost.
 *
 * A state (see lvsa.h) goes into DIR/state.safetensors under --checkpoint DIR, once a minute or so.
 * Without it there is a file beside the video, fox.unfinished.safetensors for fox.mp4: written when
 * the run is interrupted, or with the latents before they are decoded, and removed when the video
 * is done. */
#ifndef CLI_KEEP_H
#define CLI_KEEP_H

#include <stdbool.h>

#include "options.h"
#include "progress.h"

typedef struct keep_settings {
    text_setting latents, checkpoint;
    number_setting every;
} keep_settings;

extern const option keep_options[];

/* What is known before the run. All borrowed. */
typedef struct keep_run {
    const keep_settings *s;
    const char *video;   /* path of the video                                      */
    const char *resumed; /* path of the state's file that it goes on from, or NULL */
    int step, steps;     /* that the state is after, of how many                   */
    const char *model;   /* directory                                              */
    const char *record;  /* JSON, see record.h                                     */
    const lvsa_forecast *forecast;
    progress *progress; /* to be cleared before something is said */
    bool force, strict;
} keep_run;

typedef struct keep {
    char *latents; /* --output-latent's, or NULL                                      */
    char *folder;  /* --checkpoint's, or NULL                                         */
    char *state;   /* file for states; NULL: there is no place for one                */
    char *video;
    char *note;    /* of states: the record, and where model and video are            */
    char *record;  /* of --output-latent                                              */
    progress *progress;
    bool strict;
    double every, written; /* seconds: at least between two states; of the last one   */
    bool made;             /* the folder, by this run                                 */
    int lock;              /* the folder, or the state's name; -1: none               */
    int room;              /* a file without a name that keeps room for the last state, or -1 */
    int saved, steps;      /* step of the state on the disk, and of how many; 0: none */
    bool has_latents;      /* --output-latent's file is there                         */
} keep;

/* Finds and tries the places, before anything is computed; keep_close() it either way. */
exit_code keep_open(keep *k, const keep_run *run);

/* To be called after each step. Non-zero, and said why: the run has to end. */
int keep_step(keep *k, const lvsa_state *state, bool interrupted);

/* The video is done. CODE_FAILED: latents that were to be kept are not, which was said. */
exit_code keep_finish(keep *k);
void keep_close(keep *k);

/* What finishes the run, "lvsa resume DIR goes on from there"; to be freed. NULL: nothing was
 * saved. `done`: the steps that whoever reads it knows of. `elsewhere`: the video couldn't be
 * written where it should be. */
char *keep_advice(const keep *k, int done, bool elsewhere);

/* The file of a state: the path itself or, of a folder, the one that --checkpoint makes there; to
 * be freed. NULL, and said why: not enough memory. */
char *keep_find_state(const char *path);

/* Where the video is that a checkpoint's finished run has made; to be freed. NULL: it is no such
 * folder. */
char *keep_find_video(const char *folder);

#endif
