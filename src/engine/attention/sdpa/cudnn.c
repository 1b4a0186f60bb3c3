/* cudnn.c: the back end sdpa on a GPU: gathers a frame's keys in device memory and gives them to
 * cuDNN, one frame after another. */
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/module.h"
#include "engine/attention/sdpa/module.h"
#include "engine/attention/sdpa/sdpa.h"
#include "engine/runtime/cuda/module.h"

/* ---- the module ------------------------------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const lv_cudnn_table *loaded; /* stays so until the process ends */

static lvsa_status load(void)
{
    void *symbol;
    if (lv_module_load(&symbol, "cudnn", LV_CUDNN_SYMBOL) != LVSA_OK)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end sdpa: on device cuda it is cuDNN's: %s; it is built with "
                       "-DLVSA_CUDNN_FRONTEND_DIR= (README.md); use native",
                       lvsa_last_error());
    const lv_cudnn_table *(*get)(void);
    memcpy(&get, &symbol, sizeof get);
    const lv_cudnn_table *t = get();
    LV_TRY(lv_module_check_build("back end sdpa: the cuDNN module", t->abi, t->size, LV_CUDNN_ABI,
                                 sizeof *t));
    const char *failure = t->load();
    if (failure)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end sdpa: on device cuda it is cuDNN's: %s; install cuDNN 9 (Debian's "
                       "nvidia-cudnn, or pip's nvidia-cudnn-cu13 with its lib folder in "
                       "LD_LIBRARY_PATH), or use native",
                       failure);
    loaded = t;
    return LVSA_OK;
}

static lvsa_status get_table(const lv_cudnn_table **out)
{
    pthread_mutex_lock(&lock);
    lvsa_status s = loaded ? LVSA_OK : load();
    *out = loaded;
    pthread_mutex_unlock(&lock);
    return s;
}

static lvsa_status check(const char *failure, const char *what)
{
    return failure ? lv_fail(LVSA_ERR_DEVICE, "cuDNN: %s: %s", what, failure) : LVSA_OK;
}

/* ---- a frame's job --------------------------------------------------------------------------- */

enum { ALIGNMENT = 256 }; /* of what lies in the workspace, in bytes */

/* Nothing to gather: one source, all of it for all queries. */
static bool lies_well(const lvsa_attention *c)
{
    return c->sources == 1 && !c->source[0].runs && lv_attn_last_row_count(&c->source[0]) == 1;
}

/* Its sizes; keys are gathered [keys, H_kv, D] where they don't lie well. */
static lv_cudnn_job make_job(const lvsa_attention *c, int64_t frame)
{
    lv_cudnn_job j = {.dtype = c->dtype,
                      .queries = lv_attn_frame_rows(c),
                      .heads = c->heads,
                      .kv_heads = c->kv_heads,
                      .head_dim = c->head_dim,
                      .q_strides = c->q_strides,
                      .out_strides = c->out_strides,
                      .scale = (float)lv_attn_scale(c),
                      .with_lse = c->lse != NULL,
                      .stream = c->stream};
    for (int i = 0; i < c->sources; i++) j.keys += lv_sdpa_count(&c->source[i], frame);
    j.k_strides = j.v_strides =
        (lvsa_strides){.token = c->kv_heads * c->head_dim, .head = c->head_dim};
    if (lies_well(c)) j.k_strides = c->source[0].k_strides, j.v_strides = c->source[0].v_strides;
    return j;
}

/* In the workspace: K, V, the sums' logarithms of a frame, then cuDNN's own. */
typedef struct parts {
    size_t v, lse, own, all;
} parts;

static lvsa_status divide(parts *p, const lv_cudnn_table *t, const lvsa_attention *c)
{
    const int64_t rows = lv_attn_frame_rows(c), frames = c->queries / rows;
    int64_t most = 0, asked = -1;
    size_t own = 0;
    for (int64_t f = 0; f < frames; f++) {
        const lv_cudnn_job j = make_job(c, f);
        size_t bytes;
        if (j.keys == 0)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "back end sdpa: frame %lld attends to nothing, which cuDNN doesn't "
                           "take; use native",
                           (long long)f);
        if (j.keys > INT_MAX / 2)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "back end sdpa: %lld rows of keys, each as often as it counts: %d at "
                           "most; use native",
                           (long long)j.keys, INT_MAX / 2);
        if (j.keys > most) most = j.keys;
        if (j.keys == asked) continue;
        asked = j.keys;
        LV_TRY(check(t->workspace(&bytes, &j), "no plan for this attention"));
        if (bytes > own) own = bytes;
    }
    const size_t copy =
        lies_well(c) ? 0 : lv_round_up((size_t)(most * c->kv_heads * c->head_dim) * 2, ALIGNMENT);
    *p = (parts){.v = copy, .lse = 2 * copy};
    p->own =
        p->lse + (c->lse ? lv_round_up((size_t)(rows * c->heads) * sizeof(float), ALIGNMENT) : 0);
    p->all = p->own + own;
    return LVSA_OK;
}

static lvsa_status workspace(size_t *bytes, const lvsa_attention *c)
{
    const lv_cudnn_table *t;
    parts p;
    *bytes = 0;
    LV_TRY(get_table(&t));
    LV_TRY(divide(&p, t, c));
    *bytes = p.all;
    return LVSA_OK;
}

/* ---- the call -------------------------------------------------------------------------------- */

static lvsa_status gather(char **to, const lv_cudnn_table *t, const lvsa_attention *c,
                          const void *from, lvsa_strides strides, const lvsa_source *s,
                          int64_t frame)
{
    const size_t row = (size_t)(c->kv_heads * c->head_dim) * 2;
    lvsa_run all;
    const lvsa_run *run;
    const int runs = lv_attn_get_runs(&run, &all, s, frame);
    if (runs == 0) return LVSA_OK;
    LV_TRY(check(t->gather(*to, from, strides, run, runs, c->kv_heads, c->head_dim, c->stream),
                 "gathering keys"));
    int64_t rows = 0;
    for (int i = 0; i < runs; i++) rows += run[i].count;
    const int64_t count = lv_sdpa_count(s, frame);
    if (count > rows) {
        const lvsa_run more = {0, (int32_t)(count - rows)};
        const uint16_t *last = (const uint16_t *)from + (s->tokens - 1) * strides.token;
        strides.token = 0; /* the same row again and again */
        LV_TRY(check(t->gather(*to + (size_t)rows * row, last, strides, &more, 1, c->kv_heads,
                               c->head_dim, c->stream),
                     "gathering the last key"));
    }
    *to += (size_t)count * row;
    return LVSA_OK;
}

static lvsa_status set_keys(lv_cudnn_job *j, const lv_cudnn_table *t, const parts *p,
                            const lvsa_attention *c, int64_t b, int64_t frame)
{
    char *k = c->workspace, *v = (char *)c->workspace + p->v;
    j->k = k, j->v = v;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        const uint16_t *from_k = (const uint16_t *)s->k + b * s->k_strides.batch,
                       *from_v = (const uint16_t *)s->v + b * s->v_strides.batch;
        if (lies_well(c)) {
            j->k = from_k, j->v = from_v;
            return LVSA_OK;
        }
        LV_TRY(gather(&k, t, c, from_k, s->k_strides, s, frame));
        LV_TRY(gather(&v, t, c, from_v, s->v_strides, s, frame));
    }
    return LVSA_OK;
}

static lvsa_status run(const lvsa_attention *c)
{
    const lv_cudnn_table *t;
    parts p;
    LV_TRY(get_table(&t));
    LV_TRY(divide(&p, t, c));
    const int64_t rows = lv_attn_frame_rows(c), frames = c->queries / rows;
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t f = 0; f < frames; f++) {
            lv_cudnn_job j = make_job(c, f);
            j.q = (const uint16_t *)c->q + b * c->q_strides.batch + f * rows * c->q_strides.token;
            j.out = (uint16_t *)c->out + b * c->out_strides.batch + f * rows * c->out_strides.token;
            j.lse = (float *)(void *)((char *)c->workspace + p.lse);
            j.workspace = (char *)c->workspace + p.own;
            LV_TRY(set_keys(&j, t, &p, c, b, f));
            LV_TRY(check(t->run(&j), "attention"));
            if (!c->lse) continue;
            LV_TRY(check(t->spread(c->lse + b * c->heads * c->queries + f * rows, c->queries, j.lse,
                                   rows, c->heads, c->stream),
                         "the sums' logarithms"));
        }
    return LVSA_OK;
}

static const lv_attn_kernel sdpa_cudnn = {.name = "sdpa_cudnn", .workspace = workspace, .run = run};

lvsa_status lv_attn_choose_cudnn(const lv_attn_kernel **out, const lvsa_attention *c)
{
    const lv_cuda_table *cuda;
    const lv_cudnn_table *t;
    if (c->dtype == LVSA_F32 || c->head_dim % 8 != 0 || c->head_dim > 128)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "head size %lld%s: back end sdpa takes multiples of 8 up to 128, in bf16 "
                       "and f16, on device cuda; use native",
                       (long long)c->head_dim, c->dtype == LVSA_F32 ? " in f32" : "");
    if (!lv_attn_has_vectors(c))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end sdpa: tensors and strides of whole 16 bytes are wanted on device "
                       "cuda; use native");
    LV_TRY(lv_cuda_get_table(&cuda));
    LV_TRY(get_table(&t));
    *out = &sdpa_cudnn;
    return LVSA_OK;
}
