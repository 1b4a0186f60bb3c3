/* scratch.h: files that a test makes and takes away again. */
#ifndef LV_TESTS_SCRATCH_H
#define LV_TESTS_SCRATCH_H

#include <stddef.h>

/* cmocka's group setup and teardown: a new folder under TMPDIR, and its removal with all it holds.
 */
int scratch_make(void **state);
int scratch_remove(void **state);

/* The path of a name in the folder, with the folders it lies in made. Valid until the eighth call
 * after. */
const char *scratch_path(const char *name);

/* Writes a file there and returns its path. */
const char *scratch_write(const char *name, const void *bytes, size_t size);

/* A copy of some file, there; returns the copy's path. */
const char *scratch_copy(const char *name, const char *from);

#endif
