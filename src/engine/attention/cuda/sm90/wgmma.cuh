/* wgmma.cuh: the tensor cores' asynchronous products, as one warpgroup (128 threads) issues them.
 *
 *     wgmma_qk(T(), d, a, b, acc)  d [64 x N] (+)= A [64 x 16] B [N x 16]^T, both in shared memory,
 *                                  both with 16 elements side by side; adds where acc
 *     wgmma_pv(T(), d, p, b)       d [64 x D] += P [64 x 16] B [16 x D], P in registers, B in
 *                                  shared memory with D side by side
 *     wgmma_qk_s8_first(d, a, b)   d [64 x N] = A [64 x 32] B [N x 32]^T of int8, as wgmma_qk()
 *     wgmma_qk_s8(d, a, b)         d += the same
 *     wgmma_pv_e4m3(d, p, b, acc)  d [64 x D + 8] (+)= P [64 x 32] B [D + 8 x 32]^T, P in
 *                                  registers; there is no transpose for 8 bits
 *
 * T is __nv_bfloat16 or __half. The first one's sums are floats as their bits: see trap 2 in
 * attn_sm90.cuh. d, and p, may not be touched between the fence before the product and the wait
 * after it. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>

namespace ptx {

/* Shared-memory operand, 128-byte swizzle; byte strides between halves of 128 bytes of a row and
 * between groups of 8 rows. */
__device__ __forceinline__ uint64_t desc(uint32_t address, uint32_t halves, uint32_t groups)
{
    return (uint64_t)1 << 62 | (uint64_t)(groups >> 4) << 32 | (uint64_t)(halves >> 4) << 16 |
           (address & 0x3ffff) >> 4;
}

/* The same of rows of kBytes, 128, 64 or 32, with the swizzle of as many. */
template <int kBytes> __device__ __forceinline__ uint64_t desc_of(uint32_t address)
{
    return (uint64_t)(kBytes == 128 ? 1 : kBytes == 64 ? 2 : 3) << 62 |
           (uint64_t)(8 * kBytes >> 4) << 32 | (uint64_t)1 << 16 | (address & 0x3ffff) >> 4;
}

__device__ __forceinline__ void wgmma_fence(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Waits until at most kLeft groups are in flight. */
template <int kLeft> __device__ __forceinline__ void wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

/* Ties an accumulator to this point of the program, so that nothing that reads it moves above a
 * wait. */
template <int kCount> __device__ __forceinline__ void pin(float (&x)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; i++) asm volatile("" : "+f"(x[i])::"memory");
}

template <int kCount> __device__ __forceinline__ void pin(uint32_t (&x)[kCount])
{
#pragma unroll
    for (int i = 0; i < kCount; i++) asm volatile("" : "+r"(x[i])::"memory");
}

} /* namespace ptx */

/* The operands: registers by number, and the array elements behind them. */
#define REGS_32                                                                                    \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                       \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REGS_36 REGS_32 ", %32, %33, %34, %35"
#define REGS_64                                                                                    \
    REGS_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "   \
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REGS_68 REGS_64 ", %64, %65, %66, %67"
#define REGS_96                                                                                    \
    REGS_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "   \
            "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define REGS_112                                                                                   \
    REGS_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "   \
            "%110, %111"

#define SUMS_4(c, d, i) c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3])
#define SUMS_8(c, d, i) SUMS_4(c, d, i), SUMS_4(c, d, i + 4)
#define SUMS_32(c, d, i)                                                                           \
    SUMS_8(c, d, i), SUMS_8(c, d, i + 8), SUMS_8(c, d, i + 16), SUMS_8(c, d, i + 24)
#define SUMS_64(c, d) SUMS_32(c, d, 0), SUMS_32(c, d, 32)
#define SUMS_112(c, d) SUMS_64(c, d), SUMS_32(c, d, 64), SUMS_8(c, d, 96), SUMS_8(c, d, 104)

#define WGMMA_QK_128(type, name)                                                                   \
    __device__ __forceinline__ void wgmma_qk(type, uint32_t(&d)[64], uint64_t a, uint64_t b,       \
                                             int acc)                                              \
    {                                                                                              \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32." name "." name " {" REGS_64     \
                     "}, %64, %65, p, 1, 1, 0, 0; }\n"                                             \
                     : SUMS_32("+r", d, 0), SUMS_32("+r", d, 32)                                   \
                     : "l"(a), "l"(b), "r"(acc));                                                  \
    }

#define WGMMA_QK_192(type, name)                                                                   \
    __device__ __forceinline__ void wgmma_qk(type, uint32_t(&d)[96], uint64_t a, uint64_t b,       \
                                             int acc)                                              \
    {                                                                                              \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %98, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n192k16.f32." name "." name " {" REGS_96     \
                     "}, %96, %97, p, 1, 1, 0, 0; }\n"                                             \
                     : SUMS_32("+r", d, 0), SUMS_32("+r", d, 32), SUMS_32("+r", d, 64)             \
                     : "l"(a), "l"(b), "r"(acc));                                                  \
    }

#define WGMMA_PV_64(type, name)                                                                    \
    __device__ __forceinline__ void wgmma_pv(type, float(&d)[32], const uint32_t *p, uint64_t b)   \
    {                                                                                              \
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name " {" REGS_32      \
                     "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"                                 \
                     : SUMS_32("+f", d, 0)                                                         \
                     : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(b));                        \
    }

#define WGMMA_PV_128(type, name)                                                                   \
    __device__ __forceinline__ void wgmma_pv(type, float(&d)[64], const uint32_t *p, uint64_t b)   \
    {                                                                                              \
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." name "." name " {" REGS_64     \
                     "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"                                 \
                     : SUMS_32("+f", d, 0), SUMS_32("+f", d, 32)                                   \
                     : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(b));                        \
    }

/* The first one has d as its output alone: else d would live on around the loop. */
#define WGMMA_QK_S8(n, count, a_at, b_at)                                                          \
    __device__ __forceinline__ void wgmma_qk_s8_first(uint32_t(&d)[count], uint64_t a, uint64_t b) \
    {                                                                                              \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 0, 0;\n"                                      \
                     "wgmma.mma_async.sync.aligned.m64n" n "k32.s32.s8.s8 {" REGS_##count          \
                     "}, " a_at ", " b_at ", p; }\n"                                               \
                     : SUMS_##count("=r", d)                                                       \
                     : "l"(a), "l"(b));                                                            \
    }                                                                                              \
    __device__ __forceinline__ void wgmma_qk_s8(uint32_t(&d)[count], uint64_t a, uint64_t b)       \
    {                                                                                              \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" n "k32.s32.s8.s8 {" REGS_##count          \
                     "}, " a_at ", " b_at ", 1;\n"                                                 \
                     : SUMS_##count("+r", d)                                                       \
                     : "l"(a), "l"(b));                                                            \
    }

__device__ __forceinline__ void wgmma_pv_e4m3(float (&d)[36], const uint32_t *p, uint64_t b,
                                              bool acc)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %41, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n72k32.f32.e4m3.e4m3 {" REGS_36
                 "}, {%36, %37, %38, %39}, %40, p, 1, 1; }\n"
                 : SUMS_32("+f", d, 0), SUMS_4("+f", d, 32)
                 : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(b), "r"((int)acc));
}

__device__ __forceinline__ void wgmma_pv_e4m3(float (&d)[68], const uint32_t *p, uint64_t b,
                                              bool acc)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %73, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n136k32.f32.e4m3.e4m3 {" REGS_68
                 "}, {%68, %69, %70, %71}, %72, p, 1, 1; }\n"
                 : SUMS_64("+f", d), SUMS_4("+f", d, 64)
                 : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(b), "r"((int)acc));
}

WGMMA_QK_128(__nv_bfloat16, "bf16")
WGMMA_QK_128(__half, "f16")
WGMMA_QK_192(__nv_bfloat16, "bf16")
WGMMA_QK_192(__half, "f16")
WGMMA_PV_64(__nv_bfloat16, "bf16")
WGMMA_PV_64(__half, "f16")
WGMMA_PV_128(__nv_bfloat16, "bf16")
WGMMA_PV_128(__half, "f16")
WGMMA_QK_S8("128", 64, "%64", "%65")
WGMMA_QK_S8("224", 112, "%112", "%113")

#undef WGMMA_QK_128
#undef WGMMA_QK_192
#undef WGMMA_PV_64
#undef WGMMA_PV_128
#undef WGMMA_QK_S8
#undef SUMS_112
#undef SUMS_64
#undef SUMS_32
#undef SUMS_8
#undef SUMS_4
#undef REGS_112
#undef REGS_96
#undef REGS_68
#undef REGS_64
#undef REGS_36
#undef REGS_32
