/* file.h: paths, and files that are whole or not there at all. */
#ifndef LV_BASE_FILE_H
#define LV_BASE_FILE_H

#include <stddef.h>

#include "base/error.h"

/* "folder/name" into path, [size]. LVSA_ERR_IO where it doesn't fit. */
lvsa_status lv_path_join(char *path, size_t size, const char *folder, const char *name);

/* A file on its way. It is written without a name, or under another one beside its place, and moved
 * there once it's on the disk: whoever opens the place, even after a crash, finds the old file or
 * the new one, whole. A link is followed, and its target replaced or made; a pipe or a device is
 * written to as it is. */
typedef struct lv_file lv_file;

/* LVSA_ERR_IO or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_file_create(lv_file **out, const char *path);
lvsa_status lv_file_write(lv_file *file, const void *data, size_t bytes);

/* Where the file is until then, for whoever has to open it by name. */
const char *lv_file_get_name(const lv_file *file);

/* Brings it to the disk and closes it, so that many may wait for lv_file_finish(). */
lvsa_status lv_file_settle(lv_file *file);

/* Moves the file to its place, and closes it either way: where this fails with LVSA_ERR_IO, the
 * place is as it was. */
lvsa_status lv_file_finish(lv_file **file);

/* The same, but fails where something has come to the place. */
lvsa_status lv_file_finish_new(lv_file **file);

/* Closes it and leaves nothing of it. Takes NULL and a pointer to NULL. */
void lv_file_abort(lv_file **file);

#endif
