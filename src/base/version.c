/* version.c: what this library is and what it was built with. */
#include <lvsa/lvsa_version.h>

#include "base/cpu.h"

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

const char *lvsa_build_info(void)
{
    switch (lv_cpu_find_isa()) {
#define INFO(isa)                                                                                  \
    "cpu: " isa "\nopenmp: " OPENMP_LINE "\ncuda: off\nmpi: off\nlibav: off\nonednn: " ONEDNN_LINE \
    "\n"
    case LV_CPU_GENERIC: return INFO("generic");
    case LV_CPU_AVX2: return INFO("avx2");
    case LV_CPU_AVX512: return INFO("avx512");
#undef INFO
    }
    return "";
}
