/* wgmma_fp8.cuh: the tensor cores' products of e4m3 numbers, as one warpgroup issues them.
 *
 *     wgmma_qk_fp8_first(d, a, b)  d [64 x N] = A [64 x 32] B [N x 32]^T, both in shared memory;
 *     wgmma_qk_fp8(d, a, b)        d += the same; N = 192 or 224 by the size of d
 *     wgmma_pv_fp8(d, p, b)        d [64 x 136] += P [64 x 32] B [136 x 32]^T, P in registers
 *
 * All operands have the 32 numbers that are multiplied side by side: there is no transpose for 8
 * bits. See wgmma.cuh for what may be touched when. */
#pragma once
#include "wgmma.cuh"

#define REGS_10(t) t "0, " t "1, " t "2, " t "3, " t "4, " t "5, " t "6, " t "7, " t "8, " t "9"
#define REGS_68                                                                                    \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " REGS_10("%1") ", " REGS_10("%2") ", "               \
    REGS_10("%3") ", " REGS_10("%4") ", " REGS_10("%5") ", %60, %61, %62, %63, %64, %65, %66, %67"
#define REGS_96                                                                                    \
    REGS_68 ", %68, %69, " REGS_10("%7") ", " REGS_10("%8") ", %90, %91, %92, %93, %94, %95"
#define REGS_112 REGS_96 ", %96, %97, %98, %99, " REGS_10("%10") ", %110, %111"

#define SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SUMS_16(d, i) SUMS_4(d, i), SUMS_4(d, i + 4), SUMS_4(d, i + 8), SUMS_4(d, i + 12)
#define SUMS_64(d, i) SUMS_16(d, i), SUMS_16(d, i + 16), SUMS_16(d, i + 32), SUMS_16(d, i + 48)
#define OUTS_4(d, i) "=f"(d[i]), "=f"(d[i + 1]), "=f"(d[i + 2]), "=f"(d[i + 3])
#define OUTS_16(d, i) OUTS_4(d, i), OUTS_4(d, i + 4), OUTS_4(d, i + 8), OUTS_4(d, i + 12)
#define OUTS_64(d, i) OUTS_16(d, i), OUTS_16(d, i + 16), OUTS_16(d, i + 32), OUTS_16(d, i + 48)

namespace ptx {

/* Shared-memory operand of rows of 32 bytes, 32-byte swizzle; byte stride between groups of 8. */
__device__ __forceinline__ uint64_t desc32(uint32_t address, uint32_t groups)
{
    return (uint64_t)3 << 62 | (uint64_t)(groups >> 4) << 32 | (uint64_t)1 << 16 |
           (address & 0x3ffff) >> 4;
}

__device__ __forceinline__ void wgmma_qk_fp8_first(float (&d)[96], uint64_t a, uint64_t b)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {" REGS_96
                 "}, %96, %97, p, 1, 1; }\n"
                 : OUTS_64(d, 0), OUTS_16(d, 64), OUTS_16(d, 80)
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void wgmma_qk_fp8(float (&d)[96], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {" REGS_96
                 "}, %96, %97, 1, 1, 1;\n"
                 : SUMS_64(d, 0), SUMS_16(d, 64), SUMS_16(d, 80)
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void wgmma_qk_fp8_first(float (&d)[112], uint64_t a, uint64_t b)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 0, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n224k32.f32.e4m3.e4m3 {" REGS_112
                 "}, %112, %113, p, 1, 1; }\n"
                 : OUTS_64(d, 0), OUTS_16(d, 64), OUTS_16(d, 80), OUTS_16(d, 96)
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void wgmma_qk_fp8(float (&d)[112], uint64_t a, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n224k32.f32.e4m3.e4m3 {" REGS_112
                 "}, %112, %113, 1, 1, 1;\n"
                 : SUMS_64(d, 0), SUMS_16(d, 64), SUMS_16(d, 80), SUMS_16(d, 96)
                 : "l"(a), "l"(b));
}

__device__ __forceinline__ void wgmma_pv_fp8(float (&d)[68], const uint32_t *p, uint64_t b)
{
    asm volatile("wgmma.mma_async.sync.aligned.m64n136k32.f32.e4m3.e4m3 {" REGS_68
                 "}, {%68, %69, %70, %71}, %72, 1, 1, 1;\n"
                 : SUMS_64(d, 0), SUMS_4(d, 64)
                 : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(b));
}

} /* namespace ptx */

#undef REGS_10
#undef REGS_68
#undef REGS_96
#undef REGS_112
#undef SUMS_4
#undef SUMS_16
#undef SUMS_64
#undef OUTS_4
#undef OUTS_16
#undef OUTS_64
