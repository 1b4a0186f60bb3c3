/* module.h: parts of lvsa in files of their own, loaded when somebody asks for them. */
#ifndef LV_BASE_MODULE_H
#define LV_BASE_MODULE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Looks for the file of the module called `name` ("cuda": liblvsa_cuda.so.<major version>) in the
 * folder that LVSA_MODULE_DIR names; without it beside the library, beside the program, and where
 * `make install` puts it, seen from the program. `path` gets the file, or, on false, the places. */
bool lv_module_find(char *path, size_t size, const char *name);

/* Loads it and gives one of its symbols. A module stays loaded. Fails with LVSA_ERR_UNSUPPORTED. */
lvsa_status lv_module_load(void **out, const char *name, const char *symbol);

#endif
