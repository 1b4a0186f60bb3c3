/* conv_bf16_sm90.cu: convolutions of kt x ky x kx on Hopper, bf16, sums in f32, channels last.
 *
 *   out[y,x,o] = b[o] + sum over dt, dy, dx, c of in[dt][y+dy-ky/2, x+dx-kx/2, c] w[o,dt,dy,dx,c]
 *   in: kt frames [Y, X, C], zeros around; w: [O, kt, ky, kx, C]; out: [Y, X, O], or out += .
 *
 * A product without gathered rows: for one tap, the rows of A are the picture itself, moved. The
 * copy engine reads a box of it and gives zeros past the picture's edges.
 *
 * Work      one tile: BY x 16 points, N outputs. Tiles that differ in outputs lie side by side, so
 *           that CTAs at work at one time share points in L2; then x, then y.
 * Grid      persistent, one CTA an SM; CTA c takes tiles c, c + CTAs, ..
 * CTA       warp 0 loads; 2 or 3 warpgroups compute MB blocks of 64 points (4 lines of 16) each.
 * Steps     for dt, 64 channels, dx: a box of A, BY + ky - 1 lines of 16 points, serves all dy, as
 *           a step of a line is 2 KiB and keeps the swizzle's phase; for each dy a box of B, N
 *           outputs. A's traffic through L2 is a third of a product's with gathered rows.
 * Shared    A stages of (BY + 2) * 2 KiB, B stages of N * 128 bytes: 209 to 226 KiB of 227.
 * Registers 24 for the loading warpgroup, sums 96 or 192 a thread of the others.
 * Bits      depend on the shape alone: one thread adds a point's products in a fixed order.
 *
 * Measured  H100 80GB HBM3, driver 580.159.04, random bf16, median of 11, against cuDNN 9 through
 *           PyTorch 2.11 (channels last, benchmark mode) on the same card; TFLOP/s:
 *             480 x 832,  96 ->  96, 3 x 3 x 3   0.300 ms   663   cuDNN 294
 *             240 x 416, 192 -> 192, 3 x 3 x 3   0.249 ms   798   cuDNN 514
 *             120 x 208, 384 -> 384, 3 x 3 x 3   0.238 ms   836   cuDNN 602
 *              60 x 104, 384 -> 384, 3 x 3 x 3   0.077 ms   644   cuDNN 532
 *             480 x 832, 192 ->  96, 1 x 3 x 3   0.202 ms   655   cuDNN 541
 *             480 x 832,  96 ->   3, 3 x 3 x 3   0.170 ms    36   cuDNN  19; bound by A's traffic
 * Traps     Fence, products and commit of a group have to be one basic block, else ptxas adds
 *           fences of its own (C7519), which cmake/nvcc-strict.sh refuses. */
#include "conv.h"

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstring>

#include "engine/attention/cuda/sm90/ptx.cuh"
#include "engine/attention/cuda/sm90/wgmma.cuh"
#include "engine/runtime/cuda/tensor_map.cuh"
#include "wgmma_shared.cuh"

namespace conv_sm90 {

constexpr int kLine = 16;          /* points of a tile's line                   */
constexpr int kChunk = 64;         /* channels of a step: 128 bytes, a swizzle  */
constexpr int kLineBytes = kLine * kChunk * 2;

/* What a kernel is made for: N outputs, BY lines, WGS warpgroups of MB blocks; stages of A and B.
 */
template <int N_, int WGS_, int MB_, int SA_, int SB_> struct Shape {
    static constexpr int N = N_, WGS = WGS_, MB = MB_, SA = SA_, SB = SB_;
    static constexpr int BY = WGS * MB * 4;
    static constexpr int kThreads = 128 * (1 + WGS);
    static constexpr int kRegsLoad = 24, kRegsCompute = WGS == 2 ? 240 : 160;
    static_assert(kRegsLoad + WGS * kRegsCompute <= 65536 / 128, "registers of an SM");
    static_assert(BY + 2 <= 256 && N <= 256, "a box's extents");
};

struct Args {
    CUtensorMap in[LV_CUDA_CONV_FRAMES], weight;
    void *out;
    const float *bias;
    int height, width, outputs;
    int kt, ky, kx, chunks, last_steps; /* of 16 channels, in the last chunk: 2 or 4 */
    int tiles_x, tiles_n, tiles;
    int add, f32;
};

template <class S> struct Shared {
    alignas(1024) uint8_t a[S::SA][(S::BY + 2) * kLineBytes];
    alignas(1024) uint8_t b[S::SB][S::N * kChunk * 2];
    alignas(8) uint64_t a_full[S::SA], a_empty[S::SA], b_full[S::SB], b_empty[S::SB];
};

__device__ __forceinline__ uint32_t uniform(uint32_t x) { return __reduce_max_sync(~0u, x); }

__device__ __forceinline__ void load_box(uint32_t dst, const CUtensorMap *map, int c0, int c1,
                                         int c2, uint32_t bar)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(dst),
                 "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(bar)
                 : "memory");
}

/* A ring of stages: which, and the parity of its turn. */
template <int kStages> struct Ring {
    int stage = 0;
    uint32_t parity = 0;
    __device__ __forceinline__ void next()
    {
        if (++stage == kStages) stage = 0, parity ^= 1;
    }
};

struct Tile {
    int x, y, n; /* its first point and output */
    __device__ __forceinline__ Tile(const Args &a, int index, int lines, int outputs)
    {
        const int place = index / a.tiles_n;
        n = (index - place * a.tiles_n) * outputs;
        y = place / a.tiles_x * lines;
        x = (place - place / a.tiles_x * a.tiles_x) * kLine;
    }
};

/* One thread: all boxes of A and B, in the order in which they are used. */
template <class S> __device__ __forceinline__ void load(const Args &a, Shared<S> &s)
{
    const int a_bytes = (S::BY + a.ky - 1) * kLineBytes;
    Ring<S::SA> ra;
    Ring<S::SB> rb;
    for (int index = blockIdx.x; index < a.tiles; index += gridDim.x) {
        const Tile t(a, index, S::BY, S::N);
        for (int dt = 0; dt < a.kt; dt++)
            for (int chunk = 0; chunk < a.chunks; chunk++)
                for (int dx = 0; dx < a.kx; dx++) {
                    ptx::bar_wait(ptx::addr(&s.a_empty[ra.stage]), ra.parity ^ 1);
                    ptx::bar_arrive_expect(ptx::addr(&s.a_full[ra.stage]), a_bytes);
                    load_box(ptx::addr(s.a[ra.stage]), &a.in[dt], chunk * kChunk,
                             t.x + dx - a.kx / 2, t.y - a.ky / 2,
                             ptx::addr(&s.a_full[ra.stage]));
                    ra.next();
                    for (int dy = 0; dy < a.ky; dy++) {
                        ptx::bar_wait(ptx::addr(&s.b_empty[rb.stage]), rb.parity ^ 1);
                        ptx::bar_arrive_expect(ptx::addr(&s.b_full[rb.stage]), S::N * kChunk * 2);
                        load_box(ptx::addr(s.b[rb.stage]), &a.weight, chunk * kChunk,
                                 (dt * a.ky + dy) * a.kx + dx, t.n,
                                 ptx::addr(&s.b_full[rb.stage]));
                        rb.next();
                    }
                }
    }
}

/* ---- the sums' way out ----------------------------------------------------------------------- */

/* v[i] of thread t of a quad becomes v[t] of thread i: pairs of columns that lie 8 apart in one
 * thread come to lie side by side, 16 bytes. */
__device__ __forceinline__ void transpose(uint32_t (&v)[4], int t)
{
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const uint32_t x = __shfl_xor_sync(~0u, t & 1 ? v[i] : v[i + 1], 1);
        (t & 1 ? v[i] : v[i + 1]) = x;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t x = __shfl_xor_sync(~0u, t & 2 ? v[i] : v[i + 2], 2);
        (t & 2 ? v[i] : v[i + 2]) = x;
    }
}

__device__ __forceinline__ uint32_t pack(float a, float b)
{
    const __nv_bfloat162 x = __floats2bfloat162_rn(a, b);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

__device__ __forceinline__ float2 unpack(uint32_t bits)
{
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u)};
}

/* 32 columns of one point, 8 a thread of the quad, of which `old` is what this one's held; the
 * thread of a pair of columns in `sum` is another. */
__device__ __forceinline__ uint4 finish_wide(const float (&sum)[8], uint4 old, int t, int add)
{
    uint32_t v[4] = {old.x, old.y, old.z, old.w};
    float x[8];
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = sum[i];
    if (add) {
        transpose(v, t);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 y = unpack(v[i]);
            x[2 * i] += y.x, x[2 * i + 1] += y.y;
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = pack(x[2 * i], x[2 * i + 1]);
    transpose(v, t);
    return make_uint4(v[0], v[1], v[2], v[3]);
}

/* Any number of outputs, and f32: one at a time. */
template <class T>
__device__ __forceinline__ void store_one(T *to, float sum, bool inside, int add)
{
    if (inside) *to = static_cast<T>(add ? sum + static_cast<float>(*to) : sum);
}

/* The sums of one point, `first` its first output among all: 32 columns at a time. All that is to
 * be added is on its way before the first of it is needed. */
template <int N>
__device__ __forceinline__ void store_point_wide(const Args &a, const float (&sum)[N / 2], int h,
                                                 int64_t first, int n, int lane, bool inside)
{
    const int t = lane & 3;
    __nv_bfloat16 *to = static_cast<__nv_bfloat16 *>(a.out) + first + 8 * t;
    uint4 old[N / 32];
#pragma unroll
    for (int g = 0; g < N / 32; g++) {
        old[g] = make_uint4(0, 0, 0, 0);
        if (a.add && inside && n + 32 * g + 8 * t < a.outputs)
            old[g] = *reinterpret_cast<const uint4 *>(to + 32 * g);
    }
#pragma unroll
    for (int g = 0; g < N / 32; g++) {
        float v[8];
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = sum[4 * (4 * g + i / 2) + 2 * h + i % 2];
        const uint4 x = finish_wide(v, old[g], t, a.add);
        if (inside && n + 32 * g + 8 * t < a.outputs) *reinterpret_cast<uint4 *>(to + 32 * g) = x;
    }
}

template <int N, class T>
__device__ __forceinline__ void store_point(const Args &a, const float (&sum)[N / 2], int h,
                                            int64_t first, int n, int lane, bool inside)
{
    T *to = static_cast<T *>(a.out) + first;
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
        const int at = 8 * j + 2 * (lane & 3);
        store_one(to + at, sum[4 * j + 2 * h], inside && n + at < a.outputs, a.add);
        store_one(to + at + 1, sum[4 * j + 2 * h + 1], inside && n + at + 1 < a.outputs, a.add);
    }
}

/* Rows of the block: row 16 w + l / 4 + 8 h of warp w, lane l is point (w, l / 4 + 8 h) of the
 * block's four lines; sums 4 j + 2 h + i are its columns 8 j + 2 (l & 3) + i. */
template <int N>
__device__ __forceinline__ void store_block(const Args &a, const float (&sum)[N / 2], int x, int y,
                                            int n, int warp, int lane)
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int px = x + (lane >> 2) + 8 * h, py = y + warp;
        const bool inside = px < a.width && py < a.height;
        const int64_t first = ((int64_t)py * a.width + px) * a.outputs + n;
        if (a.f32) {
            store_point<N, float>(a, sum, h, first, n, lane, inside);
            continue;
        }
        if constexpr (N % 32 == 0)
            if (a.outputs % 8 == 0) {
                store_point_wide<N>(a, sum, h, first, n, lane, inside);
                continue;
            }
        store_point<N, __nv_bfloat16>(a, sum, h, first, n, lane, inside);
    }
}

/* ---- the products ---------------------------------------------------------------------------- */

/* Sums begin with the bias, which is so loaded once for all rows: column `at` is the thread's
 * first, see store_block(). */
template <int MB, int SUMS>
__device__ __forceinline__ void begin_sums(float (&sum)[MB][SUMS], const Args &a, int at)
{
#pragma unroll
    for (int j = 0; j < SUMS / 4; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int column = at + 8 * j + i;
            const float b = a.bias && column < a.outputs ? __ldg(a.bias + column) : 0.f;
#pragma unroll
            for (int m = 0; m < MB; m++) sum[m][4 * j + i] = sum[m][4 * j + 2 + i] = b;
        }
}

/* One tap of 16 * kSteps channels, a group of products: fence and commit stand in one basic block
 * with them, else ptxas adds its own (C7519). */
template <int kSteps, int MB, int SUMS>
__device__ __forceinline__ void multiply(float (&sum)[MB][SUMS], uint64_t a, uint64_t b)
{
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < kSteps; k++)
#pragma unroll
        for (int m = 0; m < MB; m++)
            ptx::wgmma_shared(sum[m], a + (uint32_t)(m * 4 * kLineBytes + k * 32 >> 4),
                              b + (uint32_t)(k * 32 >> 4));
    ptx::wgmma_commit();
}

template <class S> __device__ __forceinline__ void consume(const Args &a, Shared<S> &s)
{
    const int group = (int)uniform(threadIdx.x >> 7) - 1;
    const int tid = threadIdx.x & 127, lane = tid & 31;
    const int warp = (int)uniform((uint32_t)tid >> 5);
    const uint64_t ad = ptx::desc(ptx::addr(s.a[0]), 16, 1024) +
                        (uint32_t)(group * S::MB * 4 * kLineBytes >> 4);
    const uint64_t bd = ptx::desc(ptx::addr(s.b[0]), 16, 1024);
    Ring<S::SA> ra;
    Ring<S::SB> rb;
    float sum[S::MB][S::N / 2];

    auto release = [&](uint32_t bar) {
        if (tid == 0 && bar) ptx::bar_arrive(bar);
    };
    for (int index = blockIdx.x; index < a.tiles; index += gridDim.x) {
        const Tile t(a, index, S::BY, S::N);
        const int boxes = a.kt * a.chunks * a.kx;
        int chunk_left = a.kx, chunk = 0;
        begin_sums(sum, a, t.n + 2 * (lane & 3));
        uint32_t a_used = 0, b_used = 0; /* barriers of what the products in flight read */
        for (int box = 0; box < boxes; box++) {
            const int steps = chunk == a.chunks - 1 ? a.last_steps : 4;
            if (--chunk_left == 0) {
                chunk_left = a.kx;
                if (++chunk == a.chunks) chunk = 0;
            }
            ptx::bar_wait(ptx::addr(&s.a_full[ra.stage]), ra.parity);
            for (int dy = 0; dy < a.ky; dy++) {
                ptx::bar_wait(ptx::addr(&s.b_full[rb.stage]), rb.parity);
                const uint64_t da =
                    ad + (uint32_t)(ra.stage * (int)sizeof s.a[0] + dy * kLineBytes >> 4);
                const uint64_t db = bd + (uint32_t)(rb.stage * (int)sizeof s.b[0] >> 4);
                if (steps == 4) multiply<4>(sum, da, db);
                else multiply<2>(sum, da, db);
                ptx::wgmma_wait<1>();
                release(b_used);
                release(a_used);
                b_used = ptx::addr(&s.b_empty[rb.stage]);
                a_used = dy == a.ky - 1 ? ptx::addr(&s.a_empty[ra.stage]) : 0;
                rb.next();
            }
            ra.next();
        }
        ptx::wgmma_wait<0>();
#pragma unroll
        for (int m = 0; m < S::MB; m++) ptx::pin(sum[m]);
        release(b_used);
        release(a_used);
#pragma unroll
        for (int m = 0; m < S::MB; m++)
            store_block<S::N>(a, sum[m], t.x, t.y + (group * S::MB + m) * 4, t.n, warp, lane);
    }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) conv(const __grid_constant__ Args a)
{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    extern __shared__ uint8_t raw[];
    Shared<S> &s = *reinterpret_cast<Shared<S> *>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                                  ~uintptr_t(1023));
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::SA; i++) {
            ptx::bar_init(ptx::addr(&s.a_full[i]), 1);
            ptx::bar_init(ptx::addr(&s.a_empty[i]), S::WGS);
        }
        for (int i = 0; i < S::SB; i++) {
            ptx::bar_init(ptx::addr(&s.b_full[i]), 1);
            ptx::bar_init(ptx::addr(&s.b_empty[i]), S::WGS);
        }
        ptx::bar_init_done();
    }
    __syncthreads();
    if (uniform(threadIdx.x >> 5) < 4) {
        ptx::regs_give<S::kRegsLoad>();
        if (threadIdx.x == 0) load(a, s);
    } else {
        ptx::regs_take<S::kRegsCompute>();
        consume(a, s);
    }
#else
    __trap(); /* a build for another architecture, which the launcher refuses */
#endif
}

/* ---- host ------------------------------------------------------------------------------------ */

/* [d2, d1, d0] bf16, contiguous; boxes of 64 of d0. */
static bool map_make(CUtensorMap *map, const void *data, int d0, int d1, int d2, int box1, int box2)
{
    const cuuint64_t dim[3] = {(cuuint64_t)d0, (cuuint64_t)d1, (cuuint64_t)d2};
    const cuuint64_t stride[2] = {dim[0] * 2, dim[0] * dim[1] * 2};
    const cuuint32_t box[3] = {kChunk, (cuuint32_t)box1, (cuuint32_t)box2}, one[3] = {1, 1, 1};
    return encode_find()(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void *>(data), dim,
                         stride, box, one, CU_TENSOR_MAP_INTERLEAVE_NONE,
                         CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

static int ceil_div(int a, int b) { return (a + b - 1) / b; }

template <class S> static int count_tiles(const lv_cuda_conv *c)
{
    return ceil_div(c->height, S::BY) * ceil_div(c->width, kLine) * ceil_div(c->outputs, S::N);
}

/* Time in units of a point times an output on one SM. */
template <class S> static int64_t cost(const lv_cuda_conv *c, int sms)
{
    return (int64_t)ceil_div(count_tiles<S>(c), sms) * S::BY * kLine * S::N;
}

template <class S> static const char *launch(const lv_cuda_conv *c, int sms, cudaStream_t stream)
{
    Args a;
    for (int t = 0; t < c->kt; t++)
        if (!map_make(&a.in[t], c->in[t], c->channels, c->width, c->height, kLine,
                      S::BY + c->ky - 1))
            return "the driver refuses a tensor map of a convolution's input";
    if (!map_make(&a.weight, c->weight, c->channels, c->kt * c->ky * c->kx, c->outputs, 1, S::N))
        return "the driver refuses a tensor map of a convolution's weights";
    a.out = c->out;
    a.bias = c->bias;
    a.height = c->height, a.width = c->width, a.outputs = c->outputs;
    a.kt = c->kt, a.ky = c->ky, a.kx = c->kx;
    a.chunks = ceil_div(c->channels, kChunk);
    a.last_steps = c->channels - (a.chunks - 1) * kChunk > kChunk / 2 ? 4 : 2; /* zeros past C */
    a.tiles_x = ceil_div(c->width, kLine), a.tiles_n = ceil_div(c->outputs, S::N);
    a.tiles = count_tiles<S>(c);
    a.add = c->add, a.f32 = c->f32;
    const int shared = (int)sizeof(Shared<S>) + 1024;
    static_assert(sizeof(Shared<S>) + 1024 <= 227 * 1024, "shared memory of an H100 SM");
    cudaError_t e =
        cudaFuncSetAttribute(conv<S>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (e != cudaSuccess) return cudaGetErrorString(e);
    conv<S><<<a.tiles < sms ? a.tiles : sms, S::kThreads, shared, stream>>>(a);
    e = cudaGetLastError();
    return e == cudaSuccess ? nullptr : cudaGetErrorString(e);
}

/* For 3 outputs and such; widths of 96; and others, by what the last wave leaves idle. */
typedef Shape<16, 2, 4, 3, 6> Thin;
typedef Shape<96, 2, 4, 2, 7> Medium;
typedef Shape<192, 2, 2, 2, 6> Wide256;
typedef Shape<192, 3, 1, 3, 5> Wide192;
typedef Shape<192, 2, 1, 3, 6> Wide128;

} /* namespace conv_sm90 */

const char *lv_conv_bf16_sm90(const lv_cuda_conv *c, void *stream)
{
    using namespace conv_sm90;
    const cudaStream_t s = static_cast<cudaStream_t>(stream);
    int device = 0, sms = 0;
    if (c->channels % 8 != 0 || c->kt > LV_CUDA_CONV_FRAMES || c->ky > 3)
        return "a convolution on sm_90 wants channels in eights and a kernel of 3 x 3 at most";
    if (!encode_find()) return "the driver has no cuTensorMapEncodeTiled (CUDA 12.0)";
    cudaError_t e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
    if (e != cudaSuccess) return cudaGetErrorString(e);
    if (c->outputs <= 16) return launch<Thin>(c, sms, s);
    if (c->outputs <= 96) return launch<Medium>(c, sms, s);
    const int64_t c256 = cost<Wide256>(c, sms), c192 = cost<Wide192>(c, sms),
                  c128 = cost<Wide128>(c, sms);
    if (c256 <= c192 && c256 <= c128) return launch<Wide256>(c, sms, s);
    return c192 <= c128 ? launch<Wide192>(c, sms, s) : launch<Wide128>(c, sms, s);
}
