/* fake_cuda.c: a CUDA module without CUDA: its device memory is the program's, and its kernel plain
 * C that walks the tiles as the Hopper kernel does. So everything but the kernel itself is tested
 * on any machine. FAKE_CUDA says what else may be the matter: abi, driver, old, memory, launch;
 * with `device` it has what a device's memory needs, and streams, for messages between GPUs. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "engine/attention/cuda/fp8_layout.h"
#include "engine/runtime/cuda/module.h"
#include "fake_stream.h"

static bool is(const char *what)
{
    const char *asked = getenv("FAKE_CUDA");
    return asked && strcmp(asked, what) == 0;
}

enum { GPUS = 8 };

static const char *get_gpu(lv_cuda_gpu *out, int index)
{
    if (index >= GPUS) return "there is no GPU of this number";
    *out = (lv_cuda_gpu){"Fake H100", 9, 0, 13000, (int64_t)80 << 30, 132};
    if (is("old")) *out = (lv_cuda_gpu){"Fake V100", 7, 0, 13000, (int64_t)80 << 30, 132};
    return is("driver") ? "no NVIDIA driver is installed" : NULL;
}

static const char *get_capability(int *out)
{
    *out = 90;
    return NULL;
}

static const char *allocate(void **out, size_t bytes)
{
    *out = is("memory") ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *out ? NULL : "out of memory";
}

static const char *release(void *memory)
{
    free(memory);
    return NULL;
}

static const char *copy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return NULL;
}

static const char *synchronize(void *stream)
{
    (void)stream;
    return NULL;
}

/* ---- the kernel ----------------------------------------------------------------------------- */

static double load(const void *tensor, int64_t at, lvsa_dtype dtype)
{
    uint16_t bits = ((const uint16_t *)tensor)[at];
    return dtype == LVSA_BF16 ? lv_bf16_to_f32(bits) : lv_f16_to_f32(bits);
}

/* One query row, and its softmax so far. */
typedef struct row {
    const lvsa_attention *call;
    int64_t b, h, row;
    double max, sum, out[128];
} row;

/* `plus`: what its score gets besides. */
static void take_key(row *r, const lvsa_source *s, int64_t key, double plus)
{
    const lvsa_attention *c = r->call;
    const int64_t g = r->h / (c->heads / c->kv_heads);
    const int64_t q = r->b * c->q_strides.batch + r->row * c->q_strides.token +
                      r->h * c->q_strides.head,
                  k = r->b * s->k_strides.batch + key * s->k_strides.token + g * s->k_strides.head,
                  v = r->b * s->v_strides.batch + key * s->v_strides.token + g * s->v_strides.head;
    double score = 0.0;
    for (int64_t d = 0; d < c->head_dim; d++)
        score += load(c->q, q + d, c->dtype) * load(s->k, k + d, c->dtype);
    score = score * (c->scale != 0.0 ? c->scale : 1.0 / sqrt((double)c->head_dim)) + plus;
    const double max = score > r->max || isnan(score) ? score : r->max;
    const double old = exp(r->max - max), weight = exp(score - max);
    r->sum = r->sum * (r->sum == 0.0 ? 0.0 : old) + weight;
    for (int64_t d = 0; d < c->head_dim; d++)
        r->out[d] =
            (r->sum == weight ? 0.0 : r->out[d] * old) + weight * load(s->v, v + d, c->dtype);
    r->max = max;
}

static void store(const row *r)
{
    const lvsa_attention *c = r->call;
    const int64_t out =
        r->b * c->out_strides.batch + r->row * c->out_strides.token + r->h * c->out_strides.head;
    for (int64_t d = 0; d < c->head_dim; d++) {
        float x = (float)(r->sum == 0.0 ? 0.0 : r->out[d] / r->sum);
        ((uint16_t *)c->out)[out + d] =
            c->dtype == LVSA_BF16 ? lv_f32_to_bf16(x) : lv_f32_to_f16(x);
    }
    if (c->lse)
        c->lse[(r->b * c->heads + r->h) * c->queries + r->row] =
            r->sum == 0.0 ? -INFINITY : (float)(r->max + log(r->sum));
}

/* A key, or in fp8 the keys of a unit. */
static void take_keys(row *r, int source, int64_t at, double plus)
{
    const lvsa_source *s = &r->call->source[source];
    lv_fp8_layout l;
    if (!r->call->fp8) {
        take_key(r, s, at, plus);
        return;
    }
    lv_fp8_lay_out(&l, r->call);
    const lv_fp8_keys *k = &l.keys[source];
    const int64_t group = at / k->group_units, first = at % k->group_units * LV_FP8_UNIT;
    for (int64_t i = first; i < first + LV_FP8_UNIT && i < k->group; i++)
        take_key(r, s, group * k->group + i, plus);
}

/* A row's way through the list of its block, tile by tile; false where the list doesn't end with
 * its last tile. */
static bool walk(row *r, const lv_tile_run *run, int runs, int row_of_block)
{
    /* Keys, or units of 32; see sm90/common.cuh and common_fp8.cuh. */
    const bool small = r->call->head_dim == 64;
    const int tile = r->call->fp8 ? (small ? 4 : 7) : small ? 128 : 192;
    int i = 0, skip = 0; /* the run, and how much of it is taken */
    for (;;) {
        const lv_tile_run head = run[i];
        const int rest = head.rest - skip;
        /* The last key of a group that counts several times is never the tile's last column. */
        const int valid = rest < tile ? rest : tile - (head.counted && rest == tile);
        const bool ends = valid == rest, last = head.last && ends;
        for (int left = valid; left > 0;) {
            const int take = left < run[i].count - skip ? left : run[i].count - skip;
            const bool attends =
                row_of_block >= head.first_row && row_of_block <= head.last_row;
            for (int x = 0; x < take && attends; x++)
                take_keys(r, run[i].source, run[i].start + skip + x,
                          head.counted && ends && x + 1 == left
                              ? log((double)r->call->source[head.counted - 1].last_row_count)
                              : 0.0);
            left -= take, skip += take;
            if (skip == run[i].count) i++, skip = 0;
            if (i == runs && left > 0) return false;
        }
        if (i == runs || last) return i == runs && last;
    }
}

static const char *attend(const lvsa_attention *c, const void *tiles)
{
    const int64_t rows = lv_tile_block_rows(c->head_dim), blocks = (c->queries + rows - 1) / rows;
    const lv_tile_block *block = tiles;
    const lv_tile_run *run = (const lv_tile_run *)(const void *)(block + blocks);
    if (is("launch")) return "unspecified launch failure";
    for (int64_t i = 0; i < blocks * rows; i++) {
        const lv_tile_block *b = &block[i / rows];
        if (i >= c->queries) break;
        for (int64_t bh = 0; bh < c->batch * c->heads; bh++) {
            row r = {.call = c, .b = bh / c->heads, .h = bh % c->heads, .row = i, .max = -INFINITY};
            if (!walk(&r, run + b->run, b->runs, (int)(i - b->row))) return "a list has no end";
            store(&r);
        }
    }
    return NULL;
}

/* ---- a device -------------------------------------------------------------------------------- */

struct lv_cuda {
    fake_stream stream;
    char stage[LV_CUDA_STAGE];
};

static const char *open_gpu(lv_cuda **out, int index)
{
    (void)index;
    *out = calloc(1, sizeof **out);
    return *out ? NULL : "no memory on the host";
}

static void close_gpu(lv_cuda *gpu)
{
    if (gpu) fake_stream_wait(&gpu->stream);
    free(gpu);
}

static const char *use(lv_cuda *gpu)
{
    (void)gpu;
    return NULL;
}

static void *get_stream(lv_cuda *gpu) { return &gpu->stream; }

/* 80 GiB, or FAKE_CUDA_MIB; a sixteenth of them is taken. */
static const char *get_memory(lv_cuda *gpu, size_t *total, size_t *available)
{
    const char *asked = getenv("FAKE_CUDA_MIB");
    (void)gpu;
    *total = asked ? (size_t)atol(asked) << 20 : (size_t)80 << 30;
    *available = *total - *total / 16;
    return NULL;
}

static const char *take(lv_cuda *gpu, void **out, size_t bytes)
{
    (void)gpu;
    return allocate(out, bytes);
}

static const char *give(lv_cuda *gpu, void *memory)
{
    fake_stream_wait(&gpu->stream);
    return release(memory);
}

static const char *get_stage(lv_cuda *gpu, void **out)
{
    *out = gpu->stage;
    return NULL;
}

static const char *send_stage(lv_cuda *gpu, lv_tensor to, lvsa_dtype type)
{
    fake_stream_wait(&gpu->stream);
    if (type != to.dtype) return "a fake converts nothing";
    memcpy(to.data, gpu->stage, (size_t)lv_tensor_count(to) * lv_dtype_bytes(type));
    return NULL;
}

static const char *download(lv_cuda *gpu, void *to, const void *from, size_t bytes)
{
    fake_stream_wait(&gpu->stream);
    memcpy(to, from, bytes);
    return NULL;
}

static const char *mark(lv_cuda *gpu, int slot)
{
    (void)gpu;
    return slot < LV_CUDA_MARKS ? NULL : "no such mark";
}

static const char *wait(lv_cuda *gpu, lv_cuda *other, int slot)
{
    (void)gpu, (void)slot;
    fake_stream_wait(&other->stream);
    return NULL;
}

static size_t picture_scratch(int64_t points, int64_t channels)
{
    return (size_t)(points * channels) * 2;
}

static const lv_cuda_ops ops = {.open = open_gpu,
                                .close = close_gpu,
                                .use = use,
                                .get_stream = get_stream,
                                .get_memory = get_memory,
                                .allocate = take,
                                .release = give,
                                .get_stage = get_stage,
                                .send_stage = send_stage,
                                .download = download,
                                .mark = mark,
                                .wait = wait,
                                .attention_picture_scratch = picture_scratch};

const lv_cuda_table *lv_cuda_module_table(void)
{
    static lv_cuda_table table = {.size = sizeof table,
                                  .attention_size = sizeof(lvsa_attention),
                                  .ops_size = sizeof(lv_cuda_ops),
                                  .get_gpu = get_gpu,
                                  .get_capability = get_capability,
                                  .allocate = allocate,
                                  .release = release,
                                  .copy = copy,
                                  .synchronize = synchronize,
                                  .attn_bf16_sm80 = attend,
                                  .attn_f16_sm80 = attend,
                                  .attn_bf16_sm90 = attend,
                                  .attn_f16_sm90 = attend,
                                  .attn_fp8_sm90 = attend};
    table.abi = is("abi") ? 77 : LV_CUDA_ABI;
    table.ops = is("device") ? &ops : NULL;
    return &table;
}
