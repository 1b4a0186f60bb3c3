/* wgmma_shared.cuh: d [64 x N] += A [64 x 16] B [N x 16]^T in bf16, both operands in shared memory
 * with 16 elements side by side, for N = 16, 96 and 192. The rules of d are those of
 * engine/attention/cuda/sm90/wgmma.cuh. */
#pragma once
#include <cstdint>

namespace ptx
{

#define SUMS_8(d, i)                                                                               \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define SUMS_16(d, i) SUMS_8(d, i), SUMS_8(d, i + 8)
#define SUMS_48(d, i) SUMS_16(d, i), SUMS_16(d, i + 16), SUMS_16(d, i + 32)

#define REGS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define REGS_48                                                                                    \
    REGS_8 ", %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "      \
           "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "      \
           "%40, %41, %42, %43, %44, %45, %46, %47"
#define REGS_96                                                                                    \
    REGS_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "   \
            "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "     \
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"

#define WGMMA(n, regs, sums, a, b)                                                                 \
    __device__ __forceinline__ void wgmma_shared(float(&d)[n / 2], uint64_t descA, uint64_t descB) \
    {                                                                                              \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" regs "}, "       \
                     "%" a ", %" b ", 1, 1, 1, 0, 0;\n"                                            \
                     : sums                                                                        \
                     : "l"(descA), "l"(descB));                                                    \
    }

#define SUMS_96(d, i) SUMS_48(d, i), SUMS_48(d, i + 48)
WGMMA(16, REGS_8, SUMS_8(d, 0), "8", "9")
WGMMA(96, REGS_48, SUMS_48(d, 0), "48", "49")
WGMMA(192, REGS_96, SUMS_96(d, 0), "96", "97")

#undef WGMMA
#undef REGS_96
#undef REGS_48
#undef REGS_8
#undef SUMS_96
#undef SUMS_48
#undef SUMS_16
#undef SUMS_8

} /* namespace ptx */
