/* products.cu: dense layers through cuBLASLt.
 *
 * Row-major out[N,O] = x[N,I] w[O,I]^T is, seen column by column as cuBLAS does, out^T [O,N] =
 * w [O,I] x^T [I,N] with w transposed: nothing is moved for it. The bias runs down out^T's columns,
 * so that bias and GELU (the tanh approximation) are epilogues; a sum with what is in out is beta.
 * A gate is multiplied into the weights beforehand (lv_cuda_gate_weights): rounding gate * w moves
 * a result by no more than rounding the result, and a pass over out is spared. */
#include "engine/runtime/cuda/gpu.cuh"

#include <algorithm>
#include <cmath>
#include <cstring>

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

static const char *describe(problem *d, const lv_cuda_product *p, const void *bias)
{
    const cudaDataType_t type = p->dtype == LVSA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
    const uint64_t rows = uint64_t(p->rows), columns = uint64_t(p->columns),
                   inner = uint64_t(p->inner);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t end = CUBLASLT_EPILOGUE_DEFAULT;
    if (p->bias) end = p->gelu ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    else if (p->gelu) end = CUBLASLT_EPILOGUE_GELU;
    BLAS_TRY(cublasLtMatmulDescInit(&d->multiply, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_TRANSA, transposed));
    BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_EPILOGUE, end));
    if (p->bias) BLAS_TRY(set(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->w, type, inner, columns, p->inner));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->x, type, inner, rows, p->inner));
    BLAS_TRY(cublasLtMatrixLayoutInit(&d->out, type, columns, rows, p->columns));
    d->beta = p->add ? 1.0f : 0.0f;
    return nullptr;
}

static const char *run(lv_cuda *gpu, problem *d, const cublasLtMatmulAlgo_t *how, void *out,
                       const void *x, const void *w)
{
    const float alpha = 1.0f;
    return blas_text(cublasLtMatmul(gpu->blas, &d->multiply, &alpha, w, &d->w, x, &d->x, &d->beta,
                                    out, &d->out, out, &d->out, how, gpu->workspace,
                                    kWorkspaceBytes, gpu->stream));
}

static_assert(sizeof(lv_cuda_algorithm) == sizeof(cublasLtMatmulAlgo_t),
              "an algorithm is kept as cuBLASLt gives it");

const char *lv_cuda_multiply(lv_cuda *gpu, const lv_cuda_product *p, const lv_cuda_algorithm *how,
                             void *out, const void *x, const void *w, const void *bias)
{
    problem d;
    cublasLtMatmulAlgo_t algorithm;
    memcpy(&algorithm, how, sizeof algorithm);
    LV_CUDA_TRY(describe(&d, p, bias));
    return run(gpu, &d, &algorithm, out, x, w);
}

/* ---- choosing an algorithm ------------------------------------------------------------------- */

constexpr int kProposals = 48;
constexpr int kFinalists = 6; /* that are timed more than once */

static const char *propose(cublasLtMatmulHeuristicResult_t *list, int *count, lv_cuda *gpu,
                           problem *d, uint32_t align)
{
    cublasLtMatmulPreferenceOpaque_t want;
    const size_t workspace = kWorkspaceBytes;
    BLAS_TRY(cublasLtMatmulPreferenceInit(&want));
    BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(&want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace, sizeof workspace));
    for (cublasLtMatmulPreferenceAttributes_t what :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
        BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(&want, what, &align, sizeof align));
    BLAS_TRY(cublasLtMatmulAlgoGetHeuristic(gpu->blas, &d->multiply, &d->w, &d->x, &d->out, &d->out,
                                            &want, kProposals, list, count));
    return *count > 0 ? nullptr : "cuBLASLt has no algorithm for a product";
}

/* Numbers of about the size that activations have: power, and so the clock, depends on them. */
__global__ static void fill(uint16_t *out, int64_t count)
{
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x) {
        uint32_t h = uint32_t(i) * 2654435761u ^ uint32_t(i >> 32);
        h = (h ^ h >> 15) * 2246822519u;
        h = (h ^ h >> 13) * 3266489917u;
        const __nv_bfloat16 x = __float2bfloat16(float(int32_t(h)) * 0x1p-31f);
        out[i] = __bfloat16_as_ushort(x);
    }
}

/* Memory for the timing alone. */
struct trial {
    char *memory = nullptr;
    void *out, *x, *w;
    cudaEvent_t begin = nullptr, end = nullptr;
    ~trial()
    {
        cudaFree(memory);
        if (begin) cudaEventDestroy(begin);
        if (end) cudaEventDestroy(end);
    }
};

static cudaError_t prepare(trial *t, lv_cuda *gpu, const lv_cuda_product *p)
{
    const size_t number = p->dtype == LVSA_BF16 ? 2 : 4, align = 256;
    const size_t x = (size_t(p->rows) * p->inner * number + align) / align * align,
                 w = (size_t(p->columns) * p->inner * number + align) / align * align,
                 out = (size_t(p->rows) * p->columns * number + align) / align * align;
    cudaError_t e = cudaMalloc(&t->memory, x + w + out);
    if (e != cudaSuccess) return e;
    t->x = t->memory, t->w = t->memory + x, t->out = t->memory + x + w;
    fill<<<gpu->processors * 4, 512, 0, gpu->stream>>>(reinterpret_cast<uint16_t *>(t->memory),
                                                       int64_t((x + w + out) / 2));
    e = cudaGetLastError();
    if (e == cudaSuccess) e = cudaEventCreate(&t->begin);
    return e == cudaSuccess ? cudaEventCreate(&t->end) : e;
}

/* The best of `runs` in milliseconds; infinite where the algorithm doesn't run. */
static float time_of(trial *t, lv_cuda *gpu, problem *d, const cublasLtMatmulAlgo_t *how, int runs)
{
    float best = INFINITY;
    for (int i = 0; i <= runs; i++) {
        float ms = INFINITY;
        if (cudaEventRecord(t->begin, gpu->stream) != cudaSuccess) return INFINITY;
        if (run(gpu, d, how, t->out, t->x, t->w)) return INFINITY;
        if (cudaEventRecord(t->end, gpu->stream) != cudaSuccess) return INFINITY;
        if (cudaEventSynchronize(t->end) != cudaSuccess) return INFINITY;
        if (cudaEventElapsedTime(&ms, t->begin, t->end) != cudaSuccess) return INFINITY;
        if (i > 0 && ms < best) best = ms; /* the first loads the code */
    }
    return best;
}

/* All once, the fastest again. */
static int find_fastest(trial *t, lv_cuda *gpu, problem *d,
                        const cublasLtMatmulHeuristicResult_t *list, int count)
{
    float ms[kProposals];
    int best = 0;
    for (int i = 0; i < count; i++) ms[i] = time_of(t, gpu, d, &list[i].algo, 1);
    float least = INFINITY;
    for (int round = 0; round < kFinalists && round < count; round++) {
        const int next = int(std::min_element(ms, ms + count) - ms);
        ms[next] = INFINITY;
        const float again = time_of(t, gpu, d, &list[next].algo, 5);
        if (again < least) least = again, best = next;
    }
    return best;
}

const char *lv_cuda_find_algorithm(lv_cuda *gpu, lv_cuda_algorithm *out, const lv_cuda_product *p,
                                   bool timed)
{
    cublasLtMatmulHeuristicResult_t list[kProposals];
    problem d;
    int count = 0, best = 0;
    LV_CUDA_TRY(describe(&d, p, gpu->workspace)); /* any numbers will do for a bias */
    LV_CUDA_TRY(propose(list, &count, gpu, &d, uint32_t(p->align)));
    if (timed) {
        trial t;
        const cudaError_t e = prepare(&t, gpu, p);
        if (e != cudaSuccess) return cudaGetLastError(), lv_cuda_text(e);
        best = find_fastest(&t, gpu, &d, list, count);
    }
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

__global__ static void gate_bias(lv_numbers out, const float *b, const float *gate, int64_t count)
{
    const int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < count) out.store(i, gate ? b[i] * gate[i] : b[i]);
}

const char *lv_cuda_gate_weights(lv_cuda *gpu, lv_tensor w_out, lv_tensor b_out, lv_tensor w,
                                 lv_tensor b, lv_tensor gate)
{
    const float *g = static_cast<const float *>(gate.data);
    if (g) gate_matrix(gpu, w_out, w, g);
    if (b.data)
        gate_bias<<<unsigned((w.shape[0] + 255) / 256), 256, 0, gpu->stream>>>(
            lv_numbers(b_out), static_cast<const float *>(b.data), g, w.shape[0]);
    return lv_cuda_launched();
}
