/* cpu.c: asks the processor. */
#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const isa_names[] = {"generic", "avx2", "avx512"};

lv_cpu_isa lv_cpu_find_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return LV_CPU_GENERIC;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return LV_CPU_AVX512;
    return LV_CPU_AVX2;
#else
    return LV_CPU_GENERIC;
#endif
}

lvsa_status lv_cpu_get_isa(lv_cpu_isa *out)
{
    *out = lv_cpu_find_isa();
    const char *asked = getenv("LVSA_CPU_ISA");
    if (!asked || !*asked) return LVSA_OK;
    for (int isa = LV_CPU_GENERIC; isa <= LV_CPU_AVX512; isa++) {
        if (strcmp(asked, isa_names[isa]) != 0) continue;
        if (isa > (int)*out)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "LVSA_CPU_ISA=%s: this processor offers %s; unset it", asked,
                           isa_names[*out]);
        *out = (lv_cpu_isa)isa;
        return LVSA_OK;
    }
    return lv_fail(LVSA_ERR_ARGUMENT, "LVSA_CPU_ISA=%s: generic, avx2 or avx512 is wanted", asked);
}

const char *lv_cpu_isa_name(lv_cpu_isa isa) { return isa_names[isa]; }
