/* module.h: parts of lvsa in files of their own, loaded when somebody asks for them. */
#ifndef LV_BASE_MODULE_H
#define LV_BASE_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Looks for the file of the module called `name` ("cuda": liblvsa_cuda.so.<major version>) in the
 * folder that LVSA_MODULE_DIR names; without it beside the library, beside the program, and where
 * `make install` puts it, seen from the program. `path` gets the file, or, on false, the places. */
bool lv_module_find(char *path, size_t size, const char *name);

/* Loads it and gives one of its symbols. A module stays loaded. Fails with LVSA_ERR_UNSUPPORTED. */
lvsa_status lv_module_load(void **out, const char *name, const char *symbol);

/* Whether a module is of the library's build: its ABI's number and the size of a type that both
 * know, as it was compiled. LVSA_ERR_UNSUPPORTED where not, in a sentence that begins with `what`
 * ("the MPI module"). */
lvsa_status lv_module_check_build(const char *what, uint32_t abi, uint32_t bytes,
                                  uint32_t wanted_abi, size_t wanted_bytes);

#endif
