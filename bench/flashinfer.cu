/* flashinfer.cu: an outside yardstick for `lvsa bench attention --device cuda`: FlashInfer's
 * block-sparse kernel for Hopper (paged, one page a latent frame) on the same attended pairs,
 * without the copies that its Python callers make around it. D = 128, bf16, no text.
 *
 * Not part of the build. With the headers of the flashinfer-python wheel in DATA (0.7.2, a minute):
 *   nvcc -std=c++17 -O3 -DNDEBUG -gencode arch=compute_90a,code=sm_90a --expt-relaxed-constexpr
 *        -I DATA/cccl/libcudacxx/include -I DATA/cccl/cub -I DATA/cccl/thrust -I DATA/include
 *        -I DATA/cutlass/include -I DATA/cutlass/tools/util/include -I include
 *        -DFLASHINFER_ENABLE_BF16 bench/flashinfer.cu -o flashinfer_bench -L BUILD -llvsa -lcuda
 *   flashinfer_bench T P REFERENCE ROTATION HEADS KV_HEADS */
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <flashinfer/attention/hopper/default_params.cuh>
#include <flashinfer/attention/hopper/prefill_sm90.cuh>
#include <flashinfer/attention/hopper/variants.cuh>
#include <flashinfer/attention/scheduler.cuh>
#include <lvsa/lvsa_attention.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        cudaError_t e_ = (call);                                                                   \
        if (e_ != cudaSuccess) {                                                                   \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(e_));                            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef cutlass::bfloat16_t Half;
typedef flashinfer::BatchPrefillPagedParams<Half, Half, Half, int32_t> Params;
constexpr int D = 128;

struct Problem {
    int frames, patches, heads, kv_heads;
    std::vector<int32_t> indptr, indices; /* frames that each frame attends to */
    std::vector<__nv_bfloat16> q, k, v;   /* [rows, heads, D] */
};

template <class T> static T *upload(const void *host, size_t count)
{
    void *device;
    CHECK(cudaMalloc(&device, count * sizeof(T)));
    CHECK(cudaMemcpy(device, host, count * sizeof(T), cudaMemcpyHostToDevice));
    return static_cast<T *>(device);
}

/* Normal numbers that repeat after a million: as good for a benchmark. */
static std::vector<__nv_bfloat16> normal(size_t count, unsigned seed)
{
    std::vector<__nv_bfloat16> x(count);
    std::mt19937 random(seed);
    std::normal_distribution<float> next;
    const size_t period = 1 << 20;
    for (size_t i = 0; i < count; i++)
        x[i] = i < period ? __nv_bfloat16(next(random)) : x[i - period];
    return x;
}

static bool make_problem(Problem *b, char **argv)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    lvsa_plan *plan;
    lvsa_plan_info info = {};
    o.latent_frames = b->frames = atoi(argv[0]);
    o.patches_per_frame = b->patches = atoi(argv[1]);
    o.reference_latent_frames = atoi(argv[2]);
    o.rotation = atoi(argv[3]);
    b->heads = atoi(argv[4]), b->kv_heads = atoi(argv[5]);
    info.size = sizeof info;
    if (lvsa_plan_create(&plan, &o) != LVSA_OK) return false;
    lvsa_plan_get_info(&info, plan);
    b->indptr.resize(b->frames + 1);
    b->indices.resize(info.attended_sum);
    lvsa_plan_write_csr(plan, b->indptr.data(), b->indices.data());
    lvsa_plan_free(&plan);
    const size_t rows = (size_t)b->frames * b->patches;
    b->q = normal(rows * b->heads * D, 1);
    b->k = normal(rows * b->kv_heads * D, 2);
    b->v = normal(rows * b->kv_heads * D, 3);
    return true;
}

/* FlashInfer's own plan of the work, and where its kernel finds it; true: all heads share it. */
static bool plan_work(Params *p, const Problem &b)
{
    const size_t bytes = 128 << 20;
    void *floats, *ints, *pinned;
    std::vector<int32_t> rows(b.frames + 1), keys(b.frames);
    for (int f = 0; f <= b.frames; f++) rows[f] = f * b.patches;
    for (int f = 0; f < b.frames; f++) keys[f] = (b.indptr[f + 1] - b.indptr[f]) * b.patches;
    CHECK(cudaMalloc(&floats, bytes));
    CHECK(cudaMalloc(&ints, bytes));
    CHECK(cudaMallocHost(&pinned, bytes));
    flashinfer::PrefillPlanSM90Info at;
    std::vector<int32_t> indptr = b.indptr;
    CHECK(flashinfer::PrefillSM90Plan(floats, bytes, ints, pinned, bytes, at, rows.data(),
                                      indptr.data(), keys.data(), (uint32_t)rows[b.frames],
                                      (uint32_t)b.frames, (uint32_t)b.heads, (uint32_t)b.kv_heads,
                                      D, D, (uint32_t)b.patches, false, false, 2, nullptr));
    const auto table = [&](int64_t offset) {
        return reinterpret_cast<int32_t *>(static_cast<char *>(ints) + offset);
    };
    p->qo_tile_indices = table(at.qo_tile_indices_offset);
    p->qo_indptr = table(at.qo_indptr_offset);
    p->kv_indptr = table(at.kv_indptr_offset);
    p->qo_lens = table(at.qo_len_offset);
    p->kv_lens = table(at.kv_len_offset);
    p->head_indices = table(at.head_indices_offset);
    p->work_indptr = table(at.work_indptr_offset);
    p->batch_indices = table(at.batch_indices_offset);
    return at.same_schedule_for_all_heads;
}

static void set_tensors(Params *p, const Problem &b)
{
    p->q_ptr = upload<Half>(b.q.data(), b.q.size());
    p->k_ptr = upload<Half>(b.k.data(), b.k.size());
    p->v_ptr = upload<Half>(b.v.data(), b.v.size());
    p->o_ptr = upload<Half>(b.q.data(), b.q.size());
    p->lse_ptr = upload<float>(b.q.data(), b.q.size() / D);
    p->kv_indices = upload<int32_t>(b.indices.data(), b.indices.size());
    p->additional_params.sm_scale = 1.f / std::sqrt((float)D);
    p->q_stride_n = p->o_stride_n = b.heads * D;
    p->k_stride_n = p->v_stride_n = b.kv_heads * D;
    p->q_stride_h = p->k_stride_h = p->v_stride_h = p->o_stride_h = D;
    p->k_page_stride = p->v_page_stride = (int64_t)b.patches * b.kv_heads * D;
    p->nnz_qo = (int64_t)b.frames * b.patches;
    p->num_qo_heads = b.heads, p->num_kv_heads = b.kv_heads, p->group_size = b.heads / b.kv_heads;
    p->page_size = b.patches, p->window_left = -1, p->causal = false;
}

/* Relative error of the last head's fifth last row, against double precision. */
static double error_of(const Params &p, const Problem &b)
{
    const size_t row = (size_t)b.frames * b.patches - 5, head = b.heads - 1;
    const size_t group = head / (b.heads / b.kv_heads), q = (row * b.heads + head) * D;
    std::vector<__nv_bfloat16> have(D);
    std::vector<double> want(D);
    double sum = 0, error = 0, norm = 0;
    CHECK(cudaMemcpy(have.data(), p.o_ptr + q, D * 2, cudaMemcpyDeviceToHost));
    for (int i = b.indptr[b.frames - 1]; i < b.indptr[b.frames]; i++)
        for (int j = 0; j < b.patches; j++) {
            const size_t k = (((size_t)b.indices[i] * b.patches + j) * b.kv_heads + group) * D;
            double score = 0;
            for (int d = 0; d < D; d++) score += (double)(float)b.q[q + d] * (float)b.k[k + d];
            const double weight = std::exp(score / std::sqrt((double)D));
            sum += weight;
            for (int d = 0; d < D; d++) want[d] += weight * (float)b.v[k + d];
        }
    for (int d = 0; d < D; d++) {
        const double w = want[d] / sum, e = (float)have[d] - w;
        error += e * e, norm += w * w;
    }
    return std::sqrt(error / norm);
}

static cudaError_t run(Params &p, bool shared)
{
    using namespace flashinfer;
    return shared ? BatchPrefillWithPagedKVCacheDispatched<D, D, MaskMode::kNone, false, true,
                                                           StandardAttention>(p, false, nullptr)
                  : BatchPrefillWithPagedKVCacheDispatched<D, D, MaskMode::kNone, false, false,
                                                           StandardAttention>(p, false, nullptr);
}

int main(int argc, char **argv)
{
    Problem b;
    Params p = {};
    if (argc != 7 || !make_problem(&b, argv + 1)) {
        fprintf(stderr, "usage: flashinfer_bench T P REFERENCE ROTATION HEADS KV_HEADS\n");
        return 2;
    }
    set_tensors(&p, b);
    const bool shared = plan_work(&p, b);
    std::vector<float> ms(10);
    cudaEvent_t start, end;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&end));
    for (int i = 0; i < 3; i++) CHECK(run(p, shared));
    for (float &x : ms) {
        CHECK(cudaEventRecord(start));
        CHECK(run(p, shared));
        CHECK(cudaEventRecord(end));
        CHECK(cudaEventSynchronize(end));
        CHECK(cudaEventElapsedTime(&x, start, end));
    }
    std::sort(ms.begin(), ms.end());
    const double median = (ms[4] + ms[5]) / 2, pairs = (double)b.indices.size() * b.patches;
    printf("flashinfer: %d frames x %d patches, %d/%d heads: %.3f ms median, %.3f best, "
           "%.1f TFLOP/s, error of a row %.1e\n",
           b.frames, b.patches, b.heads, b.kv_heads, median, ms[0],
           4 * D * b.heads * pairs * b.patches / median * 1e-9, error_of(p, b));
    return 0;
}
