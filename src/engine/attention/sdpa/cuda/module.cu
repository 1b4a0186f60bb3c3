/* module.cu: the cuDNN module: one graph of dense attention for each set of sizes, kept. */
#include "engine/attention/sdpa/module.h"

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <cuda_runtime.h>

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include "engine/attention/cuda/gather.cuh"

namespace cudnn_frontend {
void *cudnn_dlhandle = nullptr;
}

namespace {

namespace fe = cudnn_frontend;

enum Id : int64_t { kQ = 1, kK, kV, kOut, kSums };

/* Sizes, strides, type, scale. */
typedef std::array<int64_t, 16> Key;

/* A GPU's handle and graphs. Graphs are built where they are first wanted and stay. */
struct Gpu {
    cudnnHandle_t handle = nullptr;
    std::map<Key, std::shared_ptr<fe::graph::Graph>> graphs;
};

std::mutex lock;
std::map<int, Gpu> gpus;
thread_local std::string said;

const char *say(const std::string &text)
{
    said = text;
    return said.c_str();
}

const char *check(cudaError_t e) { return e == cudaSuccess ? nullptr : cudaGetErrorString(e); }

Key make_key(const lv_cudnn_job &j)
{
    const auto bits = [](float x) {
        int32_t i;
        memcpy(&i, &x, sizeof i);
        return int64_t(i);
    };
    return {j.dtype, j.queries, j.keys, j.heads, j.kv_heads, j.head_dim, j.q_strides.token,
            j.q_strides.head, j.k_strides.token, j.k_strides.head, j.v_strides.token,
            j.v_strides.head, j.out_strides.token, j.out_strides.head, bits(j.scale), j.with_lse};
}

/* [1, heads, rows, d]; the stride of the one batch item is never used. */
template <class T>
void set_tensor(T &&t, Id id, int64_t heads, int64_t rows, int64_t d, lvsa_strides s)
{
    t.set_uid(id).set_dim({1, heads, rows, d}).set_stride({rows * s.token, s.head, s.token, 1});
}

std::shared_ptr<fe::graph::Graph> make_graph(const lv_cudnn_job &j)
{
    auto graph = std::make_shared<fe::graph::Graph>();
    graph
        ->set_io_data_type(j.dtype == LVSA_BF16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    fe::graph::Tensor_attributes q, k, v;
    set_tensor(q, kQ, j.heads, j.queries, j.head_dim, j.q_strides);
    set_tensor(k, kK, j.kv_heads, j.keys, j.head_dim, j.k_strides);
    set_tensor(v, kV, j.kv_heads, j.keys, j.head_dim, j.v_strides);
    auto [out, sums] = graph->sdpa(graph->tensor(q), graph->tensor(k), graph->tensor(v),
                                   fe::graph::SDPA_attributes()
                                       .set_generate_stats(j.with_lse != 0)
                                       .set_attn_scale(j.scale));
    set_tensor(out->set_output(true), kOut, j.heads, j.queries, j.head_dim, j.out_strides);
    if (j.with_lse)
        sums->set_output(true)
            .set_data_type(fe::DataType_t::FLOAT)
            .set_uid(kSums)
            .set_dim({1, j.heads, j.queries, 1})
            .set_stride({j.heads * j.queries, j.queries, 1, 1});
    return graph;
}

const char *load()
{
    const std::lock_guard<std::mutex> guard(lock);
    if (!fe::cudnn_dlhandle) fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW);
    return fe::cudnn_dlhandle ? nullptr : say(dlerror());
}

/* The current GPU's graph for a job, with the lock held. */
const char *find_graph(Gpu **gpu, fe::graph::Graph **graph, const lv_cudnn_job &j)
{
    int device;
    if (const char *failure = check(cudaGetDevice(&device))) return failure;
    *gpu = &gpus[device];
    if (!(*gpu)->handle && fe::detail::create_handle(&(*gpu)->handle) != CUDNN_STATUS_SUCCESS) {
        (*gpu)->handle = nullptr;
        return "cuDNN gives no handle";
    }
    auto &kept = (*gpu)->graphs[make_key(j)];
    if (!kept) {
        auto made = make_graph(j);
        auto status = made->build((*gpu)->handle, {fe::HeurMode_t::A});
        if (!status.is_good()) return say(status.get_message());
        kept = made;
    }
    *graph = kept.get();
    return nullptr;
}

const char *get_workspace(size_t *bytes, const lv_cudnn_job *job)
{
    const std::lock_guard<std::mutex> guard(lock);
    Gpu *gpu;
    fe::graph::Graph *graph;
    int64_t size = 0;
    if (const char *failure = find_graph(&gpu, &graph, *job)) return failure;
    auto status = graph->get_workspace_size(size);
    *bytes = size_t(size);
    return status.is_good() ? nullptr : say(status.get_message());
}

const char *execute(const lv_cudnn_job *job)
{
    const std::lock_guard<std::mutex> guard(lock);
    Gpu *gpu;
    fe::graph::Graph *graph;
    if (const char *failure = find_graph(&gpu, &graph, *job)) return failure;
    if (fe::detail::set_stream(gpu->handle, static_cast<cudaStream_t>(job->stream)) !=
        CUDNN_STATUS_SUCCESS)
        return "cuDNN takes no stream";
    std::unordered_map<int64_t, void *> tensors = {{kQ, const_cast<void *>(job->q)},
                                                   {kK, const_cast<void *>(job->k)},
                                                   {kV, const_cast<void *>(job->v)},
                                                   {kOut, job->out}};
    if (job->with_lse) tensors[kSums] = job->lse;
    auto status = graph->execute(gpu->handle, tensors, job->workspace);
    return status.is_good() ? nullptr : say(status.get_message());
}

/* The front end reports by exceptions too. */
template <class F> const char *guarded(F call)
{
    try {
        return call();
    } catch (const std::exception &e) {
        return say(e.what());
    }
}

const char *workspace(size_t *bytes, const lv_cudnn_job *job)
{
    return guarded([&] { return get_workspace(bytes, job); });
}

const char *run(const lv_cudnn_job *job)
{
    return guarded([&] { return execute(job); });
}

const char *spread(float *to, int64_t stride, const float *from, int64_t width, int64_t count,
                   void *stream)
{
    return check(cudaMemcpy2DAsync(to, size_t(stride) * 4, from, size_t(width) * 4,
                                   size_t(width) * 4, size_t(count), cudaMemcpyDeviceToDevice,
                                   static_cast<cudaStream_t>(stream)));
}

const lv_cudnn_table table = {
    LV_CUDNN_ABI, sizeof(lv_cudnn_table), load, workspace, run, lv_gather::rows, spread};

} /* namespace */

extern "C" LVSA_API const lv_cudnn_table *lv_cudnn_module_table(void) { return &table; }
