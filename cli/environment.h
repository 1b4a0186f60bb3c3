/* environment.h: LVSA_* variables, and LVSA_CONFIG, a JSON object that goes before them:
 *
 *     LVSA_CONFIG='{"window_size": 24, "rotate_keyframes": true}'
 *
 * is LVSA_WINDOW_SIZE=24 and LVSA_ROTATE_KEYFRAMES=1. A member may name a variable that only other
 * commands read. */
#ifndef CLI_ENVIRONMENT_H
#define CLI_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

/* Reads LVSA_CONFIG. False, and a sentence, where it is no JSON object of texts, numbers, true,
 * false and null. */
bool environment_read(char *sentence, size_t size);

/* What LVSA_CONFIG says of a variable, or else the variable; NULL: neither says anything. The text
 * lives until the next environment_read(). */
const char *environment_find(const char *name);

/* The first member of LVSA_CONFIG, as a variable's name, that isn't known; NULL: all are. */
const char *environment_find_unknown(bool (*is_known)(const char *name));

#endif
