/* choose.c: whether an attention call makes sense, and which kernel computes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "engine/attention/attention.h"
#include "engine/attention/tiles.h"

static const char *const backend_names[] = {"auto", "native", "sdpa", "flashinfer", "ref"};
enum { BACKENDS = sizeof backend_names / sizeof backend_names[0] };

const char *lvsa_backend_name(lvsa_backend backend)
{
    return (unsigned)backend < BACKENDS ? backend_names[backend] : "unknown";
}

lvsa_status lvsa_backend_from_name(lvsa_backend *out, const char *name)
{
    for (int i = 0; i < BACKENDS; i++)
        if (strcmp(name, backend_names[i]) == 0) {
            *out = (lvsa_backend)i;
            return LVSA_OK;
        }
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "back end \"%s\": native, sdpa, flashinfer, ref or auto is wanted", name);
}

int64_t lv_attn_frame_rows(const lvsa_attention *call)
{
    for (int i = 0; i < call->sources; i++)
        if (call->source[i].runs) return call->source[i].runs->patches_per_frame;
    return call->queries;
}

int lv_attn_get_runs(const lvsa_run **first, lvsa_run *all, const lvsa_source *source,
                     int64_t frame)
{
    if (source->runs) {
        const int32_t *offsets = source->runs->offsets + frame;
        *first = source->runs->list + offsets[0];
        return offsets[1] - offsets[0];
    }
    *all = (lvsa_run){0, (int32_t)source->tokens};
    *first = all;
    return source->tokens > 0;
}

double lv_attn_scale(const lvsa_attention *call)
{
    return call->scale != 0.0 ? call->scale : 1.0 / sqrt((double)call->head_dim);
}

int64_t lv_attn_last_row_count(const lvsa_source *source)
{
    return source->last_row_count > 1 ? source->last_row_count : 1;
}

/* ---- does the call make sense? -------------------------------------------------------------- */

static lvsa_status check_sizes(const lvsa_attention *c)
{
    if (c->dtype != LVSA_F32 && c->dtype != LVSA_F16 && c->dtype != LVSA_BF16)
        return lv_fail(LVSA_ERR_ARGUMENT, "data type %d: LVSA_F32, LVSA_F16 or LVSA_BF16 is wanted",
                       (int)c->dtype);
    if (c->batch < 1 || c->queries < 1 || c->heads < 1 || c->kv_heads < 1)
        return lv_fail(LVSA_ERR_SHAPE,
                       "batch %lld, queries %lld, heads %lld, kv heads %lld: all at least 1",
                       (long long)c->batch, (long long)c->queries, (long long)c->heads,
                       (long long)c->kv_heads);
    if (c->heads % c->kv_heads != 0)
        return lv_fail(LVSA_ERR_SHAPE,
                       "%lld heads share %lld kv heads: the second must divide the first",
                       (long long)c->heads, (long long)c->kv_heads);
    if (c->head_dim < 1 || c->head_dim > LVSA_MAX_HEAD_DIM)
        return lv_fail(LVSA_ERR_SHAPE, "head size %lld: 1 to %d is wanted", (long long)c->head_dim,
                       LVSA_MAX_HEAD_DIM);
    if (c->queries > INT32_MAX)
        return lv_fail(LVSA_ERR_SHAPE, "%lld queries: at most %d are supported",
                       (long long)c->queries, INT32_MAX);
    if (!c->q || !c->out)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s is NULL: a tensor is wanted", c->q ? "out" : "q");
    if (!isfinite(c->scale) || c->scale < 0.0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "softmax scale %g: above 0 is wanted, or 0 for 1/sqrt(head size)", c->scale);
    if (c->threads < 0)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d threads: 1 or more is wanted, or 0 for all",
                       c->threads);
    if (c->sources < 1 || c->sources > LVSA_MAX_SOURCES)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d sources of keys: 1 to %d is wanted", c->sources,
                       LVSA_MAX_SOURCES);
    return LVSA_OK;
}

static lvsa_status check_runs(const lvsa_attention *c, int index)
{
    const lvsa_source *s = &c->source[index];
    const lvsa_runs *r = s->runs;
    int64_t rows = (int64_t)r->frames * r->patches_per_frame;
    if (r->frames < 1 || r->patches_per_frame < 1 || rows != c->queries)
        return lv_fail(
            LVSA_ERR_SHAPE,
            "source %d: its runs are for %d frames of %d patches, %lld queries; there are %lld: a "
            "sequence that isn't whole frames can't run sparse, leave runs NULL",
            index, r->frames, r->patches_per_frame, (long long)rows, (long long)c->queries);
    if (r->patches_per_frame != lv_attn_frame_rows(c))
        return lv_fail(LVSA_ERR_SHAPE, "source %d: %d patches a frame, another source has %lld",
                       index, r->patches_per_frame, (long long)lv_attn_frame_rows(c));
    for (int32_t f = 0; f < r->frames; f++) {
        int64_t end = 0;
        for (int32_t i = r->offsets[f]; i < r->offsets[f + 1]; i++) {
            lvsa_run run = r->list[i];
            if (run.count < 1 || run.start < end || (int64_t)run.start + run.count > s->tokens)
                return lv_fail(
                    LVSA_ERR_SHAPE,
                    "source %d, frame %d: a run of %d rows from row %d on; ascending runs inside "
                    "its %lld rows are wanted",
                    index, f, run.count, run.start, (long long)s->tokens);
            end = (int64_t)run.start + run.count;
        }
    }
    return LVSA_OK;
}

static lvsa_status check_sources(const lvsa_attention *c)
{
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        if (s->tokens < 0 || s->tokens > INT32_MAX)
            return lv_fail(LVSA_ERR_SHAPE, "source %d: %lld rows; 0 to %d is wanted", i,
                           (long long)s->tokens, INT32_MAX);
        if (s->tokens > 0 && (!s->k || !s->v))
            return lv_fail(LVSA_ERR_ARGUMENT, "source %d: %s is NULL: a tensor is wanted", i,
                           s->k ? "v" : "k");
        if (s->last_row_count < 0)
            return lv_fail(LVSA_ERR_ARGUMENT,
                           "source %d: its last row counts %lld times; 1 or more is wanted, or 0 "
                           "for 1",
                           i, (long long)s->last_row_count);
        if (s->runs) LV_TRY(check_runs(c, i));
    }
    return LVSA_OK;
}

/* ---- which kernel? -------------------------------------------------------------------------- */

static lvsa_status choose_backend(lvsa_backend *out, const lvsa_attention *c)
{
    *out = c->backend;
    if ((unsigned)c->backend >= BACKENDS)
        return lv_fail(LVSA_ERR_ARGUMENT, "back end %d: there is no such", (int)c->backend);
    if (c->backend != LVSA_BACKEND_AUTO) return LVSA_OK;
    const char *name = getenv("LVSA_BACKEND");
    if (name && *name && lvsa_backend_from_name(out, name) != LVSA_OK)
        return lv_fail_in(LVSA_ERR_ARGUMENT, "LVSA_BACKEND");
    if (*out == LVSA_BACKEND_AUTO) *out = LVSA_BACKEND_NATIVE;
    return LVSA_OK;
}

static lvsa_status choose_native_cpu(const lv_attn_kernel **out)
{
    lv_cpu_isa isa;
    LV_TRY(lv_cpu_get_isa(&isa));
    *out = &lv_attn_f32_generic;
#if defined(__x86_64__)
    if (isa >= LV_CPU_AVX2) *out = &lv_attn_f32_avx2;
    if (isa >= LV_CPU_AVX512) *out = &lv_attn_f32_avx512;
#endif
    return LVSA_OK;
}

lvsa_status lv_attn_choose(const lv_attn_kernel **out, const lvsa_attention *call)
{
    *out = NULL;
    if (call->size != sizeof *call)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_attention of %zu bytes, %zu wanted: set its size",
                       call->size, sizeof *call);
    LV_TRY(check_sizes(call));
    LV_TRY(check_sources(call));

    lvsa_backend backend;
    LV_TRY(choose_backend(&backend, call));
    if (call->device != LVSA_DEVICE_CPU && call->device != LVSA_DEVICE_CUDA)
        return lv_fail(LVSA_ERR_ARGUMENT, "device %d: there is no such", (int)call->device);
    const bool cpu = call->device == LVSA_DEVICE_CPU;
    if (call->fp8 && (cpu || backend != LVSA_BACKEND_NATIVE))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "attention in fp8, back end %s on device %s: only native on device cuda has "
                       "it; use those, or attention dtype auto",
                       lvsa_backend_name(backend), cpu ? "cpu" : "cuda");
    switch (backend) {
    case LVSA_BACKEND_REF:
        if (!cpu)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "back end ref computes on the CPU only; use device cpu");
        *out = &lv_attn_ref;
        return LVSA_OK;
    case LVSA_BACKEND_NATIVE: return cpu ? choose_native_cpu(out) : lv_attn_choose_cuda(out, call);
    case LVSA_BACKEND_SDPA: return lv_attn_choose_sdpa(out, call);
    default: return lv_attn_choose_flashinfer(out, call);
    }
}

/* ---- the public calls ----------------------------------------------------------------------- */

lvsa_status lvsa_attention_kernel(const char **name, const lvsa_attention *call)
{
    const lv_attn_kernel *kernel;
    LV_TRY(lv_attn_choose(&kernel, call));
    *name = kernel->name;
    return LVSA_OK;
}

lvsa_status lvsa_attention_workspace(size_t *bytes, const lvsa_attention *call)
{
    const lv_attn_kernel *kernel;
    *bytes = 0;
    LV_TRY(lv_attn_choose(&kernel, call));
    return kernel->workspace(bytes, call);
}

lvsa_status lvsa_attention_run(const lvsa_attention *call)
{
    const lv_attn_kernel *kernel;
    size_t bytes;
    LV_TRY(lv_attn_choose(&kernel, call));
    LV_TRY(kernel->workspace(&bytes, call));
    if (bytes > call->workspace_size || (bytes > 0 && !call->workspace))
        return lv_fail(LVSA_ERR_MEMORY,
                       "workspace of %zu bytes, %s needs %zu: ask lvsa_attention_workspace()",
                       call->workspace ? call->workspace_size : 0, kernel->name, bytes);
    if ((uintptr_t)call->workspace % 64 != 0)
        return lv_fail(LVSA_ERR_ARGUMENT, "the workspace is not aligned to 64 bytes");
    LV_TRY(lv_tiles_check(call, kernel));
    return kernel->run(call);
}
