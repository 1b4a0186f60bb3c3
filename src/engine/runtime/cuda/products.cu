/* products.cu: dense layers through cuBLASLt.
 *
 * Row-major out[N,O] = x[N,I] w[O,I]^T is, seen column by column as cuBLAS does, out^T [O,N] =
 * w [O,I] x^T [I,N] with w transposed: nothing is moved for it. The bias runs down out^T's columns,
 * so that bias and GELU (the tanh approximation) are epilogues; a sum with what is in out is beta.
 * A gate is multiplied into the weights beforehand (lv_cuda_gate_weights): rounding gate * w moves
 * a result by no more than rounding the result, and a pass over out is spared.
 *
 * Scales of e4m3 rows are cuBLASLt's "outer vectors" (12.9 and newer, sm_90): a factor for each row
 * of x and of w, times the sum before bias, GELU and sum. */
#include "engine/runtime/cuda/gpu.cuh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <cuda_fp8.h>

static const char *blas_text(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_SUCCESS ? nullptr : cublasLtGetStatusString(s);
}

#define BLAS_TRY(call) LV_CUDA_TRY(blas_text(call))

/* A product as cuBLASLt wants it told; lives on the stack. */
struct problem {
    cublasLtMatmulDescOpaque_t multiply;
    cublasLtMatrixLayoutOpaque_t w, x, out;
    float beta;
};

template <class T>
static cublasStatus_t set(problem *p, cublasLtMatmulDescAttributes_t what, const T &value)
{
    return cublasLtMatmulDescSetAttribute(&p->multiply, what, &value, sizeof value);
}

static cudaDataType_t type_of(int32_t dtype)
{
    return dtype == LVSA_F32 ? CUDA_R_32F : dtype == LVSA_BF16 ? CUDA_R_16BF : CUDA_R_8F_E4M3;
}

/* Sums of the tensor cores as they are, some 14 bits, or f32 every so often. */
constexpr int8_t kFastSums = 1;

static const char *describe_scales(problem *d, const lv_cuda_product *p, const lv_cuda_operands *o)
{
#if CUBLAS_VERSION < 120900
    return "scaled rows of e4m3 came with cuBLAS 12.9, and this module was built with an older one";
#else
    const cublasLtMatmulMatrixScale_t rows = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    const cudaDataType_t bias = CUDA_R_16BF;
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, rows));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, rows));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, o->w_scale));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o->x_scale));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_FAST_ACCUM, kFastSums));
    if (p->bias) BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, bias));
    return nullptr;
#endif
}

static const char *describe(problem *d, const lv_cuda_product *p, const lv_cuda_operands *o)
{
    const cudaDataType_t type = type_of(p->dtype), out = type_of(p->out_dtype);
    const uint64_t rows = uint64_t(p->rows), columns = uint64_t(p->columns),
                   inner = uint64_t(p->inner);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t end = CUBLASLT_EPILOGUE_DEFAULT;
    if (p->bias) end = p->gelu ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    else if (p->gelu) end = CUBLASLT_EPILOGUE_GELU;
    BLAS_TRY(cublasLtMatmulDescInit(&d->multiply, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_TRANSA, transposed));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_EPILOGUE, end));
    if (p->bias) BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, o->bias));
    if (p->dtype == LV_E4M3) LV_CUDA_TRY(describe_scales(d, p, o));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->w, type, inner, columns, p->inner));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->x, type, inner, rows, p->inner));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->out, out, columns, rows, p->columns));
    d->beta = p->add ? 1.0f : 0.0f;
    return nullptr;
}

static const char *run(lv_cuda *gpu, problem *d, const cublasLtMatmulAlgo_t *how,
                       const lv_cuda_operands *o)
{
    const float alpha = 1.0f;
    return blas_text(cublasLtMatmul(gpu->blas, &d->multiply, &alpha, o->w, &d->w, o->x, &d->x,
                                    &d->beta, o->out, &d->out, o->out, &d->out, how, gpu->workspace,
                                    kWorkspaceBytes, gpu->stream));
}

static_assert(sizeof(lv_cuda_algorithm) == sizeof(cublasLtMatmulAlgo_t),
              "an algorithm is kept as cuBLASLt gives it");

const char *lv_cuda_multiply(lv_cuda *gpu, const lv_cuda_product *p, const lv_cuda_algorithm *how,
                             const lv_cuda_operands *o)
{
    problem d;
    cublasLtMatmulAlgo_t algorithm;
    memcpy(&algorithm, how, sizeof algorithm);
    LV_CUDA_TRY(describe(&d, p, o));
    return run(gpu, &d, &algorithm, o);
}

/* ---- choosing an algorithm ------------------------------------------------------------------- */

constexpr int64_t kSmall = 2 * 128 * 128; /* two tiles, times the processors */
constexpr int kProposals = 16;            /* more than are ever made         */
constexpr int kFavourites = 3;            /* whose variants are tried        */
constexpr int kVariants = 16;             /* of each, at most                */
constexpr int kCandidates = kProposals + kFavourites * kVariants;
constexpr int kFinalists = 5;    /* that are timed again */
constexpr int kTurns = 3;        /* so often             */
constexpr float kWorkMs = 15.0f; /* for so long a turn   */

/* None is no failure for e4m3 products that don't fill the card: with few tiles and long sums
 * (seen: 300 x 256 of 8,960) cuBLASLt would split them, and has no scaled rows with that. */
static const char *propose(cublasLtMatmulHeuristicResult_t *list, int *count, lv_cuda *gpu,
                           problem *d, const lv_cuda_product *p)
{
    const bool e4m3 = p->dtype == LV_E4M3;
    const uint32_t align = uint32_t(p->align);
    cublasLtMatmulPreferenceOpaque_t want;
    const size_t workspace = kWorkspaceBytes;
    BLAS_TRY(cublasLtMatmulPreferenceInit(&want));
    BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(&want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace, sizeof workspace));
    for (cublasLtMatmulPreferenceAttributes_t what :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
        BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(&want, what, &align, sizeof align));
    if (e4m3) {
        const uint32_t whole = CUBLASLT_REDUCTION_SCHEME_NONE;
        BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(
            &want, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole, sizeof whole));
    }
    const cublasStatus_t s =
        cublasLtMatmulAlgoGetHeuristic(gpu->blas, &d->multiply, &d->w, &d->x, &d->out, &d->out,
                                       &want, kProposals, list, count);
    const bool none = s == CUBLAS_STATUS_NOT_SUPPORTED || (s == CUBLAS_STATUS_SUCCESS && !*count);
    if (e4m3 && none) {
        *count = 0;
        return p->rows * p->columns < kSmall * gpu->processors
                   ? nullptr
                   : "cuBLASLt has no e4m3 products with scaled rows for this card";
    }
    BLAS_TRY(s);
    return *count > 0 ? nullptr : "cuBLASLt has no algorithm for a product";
}

/* -1 .. 1, about the size that activations have: power, and so the clock, depends on them. */
__device__ static float random_number(int64_t i)
{
    uint32_t h = uint32_t(i) * 2654435761u ^ uint32_t(i >> 32);
    h = (h ^ h >> 15) * 2246822519u;
    h = (h ^ h >> 13) * 3266489917u;
    return float(int32_t(h)) * 0x1p-31f;
}

#define FOR_ALL(i, count)                                                                          \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < (count);                  \
         i += (int64_t)gridDim.x * blockDim.x)

__global__ static void fill(__nv_bfloat16 *out, int64_t count)
{
    FOR_ALL(i, count) out[i] = __float2bfloat16(random_number(i));
}
__global__ static void fill(__nv_fp8_e4m3 *out, int64_t count)
{
    FOR_ALL(i, count) out[i] = __nv_fp8_e4m3(LV_E4M3_MOST * random_number(i));
}

/* Memory for the timing alone. */
struct trial {
    char *memory = nullptr;
    lv_cuda_operands o = {};
    cudaEvent_t begin = nullptr, end = nullptr;
    ~trial()
    {
        cudaFree(memory);
        if (begin) cudaEventDestroy(begin);
        if (end) cudaEventDestroy(end);
    }
};

static size_t room_for(int64_t numbers, size_t bytes)
{
    return (size_t(numbers) * bytes + 256) / 256 * 256;
}

static cudaError_t prepare(trial *t, lv_cuda *gpu, const lv_cuda_product *p)
{
    const size_t number = lv_dtype_bytes(lvsa_dtype(p->dtype)),
                 out_number = lv_dtype_bytes(lvsa_dtype(p->out_dtype));
    const size_t x = room_for(p->rows * p->inner, number),
                 w = room_for(p->columns * p->inner, number),
                 out = room_for(p->rows * p->columns, out_number),
                 vector = room_for(std::max(p->rows, p->columns), sizeof(float));
    cudaError_t e = cudaMalloc(&t->memory, x + w + out + vector);
    if (e != cudaSuccess) return e;
    const float *vectors = reinterpret_cast<float *>(t->memory + x + w + out);
    t->o = {t->memory + x + w, t->memory, t->memory + x, vectors, vectors, vectors};
    const int64_t bytes = int64_t(x + w);
    if (p->dtype == LV_E4M3)
        fill<<<gpu->processors * 4, 512, 0, gpu->stream>>>(
            reinterpret_cast<__nv_fp8_e4m3 *>(t->memory), bytes);
    else
        fill<<<gpu->processors * 4, 512, 0, gpu->stream>>>(
            reinterpret_cast<__nv_bfloat16 *>(t->memory), bytes / 2);
    e = cudaMemsetAsync(t->memory + x + w, 0x3c, out + vector, gpu->stream); /* small numbers */
    if (e == cudaSuccess) e = cudaGetLastError();
    if (e == cudaSuccess) e = cudaEventCreate(&t->begin);
    return e == cudaSuccess ? cudaEventCreate(&t->end) : e;
}

/* Milliseconds of one of `times` in a row, the best of `runs`; infinite where the algorithm doesn't
 * run. */
static float time_of(trial *t, lv_cuda *gpu, problem *d, const cublasLtMatmulAlgo_t *how, int runs,
                     int times)
{
    float best = INFINITY;
    for (int i = 0; i <= runs; i++) {
        float ms = INFINITY;
        if (cudaEventRecord(t->begin, gpu->stream) != cudaSuccess) return INFINITY;
        for (int j = 0; j < (i > 0 ? times : 1); j++)
            if (run(gpu, d, how, &t->o)) return INFINITY;
        if (cudaEventRecord(t->end, gpu->stream) != cudaSuccess) return INFINITY;
        if (cudaEventSynchronize(t->end) != cudaSuccess) return INFINITY;
        if (cudaEventElapsedTime(&ms, t->begin, t->end) != cudaSuccess) return INFINITY;
        if (i > 0 && ms < best) best = ms; /* the first loads the code */
    }
    return best / float(times);
}

/* A proposal's kernel in the other variants that it has, by a number that cuBLASLt doesn't explain
 * ("custom option"). The fastest are often not proposed: 1536 -> 8960 with bias and GELU took
 * 1.37 ms by the best proposal, 1.20 by a variant of it. */
static void add_variants(cublasLtMatmulHeuristicResult_t *list, int *count, lv_cuda *gpu,
                         problem *d, const cublasLtMatmulAlgo_t *proposal)
{
    const cublasLtMatmulAlgoConfigAttributes_t what = CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION;
    uint32_t most = 0;
    size_t size;
    if (cublasLtMatmulAlgoCapGetAttribute(proposal, CUBLASLT_ALGO_CAP_CUSTOM_OPTION_MAX, &most,
                                          sizeof most, &size) != CUBLAS_STATUS_SUCCESS)
        return;
    for (uint32_t option = 0; option <= most && option < kVariants; option++) {
        cublasLtMatmulHeuristicResult_t *next = &list[*count];
        cublasLtMatmulAlgo_t variant = *proposal;
        if (cublasLtMatmulAlgoConfigSetAttribute(&variant, what, &option, sizeof option) ||
            cublasLtMatmulAlgoCheck(gpu->blas, &d->multiply, &d->w, &d->x, &d->out, &d->out,
                                    &variant, next) ||
            next->workspaceSize > kWorkspaceBytes)
            continue;
        next->algo = variant;
        const auto is_it = [&](const cublasLtMatmulHeuristicResult_t &r) {
            return memcmp(&r.algo, &variant, sizeof variant) == 0;
        };
        if (std::none_of(list, next, is_it)) ++*count;
    }
}

static int take_fastest(float *ms, int count)
{
    const int i = int(std::min_element(ms, ms + count) - ms);
    const bool runs = ms[i] < INFINITY;
    ms[i] = INFINITY;
    return runs ? i : -1;
}

/* All once, the fastest proposals' variants too, and the fastest of these again, each at work for
 * so long that the card's power tells: what is fastest alone is often not what is fastest amid
 * others. */
static int find_fastest(trial *t, lv_cuda *gpu, problem *d, cublasLtMatmulHeuristicResult_t *list,
                        int count)
{
    float ms[kCandidates], rest[kProposals], least[kFinalists];
    const int proposals = count;
    int finalist[kFinalists], finalists = 0;
    for (int i = 0; i < proposals; i++) rest[i] = ms[i] = time_of(t, gpu, d, &list[i].algo, 1, 2);
    for (int i = 0; i < kFavourites; i++) {
        const int next = take_fastest(rest, proposals);
        if (next >= 0) add_variants(list, &count, gpu, d, &list[next].algo);
    }
    for (int i = proposals; i < count; i++) ms[i] = time_of(t, gpu, d, &list[i].algo, 1, 2);
    const int times = int(fminf(fmaxf(kWorkMs / *std::min_element(ms, ms + count), 1.0f), 50.0f));
    for (int next; finalists < kFinalists && (next = take_fastest(ms, count)) >= 0; finalists++)
        finalist[finalists] = next, least[finalists] = INFINITY;
    for (int turn = 0; turn < kTurns; turn++) /* in turns, for the card grows hot */
        for (int i = 0; i < finalists; i++)
            least[i] = fminf(least[i], time_of(t, gpu, d, &list[finalist[i]].algo, 1, times));
    return finalists ? finalist[std::min_element(least, least + finalists) - least] : 0;
}

const char *lv_cuda_find_algorithm(lv_cuda *gpu, lv_cuda_algorithm *out, const lv_cuda_product *p,
                                   bool timed)
{
    cublasLtMatmulHeuristicResult_t list[kCandidates];
    problem d;
    trial t;
    int count = 0, best = 0;
    const cudaError_t e = timed ? prepare(&t, gpu, p) : cudaSuccess;
    if (e != cudaSuccess) return cudaGetLastError(), lv_cuda_text(e);
    if (!timed) { /* any places will do: proposals depend on whether there are such */
        const float *some = static_cast<const float *>(gpu->workspace);
        t.o = {gpu->workspace, some, some, some, some, some};
    }
    LV_CUDA_TRY(describe(&d, p, &t.o));
    LV_CUDA_TRY(propose(list, &count, gpu, &d, p));
    *out = {};
    if (count == 0) return nullptr;
    if (timed) best = find_fastest(&t, gpu, &d, list, count);
    memcpy(out, &list[best].algo, sizeof *out);
    return nullptr;
}

/* ---- gates ----------------------------------------------------------------------------------- */

__global__ static void gate_rows(lv_numbers out, lv_numbers w, const float *gate, int64_t inner)
{
    const int64_t row = blockIdx.x;
    for (int64_t i = threadIdx.x; i < inner; i += blockDim.x)
        out.store(row * inner + i, w.load(row * inner + i) * gate[row]);
}

/* The same for bf16 rows of whole vectors of 8. */
__global__ static void gate_vectors(uint4 *out, const uint4 *w, const float *gate, int64_t count,
                                    int64_t row)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x) {
        uint4 bits = __ldg(w + i);
        __nv_bfloat162 *pair = reinterpret_cast<__nv_bfloat162 *>(&bits);
        const float g = __ldg(gate + i / row);
        for (int j = 0; j < 4; j++) {
            const float2 x = __bfloat1622float2(pair[j]);
            pair[j] = __floats2bfloat162_rn(x.x * g, x.y * g);
        }
        out[i] = bits;
    }
}

static void gate_matrix(lv_cuda *gpu, lv_tensor out, lv_tensor w, const float *gate)
{
    const int64_t rows = w.shape[0], inner = w.shape[1], vectors = rows * inner / 8;
    const uintptr_t places =
        reinterpret_cast<uintptr_t>(out.data) | reinterpret_cast<uintptr_t>(w.data);
    if (w.dtype == LVSA_BF16 && inner % 8 == 0 && places % 16 == 0)
        gate_vectors<<<lv_cuda_blocks(gpu, vectors, 256), 256, 0, gpu->stream>>>(
            static_cast<uint4 *>(out.data), static_cast<const uint4 *>(w.data), gate, vectors,
            inner / 8);
    else
        gate_rows<<<unsigned(rows), 256, 0, gpu->stream>>>(lv_numbers(out), lv_numbers(w), gate,
                                                           inner);
}

__global__ static void gate_vector(lv_numbers out, const float *b, const float *gate, int64_t count)
{
    const int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < count) out.store(i, gate ? b[i] * gate[i] : b[i]);
}

const char *lv_cuda_gate_weights(lv_cuda *gpu, lv_tensor w_out, lv_tensor b_out, lv_tensor w,
                                 lv_tensor b, lv_tensor gate)
{
    const float *g = static_cast<const float *>(gate.data);
    const int64_t columns = w.shape[0];
    const unsigned blocks = unsigned((columns + 255) / 256);
    if (g && w.dtype == LV_E4M3)
        gate_vector<<<blocks, 256, 0, gpu->stream>>>(
            lv_numbers(lv_tensor_view(w_out.scale, LVSA_F32, 1, &columns)), w.scale, g, columns);
    else if (g) gate_matrix(gpu, w_out, w, g);
    if (b.data)
        gate_vector<<<blocks, 256, 0, gpu->stream>>>(
            lv_numbers(b_out), static_cast<const float *>(b.data), g, columns);
    return lv_cuda_launched();
}
