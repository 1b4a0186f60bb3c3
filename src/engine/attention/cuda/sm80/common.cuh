/* common.cuh: sizes, arguments and instructions of the attention kernel for every card; its card is
 * in attn_sm80.cu. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <lvsa/lvsa_attention.h>

#include "engine/attention/cuda/tile_table.h"

namespace attn_sm80 {

constexpr int kWarps = 4, kThreads = 32 * kWarps;

/* By head size: atoms of 16 rows a warp, rows of a CTA. At 256 the sums of 32 rows are too many. */
template <int D> constexpr int kAtoms = D == 256 ? 1 : 2;
template <int D> constexpr int kRows = 16 * kAtoms<D> * kWarps;

static_assert(LV_TILE_BLOCK % kRows<128> == 0 && LV_TILE_BLOCK_64 % kRows<64> == 0,
              "a CTA's rows lie in one block of the table");

struct Source {
    const uint16_t *k, *v;
    lvsa_strides k_strides, v_strides;
    float count_score; /* log(last_row_count) / scale */
};

struct Args {
    const uint16_t *q;
    uint16_t *out;
    float *lse;
    lvsa_strides q_strides, out_strides;
    Source source[LVSA_MAX_SOURCES];
    const lv_tile_block *block;
    const lv_tile_run *run;
    float scale_log2;                    /* scale / ln 2: the kernel works in powers of two  */
    int queries, group, dim, block_rows; /* block_rows: of the table's blocks                */
    bool vectors;                        /* all rows can be read and written 16 bytes a time */
};

/* ---- instructions; addresses are 32-bit shared ones ------------------------------------------ */

__device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes on their way to shared memory; zeros, and nothing read, unless there. */
__device__ __forceinline__ void copy_16(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void copies_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until all that this thread has asked for has come. */
__device__ __forceinline__ void copies_wait(void)
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

__device__ __forceinline__ void load_4(uint32_t (&x)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}

__device__ __forceinline__ void load_4_turned(uint32_t (&x)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(at)
                 : "memory");
}

/* c[16,8] += a[16,16] b[16,8]; lane l holds rows l/4 and l/4 + 8, columns 2(l%4) and the next. */
template <class T>
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1)
{
    if (std::is_same<T, __nv_bfloat16>::value)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
            "{%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <class T> __device__ __forceinline__ uint32_t pack(float low, float high)
{
    uint32_t x;
    if (std::is_same<T, __nv_bfloat16>::value) {
        const __nv_bfloat162 y = __floats2bfloat162_rn(low, high);
        memcpy(&x, &y, sizeof x);
    } else {
        const __half2 y = __floats2half2_rn(low, high);
        memcpy(&x, &y, sizeof x);
    }
    return x;
}

__device__ __forceinline__ float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float log2_approx(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* ---- the walk over tiles --------------------------------------------------------------------- */

/* The tiles of a CTA's rows first .. first + rows - 1 of their block: kKeys at a time through each
 * group of runs, of groups that some of the rows attend to. */
template <int kKeys> struct Tiles {
    const lv_tile_run *run, *end;
    lv_tile_run r; /* *run                  */
    int at;        /* its keys already taken */

    __device__ static lv_tile_run get(const lv_tile_run *p)
    {
        const int4 x = __ldg(reinterpret_cast<const int4 *>(p));
        lv_tile_run r;
        memcpy(&r, &x, sizeof r);
        return r;
    }
    __device__ bool skip(int first, int rows)
    {
        for (; run < end; run++) {
            r = get(run);
            if ((int)r.first_row < first + rows && (int)r.last_row >= first) return true;
        }
        return false;
    }
    __device__ bool begin(const Args &a, const lv_tile_block &b, int first, int rows)
    {
        run = a.run + b.run;
        end = run + b.runs;
        at = 0;
        return skip(first, rows);
    }
    __device__ int valid() const { return min(kKeys, (int)r.rest - at); }
    __device__ bool counted() const { return r.counted && r.rest - at <= kKeys; }
    __device__ bool next(int first, int rows)
    {
        at += valid();
        while (at >= r.count) {
            at -= r.count;
            run++;
            if (at == 0) return skip(first, rows);
            r = get(run); /* of the same group */
        }
        return true;
    }
};

} /* namespace attn_sm80 */
