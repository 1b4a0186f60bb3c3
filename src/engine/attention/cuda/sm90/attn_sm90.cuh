/* attn_sm90.cuh: frame-sparse attention, Hopper (sm_90a), bf16 and f16, D = 64 and 128.
 *
 *   out[b,i,h] = sum over the kept j of softmax(q[b,i,h] . k[b,j,g] * scale) v[b,j,g]
 *   lse[b,h,i] = log(sum over the same j of exp(q . k * scale))
 *   A row that attends to nothing: out 0, lse -inf. q, out: [B, Sq, H, D]; k, v: up to three
 *   sources [B, Sk, H_kv, D], read in place through strides; g = h / (H / H_kv). A source's last
 *   row may count n times: its score gets + log(n).
 *
 * Work      one item: batch, head, block of query rows (tile_table.h). Items in the order
 *           block, head, batch: the CTAs at work at one time share a head's K and V in L2.
 * Grid      one cluster of 2 CTAs a pair of SMs, persistent; cluster c takes items c, c + clusters,
 *           .. (no counter to reset).
 * CTA       a warpgroup of producers: warp 0 loads Q and K, warp 2 loads V, warp 1 zeroes V past a
 *           ragged end (load.cuh); warpgroups of 64 rows compute (consume.cuh), two at D = 128,
 *           three at 64: 384 and 512 threads.
 * Tiles     D = 128: 128 rows x 192 keys; 64: 192 x 128. Each CTA loads half a tile and multicasts
 *           it to both. Runs of keys that the same rows attend to are cut as if they were one: only
 *           a group's end is ragged.
 * Shared    Q, K and V in 2 stages (4), barriers, 1 KiB to align: 226 KiB of 227 (154).
 * Registers D = 128: 24 a producer thread (spills, off the critical path); 240 a consumer: S 96,
 *           O 64, P 48 live, no spill in the loop. 64: 32; 160: S 64, O 32, P 32.
 * Bound by  power, then the registers' bandwidth: wgmma keeps its sums in registers and slows the
 *           softmax about 2.7 times.
 *
 * Measured  H100 80GB HBM3, 700 W, driver 580.159.04, random normal bf16, D 128, median of 7;
 *           rates over attended pairs. T 81, P 1560, 12 heads, 22 frames a query: 37.4 to 38.2 ms,
 *           698 to 712 TFLOP/s (72 % of 989); T 41: 691; T 121: 697; 40 heads: 704; P 1590, 16
 *           heads, 300 rows of text: 717; P 920, 32 / 8 heads: 707; dense T 21: 694 to 734. D = 64,
 *           T 25, P 1350, 48 heads, 226 rows of text: 13.6 to 14.4 ms, 552 to 582; there the number
 *           of instructions a weight binds.
 * Lost      tiles of 128, 144, 160 and 176 keys; one wait for both products; PV before QK; row sums
 *           as a second pass; boxes of 8 and 1 keys at the ends of runs; no rescale skip; no turns
 *           (even); a branch amid the exponentials; 40/232 registers (C7512 at 192 keys); some of
 *           the exponentials by polynomials; one arrival a warpgroup at a stage's barrier. D = 64:
 *           two warpgroups; tiles of 96 and 112 keys; Q in registers. The ladder is in
 *           docs/SPEED.md, the design in docs/KERNEL.md.
 *
 * Traps     (1) Stage numbers, warpgroup number and the tile word must be uniform (uniform()),
 *           else ptxas builds every descriptor in vector registers: 7 % slower. (2) The wait for O
 *           stands between maxima and weights; the branch that raises bases keeps it below those.
 *           ptxas may still move it down, a third into the weights where a struct's members held
 *           the registers; below them it costs 3.5 %. Look for WARPGROUP.DEPBAR in the machine code
 *           after a change. Scores are integers to ptxas: as floats that are compared as integers
 *           it copies some, and spills in the loop. (3) setmaxnreg shares out what the launch took:
 *           24 + 2 * 240 = 504 = 3 * 168; 32 + 2 * 240 waits for ever. (4) Any C75xx message of
 *           ptxas means that products are serialised: the build fails on it
 *           (cmake/nvcc-strict.sh). */
#pragma once
#include "attn_sm90.h"
#include "consume.cuh"
#include "load.cuh"

#include <type_traits>

#include "engine/runtime/cuda/tensor_map.cuh"

namespace attn_sm90 {

template <class T, int D>
__global__ void __launch_bounds__(kThreads<D>, 1) attn(const __grid_constant__ Args a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ uint8_t raw[];
    Shared<D> &s = shared_of<Shared<D>>(raw);
    const int rank = ptx::cluster_rank(), first = blockIdx.x / kCtas, step = gridDim.x / kCtas;
    const int warp = (int)uniform(threadIdx.x >> 5);

    if (threadIdx.x == 0) {
        bars_init<D>(s, s.v_ragged);
        ptx::bar_init_done();
    }
    ptx::cluster_sync();
    if (warp < 4) {
        ptx::regs_give<kRegsLoad<D>>();
        if (warp == 0) {
            if ((threadIdx.x & 31) == 0) load_qk<D>(a, s, rank, first, step);
        } else if (warp == 1) {
            sweep_v<D>(a, s, first, step);
        } else if (warp == 2) {
            if ((threadIdx.x & 31) == 0) load_v<D>(a, s, rank, first, step);
        }
        __syncwarp();
    } else {
        ptx::regs_take<kRegsCompute<D>>();
        consume<T, D>(a, s, rank, first, step);
        __syncwarp();
    }
    ptx::cluster_sync(); /* the other CTA may still arrive at this one's barriers */
#else
    __trap(); /* a build for another architecture, which the launcher refuses */
#endif
}

/* ---- host ------------------------------------------------------------------------------------ */

/* A [batch, rows, heads, d] tensor of 2-byte elements. */
struct Tensor {
    const void *data;
    lvsa_strides strides;
    int64_t batch, rows, heads, d;
};

/* Boxes of `box` rows by 64 of D; what lies past the last row reads as zero. */
static inline bool map_make(CUtensorMap *map, CUtensorMapDataType type, const Tensor &t, int box)
{
    /* The stride of a dimension of one is never used, but has to be a legal one. */
    const auto bytes = [&](int64_t stride, int64_t extent) {
        return (cuuint64_t)(extent > 1 ? stride : t.d) * 2;
    };
    const cuuint64_t dim[4] = {(cuuint64_t)t.d, (cuuint64_t)t.rows, (cuuint64_t)t.heads,
                               (cuuint64_t)t.batch};
    const cuuint64_t stride[3] = {bytes(t.strides.token, t.rows), bytes(t.strides.head, t.heads),
                                  bytes(t.strides.batch, t.batch)};
    const cuuint32_t box4[4] = {64, (cuuint32_t)box, 1, 1}, one[4] = {1, 1, 1, 1};
    return encode_find()(map, type, 4, const_cast<void *>(t.data), dim, stride, box4, one,
                         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                         CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <class T, int D> static inline bool maps_make(Args *a, const lvsa_attention *c)
{
    const CUtensorMapDataType type = std::is_same<T, __half>::value
                                         ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                         : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    const Tensor q = {c->q, c->q_strides, c->batch, c->queries, c->heads, c->head_dim};
    if (!map_make(&a->q, type, q, kRows<D>)) return false;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source &s = c->source[i];
        const Tensor k = {s.k, s.k_strides, c->batch, s.tokens, c->kv_heads, c->head_dim};
        const Tensor v = {s.v, s.v_strides, c->batch, s.tokens, c->kv_heads, c->head_dim};
        for (int b = 0; b < kBoxes && s.tokens > 0; b++) {
            const int box = b == 0 ? kPart<D> : 128 >> b;
            if (!map_make(&a->k[i][b], type, k, box) || !map_make(&a->v[i][b], type, v, box))
                return false;
        }
    }
    return true;
}

template <class T, int D> const char *launch(Args &a, const lvsa_attention *c)
{
    if (!maps_make<T, D>(&a, c))
        return "the driver refuses a tensor map of these sizes and strides";
    const cudaError_t e = launch_clusters<Shared<D>>(attn<T, D>, kThreads<D>, a, c->stream);
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

template <class T> const char *run(const lvsa_attention *c, const void *tiles)
{
    Args a = {};
    if (!encode_find()) return "the driver has no cuTensorMapEncodeTiled (CUDA 12.0)";
    work_set(&a, c, tiles);
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt((double)c->head_dim);
    a.scale_log2 = (float)scale * 1.44269504f;
    for (int i = 0; i < c->sources; i++)
        a.count_score[i] = c->source[i].last_row_count > 1
                               ? (float)(log((double)c->source[i].last_row_count) / scale)
                               : 0.f;
    return c->head_dim == 128 ? launch<T, 128>(a, c) : launch<T, 64>(a, c);
}

} /* namespace attn_sm90 */
