/* gpu.cu: a GPU in use: its stream, its memory and copies, and the table of what it computes. */
#include "engine/runtime/cuda/gpu.cuh"

#include <cstdio>
#include <cstring>
#include <new>

static const char *use(lv_cuda *gpu) { return lv_cuda_text(cudaSetDevice(gpu->index)); }

/* ---- opening --------------------------------------------------------------------------------- */

static const char *make_events(lv_cuda *gpu)
{
    for (lv_cuda_stage &s : gpu->stage)
        LV_CUDA_TRY(lv_cuda_text(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming)));
    for (lv_cuda_slot &s : gpu->slot)
        LV_CUDA_TRY(lv_cuda_text(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming)));
    for (cudaEvent_t &e : gpu->mark)
        LV_CUDA_TRY(lv_cuda_text(cudaEventCreateWithFlags(&e, cudaEventDisableTiming)));
    return nullptr;
}

static const char *make(lv_cuda *gpu)
{
    LV_CUDA_TRY(use(gpu));
    LV_CUDA_TRY(lv_cuda_text(
        cudaDeviceGetAttribute(&gpu->processors, cudaDevAttrMultiProcessorCount, gpu->index)));
    LV_CUDA_TRY(lv_cuda_text(cudaStreamCreateWithFlags(&gpu->stream, cudaStreamNonBlocking)));
    LV_CUDA_TRY(make_events(gpu));
    LV_CUDA_TRY(lv_cuda_text(cudaMalloc(&gpu->workspace, kWorkspaceBytes)));
    const cublasStatus_t s = cublasLtCreate(&gpu->blas);
    return s == CUBLAS_STATUS_SUCCESS ? nullptr : cublasLtGetStatusString(s);
}

/* What is let go here has nobody left to tell. */
static void close_gpu(lv_cuda *gpu)
{
    if (!gpu) return;
    use(gpu);
    if (gpu->stream) cudaStreamSynchronize(gpu->stream);
    if (gpu->blas) cublasLtDestroy(gpu->blas);
    cudaFree(gpu->workspace);
    for (lv_cuda_stage &s : gpu->stage) {
        if (s.done) cudaEventDestroy(s.done);
        cudaFree(s.device);
        cudaFreeHost(s.host);
    }
    for (lv_cuda_slot &s : gpu->slot) {
        if (s.done) cudaEventDestroy(s.done);
        cudaFreeHost(s.host);
    }
    for (cudaEvent_t e : gpu->mark)
        if (e) cudaEventDestroy(e);
    for (cudaEvent_t e : gpu->stamp)
        if (e) cudaEventDestroy(e);
    if (gpu->stream) cudaStreamDestroy(gpu->stream);
    delete gpu;
}

static const char *open_gpu(lv_cuda **out, int index)
{
    lv_cuda *gpu = new (std::nothrow) lv_cuda();
    *out = nullptr;
    if (!gpu) return "no memory on the host";
    gpu->index = index;
    const char *failure = make(gpu);
    if (failure) close_gpu(gpu);
    else *out = gpu;
    return failure;
}

static void *get_stream(lv_cuda *gpu) { return gpu->stream; }

static const char *get_memory(lv_cuda *gpu, size_t *total, size_t *available)
{
    return lv_cuda_text(cudaMemGetInfo(available, total));
}

static const char *get_identity(lv_cuda *gpu, char *name, size_t size)
{
    cudaDeviceProp p;
    LV_CUDA_TRY(lv_cuda_text(cudaGetDeviceProperties(&p, gpu->index)));
    snprintf(name, size, "%s-cublas-%zu", p.name, cublasLtGetVersion());
    for (char *c = name; *c; c++)
        if (*c == ' ' || *c == '/') *c = '-';
    return nullptr;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The text of an allocation's result: a refusal isn't the next launch's failure. */
static const char *allocation_text(cudaError_t e)
{
    if (e != cudaSuccess) cudaGetLastError();
    return lv_cuda_text(e);
}

static const char *allocate(lv_cuda *gpu, void **out, size_t bytes)
{
    *out = nullptr;
    return allocation_text(cudaMalloc(out, bytes ? bytes : 1));
}

static const char *release(lv_cuda *gpu, void *memory)
{
    return lv_cuda_text(cudaFree(memory));
}

/* Its memory is made when it is first wanted: a device that only counts wants none. */
static const char *get_stage(lv_cuda *gpu, void **out)
{
    lv_cuda_stage *s = &gpu->stage[gpu->next_stage];
    if (!s->host) LV_CUDA_TRY(allocation_text(cudaMallocHost(&s->host, LV_CUDA_STAGE)));
    if (!s->device) LV_CUDA_TRY(allocation_text(cudaMalloc(&s->device, LV_CUDA_STAGE)));
    *out = s->host;
    return lv_cuda_text(cudaEventSynchronize(s->done));
}

static const char *send_stage(lv_cuda *gpu, lv_tensor to, lvsa_dtype type)
{
    lv_cuda_stage *s = &gpu->stage[gpu->next_stage];
    const size_t bytes = size_t(lv_tensor_count(to)) * lv_dtype_bytes(type);
    void *landing = type == to.dtype ? to.data : s->device;
    gpu->next_stage = (gpu->next_stage + 1) % kStages;
    LV_CUDA_TRY(lv_cuda_text(
        cudaMemcpyAsync(landing, s->host, bytes, cudaMemcpyHostToDevice, gpu->stream)));
    if (landing == s->device)
        LV_CUDA_TRY(lv_cuda_copy(gpu, to, lv_tensor_view(s->device, type, to.rank, to.shape)));
    return lv_cuda_text(cudaEventRecord(s->done, gpu->stream));
}

/* Through pinned memory: a copy into pages that may be swapped is several times slower. */
static const char *download(lv_cuda *gpu, void *to, const void *from, size_t bytes)
{
    for (size_t at = 0, piece; at < bytes; at += piece) {
        void *stage;
        piece = bytes - at < LV_CUDA_STAGE ? bytes - at : LV_CUDA_STAGE;
        LV_CUDA_TRY(get_stage(gpu, &stage));
        LV_CUDA_TRY(lv_cuda_text(cudaMemcpyAsync(stage, static_cast<const char *>(from) + at,
                                                 piece, cudaMemcpyDeviceToHost, gpu->stream)));
        LV_CUDA_TRY(lv_cuda_text(cudaStreamSynchronize(gpu->stream)));
        memcpy(static_cast<char *>(to) + at, stage, piece);
    }
    return nullptr;
}

static const char *fetch(lv_cuda *gpu, int slot, const void *from, size_t bytes)
{
    lv_cuda_slot *s = &gpu->slot[slot];
    if (s->size < bytes) {
        LV_CUDA_TRY(lv_cuda_text(cudaEventSynchronize(s->done)));
        LV_CUDA_TRY(lv_cuda_text(cudaFreeHost(s->host)));
        s->host = nullptr, s->size = 0;
        LV_CUDA_TRY(allocation_text(cudaMallocHost(&s->host, bytes)));
        s->size = bytes;
    }
    LV_CUDA_TRY(lv_cuda_text(
        cudaMemcpyAsync(s->host, from, bytes, cudaMemcpyDeviceToHost, gpu->stream)));
    return lv_cuda_text(cudaEventRecord(s->done, gpu->stream));
}

static const char *await(lv_cuda *gpu, const void **out, int slot)
{
    *out = gpu->slot[slot].host;
    return lv_cuda_text(cudaEventSynchronize(gpu->slot[slot].done));
}

static const char *stamp(lv_cuda *gpu, int index)
{
    if (!gpu->stamp[index]) LV_CUDA_TRY(lv_cuda_text(cudaEventCreate(&gpu->stamp[index])));
    return lv_cuda_text(cudaEventRecord(gpu->stamp[index], gpu->stream));
}

static const char *elapsed(lv_cuda *gpu, double *seconds, int count)
{
    LV_CUDA_TRY(lv_cuda_text(cudaStreamSynchronize(gpu->stream)));
    for (int i = 0; i < count; i++) {
        float ms;
        LV_CUDA_TRY(lv_cuda_text(
            cudaEventElapsedTime(&ms, gpu->stamp[2 * i], gpu->stamp[2 * i + 1])));
        seconds[i] = 1e-3 * double(ms);
    }
    return nullptr;
}

static const char *synchronize(lv_cuda *gpu)
{
    return lv_cuda_text(cudaStreamSynchronize(gpu->stream));
}

static const char *mark(lv_cuda *gpu, int slot)
{
    return lv_cuda_text(cudaEventRecord(gpu->mark[slot], gpu->stream));
}

static const char *wait(lv_cuda *gpu, lv_cuda *other, int slot)
{
    return lv_cuda_text(cudaStreamWaitEvent(gpu->stream, other->mark[slot], 0));
}

/* ---- the table ------------------------------------------------------------------------------- */

const lv_cuda_ops lv_cuda_module_ops = {
    /* In the order of kernels.h. */
    open_gpu,
    close_gpu,
    use,
    get_stream,
    get_memory,
    get_identity,
    allocate,
    release,
    get_stage,
    send_stage,
    download,
    fetch,
    await,
    stamp,
    elapsed,
    synchronize,
    mark,
    wait,
    lv_cuda_find_algorithm,
    lv_cuda_multiply,
    lv_cuda_gate_weights,
    lv_cuda_activate_rows,
    lv_cuda_layer_norm,
    lv_cuda_rms_norm,
    lv_cuda_norm_rope,
    lv_cuda_attention_biased,
    lv_cuda_add,
    lv_cuda_gelu_multiply,
    lv_cuda_activate,
    lv_cuda_patchify,
    lv_cuda_unpatchify,
    lv_cuda_conv_frame,
    lv_cuda_attention_picture_scratch,
    lv_cuda_attention_picture,
    lv_cuda_channel_norm,
    lv_cuda_upsample,
    lv_cuda_split_frames,
    lv_cuda_take_frame,
    lv_cuda_blend,
    lv_cuda_pixels,
    lv_cuda_copy,
    lv_cuda_zero,
};
