/* module.c: finds and loads shared objects of our own. */
#define _GNU_SOURCE /* dladdr() */
#include "base/module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lvsa/lvsa_version.h>

#ifndef LVSA_LIBDIR
#define LVSA_LIBDIR "lib"
#endif

enum { MOST_PATH = 1024 };

/* The folder of the library, or of the program where the library is inside it. */
static bool find_library_folder(char *folder)
{
    static const char here; /* an address in this object */
    Dl_info info;
    char *path = dladdr(&here, &info) && info.dli_fname ? realpath(info.dli_fname, NULL) : NULL;
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash) *slash = '\0';
    bool fits = slash && snprintf(folder, MOST_PATH, "%s", path) < MOST_PATH;
    free(path);
    return fits;
}

static bool find_program_folder(char *folder)
{
    ssize_t length = readlink("/proc/self/exe", folder, MOST_PATH - 1);
    if (length <= 0) return false;
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

/* Whether the module is in folder/below; keeps the file in `path`, or adds the folder to it. */
static bool look(char *path, size_t size, const char *name, const char *folder, const char *below)
{
    char file[2 * MOST_PATH];
    int length = snprintf(file, sizeof file, "%s%s/liblvsa_%s.so.%d", folder, below, name,
                          LVSA_VERSION_MAJOR);
    if (length >= (int)sizeof file || (size_t)length >= size) return false;
    if (access(file, R_OK) == 0) {
        snprintf(path, size, "%s", file);
        return true;
    }
    size_t used = strlen(path);
    snprintf(path + used, size - used, "%s%s%s", used ? ", " : "", folder, below);
    return false;
}

bool lv_module_find(char *path, size_t size, const char *name)
{
    char library[MOST_PATH], program[MOST_PATH];
    const char *asked = getenv("LVSA_MODULE_DIR");
    path[0] = '\0';
    if (asked && *asked) return look(path, size, name, asked, "");
    bool beside = find_library_folder(library);
    if (beside && look(path, size, name, library, "")) return true;
    if (!find_program_folder(program)) return false;
    if ((!beside || strcmp(library, program) != 0) && look(path, size, name, program, ""))
        return true;
    return look(path, size, name, program, "/../" LVSA_LIBDIR);
}

lvsa_status lv_module_load(void **out, const char *name, const char *symbol)
{
    char path[4 * MOST_PATH];
    *out = NULL;
    if (!lv_module_find(path, sizeof path, name))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "no liblvsa_%s.so.%d in %s: build it, or say where it is with "
                       "LVSA_MODULE_DIR",
                       name, LVSA_VERSION_MAJOR, path);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) return lv_fail(LVSA_ERR_UNSUPPORTED, "%s", dlerror());
    *out = dlsym(module, symbol);
    if (*out) return LVSA_OK;
    dlclose(module);
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s has no %s: it is of another build; install the library and the module of "
                   "one build",
                   path, symbol);
}

lvsa_status lv_module_check_build(const char *what, uint32_t abi, uint32_t bytes,
                                  uint32_t wanted_abi, size_t wanted_bytes)
{
    if (abi == wanted_abi && bytes == wanted_bytes) return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s found is of another build (ABI %u, %u bytes; ABI %u, %zu bytes are wanted): "
                   "install the library and the module of one build",
                   what, abi, bytes, wanted_abi, wanted_bytes);
}
