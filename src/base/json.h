/* json.h: configuration files, read with jansson, errors with the file's name. */
#ifndef LV_BASE_JSON_H
#define LV_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Parses `path`, an object, into *out; the caller frees it with json_decref().
 * LVSA_ERR_IO: can't be opened. LVSA_ERR_FORMAT: not JSON (says where) or no object. *out NULL
 * then. */
lvsa_status lv_json_load(json_t **out, const char *path);

/* The same for `file` in `directory`; path, of `size` bytes, gets its whole name, for sentences.
 * LVSA_ERR_IO too where it doesn't fit; *out is then NULL. */
lvsa_status lv_json_load_in(json_t **out, char *path, size_t size, const char *directory,
                            const char *file);

/* Reads member `key` of `object` into *out. A missing (or null) member leaves *out alone: the
 * caller sets the default before. A member of another type, or an integer outside lo .. hi, is
 * LVSA_ERR_FORMAT, with `path` in the sentence. A string is borrowed from the object. */
lvsa_status lv_json_get_int(int64_t *out, const json_t *object, const char *key, int64_t lo,
                            int64_t hi, const char *path);
lvsa_status lv_json_get_double(double *out, const json_t *object, const char *key,
                               const char *path);
lvsa_status lv_json_get_bool(bool *out, const json_t *object, const char *key, const char *path);
lvsa_status lv_json_get_string(const char **out, const json_t *object, const char *key,
                               const char *path);

#endif
