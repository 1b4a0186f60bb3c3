/* progress.h: how far a job is, on stderr: one line that is drawn again on a terminal, one line a
 * step into a pipe. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>

#include "talk.h"

typedef struct progress {
    bool terminal;
    bool drawn;        /* a line stands on the terminal that isn't ended */
    double last_drawn; /* seconds of the phase                           */
    double last_step;  /* seconds of the phase at the end of a step      */
    lvsa_phase phase;  /* that was shown last ...                        */
    int first;         /* ... and what was done when it began            */
} progress;

/* Silent under -q. */
progress progress_begin(void);

/* To be called with everything that lvsa_generate() reports. */
void progress_show(progress *p, const lvsa_progress *now);

/* Takes the line off the terminal, so that something else can be said. */
void progress_clear(progress *p);

/* "1:02:03", "4:05", "0:09" */
enum { PROGRESS_TIME_TEXT = 32 };
const char *progress_time(char text[PROGRESS_TIME_TEXT], double seconds);

#endif
