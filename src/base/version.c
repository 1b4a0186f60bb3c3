/* version.c: what this library is and what it was built with. */
#include <lvsa/lvsa_version.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/module.h"

#ifdef LVSA_HAVE_OPENMP
#define OPENMP_LINE LVSA_HAVE_OPENMP
#else
#define OPENMP_LINE "off"
#endif

#ifdef LVSA_HAVE_ONEDNN
#define ONEDNN_LINE LVSA_HAVE_ONEDNN
#else
#define ONEDNN_LINE "off"
#endif

const char *lvsa_version(void) { return LVSA_VERSION_STRING; }

static char info[3 * 4096];

/* What the libav module says of itself, or why there is none. */
static const char *about_libav(void)
{
    char path[4096];
    void *symbol;
    const char *(*about)(void);
    if (!lv_module_find(path, sizeof path, "av")) return "off (no module)";
    if (lv_module_load(&symbol, "av", "lv_av_module_about") != LVSA_OK) return "off (doesn't load)";
    memcpy(&about, &symbol, sizeof about); /* ISO C has no cast from void * to a function */
    return about();
}

typedef struct file_path {
    char text[4096];
} file_path;

/* Looks for a module's file, and goes no further: waking a driver takes a second. */
static const char *find_module(file_path *path, const char *name)
{
    return lv_module_find(path->text, sizeof path->text, name) ? path->text : "off (no module)";
}

static void write_info(void)
{
    file_path cuda, mpi;
    snprintf(info, sizeof info,
             "cpu: %s\nopenmp: " OPENMP_LINE "\ncuda: %s\nmpi: %s\nlibav: %s\nonednn: " ONEDNN_LINE
             "\n",
             lv_cpu_isa_name(lv_cpu_find_isa()), find_module(&cuda, "cuda"),
             find_module(&mpi, "mpi"), about_libav());
}

const char *lvsa_build_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_info);
    return info;
}
