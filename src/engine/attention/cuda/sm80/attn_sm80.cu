/* attn_sm80.cu: frame-sparse attention with mma.sync, any card from sm_80 on, bf16 and f16, head
 * sizes up to 256, any strides. For cards without sm_90's instructions, and for what the Hopper
 * kernel doesn't take.
 *
 *   out[b,i,h] = sum over the kept j of softmax(q[b,i,h] . k[b,j,g] * scale) v[b,j,g]
 *   lse[b,h,i] = log(sum over the same j of exp(q . k * scale))
 *   A row that attends to nothing: out 0, lse -inf. A source's last row may count n times: its
 *   score gets + log(n).
 *
 * Work      128 query rows of one head (64 at D above 128), which lie in one block of the table of
 *           tiles (tile_table.h). Runs of keys that the same rows attend to are cut into tiles as
 *           if they were one: only a group's end is ragged. Rows that don't attend to a tile keep
 *           what they have, so that a NaN in a frame they don't see can't reach them.
 * Grid      (ceil(Sq/128), H, B), 128 threads: a warp has 32 rows, two atoms for each ldmatrix of K
 *           and V, and all keys.
 * Tiles     64 keys; 32 at D = 128 where two CTAs of 64 wouldn't fit a multiprocessor (sm_86 and
 *           sm_89: 100 KiB). V of a tile comes under Q K^T, K of the next under softmax and P V.
 * Shared    Q, K and V, D rounded up to 64, 128 or 256: 64 KiB at D = 128 and 64 keys, of the 164
 *           KiB of an sm_80 multiprocessor (two CTAs); 48 KiB at 32 keys; 96 KiB at D = 256.
 * Registers D = 128: O 128, S 64, 255 in all; a few are spilled, off the loop's common way.
 * L2        neighbouring CTAs are neighbouring rows of one head and share its K and V: some 26 MB
 *           at 81 frames of 1560; an A100's 40 MB hold it, and the 48 to 72 MB of sm_89.
 * Bound by  the tensor cores' older instruction, shared memory close behind: in Q K^T ldmatrix
 *           takes about as many cycles as the products.
 *
 * Measured  H100 80GB HBM3 (no card of its own kind was at hand), bf16, dense T 21, P 1560, 12
 *           heads, D 128: 18.0 ms, 366 TFLOP/s, where PyTorch 2.11's FlashAttention 2 made 362 in
 *           the same call; D 64, some 34 thousand tokens, 48 heads: 287 where that made 326. */
#include "attn_sm80.h"

#include <cuda_runtime.h>

#include <cmath>

#include "warp.cuh"

namespace attn_sm80 {

/* ---- memory ---------------------------------------------------------------------------------- */

/* Chunk c of a row, 8 elements, into shared memory, zeros from `dim` on: for rows that can't be
 * read 16 bytes at a time. */
__device__ __forceinline__ void load_chunk(uint32_t to, const uint16_t *row, int c, int dim)
{
    uint32_t x[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int d = 8 * c + 2 * i;
        x[i] = (d < dim ? row[d] : 0u) | (d + 1 < dim ? uint32_t(row[d + 1]) << 16 : 0u);
    }
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x[0]), "r"(x[1]),
                 "r"(x[2]), "r"(x[3])
                 : "memory");
}

template <int D>
__device__ __forceinline__ void load_queries(uint32_t to, const Args &a, const uint16_t *q,
                                             int first)
{
    constexpr int kChunks = D / 8, kStep = kThreads / kChunks;
    const int c = threadIdx.x % kChunks;
#pragma unroll 4
    for (int i = 0; i < kRows<D>; i += kStep) {
        const int row = i + threadIdx.x / kChunks;
        const uint16_t *from = q + int64_t(first + row) * a.q_strides.token;
        const bool there = first + row < a.queries;
        if (a.vectors) copy_16(to + place<D>(row, c), from + 8 * c, there && 8 * c < a.dim);
        else load_chunk(to + place<D>(row, c), from, c, there ? a.dim : 0);
    }
}

/* A tile whose keys lie in several runs, or aren't read 16 bytes at a time. */
template <int D, int kKeys, bool kV>
__device__ __forceinline__ void load_pieces(uint32_t to, const Args &a, const Tiles<kKeys> &t,
                                         int64_t batch, int64_t head)
{
    constexpr int kChunks = D / 8, kStep = kThreads / kChunks;
    const int c = threadIdx.x % kChunks, valid = t.valid();
    const lv_tile_run *run = t.run;
    lv_tile_run r = t.r;
    int skip = t.at + threadIdx.x / kChunks; /* in the run */
#pragma unroll 1
    for (int key = threadIdx.x / kChunks; key < kKeys; key += kStep, skip += kStep) {
        while (key < valid && skip >= r.count) {
            skip -= r.count;
            r = Tiles<kKeys>::get(++run);
        }
        const Source &s = a.source[r.source];
        const lvsa_strides &st = kV ? s.v_strides : s.k_strides;
        const uint16_t *row = (kV ? s.v : s.k) + batch * st.batch + head * st.head +
                              int64_t(r.start + skip) * st.token;
        if (a.vectors) copy_16(to + place<D>(key, c), row + 8 * c, key < valid && 8 * c < a.dim);
        else load_chunk(to + place<D>(key, c), row, c, key < valid ? a.dim : 0);
    }
}

/* A tile of K, or with kV of V. */
template <int D, int kKeys, bool kV>
__device__ __forceinline__ void load_tile(uint32_t to, const Args &a, const Tiles<kKeys> &t,
                                          int64_t batch, int64_t head)
{
    constexpr int kChunks = D / 8, kStep = kThreads / kChunks;
    const int c = threadIdx.x % kChunks, key = threadIdx.x / kChunks, valid = t.valid();
    if (!a.vectors || t.at + valid > t.r.count) {
        load_pieces<D, kKeys, kV>(to, a, t, batch, head);
        return;
    }
    const Source &s = a.source[t.r.source];
    const lvsa_strides &st = kV ? s.v_strides : s.k_strides;
    const uint16_t *row = (kV ? s.v : s.k) + batch * st.batch + head * st.head +
                          int64_t(t.r.start + t.at + key) * st.token + 8 * c;
    const bool there = 8 * c < a.dim;
#pragma unroll
    for (int i = 0; i < kKeys; i += kStep) {
        copy_16(to + place<D>(key + i, c), row, there && key + i < valid);
        row += kStep * st.token;
    }
}

/* O / sum and the logarithm of the sum; the warp's rows go through its part of Q, at `q`. */
template <class T, int D>
__device__ __forceinline__ void store(State<D> &s, const Args &a, uint32_t q, uint16_t *out,
                                      float *lse, int first)
{
    const int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = s.sum[m][h];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            const float inverse = sum == 0.f ? 0.f : 1.f / sum;
            const int row = m * 16 + h * 8 + lane / 4;
#pragma unroll
            for (int j = 0; j < D / 8; j++)
                asm volatile("st.shared.u32 [%0], %1;" ::"r"(q + place<D>(row, j) + lane % 4 * 4),
                             "r"(pack<T>(s.o[m][j][2 * h] * inverse,
                                         s.o[m][j][2 * h + 1] * inverse))
                             : "memory");
            if (lse && lane % 4 == 0 && first + row < a.queries)
                lse[first + row] = (s.most[m][h] + log2f(sum)) * 0.69314718f;
        }
    __syncwarp();
#pragma unroll 1
    for (int i = lane; i < kAtoms<D> * 16 * (D / 8); i += 32) {
        const int row = i / (D / 8), c = i % (D / 8);
        uint32_t x[4];
        if (first + row >= a.queries || 8 * c >= a.dim) continue;
        asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(q + place<D>(row, c))
                     : "memory");
        uint16_t *to = out + int64_t(first + row) * a.out_strides.token + 8 * c;
        if (a.vectors) *reinterpret_cast<uint4 *>(to) = make_uint4(x[0], x[1], x[2], x[3]);
        else
            for (int e = 0; e < 8 && 8 * c + e < a.dim; e++)
                to[e] = uint16_t(x[e / 2] >> e % 2 * 16);
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

template <class T, int D, int kKeys>
__global__ void __launch_bounds__(kThreads) attn(const __grid_constant__ Args a)
{
    extern __shared__ uint4 shared[];
    const uint32_t q = shared_address(shared), k = q + kRows<D> * D * 2, v = k + kKeys * D * 2;
    const int first = blockIdx.x * kRows<D>, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int64_t b = blockIdx.z, h = blockIdx.y, g = h / a.group;
    const lv_tile_block block = a.block[first / a.block_rows];
    const int in_block = first - block.row, mine = 16 * kAtoms<D> * warp; /* this warp's rows */
    const uint32_t q_mine = q + mine * D * 2;
    State<D> s;
    clear(s);
    load_queries<D>(q, a, a.q + b * a.q_strides.batch + h * a.q_strides.head, first);
    Tiles<kKeys> t;
    bool more = t.begin(a, block, in_block, kRows<D>);
    if (more) load_tile<D, kKeys, false>(k, a, t, b, g);
    copies_commit();
    while (more) {
        copies_wait();
        __syncthreads(); /* K is there; nobody reads V any more */
        load_tile<D, kKeys, true>(v, a, t, b, g);
        copies_commit();
        const int valid = t.valid(), top = in_block + mine, first_row = t.r.first_row,
                  last_row = t.r.last_row;
        const float plus = t.counted() ? a.source[t.r.counted - 1].count_score : 0.f;
        const bool touched = first_row < top + 16 * kAtoms<D> && last_row >= top;
        const bool whole = first_row <= top && last_row >= top + 16 * kAtoms<D> - 1;
        bool attend[kAtoms<D>][2];
#pragma unroll
        for (int m = 0; m < kAtoms<D>; m++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = top + m * 16 + half * 8 + lane / 4;
                attend[m][half] = row >= first_row && row <= last_row;
            }
        float x[kAtoms<D>][kKeys / 8][4];
        if (touched) score<T, D, kKeys>(x, q_mine, k);
        copies_wait();
        __syncthreads(); /* V is there; nobody reads K any more */
        more = t.next(in_block, kRows<D>);
        if (more) load_tile<D, kKeys, false>(k, a, t, b, g);
        copies_commit();
        if (!touched) continue;
        if (!whole || valid < kKeys || plus != 0.f)
            cut<D, kKeys>(x, valid, plus, attend);
        weigh<D, kKeys>(s, x, a.scale_log2);
        if (whole) gather<T, D, kKeys, true>(s, x, v, attend);
        else gather<T, D, kKeys, false>(s, x, v, attend);
    }
    copies_wait();
    __syncthreads(); /* Q may have had no reader to wait for it */
    float *lse = a.lse ? a.lse + (b * gridDim.y + h) * a.queries : nullptr;
    store<T, D>(s, a, q_mine, a.out + b * a.out_strides.batch + h * a.out_strides.head, lse,
                first + mine);
}

/* ---- launching ------------------------------------------------------------------------------- */

static bool whole_vectors(const void *tensor, const lvsa_strides &s)
{
    return reinterpret_cast<uintptr_t>(tensor) % 16 == 0 && s.batch % 8 == 0 && s.token % 8 == 0 &&
           s.head % 8 == 0;
}

static Args make_args(const lvsa_attention *c, const void *tiles)
{
    Args a = {};
    a.block_rows = lv_tile_block_rows(c->head_dim);
    const int64_t blocks = (c->queries + a.block_rows - 1) / a.block_rows;
    a.q = static_cast<const uint16_t *>(c->q), a.out = static_cast<uint16_t *>(c->out);
    a.lse = c->lse, a.q_strides = c->q_strides, a.out_strides = c->out_strides;
    a.block = static_cast<const lv_tile_block *>(tiles);
    a.run = reinterpret_cast<const lv_tile_run *>(a.block + blocks);
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt(double(c->head_dim));
    a.scale_log2 = float(scale * 1.4426950408889634);
    a.queries = int(c->queries), a.group = int(c->heads / c->kv_heads), a.dim = int(c->head_dim);
    a.vectors = c->head_dim % 8 == 0 && whole_vectors(c->q, c->q_strides) &&
                whole_vectors(c->out, c->out_strides);
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        a.source[i] = {static_cast<const uint16_t *>(s->k), static_cast<const uint16_t *>(s->v),
                       s->k_strides, s->v_strides,
                       s->last_row_count > 1 ? float(log(double(s->last_row_count)) / scale) : 0.f};
        a.vectors = a.vectors && whole_vectors(s->k, s->k_strides) &&
                    whole_vectors(s->v, s->v_strides);
    }
    return a;
}

template <class T, int D, int kKeys>
static cudaError_t launch(const lvsa_attention *c, const void *tiles)
{
    const Args a = make_args(c, tiles);
    const int bytes = (kRows<D> + 2 * kKeys) * D * int(sizeof(uint16_t));
    const dim3 grid(unsigned((c->queries + kRows<D> - 1) / kRows<D>), unsigned(c->heads),
                    unsigned(c->batch));
    const cudaError_t e = cudaFuncSetAttribute(
        attn<T, D, kKeys>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e != cudaSuccess) return e;
    attn<T, D, kKeys><<<grid, kThreads, bytes, static_cast<cudaStream_t>(c->stream)>>>(a);
    return cudaGetLastError();
}

/* Two CTAs of 64 keys fit, with the KiB that each costs besides. */
static bool is_large(cudaError_t *e)
{
    int device = 0, bytes = 0;
    *e = cudaGetDevice(&device);
    if (*e == cudaSuccess)
        *e = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
    return bytes >= 2 * 65 * 1024;
}

template <class T> static const char *run(const lvsa_attention *c, const void *tiles)
{
    cudaError_t e;
    const bool large = is_large(&e);
    if (e == cudaSuccess)
        e = c->head_dim <= 64    ? launch<T, 64, 64>(c, tiles)
            : c->head_dim > 128  ? launch<T, 256, 64>(c, tiles)
            : large              ? launch<T, 128, 64>(c, tiles)
                                 : launch<T, 128, 32>(c, tiles);
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

} /* namespace attn_sm80 */

const char *lv_attn_bf16_sm80(const lvsa_attention *call, const void *tiles)
{
    return attn_sm80::run<__nv_bfloat16>(call, tiles);
}

const char *lv_attn_f16_sm80(const lvsa_attention *call, const void *tiles)
{
    return attn_sm80::run<__half>(call, tiles);
}
