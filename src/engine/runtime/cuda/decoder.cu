/* decoder.cu: the operations of convolutional decoders but for the convolutions themselves. All are
 * bound by memory: 16 bytes a thread where the sizes allow, one number otherwise. */
#include "engine/runtime/cuda/conv.h"
#include "engine/runtime/cuda/numbers.cuh"

constexpr int kVector = 8; /* bf16 numbers in 16 bytes */

/* Whether a row of so many numbers, and so all rows, can be moved 16 bytes at a time. */
static bool in_vectors(lv_tensor t, int64_t row) { return t.dtype == LVSA_BF16 && row % 8 == 0; }

/* ---- convolutions ---------------------------------------------------------------------------- */

static const char *run_conv(lv_cuda *gpu, const lv_cuda_conv *c)
{
    if (c->channels % kVector != 0) return lv_conv_bf16_plain(c, gpu->stream);
    return c->ky <= 3 && c->capability == 90 ? lv_conv_bf16_sm90(c, gpu->stream)
                                             : lv_conv_bf16_sm80(c, gpu->stream);
}

const char *lv_cuda_conv_frame(lv_cuda *gpu, lv_tensor out, const lv_tensor *in, lv_tensor w,
                               lv_tensor b, bool add, int capability)
{
    lv_cuda_conv c = {};
    if (w.shape[1] > LV_CUDA_CONV_FRAMES) return "a kernel of more than 3 frames";
    for (int t = 0; t < w.shape[1]; t++) {
        if (in[t].dtype != LVSA_BF16 || w.dtype != LVSA_BF16) return "only bf16 is convolved";
        c.in[t] = in[t].data;
    }
    c.weight = w.data, c.bias = static_cast<const float *>(b.data), c.out = out.data;
    c.height = int(out.shape[1]), c.width = int(out.shape[2]);
    c.channels = int(w.shape[4]), c.outputs = int(w.shape[0]);
    c.kt = int(w.shape[1]), c.ky = int(w.shape[2]), c.kx = int(w.shape[3]);
    c.add = add, c.f32 = out.dtype == LVSA_F32, c.capability = capability;
    return run_conv(gpu, &c);
}

/* out[rows, outputs] = x[rows, channels] w[outputs, channels]^T as a convolution of one point, over
 * a picture of 16 points a line, a tile's width. */
static const char *multiply(lv_cuda *gpu, void *out, bool f32, const void *x, const void *w,
                            int64_t rows, int64_t outputs, int64_t channels, int capability)
{
    constexpr int kLine = 16;
    lv_cuda_conv c = {};
    c.in[0] = x, c.weight = w, c.out = out, c.f32 = f32, c.capability = capability;
    c.height = int(rows / kLine), c.width = kLine;
    c.channels = int(channels), c.outputs = int(outputs);
    c.kt = c.ky = c.kx = 1;
    if (c.height > 0) LV_CUDA_TRY(run_conv(gpu, &c));
    const int64_t done = int64_t(c.height) * kLine;
    if (done == rows) return nullptr;
    c.in[0] = static_cast<const __nv_bfloat16 *>(x) + done * channels;
    c.out = static_cast<char *>(out) + done * outputs * (f32 ? 4 : 2);
    c.height = 1, c.width = int(rows - done);
    return run_conv(gpu, &c);
}

/* ---- attention between the points of a picture ----------------------------------------------- */

/* Rows of scores at once: 50 MB of them at 6240 points. */
constexpr int64_t kRows = 2048;

/* Scores f32 [kRows, L], weights bf16 [kRows, P], v transposed bf16 [C, P]; L points, P the next
 * multiple of 8, past L zeros. */
struct picture_scratch {
    int64_t points, padded, rows;
    float *scores;
    __nv_bfloat16 *weights, *v;
    size_t bytes;
};

static picture_scratch lay_out(char *base, int64_t points, int64_t channels)
{
    picture_scratch s = {};
    const auto place = [&](size_t bytes) {
        char *at = base ? base + s.bytes : nullptr;
        s.bytes += (bytes + 255) / 256 * 256;
        return at;
    };
    s.points = points, s.padded = (points + kVector - 1) / kVector * kVector;
    s.rows = points < kRows ? points : kRows;
    s.scores = reinterpret_cast<float *>(place(size_t(s.rows * points) * 4));
    s.weights = reinterpret_cast<__nv_bfloat16 *>(place(size_t(s.rows * s.padded) * 2));
    s.v = reinterpret_cast<__nv_bfloat16 *>(place(size_t(channels * s.padded) * 2));
    return s;
}

size_t lv_cuda_attention_picture_scratch(int64_t points, int64_t channels)
{
    return lay_out(nullptr, points, channels).bytes;
}

/* to[c][i] = from[i][c], zeros for points past the last. */
__global__ static void transpose(__nv_bfloat16 *to, const __nv_bfloat16 *from, int64_t points,
                                 int64_t padded, int64_t channels)
{
    FOR_NUMBERS(i, padded * channels)
    {
        const int64_t c = i / padded, point = i % padded;
        to[i] = point < points ? from[point * channels + c] : __float2bfloat16(0.f);
    }
}

/* A value of all threads of the block. */
template <class Combine>
__device__ static float reduce(float x, float *shared, const Combine &combine)
{
    for (int step = 16; step > 0; step /= 2) x = combine(x, __shfl_xor_sync(~0u, x, step));
    __syncthreads(); /* what was there is read */
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int i = 1; i < kThreads / 32; i++) x = combine(x, shared[i]);
    return x;
}

/* weights = softmax(scale * scores), a block a row; zeros past the last point. */
__global__ static void __launch_bounds__(kThreads)
    soften(__nv_bfloat16 *weights, const float *scores, int64_t points, int64_t padded, float scale)
{
    __shared__ float shared[kThreads / 32];
    const float *row = scores + blockIdx.x * points;
    __nv_bfloat16 *to = weights + blockIdx.x * padded;
    float most = -INFINITY, sum = 0.f;
    for (int64_t i = threadIdx.x; i < points; i += kThreads) most = fmaxf(most, row[i]);
    most = reduce(most, shared, [](float a, float b) { return fmaxf(a, b); });
    for (int64_t i = threadIdx.x; i < points; i += kThreads) sum += __expf(scale * (row[i] - most));
    sum = reduce(sum, shared, [](float a, float b) { return a + b; });
    const float inverse = 1.0f / sum;
    for (int64_t i = threadIdx.x; i < padded; i += kThreads)
        to[i] = __float2bfloat16(i < points ? __expf(scale * (row[i] - most)) * inverse : 0.f);
}

const char *lv_cuda_attention_picture(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                      lv_tensor v, void *scratch, int capability)
{
    const int64_t queries = q.shape[0], points = k.shape[0], channels = k.shape[1];
    const picture_scratch s = lay_out(static_cast<char *>(scratch), points, channels);
    const float scale = 1.0f / sqrtf(float(channels));
    transpose<<<lv_cuda_blocks(gpu, s.padded * channels, kThreads), kThreads, 0, gpu->stream>>>(
        s.v, static_cast<const __nv_bfloat16 *>(v.data), points, s.padded, channels);
    LV_CUDA_TRY(lv_cuda_launched());
    for (int64_t first = 0; first < queries; first += s.rows) {
        const int64_t rows = queries - first < s.rows ? queries - first : s.rows;
        const auto part = [&](lv_tensor t) {
            return static_cast<__nv_bfloat16 *>(t.data) + first * channels;
        };
        LV_CUDA_TRY(multiply(gpu, s.scores, true, part(q), k.data, rows, points, channels,
                             capability));
        soften<<<unsigned(rows), kThreads, 0, gpu->stream>>>(s.weights, s.scores, points, s.padded,
                                                             scale);
        LV_CUDA_TRY(lv_cuda_launched());
        LV_CUDA_TRY(multiply(gpu, part(out), false, s.weights, s.v, rows, channels, s.padded,
                             capability));
    }
    return nullptr;
}

/* ---- norm ------------------------------------------------------------------------------------ */

/* By the processor's own reciprocal: an exact quotient costs as much as the memory does. */
__device__ static inline float quick_silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

/* kLanes lanes a point, kVectors vectors of 8 channels a lane; kAtOnce points of a lane are on
 * their way at a time. */
template <int kLanes, int kVectors, int kAtOnce>
__global__ static void __launch_bounds__(kThreads)
    channel_norm(__nv_bfloat16 *out, const __nv_bfloat16 *x, const float *weight, int64_t points,
                 int channels, lv_activation f)
{
    const int lane = threadIdx.x % kLanes;
    const int64_t stride = int64_t(gridDim.x) * (kThreads / kLanes);
    float w[kVectors][kVector];
#pragma unroll
    for (int i = 0; i < kVectors; i++)
#pragma unroll
        for (int j = 0; j < kVector; j++) {
            const int c = (i * kLanes + lane) * kVector + j;
            w[i][j] = c < channels ? weight[c] * sqrtf(float(channels)) : 0.f;
        }
    /* Whole warps go on together: the shuffles want all lanes. */
    const int64_t first = (blockIdx.x * int64_t(kThreads) + threadIdx.x) / kLanes;
    const int64_t warp_first = (blockIdx.x * int64_t(kThreads) + threadIdx.x / 32 * 32) / kLanes;
    for (int64_t skip = 0; warp_first + skip < points; skip += stride * kAtOnce) {
        uint4 bits[kAtOnce][kVectors];
#pragma unroll
        for (int u = 0; u < kAtOnce; u++)
#pragma unroll
            for (int i = 0; i < kVectors; i++) {
                const int c = (i * kLanes + lane) * kVector;
                const int64_t point = first + skip + u * stride;
                bits[u][i] = make_uint4(0, 0, 0, 0);
                if (c < channels && point < points)
                    bits[u][i] = *reinterpret_cast<const uint4 *>(x + point * channels + c);
            }
#pragma unroll
        for (int u = 0; u < kAtOnce; u++) {
            const int64_t point = first + skip + u * stride;
            float2 v[kVectors][kVector / 2];
            float square = 0.f;
#pragma unroll
            for (int i = 0; i < kVectors; i++) {
                __nv_bfloat162 pair[kVector / 2];
                memcpy(pair, &bits[u][i], sizeof pair);
#pragma unroll
                for (int j = 0; j < kVector / 2; j++) {
                    v[i][j] = __bfloat1622float2(pair[j]);
                    square += v[i][j].x * v[i][j].x + v[i][j].y * v[i][j].y;
                }
            }
#pragma unroll
            for (int step = kLanes / 2; step > 0; step /= 2)
                square += __shfl_xor_sync(~0u, square, step);
            const float inverse = 1.0f / fmaxf(sqrtf(square), 1e-12f);
#pragma unroll
            for (int i = 0; i < kVectors; i++) {
                const int c = (i * kLanes + lane) * kVector;
                __nv_bfloat162 pair[kVector / 2];
#pragma unroll
                for (int j = 0; j < kVector / 2; j++) {
                    float p = v[i][j].x * inverse * w[i][2 * j],
                          q = v[i][j].y * inverse * w[i][2 * j + 1];
                    if (f == LV_SILU) p = quick_silu(p), q = quick_silu(q);
                    pair[j] = __floats2bfloat162_rn(p, q);
                }
                uint4 result;
                memcpy(&result, pair, sizeof result);
                if (c < channels && point < points)
                    *reinterpret_cast<uint4 *>(out + point * channels + c) = result;
            }
        }
    }
}

/* Any number of channels, a thread a point. */
__global__ static void channel_norm_plain(lv_numbers out, lv_numbers x, const float *weight,
                                          int64_t points, int64_t channels, lv_activation f)
{
    FOR_NUMBERS(i, points)
    {
        float square = 0.f;
        for (int64_t c = 0; c < channels; c++) {
            const float a = x.load(i * channels + c);
            square += a * a;
        }
        const float inverse = sqrtf(float(channels)) / fmaxf(sqrtf(square), 1e-12f);
        for (int64_t c = 0; c < channels; c++) {
            const float a = x.load(i * channels + c) * inverse * weight[c];
            out.store(i * channels + c, f == LV_SILU        ? lv_silu(a)
                                        : f == LV_GELU_TANH ? lv_gelu_tanh(a)
                                                            : a);
        }
    }
}

template <int kLanes, int kVectors, int kAtOnce>
static const char *norm_in_vectors(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight,
                                   int64_t points, int channels, lv_activation f)
{
    const int64_t a_block = kThreads / kLanes, blocks = (points + a_block - 1) / a_block;
    const int64_t most = int64_t(gpu->processors) * 16;
    channel_norm<kLanes, kVectors, kAtOnce>
        <<<unsigned(blocks < most ? blocks : most), kThreads, 0, gpu->stream>>>(
            static_cast<__nv_bfloat16 *>(out.data), static_cast<const __nv_bfloat16 *>(x.data),
            static_cast<const float *>(weight.data), points, channels, f);
    return lv_cuda_launched();
}

const char *lv_cuda_channel_norm(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight,
                                 lv_activation f)
{
    const int64_t channels = x.shape[x.rank - 1], points = lv_tensor_count(x) / channels;
    if (points == 0) return nullptr;
    if (in_vectors(x, channels) && out.dtype == LVSA_BF16 && f != LV_GELU_TANH) {
        const int c = int(channels);
        if (c <= 16 * kVector) return norm_in_vectors<16, 1, 4>(gpu, out, x, weight, points, c, f);
        if (c <= 32 * kVector) return norm_in_vectors<32, 1, 4>(gpu, out, x, weight, points, c, f);
        if (c <= 64 * kVector) return norm_in_vectors<32, 2, 2>(gpu, out, x, weight, points, c, f);
        if (c <= 128 * kVector) return norm_in_vectors<32, 4, 1>(gpu, out, x, weight, points, c, f);
    }
    LAUNCH(channel_norm_plain, gpu, points, lv_numbers(out), lv_numbers(x),
           static_cast<const float *>(weight.data), points, channels, f);
}

/* ---- moving numbers -------------------------------------------------------------------------- */

/* A number, or 16 bytes of them, of any type: what moves isn't looked at. */
template <class T>
__global__ static void upsample(T *to, const T *from, int64_t height, int64_t width, int64_t row,
                                int64_t count)
{
    FOR_NUMBERS(i, count) /* of the source */
    {
        const int64_t c = i % row, x = i / row % width, y = i / (row * width);
        const T value = from[i];
        T *at = to + ((2 * y) * 2 * width + 2 * x) * row + c; /* y counts over all frames */
        at[0] = at[row] = value;
        at += 2 * width * row;
        at[0] = at[row] = value;
    }
}

template <class T>
static const char *upsample_as(lv_cuda *gpu, lv_tensor out, lv_tensor x, int64_t row)
{
    const int64_t count = x.shape[0] * x.shape[1] * x.shape[2] * row;
    LAUNCH(upsample<T>, gpu, count, static_cast<T *>(out.data), static_cast<const T *>(x.data),
           x.shape[1], x.shape[2], row, count);
}

const char *lv_cuda_upsample(lv_cuda *gpu, lv_tensor out, lv_tensor x)
{
    const int64_t channels = x.shape[3];
    if (in_vectors(x, channels)) return upsample_as<uint4>(gpu, out, x, channels / kVector);
    if (x.dtype == LVSA_BF16) return upsample_as<uint16_t>(gpu, out, x, channels);
    return upsample_as<uint32_t>(gpu, out, x, channels);
}

/* x [F, points, 2, row] to [F, 2, points, row] */
template <class T>
__global__ static void split_frames(T *to, const T *from, int64_t points, int64_t row,
                                    int64_t count)
{
    FOR_NUMBERS(i, count)
    {
        const int64_t c = i % row, half = i / row % 2, point = i / (2 * row) % points,
                      f = i / (2 * row * points);
        to[((2 * f + half) * points + point) * row + c] = from[i];
    }
}

template <class T>
static const char *split_frames_as(lv_cuda *gpu, lv_tensor out, lv_tensor x, int64_t row)
{
    const int64_t points = x.shape[1] * x.shape[2], count = x.shape[0] * points * 2 * row;
    LAUNCH(split_frames<T>, gpu, count, static_cast<T *>(out.data), static_cast<const T *>(x.data),
           points, row, count);
}

const char *lv_cuda_split_frames(lv_cuda *gpu, lv_tensor out, lv_tensor x)
{
    const int64_t channels = out.shape[3];
    if (in_vectors(x, channels)) return split_frames_as<uint4>(gpu, out, x, channels / kVector);
    if (x.dtype == LVSA_BF16) return split_frames_as<uint16_t>(gpu, out, x, channels);
    return split_frames_as<uint32_t>(gpu, out, x, channels);
}

__global__ static void take_frame(lv_numbers out, const float *z, const float *scale,
                                  const float *shift, int64_t channels, int64_t points,
                                  int64_t frames, int64_t t)
{
    FOR_NUMBERS(i, channels * points)
    {
        const int64_t c = i % channels, point = i / channels;
        out.store(i, z[(c * frames + t) * points + point] * (scale ? scale[c] : 1.f) +
                         (shift ? shift[c] : 0.f));
    }
}

const char *lv_cuda_take_frame(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                               lv_tensor shift)
{
    const int64_t channels = z.shape[0], points = z.shape[2] * z.shape[3];
    LAUNCH(take_frame, gpu, channels * points, lv_numbers(out), static_cast<const float *>(z.data),
           static_cast<const float *>(scale.data), static_cast<const float *>(shift.data), channels,
           points, z.shape[1], t);
}

/* Without a ramp the copy engine's rectangles do: a kernel would divide four times a number. */
static const char *copy_rectangle(lv_cuda *gpu, lv_tensor to, lv_tensor from, const lv_blend *b)
{
    const size_t point = size_t(to.shape[3]) * (to.dtype == LVSA_F32 ? 4 : 2);
    const size_t to_line = size_t(to.shape[2]) * point, from_line = size_t(from.shape[2]) * point;
    char *out = static_cast<char *>(to.data) + size_t(b->to_y) * to_line + size_t(b->to_x) * point;
    const char *in = static_cast<const char *>(from.data) + size_t(b->from_y) * from_line +
                     size_t(b->from_x) * point;
    for (int64_t f = 0; f < to.shape[0]; f++) {
        LV_CUDA_TRY(lv_cuda_text(cudaMemcpy2DAsync(out, to_line, in, from_line,
                                                   size_t(b->width) * point, size_t(b->height),
                                                   cudaMemcpyDeviceToDevice, gpu->stream)));
        out += size_t(to.shape[1]) * to_line, in += size_t(from.shape[1]) * from_line;
    }
    return nullptr;
}

/* The pictures' widths in numbers, and how many numbers of a line are blended. */
__global__ static void blend(lv_numbers to, lv_numbers from, lv_blend b, int64_t channels,
                             int64_t to_height, int64_t to_width, int64_t from_height,
                             int64_t from_width, int64_t count)
{
    FOR_NUMBERS(n, count)
    {
        const int64_t c = n % channels, j = n / channels % b.width,
                      i = n / (channels * b.width) % b.height,
                      f = n / (channels * b.width * b.height);
        const int64_t at =
            ((f * to_height + b.to_y + i) * to_width + b.to_x + j) * channels + c;
        const float value = from.load(
            ((f * from_height + b.from_y + i) * from_width + b.from_x + j) * channels + c);
        const float s =
            b.ramp == LV_RAMP_Y ? float(i) / float(b.height) : float(j) / float(b.width);
        to.store(at, value * (1.f - s) + to.load(at) * s);
    }
}

const char *lv_cuda_blend(lv_cuda *gpu, lv_tensor to, lv_tensor from, const lv_blend *b)
{
    const int64_t count = to.shape[0] * b->height * b->width * to.shape[3];
    if (b->ramp == LV_RAMP_NONE) return copy_rectangle(gpu, to, from, b);
    LAUNCH(blend, gpu, count, lv_numbers(to), lv_numbers(from), *b, to.shape[3], to.shape[1],
           to.shape[2], from.shape[1], from.shape[2], count);
}

/* ---- pixels ---------------------------------------------------------------------------------- */

__device__ static uint8_t pixel(float &v, bool &nan)
{
    nan |= v != v;
    v = v > -1.f ? v : -1.f;
    v = v < 1.f ? v : 1.f;
    return uint8_t((v * 0.5f + 0.5f) * 255.f);
}

__global__ static void pixels(uint8_t *rgb, float *values, uint32_t *nans, int64_t count)
{
    bool nan = false;
    FOR_NUMBERS(i, count) rgb[i] = pixel(values[i], nan);
    if (nan) atomicOr(nans, 1u);
}

const char *lv_cuda_pixels(lv_cuda *gpu, void *rgb, lv_tensor frames)
{
    const int64_t count = lv_tensor_count(frames);
    uint8_t *bytes = static_cast<uint8_t *>(rgb);
    uint32_t *nans = reinterpret_cast<uint32_t *>(bytes + lv_pixels_bytes(count) - sizeof *nans);
    LV_CUDA_TRY(lv_cuda_text(cudaMemsetAsync(nans, 0, sizeof *nans, gpu->stream)));
    LAUNCH(pixels, gpu, count, bytes, static_cast<float *>(frames.data), nans, count);
}
