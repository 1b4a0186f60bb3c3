/* sdpa.c: the back end sdpa, and what it does on the CPU: gathers a frame's keys and gives them to
 * the tiled kernel, one frame after another. */
#include "engine/attention/sdpa/sdpa.h"

#include <string.h>

#include "base/mem.h"
#include "engine/dtype.h"

/* A frame's call, its scratch in front of the tiled kernel's own:
 *   lse [H, P] f32, then of each source with runs K and V [rows, H_kv, D] of the call's type. */
typedef struct frame_call {
    lvsa_attention call;
    size_t bytes;
} frame_call;

int64_t lv_sdpa_count(const lvsa_source *source, int64_t frame)
{
    lvsa_run all;
    const lvsa_run *run;
    const int runs = lv_attn_get_runs(&run, &all, source, frame);
    const int64_t often = lv_attn_last_row_count(source);
    const int64_t more = (often < INT32_MAX ? often : INT32_MAX) - 1;
    int64_t rows = 0;
    for (int i = 0; i < runs; i++) {
        rows += run[i].count;
        if ((int64_t)run[i].start + run[i].count == source->tokens) rows += more;
    }
    return rows;
}

/* Rows of all heads to where they lie side by side; nothing where `to` is NULL. */
static char *gather(char *to, const void *from, lvsa_strides strides, const lvsa_attention *c,
                    lvsa_run run)
{
    const size_t number = lv_dtype_bytes(c->dtype), head = (size_t)c->head_dim * number;
    for (int64_t row = run.start; row < (int64_t)run.start + run.count; row++)
        for (int64_t h = 0; h < c->kv_heads; h++, to += head)
            memcpy(to,
                   (const char *)from + (row * strides.token + h * strides.head) * (int64_t)number,
                   head);
    return to;
}

/* Source `i` for a frame: gathered at `memory` where it has runs, and the bytes that takes. */
static size_t make_source(lvsa_source *out, const lvsa_attention *c, int i, int64_t b,
                          int64_t frame, char *memory)
{
    const lvsa_source *s = &c->source[i];
    const size_t number = lv_dtype_bytes(c->dtype),
                 row = (size_t)(c->kv_heads * c->head_dim) * number;
    const char *k = (const char *)s->k + b * s->k_strides.batch * (int64_t)number,
               *v = (const char *)s->v + b * s->v_strides.batch * (int64_t)number;
    *out = *s;
    out->k = k, out->v = v;
    if (!s->runs) return 0;

    lvsa_run all;
    const lvsa_run *run;
    const int runs = lv_attn_get_runs(&run, &all, s, frame);
    int64_t rows = 0;
    for (int r = 0; r < runs; r++) rows += run[r].count;
    /* A last row that isn't attended to counts nothing. */
    const bool last = runs > 0 && (int64_t)run[runs - 1].start + run[runs - 1].count == s->tokens;
    const size_t bytes = lv_round_up((size_t)rows * row, LV_CACHE_LINE);
    out->runs = NULL;
    out->tokens = rows;
    out->last_row_count = last ? s->last_row_count : 1;
    out->k_strides = out->v_strides =
        (lvsa_strides){.token = c->kv_heads * c->head_dim, .head = c->head_dim};
    out->k = memory ? memory : k;
    out->v = memory ? memory + bytes : v;
    char *to_k = memory, *to_v = memory ? memory + bytes : NULL;
    for (int r = 0; memory && r < runs; r++) {
        to_k = gather(to_k, k, s->k_strides, c, run[r]);
        to_v = gather(to_v, v, s->v_strides, c, run[r]);
    }
    return 2 * bytes;
}

/* The call of one frame of one batch item; without memory only its sizes are right. */
static frame_call make_frame(const lvsa_attention *c, int64_t b, int64_t frame, char *memory)
{
    const int64_t rows = lv_attn_frame_rows(c), first = frame * rows;
    const int64_t number = (int64_t)lv_dtype_bytes(c->dtype);
    frame_call f = {.call = *c};
    f.call.batch = 1;
    f.call.queries = rows;
    f.call.q = (const char *)c->q + (b * c->q_strides.batch + first * c->q_strides.token) * number;
    f.call.out =
        (char *)c->out + (b * c->out_strides.batch + first * c->out_strides.token) * number;
    f.call.backend = LVSA_BACKEND_NATIVE;
    f.call.tiles = NULL;
    if (c->lse) {
        f.call.lse = memory ? (float *)(void *)memory : c->lse;
        f.bytes = lv_round_up((size_t)(c->heads * rows) * sizeof(float), LV_CACHE_LINE);
    }
    for (int i = 0; i < c->sources; i++)
        f.bytes += make_source(&f.call.source[i], c, i, b, frame, memory ? memory + f.bytes : NULL);
    return f;
}

/* The most of any frame: scratch of a frame's call, and then of the tiled kernel. */
static lvsa_status find_sizes(size_t *gathered, size_t *scratch, const lvsa_attention *c)
{
    const int64_t frames = c->queries / lv_attn_frame_rows(c);
    *gathered = *scratch = 0;
    for (int64_t i = 0; i < frames; i++) {
        const frame_call f = make_frame(c, 0, i, NULL);
        const lv_attn_kernel *kernel;
        size_t bytes;
        LV_TRY(lv_attn_choose(&kernel, &f.call));
        LV_TRY(kernel->workspace(&bytes, &f.call));
        if (f.bytes > *gathered) *gathered = f.bytes;
        if (bytes > *scratch) *scratch = bytes;
    }
    return LVSA_OK;
}

static lvsa_status workspace(size_t *bytes, const lvsa_attention *c)
{
    size_t gathered, scratch;
    *bytes = 0;
    LV_TRY(find_sizes(&gathered, &scratch, c));
    *bytes = gathered + scratch;
    return LVSA_OK;
}

static lvsa_status run(const lvsa_attention *c)
{
    const int64_t rows = lv_attn_frame_rows(c), frames = c->queries / rows;
    size_t gathered, scratch;
    LV_TRY(find_sizes(&gathered, &scratch, c));
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t i = 0; i < frames; i++) {
            frame_call f = make_frame(c, b, i, c->workspace);
            f.call.workspace = (char *)c->workspace + gathered;
            f.call.workspace_size = scratch;
            LV_TRY(lvsa_attention_run(&f.call));
            for (int64_t h = 0; c->lse && h < c->heads; h++)
                memcpy(c->lse + (b * c->heads + h) * c->queries + i * rows, f.call.lse + h * rows,
                       (size_t)rows * sizeof(float));
        }
    return LVSA_OK;
}

static const lv_attn_kernel sdpa_cpu = {.name = "sdpa_cpu", .workspace = workspace, .run = run};

lvsa_status lv_attn_choose_sdpa(const lv_attn_kernel **out, const lvsa_attention *call)
{
    if (call->device == LVSA_DEVICE_CUDA) return lv_attn_choose_cudnn(out, call);
    *out = &sdpa_cpu;
    return LVSA_OK;
}
