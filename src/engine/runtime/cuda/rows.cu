/* rows.cu: norms, which read a row and write it once, and the small attention of text encoders.
 *
 *     layer_norm   out = ((x - mean) / sqrt(variance + eps) * weight + bias) * (1 + scale) + shift
 *     norm_rope    out = x / sqrt(mean(x^2) + eps) * weight, then each pair of a head is turned
 *
 * bf16 rows of whole vectors of 8 stay in registers between the two: kWarps warps hold a row, every
 * lane kVectors vectors. One warp a row needs neither shared memory nor barriers; 1,536 numbers are
 * 6 vectors a lane. Statistics are f32. Bound by memory: 4 bytes a number.
 *
 * Measured (bench_cuda_layers 32768 1536 8960 12, H100 80GB HBM3): a copy 2,860 GB/s; layer_norm
 * with scale and shift 2,640, 92 % of it; norm_rope in place 2,655, 93 %; without a rope 96 %.
 *
 * To e4m3 a row takes its largest number, too, before it is written: 3 bytes a number, and what is
 * written is kept as f32 until then. 33,792 rows, in ms and GB/s, warps x vectors:
 *     layer_norm, 1,536      2 x 3 0.0715, 2,179; 1 x 6 0.0763; 4 x 2 0.087; computed twice 0.083
 *     GELU, 8,960            8 x 5 0.310, 2,935; 4 x 9 0.344; 16 x 3 0.448; by exact divisions 1.17
 *     no GELU, 1,536         1 x 6 0.057, 2,714
 *
 * Anything else (f32, odd widths, heads whose pairs a vector would cut) goes a block a row, from
 * memory; only texts and tests are like that. */
#include "engine/runtime/cuda/gpu.cuh"

#include <cuda_fp8.h>

/* Threads of a block of rows in registers, which kWarps warps each hold. */
__host__ __device__ constexpr int threads_of(int warps) { return warps > 4 ? 32 * warps : 128; }

constexpr int kVector = 8; /* bf16 numbers in 16 bytes */
constexpr int kAnyThreads = 256;

struct modulation {
    const float *weight, *bias, *scale, *shift; /* [width] or NULL */
    float eps;
};

/* See lv_rope; position of a token on each axis, then a table's row. */
struct rotation {
    const float *cosine[3], *sine[3];
    int pairs[3];
    int height, width, dim; /* Y, X, D; D 0: no rotation */
    int64_t first;          /* token of row 0            */
};

/* ---- sums ------------------------------------------------------------------------------------ */

__device__ static float sum_of_warp(float x)
{
    for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
    return x;
}

/* Over kWarps neighbouring warps; every thread of them gets the sum, always added in one order. */
template <int kWarps> __device__ static float sum_of_row(float x, float *shared)
{
    x = sum_of_warp(x);
    if (kWarps == 1) return x;
    const int warp = threadIdx.x / 32, group = warp / kWarps * kWarps;
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[warp] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < kWarps; i++) sum += shared[group + i];
    return sum;
}

__device__ static float max_of_warp(float x)
{
    for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, i));
    return x;
}

/* The same of the largest. */
template <int kWarps> __device__ static float max_of_row(float x, float *shared)
{
    x = max_of_warp(x);
    if (kWarps == 1) return x;
    const int warp = threadIdx.x / 32, group = warp / kWarps * kWarps;
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[warp] = x;
    __syncthreads();
    for (int i = 0; i < kWarps; i++) x = fmaxf(x, shared[group + i]);
    return x;
}

/* ---- rows in registers ----------------------------------------------------------------------- */

union vector {
    uint4 bits;
    __nv_bfloat162 pair[kVector / 2];
};

__device__ static float2 get(const vector &v, int pair) { return __bfloat1622float2(v.pair[pair]); }

/* The thread's place: which row, and which lane of those that hold it. */
template <int kWarps> struct place {
    int64_t row =
        blockIdx.x * int64_t(threads_of(kWarps) / 32 / kWarps) + threadIdx.x / (32 * kWarps);
    int lane = threadIdx.x % (32 * kWarps);
};

/* A row past the end reads the last one and writes nothing: all threads meet at the barriers. */
template <int kWarps, int kVectors>
__device__ static void load_row(vector (&v)[kVectors], const __nv_bfloat16 *x, int lane, int width)
{
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + lane) * kVector;
        v[i].bits = make_uint4(0, 0, 0, 0);
        if (at < width) v[i].bits = __ldcs(reinterpret_cast<const uint4 *>(x + at));
    }
}

__device__ static void load8(float (&to)[kVector], const float *from)
{
    const float4 a = __ldg(reinterpret_cast<const float4 *>(from)),
                 b = __ldg(reinterpret_cast<const float4 *>(from) + 1);
    to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
    to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

__device__ static void modulate(float (&x)[kVector], const modulation &m, int at)
{
    float f[kVector];
    if (m.weight) {
        load8(f, m.weight + at);
        for (int j = 0; j < kVector; j++) x[j] *= f[j];
    }
    if (m.bias) {
        load8(f, m.bias + at);
        for (int j = 0; j < kVector; j++) x[j] += f[j];
    }
    if (m.scale) {
        load8(f, m.scale + at);
        for (int j = 0; j < kVector; j++) x[j] *= 1.0f + f[j];
    }
    if (m.shift) {
        load8(f, m.shift + at);
        for (int j = 0; j < kVector; j++) x[j] += f[j];
    }
}

__device__ static void store8(__nv_bfloat16 *to, const float (&x)[kVector])
{
    vector v;
    for (int j = 0; j < kVector / 2; j++)
        v.pair[j] = __floats2bfloat162_rn(x[2 * j], x[2 * j + 1]);
    *reinterpret_cast<uint4 *>(to) = v.bits;
}

/* Where rows go: bf16, or e4m3 with a scale each. */
struct bf16_rows {
    __nv_bfloat16 *data;
};
struct e4m3_rows {
    __nv_fp8_storage_t *data;
    float *scale;
};

__device__ static void store8(__nv_fp8_storage_t *to, const float (&x)[kVector], float factor)
{
    uint2 bits;
    uint16_t *pair = reinterpret_cast<uint16_t *>(&bits);
    for (int j = 0; j < kVector / 2; j++)
        pair[j] = __nv_cvt_float2_to_fp8x2(make_float2(x[2 * j] * factor, x[2 * j + 1] * factor),
                                           __NV_SATFINITE, __NV_E4M3);
    *reinterpret_cast<uint2 *>(to) = bits;
}

/* What a lane's vectors become, kept until the row's largest number is known. */
template <int kWarps, int kVectors, class Make>
__device__ static void store_row(e4m3_rows out, vector (&v)[kVectors], const place<kWarps> &p,
                                 int64_t rows, int width, float *shared, const Make &make)
{
    float size = 0.0f, f[kVectors][kVector];
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        if (at >= width) continue;
        make(f[i], v[i], at);
        for (int j = 0; j < kVector; j++) size = fmaxf(size, fabsf(f[i][j]));
    }
    const float factor = lv_e4m3_factor(max_of_row<kWarps>(size, shared));
    if (p.row >= rows) return;
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        if (at < width) store8(out.data + p.row * width + at, f[i], factor);
    }
    if (p.lane == 0) out.scale[p.row] = 1.0f / factor;
}

template <int kWarps, int kVectors, class Make>
__device__ static void store_row(bf16_rows out, vector (&v)[kVectors], const place<kWarps> &p,
                                 int64_t rows, int width, float *, const Make &make)
{
    float f[kVector];
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        if (at >= width || p.row >= rows) continue;
        make(f, v[i], at);
        store8(out.data + p.row * width + at, f);
    }
}

template <int kWarps, int kVectors, class Rows>
__global__ static void __launch_bounds__(threads_of(kWarps))
    layer_norm(Rows out, const __nv_bfloat16 *x, modulation m, int64_t rows, int width)
{
    __shared__ float shared[threads_of(kWarps) / 32];
    const place<kWarps> p;
    vector v[kVectors];
    float sum = 0.0f, square = 0.0f;
    load_row<kWarps>(v, x + (p.row < rows ? p.row : rows - 1) * width, p.lane, width);
    for (int i = 0; i < kVectors; i++)
        for (int j = 0; j < kVector / 2; j++) {
            const float2 a = get(v[i], j);
            sum += a.x + a.y;
        }
    const float mean = sum_of_row<kWarps>(sum, shared) / float(width);
    for (int i = 0; i < kVectors; i++)
        for (int j = 0; j < kVector / 2 && (i * 32 * kWarps + p.lane) * kVector < width; j++) {
            const float2 a = get(v[i], j);
            square += (a.x - mean) * (a.x - mean) + (a.y - mean) * (a.y - mean);
        }
    const float inverse =
        1.0f / sqrtf(sum_of_row<kWarps>(square, shared) / float(width) + m.eps);
    const auto make = [&](float(&f)[kVector], const vector &from, int at) {
        for (int j = 0; j < kVector / 2; j++) {
            const float2 a = get(from, j);
            f[2 * j] = (a.x - mean) * inverse, f[2 * j + 1] = (a.y - mean) * inverse;
        }
        modulate(f, m, at);
    };
    store_row<kWarps, kVectors>(out, v, p, rows, width, shared, make);
}

/* f(x + bias), GELU or nothing; bias may be NULL. */
template <int kWarps, int kVectors, bool kGelu>
__global__ static void __launch_bounds__(threads_of(kWarps))
    activate(e4m3_rows out, const __nv_bfloat16 *x, const float *bias, int64_t rows, int width)
{
    __shared__ float shared[threads_of(kWarps) / 32];
    const place<kWarps> p;
    vector v[kVectors];
    load_row<kWarps>(v, x + (p.row < rows ? p.row : rows - 1) * width, p.lane, width);
    float y[kVectors][kVector], size = 0.0f;
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        float b[kVector] = {};
        if (bias && at < width) load8(b, bias + at);
        for (int j = 0; j < kVector; j++) {
            const float2 a = get(v[i], j / 2);
            y[i][j] = (j % 2 ? a.y : a.x) + b[j];
            if (kGelu) y[i][j] = lv_gelu_tanh(y[i][j]);
            size = fmaxf(size, fabsf(y[i][j]));
        }
    }
    const float factor = lv_e4m3_factor(max_of_row<kWarps>(size, shared));
    if (p.row >= rows) return;
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        if (at < width) store8(out.data + p.row * width + at, y[i], factor);
    }
    if (p.lane == 0) out.scale[p.row] = 1.0f / factor;
}

/* Cosines and sines of the head's pairs first .. first + 3 of a token. */
__device__ static void load_angles(float (&c)[4], float (&s)[4], const rotation &r,
                                   const int (&position)[3], int first)
{
    for (int j = 0; j < 4; j++) {
        int pair = first + j, axis = 0;
        if (pair >= r.pairs[0]) pair -= r.pairs[0], axis = 1;
        if (axis == 1 && pair >= r.pairs[1]) pair -= r.pairs[1], axis = 2;
        const int pairs = axis == 0 ? r.pairs[0] : axis == 1 ? r.pairs[1] : r.pairs[2];
        const int row = axis == 0 ? position[0] : axis == 1 ? position[1] : position[2];
        const float *cosine = axis == 0 ? r.cosine[0] : axis == 1 ? r.cosine[1] : r.cosine[2];
        const float *sine = axis == 0 ? r.sine[0] : axis == 1 ? r.sine[1] : r.sine[2];
        c[j] = __ldg(cosine + row * pairs + pair);
        s[j] = __ldg(sine + row * pairs + pair);
    }
}

__device__ static void find_position(int (&position)[3], const rotation &r, int64_t row)
{
    const int64_t token = r.first + row;
    const int in_frame = int(token % (int64_t(r.height) * r.width));
    position[0] = int(token / (int64_t(r.height) * r.width));
    position[1] = in_frame / r.width;
    position[2] = in_frame % r.width;
}

template <int kWarps, int kVectors>
__global__ static void __launch_bounds__(threads_of(kWarps))
    norm_rope(__nv_bfloat16 *out, const __nv_bfloat16 *x, const float *weight, float eps,
              rotation r, int64_t rows, int width)
{
    __shared__ float shared[threads_of(kWarps) / 32];
    const place<kWarps> p;
    const int64_t row = p.row < rows ? p.row : rows - 1, start = row * width;
    vector v[kVectors];
    float square = 0.0f, c[4], s[4];
    int position[3] = {};
    load_row<kWarps>(v, x + start, p.lane, width);
    if (r.dim) find_position(position, r, row);
    for (int i = 0; i < kVectors; i++)
        for (int j = 0; j < kVector / 2; j++) {
            const float2 a = get(v[i], j);
            square += a.x * a.x + a.y * a.y;
        }
    const float inverse = 1.0f / sqrtf(sum_of_row<kWarps>(square, shared) / float(width) + eps);
    const bool same = r.dim && 32 * kWarps * kVector % r.dim == 0; /* pairs, for every vector */
#pragma unroll
    for (int i = 0; i < kVectors; i++) {
        const int at = (i * 32 * kWarps + p.lane) * kVector;
        float f[kVector], w[kVector];
        if (at >= width || p.row >= rows) continue;
        load8(w, weight + at);
        if (r.dim && (i == 0 || !same)) load_angles(c, s, r, position, at % r.dim / 2);
        for (int j = 0; j < kVector / 2; j++) {
            const float2 a = get(v[i], j);
            const float x0 = a.x * inverse * w[2 * j], x1 = a.y * inverse * w[2 * j + 1];
            f[2 * j] = r.dim ? x0 * c[j] - x1 * s[j] : x0;
            f[2 * j + 1] = r.dim ? x0 * s[j] + x1 * c[j] : x1;
        }
        store8(out + start + at, f);
    }
}

/* ---- rows of anything, from memory ----------------------------------------------------------- */

__device__ static float sum_of_block(float x, float *shared)
{
    return sum_of_row<kAnyThreads / 32>(x, shared);
}

__global__ static void __launch_bounds__(kAnyThreads)
    layer_norm_any(lv_numbers out, lv_numbers x, modulation m, int64_t width)
{
    __shared__ float shared[kAnyThreads / 32];
    const int64_t start = int64_t(blockIdx.x) * width;
    float sum = 0.0f, square = 0.0f;
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads) sum += x.load(start + i);
    const float mean = sum_of_block(sum, shared) / float(width);
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads) {
        const float d = x.load(start + i) - mean;
        square += d * d;
    }
    const float inverse = 1.0f / sqrtf(sum_of_block(square, shared) / float(width) + m.eps);
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads) {
        float f = (x.load(start + i) - mean) * inverse;
        if (m.weight) f *= m.weight[i];
        if (m.bias) f += m.bias[i];
        if (m.scale) f *= 1.0f + m.scale[i];
        if (m.shift) f += m.shift[i];
        out.store(start + i, f);
    }
}

__global__ static void __launch_bounds__(kAnyThreads)
    activate_any(e4m3_rows out, lv_numbers x, const float *bias, lv_activation f, int64_t width)
{
    __shared__ float shared[kAnyThreads / 32];
    const int64_t start = int64_t(blockIdx.x) * width;
    float size = 0.0f;
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads)
        size = fmaxf(size, fabsf(lv_activate(x.load(start + i) + (bias ? bias[i] : 0.0f), f)));
    const float factor = lv_e4m3_factor(max_of_row<kAnyThreads / 32>(size, shared));
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads) {
        const float y = lv_activate(x.load(start + i) + (bias ? bias[i] : 0.0f), f);
        out.data[start + i] = __nv_cvt_float_to_fp8(y * factor, __NV_SATFINITE, __NV_E4M3);
    }
    if (threadIdx.x == 0) out.scale[blockIdx.x] = 1.0f / factor;
}

/* Widths are even where there is a rotation; otherwise a last single number has no pair. */
__global__ static void __launch_bounds__(kAnyThreads)
    norm_rope_any(lv_numbers out, lv_numbers x, const float *weight, float eps, rotation r,
                  int64_t width)
{
    __shared__ float shared[kAnyThreads / 32];
    const int64_t start = int64_t(blockIdx.x) * width;
    float square = 0.0f;
    int position[3] = {};
    for (int64_t i = threadIdx.x; i < width; i += kAnyThreads) {
        const float a = x.load(start + i);
        square += a * a;
    }
    const float inverse = 1.0f / sqrtf(sum_of_block(square, shared) / float(width) + eps);
    if (r.dim) find_position(position, r, blockIdx.x);
    for (int64_t i = 2 * threadIdx.x; i < width; i += 2 * kAnyThreads) {
        const float a = x.load(start + i) * inverse * weight[i];
        if (i + 1 == width) {
            out.store(start + i, a);
            break;
        }
        const float b = x.load(start + i + 1) * inverse * weight[i + 1];
        float c = 1.0f, s = 0.0f;
        if (r.dim) {
            int pair = int(i % r.dim / 2), axis = 0;
            while (pair >= r.pairs[axis]) pair -= r.pairs[axis++];
            c = r.cosine[axis][position[axis] * r.pairs[axis] + pair];
            s = r.sine[axis][position[axis] * r.pairs[axis] + pair];
        }
        out.store(start + i, a * c - b * s);
        out.store(start + i + 1, a * s + b * c);
    }
}

/* ---- launches -------------------------------------------------------------------------------- */

static bool aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

/* Whether rows go through registers. */
static bool fits(lv_tensor out, lv_tensor x)
{
    return x.dtype == LVSA_BF16 && (out.dtype == LVSA_BF16 || out.dtype == LV_E4M3) &&
           x.shape[1] % kVector == 0 && x.shape[1] <= 4 * 14 * 32 * kVector && aligned(x.data) &&
           aligned(out.data);
}

#define LAUNCH_AS(kernel, warps, vectors, gpu, rows, ...)                                          \
    kernel<warps, vectors>                                                                         \
        <<<unsigned(((rows) * 32 * warps + threads_of(warps) - 1) / threads_of(warps)),            \
           threads_of(warps), 0, (gpu)->stream>>>(__VA_ARGS__)

/* kernel<warps of a row, vectors of a lane>: the least that holds the width. What is kept as f32
 * takes twice the registers, and more warps. */
#define LAUNCH_ROWS(kernel, gpu, rows, width, ...)                                                 \
    do {                                                                                           \
        const int64_t vectors_ = ((width) + 32 * kVector - 1) / (32 * kVector);                    \
        if (vectors_ <= 2) LAUNCH_AS(kernel, 1, 2, gpu, rows, __VA_ARGS__);                        \
        else if (vectors_ <= 6) LAUNCH_AS(kernel, 1, 6, gpu, rows, __VA_ARGS__);                   \
        else if (vectors_ <= 20) LAUNCH_AS(kernel, 4, 5, gpu, rows, __VA_ARGS__);                  \
        else if (vectors_ <= 36) LAUNCH_AS(kernel, 4, 9, gpu, rows, __VA_ARGS__);                  \
        else LAUNCH_AS(kernel, 4, 14, gpu, rows, __VA_ARGS__);                                     \
    } while (0)
#define LAUNCH_KEPT_ROWS(kernel, gpu, rows, width, ...)                                            \
    do {                                                                                           \
        const int64_t vectors_ = ((width) + 32 * kVector - 1) / (32 * kVector);                    \
        if (vectors_ <= 2) LAUNCH_AS(kernel, 1, 2, gpu, rows, __VA_ARGS__);                        \
        else if (vectors_ <= 6) LAUNCH_AS(kernel, 2, 3, gpu, rows, __VA_ARGS__);                   \
        else if (vectors_ <= 20) LAUNCH_AS(kernel, 4, 5, gpu, rows, __VA_ARGS__);                  \
        else if (vectors_ <= 40) LAUNCH_AS(kernel, 8, 5, gpu, rows, __VA_ARGS__);                  \
        else LAUNCH_AS(kernel, 8, 7, gpu, rows, __VA_ARGS__);                                      \
    } while (0)

static __nv_bfloat16 *bf16(lv_tensor t) { return static_cast<__nv_bfloat16 *>(t.data); }
static e4m3_rows e4m3(lv_tensor t)
{
    return {static_cast<__nv_fp8_storage_t *>(t.data), t.scale};
}
static const float *f32(lv_tensor t) { return static_cast<const float *>(t.data); }

const char *lv_cuda_layer_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, const lv_layer_norm *n)
{
    const int64_t rows = x.shape[0], width = x.shape[1];
    const modulation m = {f32(n->weight), f32(n->bias), f32(n->scale), f32(n->shift), n->eps};
    if (rows == 0) return nullptr;
    const bool in_registers = fits(out, x) && aligned(m.weight) && aligned(m.bias) &&
                              aligned(m.scale) && aligned(m.shift);
    if (in_registers && out.dtype == LV_E4M3)
        LAUNCH_KEPT_ROWS(layer_norm, gpu, rows, width, e4m3(out), bf16(x), m, rows, int(width));
    else if (out.dtype == LV_E4M3)
        return "a norm to e4m3: rows of whole vectors of 8, 14,336 numbers at most, are wanted";
    else if (in_registers)
        LAUNCH_ROWS(layer_norm, gpu, rows, width, bf16_rows{bf16(out)}, bf16(x), m, rows,
                    int(width));
    else
        layer_norm_any<<<unsigned(rows), kAnyThreads, 0, gpu->stream>>>(lv_numbers(out),
                                                                       lv_numbers(x), m, width);
    return lv_cuda_launched();
}

template <int kWarps, int kVectors>
constexpr auto gelu_rows = activate<kWarps, kVectors, true>;
template <int kWarps, int kVectors>
constexpr auto plain_rows = activate<kWarps, kVectors, false>;

const char *lv_cuda_activate_rows(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor bias,
                                  lv_activation f)
{
    const int64_t rows = x.shape[0], width = x.shape[1];
    const float *b = f32(bias);
    if (rows == 0) return nullptr;
    if (fits(out, x) && aligned(b) && f == LV_GELU_TANH)
        LAUNCH_KEPT_ROWS(gelu_rows, gpu, rows, width, e4m3(out), bf16(x), b, rows, int(width));
    else if (fits(out, x) && aligned(b) && f == LV_LINEAR)
        LAUNCH_ROWS(plain_rows, gpu, rows, width, e4m3(out), bf16(x), b, rows, int(width));
    else activate_any<<<unsigned(rows), kAnyThreads, 0, gpu->stream>>>(e4m3(out), lv_numbers(x), b,
                                                                       f, width);
    return lv_cuda_launched();
}

static const char *launch_norm_rope(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight,
                                    float eps, const rotation &r)
{
    const int64_t rows = x.shape[0], width = x.shape[1];
    if (rows == 0) return nullptr;
    if (fits(out, x) && r.dim % kVector == 0 && aligned(weight.data))
        LAUNCH_ROWS(norm_rope, gpu, rows, width, bf16(out), bf16(x), f32(weight), eps, r, rows,
                    int(width));
    else
        norm_rope_any<<<unsigned(rows), kAnyThreads, 0, gpu->stream>>>(
            lv_numbers(out), lv_numbers(x), f32(weight), eps, r, width);
    return lv_cuda_launched();
}

const char *lv_cuda_rms_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight, float eps)
{
    return launch_norm_rope(gpu, out, x, weight, eps, rotation{});
}

const char *lv_cuda_norm_rope(lv_cuda *gpu, lv_tensor x, lv_tensor weight, float eps,
                              const lv_rope *rope, int64_t first, int64_t head_dim)
{
    rotation r = {};
    if (rope) {
        for (int axis = 0; axis < 3; axis++) {
            r.cosine[axis] = f32(rope->cosine[axis]), r.sine[axis] = f32(rope->sine[axis]);
            r.pairs[axis] = int(rope->cosine[axis].shape[1]);
        }
        r.height = int(rope->height), r.width = int(rope->width);
        r.dim = int(head_dim), r.first = first;
    }
    return launch_norm_rope(gpu, x, x, weight, eps, r);
}

/* ---- attention with a bias ------------------------------------------------------------------- */

/* One warp a query row and head; its scores in shared memory. The texts of T5 have some hundred
 * rows: 0.1 TFLOP in all its layers. */
__global__ static void __launch_bounds__(32)
    attention_biased(lv_numbers out, lv_numbers q, lv_numbers k, lv_numbers v, const float *bias,
                     int rows, int length, int dim, int stride, float scale)
{
    extern __shared__ float weight[]; /* [length] */
    const int row = blockIdx.x % rows, h = blockIdx.x / rows, lane = threadIdx.x;
    const int64_t at = int64_t(row) * stride + h * dim;
    float most = -INFINITY, sum = 0.0f;
    for (int j = lane; j < length; j += 32) {
        float s = 0.0f;
        for (int d = 0; d < dim; d++)
            s += q.load(at + d) * k.load(int64_t(j) * stride + h * dim + d);
        s = s * scale + (bias ? bias[(int64_t(h) * rows + row) * length + j] : 0.0f);
        weight[j] = s;
        most = fmaxf(most, s);
    }
    for (int i = 16; i > 0; i /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, i));
    for (int j = lane; j < length; j += 32) sum += weight[j] = expf(weight[j] - most);
    sum = sum_of_warp(sum);
    __syncwarp();
    for (int d = lane; d < dim; d += 32) {
        float o = 0.0f;
        for (int j = 0; j < length; j++)
            o += weight[j] * v.load(int64_t(j) * stride + h * dim + d);
        out.store(at + d, o / sum);
    }
}

const char *lv_cuda_attention_biased(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                     lv_tensor v, lv_tensor bias, int64_t heads, float scale)
{
    const int64_t rows = q.shape[0], length = k.shape[0], width = q.shape[1];
    /* Whole vectors of four: the compiler reads the last ones as such, past what is used. */
    const size_t shared = size_t(length + 3) / 4 * 4 * sizeof(float);
    if (rows == 0) return nullptr;
    if (shared > 48 * 1024) return "attention with a bias: more than 12,288 keys";
    if (rows * heads > INT32_MAX) return "attention with a bias: too many rows";
    attention_biased<<<unsigned(rows * heads), 32, shared, gpu->stream>>>(
        lv_numbers(out), lv_numbers(q), lv_numbers(k), lv_numbers(v), f32(bias), int(rows),
        int(length), int(width / heads), int(width), scale);
    return lv_cuda_launched();
}
