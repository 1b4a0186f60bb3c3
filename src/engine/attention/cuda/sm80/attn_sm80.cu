/* attn_sm80.cu: frame-sparse attention with mma.sync, any card from sm_80 on, bf16 and f16, head
 * sizes up to 256, any strides. For cards without sm_90's instructions, and for what the Hopper
 * kernel doesn't take.
 *
 *   out[b,i,h] = sum over the kept j of softmax(q[b,i,h] . k[b,j,g] * scale) v[b,j,g]
 *   lse[b,h,i] = log(sum over the same j of exp(q . k * scale))
 *   A row that attends to nothing: out 0, lse -inf. A source's last row may count n times: its
 *   score gets + log(n).
 *
 * Work      64 query rows of one head, which lie in one block of the table of tiles (tile_table.h);
 *           its runs of keys 64 at a time, each run by itself. Rows that don't attend to a run keep
 *           what they have, so that a NaN in a frame they don't see can't reach them.
 * Grid      (ceil(Sq/64), H, B), 128 threads: a warp has 16 rows, all keys.
 * Shared    K and V 64 x (D + 8) each, D rounded up to 64, 128 or 256: 34 KiB at D = 128.
 * Registers Q D/4, O D/2, S 32 a thread.
 * Bound by  waiting: a tile's loads don't overlap its products. Not tuned. */
#include "attn_sm80.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "engine/attention/cuda/tile_table.h"

namespace {

constexpr int kRows = 64, kKeys = 64, kThreads = 128, kPad = 8;
constexpr float kLog2e = 1.44269504f;

struct Source {
    const uint16_t *k, *v;
    lvsa_strides k_strides, v_strides;
    float plus; /* log2 of how often the last row counts */
    int last;   /* that row                              */
    bool vectors; /* rows can be read 16 bytes at a time */
};

struct Args {
    const uint16_t *q;
    uint16_t *out;
    float *lse;
    lvsa_strides q_strides, out_strides;
    Source source[LVSA_MAX_SOURCES];
    const lv_tile_block *block;
    const lv_tile_run *run;
    float scale; /* of scores, with log2(e) */
    int queries, group, dim, block_rows; /* of the table's blocks */
};

template <class T> __device__ uint32_t pack(float low, float high)
{
    if (std::is_same<T, __nv_bfloat16>::value) {
        const __nv_bfloat162 x = __floats2bfloat162_rn(low, high);
        return *reinterpret_cast<const uint32_t *>(&x);
    }
    const __half2 x = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&x);
}

/* c[16,8] += a[16,16] b[16,8]; lane l holds rows l/4 and l/4 + 8, columns 2(l%4) and the next. */
template <class T>
__device__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
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

/* b0 and b1 of two products that share their 16 keys: V[keys, columns .. columns + 15], turned. */
__device__ void load_turned(uint32_t (&b)[4], const uint16_t *at)
{
    const uint32_t address = uint32_t(__cvta_generic_to_shared(at));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                 : "r"(address));
}

__device__ uint32_t load_pair(const uint16_t *from, int d, int dim)
{
    const uint32_t low = d < dim ? from[d] : 0, high = d + 1 < dim ? from[d + 1] : 0;
    return low | high << 16;
}

/* Rows start .. start + count - 1 of K or V into shared memory; the rest of the tile is zeros. */
template <int D>
__device__ void load_tile(uint16_t (*to)[D + kPad], const uint16_t *from, int64_t stride, int start,
                          int count, int dim, bool vectors)
{
    constexpr int kVectors = D / 8;
    for (int i = threadIdx.x; i < kKeys * kVectors; i += kThreads) {
        const int key = i / kVectors, d = i % kVectors * 8;
        const uint16_t *row = from + (int64_t(start) + key) * stride;
        uint4 x = make_uint4(0, 0, 0, 0);
        if (key < count && vectors) {
            if (d < dim) x = __ldg(reinterpret_cast<const uint4 *>(row + d));
        } else if (key < count) {
            x.x = load_pair(row, d, dim), x.y = load_pair(row, d + 2, dim);
            x.z = load_pair(row, d + 4, dim), x.w = load_pair(row, d + 6, dim);
        }
        *reinterpret_cast<uint4 *>(&to[key][d]) = x;
    }
}

/* A warp's 16 rows: what a lane has of them. Index 0 of max and sum is row l/4, 1 row l/4 + 8. */
template <int D> struct State {
    uint32_t q[D / 16][4];
    float o[D / 8][4];
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
};

template <int D>
__device__ void load_queries(State<D> &s, const Args &a, const uint16_t *q, int row)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = row + lane / 4 + 8 * half;
        const uint16_t *from = q + int64_t(r) * a.q_strides.token;
#pragma unroll
        for (int k = 0; k < D / 16; k++)
            for (int right = 0; right < 2; right++)
                s.q[k][half + 2 * right] =
                    r < a.queries ? load_pair(from, 16 * k + 8 * right + lane % 4 * 2, a.dim) : 0;
    }
#pragma unroll
    for (int j = 0; j < D / 8; j++)
        for (int i = 0; i < 4; i++) s.o[j][i] = 0.0f;
}

/* One tile of `count` keys: rows of the warp that attend[] say take it in. `plus` goes to the score
 * of its last key. */
template <class T, int D>
__device__ void take_tile(State<D> &s, const uint16_t (*k)[D + kPad], const uint16_t (*v)[D + kPad],
                          float scale, int count, float plus, const bool (&attend)[2])
{
    const int lane = threadIdx.x % 32;
    float score[kKeys / 8][4];
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++) {
        score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0.0f;
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
            const uint16_t *at = &k[8 * j + lane / 4][16 * d + lane % 4 * 2];
            multiply<T>(score[j], s.q[d], *reinterpret_cast<const uint32_t *>(at),
                        *reinterpret_cast<const uint32_t *>(at + 8));
        }
    }
    float factor[2];
    for (int half = 0; half < 2; half++) {
        float most = s.max[half], sum = 0.0f;
        for (int j = 0; j < kKeys / 8; j++)
            for (int i = 0; i < 2; i++) {
                const int key = 8 * j + lane % 4 * 2 + i;
                float &x = score[j][2 * half + i];
                x = x * scale + (key == count - 1 ? plus : 0.0f);
                if (key >= count || !attend[half]) x = -INFINITY;
                /* Not fmaxf(): a NaN of a row that attends shall stay. */
                most = x > most || x != x ? x : most;
            }
        for (int i = 1; i < 4; i *= 2) {
            const float other = __shfl_xor_sync(~0u, most, i);
            most = other > most || other != other ? other : most;
        }
        const float base = most == -INFINITY ? 0.0f : most;
        factor[half] = exp2f(s.max[half] - base);
        for (int j = 0; j < kKeys / 8; j++)
            for (int i = 0; i < 2; i++) {
                float &x = score[j][2 * half + i];
                x = exp2f(x - base);
                sum += x;
            }
        for (int i = 1; i < 4; i *= 2) sum += __shfl_xor_sync(~0u, sum, i);
        if (attend[half]) {
            s.sum[half] = s.sum[half] * factor[half] + sum;
            s.max[half] = most;
        }
    }
#pragma unroll
    for (int j = 0; j < D / 16; j++) {
        float sum[2][4];
        for (int i = 0; i < 4; i++)
            for (int side = 0; side < 2; side++)
                sum[side][i] = s.o[2 * j + side][i] * factor[i / 2];
#pragma unroll
        for (int kk = 0; kk < kKeys / 16; kk++) {
            const uint32_t p[4] = {pack<T>(score[2 * kk][0], score[2 * kk][1]),
                                   pack<T>(score[2 * kk][2], score[2 * kk][3]),
                                   pack<T>(score[2 * kk + 1][0], score[2 * kk + 1][1]),
                                   pack<T>(score[2 * kk + 1][2], score[2 * kk + 1][3])};
            uint32_t b[4];
            load_turned(b, &v[16 * kk + lane % 16][16 * j + lane / 16 * 8]);
            multiply<T>(sum[0], p, b[0], b[1]);
            multiply<T>(sum[1], p, b[2], b[3]);
        }
        for (int i = 0; i < 4; i++)
            for (int side = 0; side < 2; side++)
                if (attend[i / 2]) s.o[2 * j + side][i] = sum[side][i];
    }
}

template <class T, int D>
__device__ void store(const State<D> &s, const Args &a, uint16_t *out, float *lse, int row)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int r = row + lane / 4 + 8 * half;
        if (r >= a.queries) continue;
        const bool none = s.max[half] == -INFINITY;
        const float inverse = none ? 0.0f : 1.0f / s.sum[half];
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            const int d = 8 * j + lane % 4 * 2;
            uint16_t *to = out + int64_t(r) * a.out_strides.token + d;
            const uint32_t x = pack<T>(none ? 0.0f : s.o[j][2 * half] * inverse,
                                       none ? 0.0f : s.o[j][2 * half + 1] * inverse);
            if (d < a.dim) to[0] = uint16_t(x);
            if (d + 1 < a.dim) to[1] = uint16_t(x >> 16);
        }
        if (lse && lane % 4 == 0)
            lse[r] = none ? -INFINITY : (s.max[half] + log2f(s.sum[half])) / kLog2e;
    }
}

template <class T, int D>
__global__ void __launch_bounds__(kThreads) attn(const __grid_constant__ Args a)
{
    extern __shared__ uint4 shared[];
    auto k = reinterpret_cast<uint16_t(*)[D + kPad]>(shared);
    auto v = k + kKeys;
    const int first = blockIdx.x * kRows, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int64_t h = blockIdx.y, b = blockIdx.z, g = h / a.group;
    const lv_tile_block block = a.block[first / a.block_rows];
    const int in_block = first - block.row, row = in_block + 16 * warp + lane / 4;
    State<D> s;
    load_queries(s, a, a.q + b * a.q_strides.batch + h * a.q_strides.head, first + 16 * warp);
    for (int i = 0; i < block.runs; i++) {
        const lv_tile_run r = a.run[block.run + i];
        const Source &from = a.source[r.source];
        const bool attend[2] = {row >= r.first_row && row <= r.last_row,
                                row + 8 >= r.first_row && row + 8 <= r.last_row};
        /* The same for all threads: none of the CTA's rows. */
        if (r.last_row < in_block || r.first_row >= in_block + kRows) continue;
        for (int at = 0; at < r.count; at += kKeys) {
            const int start = r.start + at, count = min(kKeys, r.count - at);
            __syncthreads();
            load_tile<D>(k, from.k + b * from.k_strides.batch + g * from.k_strides.head,
                         from.k_strides.token, start, count, a.dim, from.vectors);
            load_tile<D>(v, from.v + b * from.v_strides.batch + g * from.v_strides.head,
                         from.v_strides.token, start, count, a.dim, from.vectors);
            __syncthreads();
            take_tile<T, D>(s, k, v, a.scale, count,
                            start + count - 1 == from.last ? from.plus : 0.0f, attend);
        }
    }
    float *lse = a.lse ? a.lse + (b * gridDim.y + h) * a.queries : nullptr;
    store<T, D>(s, a, a.out + b * a.out_strides.batch + h * a.out_strides.head, lse,
                first + 16 * warp);
}

/* ---- launching ------------------------------------------------------------------------------- */

bool whole_vectors(const void *tensor, const lvsa_strides &s)
{
    return reinterpret_cast<uintptr_t>(tensor) % 16 == 0 && s.batch % 8 == 0 && s.token % 8 == 0 &&
           s.head % 8 == 0;
}

Args make_args(const lvsa_attention *c, const void *tiles)
{
    Args a = {};
    a.block_rows = lv_tile_block_rows(c->head_dim);
    const int64_t blocks = (c->queries + a.block_rows - 1) / a.block_rows;
    a.q = static_cast<const uint16_t *>(c->q), a.out = static_cast<uint16_t *>(c->out);
    a.lse = c->lse, a.q_strides = c->q_strides, a.out_strides = c->out_strides;
    a.block = static_cast<const lv_tile_block *>(tiles);
    a.run = reinterpret_cast<const lv_tile_run *>(a.block + blocks);
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt(double(c->head_dim));
    a.scale = float(scale * 1.4426950408889634);
    a.queries = int(c->queries), a.group = int(c->heads / c->kv_heads), a.dim = int(c->head_dim);
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        a.source[i] = {static_cast<const uint16_t *>(s->k),
                       static_cast<const uint16_t *>(s->v),
                       s->k_strides,
                       s->v_strides,
                       s->last_row_count > 1 ? float(log2(double(s->last_row_count))) : 0.0f,
                       int(s->tokens) - 1,
                       c->head_dim % 8 == 0 && whole_vectors(s->k, s->k_strides) &&
                           whole_vectors(s->v, s->v_strides)};
    }
    return a;
}

template <class T, int D> cudaError_t launch(const lvsa_attention *c, const void *tiles)
{
    const Args a = make_args(c, tiles);
    const int bytes = 2 * kKeys * (D + kPad) * int(sizeof(uint16_t));
    const dim3 grid(unsigned((c->queries + kRows - 1) / kRows), unsigned(c->heads),
                    unsigned(c->batch));
    const cudaError_t e =
        cudaFuncSetAttribute(attn<T, D>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (e != cudaSuccess) return e;
    attn<T, D><<<grid, kThreads, bytes, static_cast<cudaStream_t>(c->stream)>>>(a);
    return cudaGetLastError();
}

template <class T> const char *run(const lvsa_attention *c, const void *tiles)
{
    const cudaError_t e = c->head_dim <= 64    ? launch<T, 64>(c, tiles)
                          : c->head_dim <= 128 ? launch<T, 128>(c, tiles)
                                               : launch<T, 256>(c, tiles);
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

} // namespace

const char *lv_attn_bf16_sm80(const lvsa_attention *call, const void *tiles)
{
    return run<__nv_bfloat16>(call, tiles);
}

const char *lv_attn_f16_sm80(const lvsa_attention *call, const void *tiles)
{
    return run<__half>(call, tiles);
}
