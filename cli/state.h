/* state.h: files of states and latents, as commands see them. */
#ifndef CLI_STATE_H
#define CLI_STATE_H

#include <jansson.h>

#include "talk.h"

/* A file that was opened, and what its note says. */
typedef struct state_file {
    char *path; /* of the file itself */
    lvsa_state *state;
    lvsa_state_info info;
    json_t *record; /* see record.h; NULL: it has none */
} state_file;

/* Opens a file, or what --checkpoint has made in a folder; state_close() it either way. */
exit_code state_open(state_file *f, const char *path);
void state_close(state_file *f);

/* Where the run's files are, "model", "output" or "output-latent"; NULL: it doesn't say. */
const char *state_find_file(const state_file *f, const char *name);

/* Whether the path is of a state: the end of its name says so, or it's a folder with one. */
int state_is(const char *path);

/* A line a fact, or one JSON object. */
exit_code state_print(const state_file *f, int as_json);

#endif
