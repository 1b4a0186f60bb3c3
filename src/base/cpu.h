/* cpu.h: which vector instructions kernels may use. */
#ifndef LV_BASE_CPU_H
#define LV_BASE_CPU_H

#include "base/error.h"

/* Ordered: each level includes those before it. */
typedef enum lv_cpu_isa {
    LV_CPU_GENERIC = 0, /* what every machine of this architecture has */
    LV_CPU_AVX2 = 1,    /* AVX2, FMA and F16C                          */
    LV_CPU_AVX512 = 2   /* AVX-512 F, BW, DQ and VL as well            */
} lv_cpu_isa;

/* The best level of this machine. */
lv_cpu_isa lv_cpu_find_isa(void);

/* The level to use: the machine's, or less where the environment's LVSA_CPU_ISA (generic, avx2,
 * avx512) asks for less. Fails with LVSA_ERR_ARGUMENT on another name, LVSA_ERR_UNSUPPORTED on one
 * that the machine lacks. */
lvsa_status lv_cpu_get_isa(lv_cpu_isa *out);

const char *lv_cpu_isa_name(lv_cpu_isa isa);

#endif
