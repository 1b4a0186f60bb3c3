/* attn_fp8_sm90.cu: frame-sparse attention with products of 8 bits, Hopper (sm_90a), D = 64 and
 * 128.
 *
 *   out, lse and sources as in attn_sm90.cuh, from bf16 tensors that are rounded first
 *   (quantise_fp8.cuh): Q and K turned, K smoothed, to int8; V smoothed, to e4m3; weights to e4m3
 *   as they are made.
 *
 * Launches  statistics of K and V (one a source), means and scales, K and V (two a source), Q, the
 *           attention. All that is written lies in the workspace (fp8_layout.h).
 * Work, grid, CTA   as in attn_sm90.cuh: clusters of two, a warpgroup of producers, two (D = 64:
 *           three) of 64 rows.
 * Tiles     128 rows x 224 keys (192 x 128), in units of 32 keys that lie in memory as shared
 *           memory wants them: no tensor map, linear copies, each CTA half of each piece for both.
 *           A frame begins a unit (1560 rows are 49, 0.5 % filling). Tiles are always full: a
 *           group's last one is filled up with its last unit again and with zeros for V, so that
 *           nothing is masked but rows.
 * Sums      scores are integers, exact. The tensor cores add e4m3 products to O with fewer bits
 *           than fp32 has: after kFlush tiles O goes to fp32 sums in shared memory and starts
 *           again. The sum of the weights is 8 more columns of O.
 * Shared    Q 16 KiB, K 2 x 28, V 2 x 30, sums 68, 1 to align: 201 KiB of 227 (D = 64: 136).
 * Registers 24 a producer; 240 a consumer: S 112, O 68, P 28, no spill in the loop (32; 160: S 64,
 *           O 36, P 16). A weight stays in the lane that made it: V's keys are stored in that
 *           order.
 *
 * Bound by  the exponentials, then power: without exponentials 1,100 to 1,154 TFLOP/s. D = 64: the
 *           exponentials, twice as many a product.
 *
 * Measured  H100 80GB HBM3, T 81, P 1560, 12 heads, 22 frames a query, random normal numbers, a
 *           call with its rounding (1.04 ms), median of 9: 27.6 to 27.9 ms, 954 to 966 TFLOP/s over
 *           attended pairs, where bf16 makes 709; all shapes of D = 128 in docs/SPEED.md make 937
 *           to 975. D = 64, T 25, P 1350, 48 heads, 226 rows of text: 13.1 ms, 607 (bf16 560).
 * Lost      Q and K in e4m3 (948; scores a third as exact); converting scores to floats by I2FP
 *           (0.5 %); bases that are raised at once; O to fp32 after 1 to 8 tiles; tiles of 192
 *           keys; 3 stages; no turns; V without a swizzle (8 % slower); sums by the tensor cores
 *           alone (off by 60 % at 34 thousand keys, and no quicker); weights made as integers,
 *           which e4m3 numbers nearly are as logarithms, without exponentials (893 to 953: the
 *           conversions to half precision cost more). docs/SPEED.md has the ladder.
 *
 * Traps     Those of attn_sm90.cuh. The first product has S as its output alone ("=r"), else S
 *           lives on around the loop. */
#include "attn_sm90.h"
#include "consume_fp8.cuh"
#include "load_fp8.cuh"

#include <cuda_runtime.h>

namespace attn_fp8 {

template <int D>
__global__ void __launch_bounds__(kThreads<D>, 1) attn(const __grid_constant__ Args a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ uint8_t raw[];
    Shared<D> &s = attn_sm90::shared_of<Shared<D>>(raw);
    const int rank = ptx::cluster_rank(), first = blockIdx.x / kCtas, step = gridDim.x / kCtas;
    const int warp = (int)attn_sm90::uniform(threadIdx.x >> 5);

    if (threadIdx.x == 0) {
        attn_sm90::bars_init<D>(s, nullptr);
        ptx::bar_init_done();
    }
    ptx::cluster_sync();
    if (warp < 4) {
        ptx::regs_give<kRegsLoad<D>>();
        if (warp == 0) {
            if ((threadIdx.x & 31) == 0) load_qk(a, s, rank, first, step);
        } else if (warp == 2) {
            if ((threadIdx.x & 31) == 0) load_v(a, s, rank, first, step);
        }
        __syncwarp();
    } else {
        ptx::regs_take<kRegsCompute<D>>();
        consume(a, s, rank, first, step);
        __syncwarp();
    }
    ptx::cluster_sync(); /* the other CTA may still arrive at this one's barriers */
#else
    __trap(); /* a build for another architecture, which the launcher refuses */
#endif
}

/* ---- host ------------------------------------------------------------------------------------ */

static float *floats(const lvsa_attention *c, size_t at)
{
    return reinterpret_cast<float *>(static_cast<uint8_t *>(c->workspace) + at);
}

static Args args_of(const lvsa_attention *c, const lv_fp8_layout &l, const void *tiles)
{
    Args a = {};
    const uint8_t *base = static_cast<uint8_t *>(c->workspace);
    const int64_t channels = c->batch * c->kv_heads * c->head_dim;
    attn_sm90::work_set(&a, c, tiles);
    a.q = base + l.q;
    a.zero = base + l.zero;
    a.q_scale = floats(c, l.q_scale);
    a.q_shift = c->lse ? floats(c, l.q_shift) : nullptr;
    a.v_means = floats(c, l.means) + channels;
    a.v_scales = floats(c, l.scales) + channels;
    for (int i = 0; i < c->sources; i++) {
        const lv_fp8_keys &k = l.keys[i];
        a.k[i] = base + k.k;
        a.v[i] = base + k.v;
        a.units[i] = k.units;
    }
    return a;
}

/* Enqueues the statistics and the three tensors. */
template <int D>
static cudaError_t quantise(const lvsa_attention *c, const lv_fp8_layout &l, cudaStream_t stream)
{
    const unsigned kv_heads = (unsigned)(c->batch * c->kv_heads);
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt((double)D);
    uint8_t *base = static_cast<uint8_t *>(c->workspace);
    float *parts = floats(c, l.parts), *means = floats(c, l.means), *scales = floats(c, l.scales);
    double rows = 0.0;
    Rows16 k[LVSA_MAX_SOURCES], v[LVSA_MAX_SOURCES];
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source &s = c->source[i];
        k[i] = {static_cast<const __nv_bfloat16 *>(s.k), s.k_strides, s.tokens, (int)c->kv_heads};
        v[i] = {static_cast<const __nv_bfloat16 *>(s.v), s.v_strides, s.tokens, (int)c->kv_heads};
        rows += (double)s.tokens;
        if (s.tokens == 0) continue;
        const unsigned chunks = (unsigned)((s.tokens + LV_FP8_CHUNK - 1) / LV_FP8_CHUNK);
        measure_fp8<D><<<dim3(chunks, kv_heads, 2), 256, 0, stream>>>(k[i], v[i], parts,
                                                                      l.keys[i].chunk, l.chunks);
    }
    settle_fp8<D><<<dim3(kv_heads, 2), D, 0, stream>>>(parts, means, scales, l.chunks, (float)rows);
    const int64_t channels = (int64_t)kv_heads * D;
    for (int i = 0; i < c->sources; i++) {
        const lv_fp8_keys &s = l.keys[i];
        if (s.units == 0) continue;
        const dim3 grid((unsigned)s.units, kv_heads);
        quantise_k_fp8<D><<<grid, 32 * kLanes<D>, 0, stream>>>(k[i], s, base + s.k, base + s.v,
                                                               means, scales);
        quantise_v_fp8<D><<<grid, 2 * D, 0, stream>>>(v[i], s, base + s.v, means + channels,
                                                      scales + channels);
    }
    const Rows16 q = {static_cast<const __nv_bfloat16 *>(c->q), c->q_strides, c->queries,
                      (int)c->heads};
    const dim3 grid((unsigned)(l.q_rows / 32), (unsigned)(c->batch * c->heads));
    quantise_q_fp8<D><<<grid, 32 * kLanes<D>, 0, stream>>>(
        q, base + l.q, floats(c, l.q_scale), c->lse ? floats(c, l.q_shift) : nullptr, means, scales,
        (int)(c->heads / c->kv_heads), (float)(scale * 1.4426950408889634));
    const cudaError_t e = cudaMemsetAsync(base + l.zero, 0, LV_FP8_V_BYTES(D), stream);
    return e == cudaSuccess ? cudaGetLastError() : e;
}

template <int D> static cudaError_t run(const lvsa_attention *c, const void *tiles)
{
    cudaStream_t stream = static_cast<cudaStream_t>(c->stream);
    lv_fp8_layout layout;
    lv_fp8_lay_out(&layout, c);
    const cudaError_t e = quantise<D>(c, layout, stream);
    if (e != cudaSuccess) return e;
    return attn_sm90::launch_clusters<Shared<D>>(attn<D>, kThreads<D>, args_of(c, layout, tiles),
                                                 stream);
}

} /* namespace attn_fp8 */

extern "C" const char *lv_attn_fp8_sm90(const lvsa_attention *call, const void *tiles)
{
    const cudaError_t e = call->head_dim == 128 ? attn_fp8::run<128>(call, tiles)
                                                : attn_fp8::run<64>(call, tiles);
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}
