/* mask.h: a plan as a picture: query frames downwards, attended frames to the right. */
#ifndef CLI_MASK_H
#define CLI_MASK_H

#include <stdio.h>

#include "talk.h"

/* One character a frame: G anchor, W window, X both, . neither; each row ends with the count. Of
 * more than `most` rows some are left out, at even distances; 0: none. */
exit_code mask_print(FILE *out, const lvsa_plan *plan, int most);

typedef enum mask_format { MASK_SVG, MASK_PNG } mask_format;

/* By the path's ending. Fails with CODE_USAGE on one that this program doesn't write, with
 * CODE_FAILED where a file is there that isn't to be replaced. */
exit_code mask_check(mask_format *out, const char *path, int replace);

/* The title is for the SVG alone: the PNG has no words. */
exit_code mask_write(const char *path, mask_format format, const lvsa_plan *plan,
                     const char *title);

#endif
