/* attn_fp8_sm90.cu: frame-sparse attention with products of e4m3, Hopper (sm_90a), D = 128.
 *
 *   out, lse and sources as in attn_sm90.cuh, from bf16 tensors that are rounded first
 *   (quantise_fp8.cuh): Q and K smoothed and turned, V smoothed, weights to e4m3 as they are made.
 *
 * Launches  statistics of K and V (one a source), means and scales, K and V (two a source), Q, the
 *           attention. All that is written lies in the workspace (fp8_layout.h).
 * Work, grid, CTA   as in attn_sm90.cuh: clusters of two, a warpgroup of producers, two of 64 rows.
 * Tiles     128 rows x 224 keys, in units of 32 keys that lie in memory as shared memory wants
 *           them: no tensor map, linear copies, each CTA half of each piece for both. A frame
 *           begins a unit (1560 rows are 49 units, 0.5 % filling). Tiles are always full: a group's
 *           last one is filled up with its last keys again and with zeros for V, so that nothing is
 *           masked but rows.
 * Sums      the tensor cores add e4m3 products to O with fewer bits than fp32 has: after kFlush
 *           tiles O goes to fp32 sums in shared memory and starts again. The sum of the weights
 *           is 8 more columns of O.
 * Shared    Q 16 KiB, K 2 x 28, V 2 x 30, sums 68, 1 to align: 201 KiB of 227.
 * Registers 24 a producer; 240 a consumer: S 112, O 68, P 28, no spill in the loop. A weight stays
 *           in the lane that made it: V's keys are stored in that order.
 *
 * Bound by  the exponentials, then power: without exponentials 1,100 to 1,154 TFLOP/s.
 *
 * Measured  H100 80GB HBM3, T 81, P 1560, 12 heads, 22 frames a query, random normal numbers: 27.2
 *           ms, 978 TFLOP/s over attended pairs (best 1,017); a call with its rounding (1.05 ms) on
 *           a warm card 28.2 to 28.3 ms, 940 to 946, where bf16 makes 710.
 * Lost      tiles of 192 keys; 3 stages; no turns; V without a swizzle (8 % slower); sums by the
 *           tensor cores alone (off by 60 % at 34 thousand keys, and no quicker); kFlush 1 and 2;
 *           weights made as integers, which e4m3 numbers nearly are as logarithms, without
 *           exponentials (893 to 953: the conversions to half precision cost more). docs/SPEED.md
 *           has the ladder.
 *
 * Traps     Those of attn_sm90.cuh. The first product has S as its output alone ("=f"), else S
 *           lives on around the loop. */
#include "attn_sm90.h"
#include "consume_fp8.cuh"
#include "load_fp8.cuh"

#include <cuda_runtime.h>

namespace attn_fp8 {

__global__ void __launch_bounds__(kThreads, 1) attn(const __grid_constant__ Args a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ uint8_t raw[];
    Shared &s =
        *reinterpret_cast<Shared *>((reinterpret_cast<uintptr_t>(raw) + 1023) & ~uintptr_t(1023));
    const int rank = ptx::cluster_rank(), first = blockIdx.x / kCtas, step = gridDim.x / kCtas;
    const int warp = (int)uniform(threadIdx.x >> 5);

    if (threadIdx.x == 0) {
        ptx::bar_init(ptx::addr(&s.q_full), 1);
        ptx::bar_init(ptx::addr(&s.q_empty), kGroups);
        for (int i = 0; i < kStages; i++) {
            ptx::bar_init(ptx::addr(&s.k_full[i]), 1);
            ptx::bar_init(ptx::addr(&s.k_empty[i]), kGroups * (4 + kCtas - 1));
            ptx::bar_init(ptx::addr(&s.v_full[i]), 1);
            ptx::bar_init(ptx::addr(&s.v_empty[i]), kGroups * (4 + kCtas - 1));
        }
        ptx::bar_init_done();
    }
    ptx::cluster_sync();
    if (warp < 4) {
        ptx::regs_give<kRegsLoad>();
        if (warp == 0) {
            if ((threadIdx.x & 31) == 0) load_qk(a, s, rank, first, step);
        } else if (warp == 2) {
            if ((threadIdx.x & 31) == 0) load_v(a, s, rank, first, step);
        }
        __syncwarp();
    } else {
        ptx::regs_take<kRegsCompute>();
        consume(a, s, rank, first, step);
        __syncwarp();
    }
    ptx::cluster_sync(); /* the other CTA may still arrive at this one's barriers */
#else
    __trap(); /* a build for another architecture, which the launcher refuses */
#endif
}

static float *floats(const lvsa_attention *c, size_t at)
{
    return reinterpret_cast<float *>(static_cast<uint8_t *>(c->workspace) + at);
}

static Args args_of(const lvsa_attention *c, const lv_fp8_layout &l, const void *tiles)
{
    Args a = {};
    uint8_t *base = static_cast<uint8_t *>(c->workspace);
    const int64_t kv = c->batch * c->kv_heads * LV_FP8_DIM;
    a.n_blocks = (int)(l.q_rows / LV_TILE_BLOCK);
    a.blocks = static_cast<const lv_tile_block *>(tiles);
    a.runs = reinterpret_cast<const lv_tile_run *>(a.blocks + a.n_blocks);
    a.rows = (int)c->queries;
    a.heads = (int)c->heads;
    a.group = (int)(c->heads / c->kv_heads);
    a.batch = (int)c->batch;
    a.q = base + l.q;
    a.zero = base + l.zero;
    a.q_scale = floats(c, l.q_scale);
    a.q_shift = c->lse ? floats(c, l.q_shift) : nullptr;
    a.v_means = floats(c, l.means) + kv;
    a.v_scales = floats(c, l.scales) + kv;
    a.out = static_cast<__nv_bfloat16 *>(c->out);
    a.out_batch = c->out_strides.batch;
    a.out_token = c->out_strides.token;
    a.out_head = c->out_strides.head;
    a.lse = c->lse;
    for (int i = 0; i < c->sources; i++) {
        const lv_fp8_keys &k = l.keys[i];
        a.k[i] = base + k.k;
        a.v[i] = base + k.v;
        a.units[i] = k.units;
    }
    return a;
}

/* Enqueues the statistics and the three tensors. */
static cudaError_t quantise(const lvsa_attention *c, const lv_fp8_layout &l, cudaStream_t stream)
{
    const unsigned kv_heads = (unsigned)(c->batch * c->kv_heads);
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt((double)LV_FP8_DIM);
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
        measure_fp8<<<dim3(chunks, kv_heads, 2), 256, 0, stream>>>(k[i], v[i], parts,
                                                                   l.keys[i].chunk, l.chunks);
    }
    settle_fp8<<<dim3(kv_heads, 2), kDim, 0, stream>>>(parts, means, scales, l.chunks, (float)rows);
    const int64_t channels = (int64_t)kv_heads * kDim;
    for (int i = 0; i < c->sources; i++) {
        const lv_fp8_keys &s = l.keys[i];
        if (s.units == 0) continue;
        const dim3 grid((unsigned)s.units, kv_heads);
        quantise_k_fp8<<<grid, 256, 0, stream>>>(k[i], s, base + s.k, base + s.v, means, scales);
        quantise_v_fp8<<<grid, 256, 0, stream>>>(v[i], s, base + s.v, means + channels,
                                                 scales + channels);
    }
    const Rows16 q = {static_cast<const __nv_bfloat16 *>(c->q), c->q_strides, c->queries,
                      (int)c->heads};
    quantise_q_fp8<<<dim3((unsigned)(l.q_rows / 32), (unsigned)(c->batch * c->heads)), 256, 0,
                     stream>>>(q, base + l.q, floats(c, l.q_scale),
                               c->lse ? floats(c, l.q_shift) : nullptr, means, scales,
                               (int)(c->heads / c->kv_heads), (float)(scale * 1.4426950408889634));
    const cudaError_t e = cudaMemsetAsync(base + l.zero, 0, LV_FP8_V_BYTES, stream);
    return e == cudaSuccess ? cudaGetLastError() : e;
}

static cudaError_t attend(const Args &a, cudaStream_t stream)
{
    const int shared = (int)sizeof(Shared) + 1024;
    int device = 0, sms = 0;
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
    if (e == cudaSuccess)
        e = cudaFuncSetAttribute(attn, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (e != cudaSuccess) return e;
    cudaLaunchAttribute cluster = {};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {kCtas, 1, 1};
    cudaLaunchConfig_t cfg = {};
    cfg.gridDim = dim3((unsigned)(sms / kCtas * kCtas));
    cfg.blockDim = dim3(kThreads);
    cfg.dynamicSmemBytes = (size_t)shared;
    cfg.stream = stream;
    cfg.attrs = &cluster;
    cfg.numAttrs = 1;
    return cudaLaunchKernelEx(&cfg, attn, a);
}

} /* namespace attn_fp8 */

extern "C" const char *lv_attn_fp8_sm90(const lvsa_attention *call, const void *tiles)
{
    cudaStream_t stream = static_cast<cudaStream_t>(call->stream);
    lv_fp8_layout layout;
    lv_fp8_lay_out(&layout, call);
    cudaError_t e = attn_fp8::quantise(call, layout, stream);
    if (e == cudaSuccess) e = attn_fp8::attend(attn_fp8::args_of(call, layout, tiles), stream);
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}
