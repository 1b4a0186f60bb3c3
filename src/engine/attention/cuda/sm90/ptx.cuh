/* ptx.cuh: the Hopper instructions that the attention kernel uses, one a function. Addresses are
 * 32-bit shared addresses. */
#pragma once
#include <cuda.h>
#include <cstdint>

namespace ptx {

__device__ __forceinline__ uint32_t addr(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* ---- mbarriers: `parity` is that of the phase waited for; a fresh one has passed parity 1 ---- */

__device__ __forceinline__ void bar_init(uint32_t bar, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(arrivals));
}

__device__ __forceinline__ void bar_init_done(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void bar_arrive(uint32_t bar)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}

__device__ __forceinline__ void bar_arrive_expect(uint32_t bar, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes)
                 : "memory");
}

/* Arrives at the barrier at `bar` of this CTA's shared memory, but in CTA `rank` of the cluster. */
__device__ __forceinline__ void bar_arrive_at(uint32_t bar, int rank)
{
    asm volatile("{ .reg .b32 r; mapa.shared::cluster.u32 r, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [r]; }" ::"r"(bar),
                 "r"(rank)
                 : "memory");
}

__device__ __forceinline__ void bar_wait(uint32_t bar, uint32_t parity)
{
    asm volatile("{ .reg .pred p;\n"
                 "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@!p bra again; }" ::"r"(bar),
                 "r"(parity)
                 : "memory");
}

/* ---- named barriers, cluster, registers ------------------------------------------------------ */

template <int kThreads> __device__ __forceinline__ void named_sync(int id)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}

template <int kThreads> __device__ __forceinline__ void named_arrive(int id)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}

__device__ __forceinline__ int cluster_rank(void)
{
    uint32_t r;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return (int)r;
}

__device__ __forceinline__ void cluster_sync(void)
{
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

template <int kRegs> __device__ __forceinline__ void regs_take(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegs));
}

template <int kRegs> __device__ __forceinline__ void regs_give(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegs));
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* Makes this thread's ordinary writes visible to wgmma and the copy engine. */
__device__ __forceinline__ void fence_async(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ uint32_t shared_load(uint32_t address)
{
    uint32_t x;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
    return x;
}

__device__ __forceinline__ void shared_store(uint32_t address, uint32_t x)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}

__device__ __forceinline__ float4 shared_load4(uint32_t address)
{
    float4 x;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
                 : "r"(address)
                 : "memory");
    return x;
}

__device__ __forceinline__ void shared_store4(uint32_t address, float4 x)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x.x), "f"(x.y),
                 "f"(x.z), "f"(x.w)
                 : "memory");
}

__device__ __forceinline__ void shared_zero16(uint32_t address)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %1, %1, %1};" ::"r"(address), "r"(0) : "memory");
}

/* ---- copy engine: a box at {d, token, head, batch} ------------------------------------------- */

__device__ __forceinline__ void tma_load(uint32_t dst, const CUtensorMap *map, int d, int token,
                                         int head, int batch, uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(dst),
                 "l"(map), "r"(d), "r"(token), "r"(head), "r"(batch), "r"(bar)
                 : "memory");
}

/* To the same address in every CTA of `ctas`, completing on the barrier at `bar` in each. */
__device__ __forceinline__ void tma_load_multicast(uint32_t dst, const CUtensorMap *map, int d,
                                                   int token, int head, int batch, uint32_t bar,
                                                   uint16_t ctas)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1, {%2, %3, %4, %5}], [%6], %7;" ::"r"(dst),
                 "l"(map), "r"(d), "r"(token), "r"(head), "r"(batch), "r"(bar), "h"(ctas)
                 : "memory");
}

/* ---- copy engine: bytes as they lie, multiples of 16 ----------------------------------------- */

__device__ __forceinline__ void bulk_load(uint32_t dst, const void *src, int bytes, uint32_t bar)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(dst),
                 "l"(src), "r"(bytes), "r"(bar)
                 : "memory");
}

/* To the same address in every CTA of `ctas`, completing on the barrier at `bar` in each. */
__device__ __forceinline__ void bulk_load_multicast(uint32_t dst, const void *src, int bytes,
                                                    uint32_t bar, uint16_t ctas)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(dst),
                 "l"(src), "r"(bytes), "r"(bar), "h"(ctas)
                 : "memory");
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

__device__ __forceinline__ float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

} /* namespace ptx */
