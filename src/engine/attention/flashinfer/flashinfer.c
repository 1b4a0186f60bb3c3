/* flashinfer.c: the back end of FlashInfer's kernels: which calls they take, and their keys as
 * pages of one row. */
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/module.h"
#include "engine/attention/attention.h"
#include "engine/attention/flashinfer/module.h"

/* ---- the module ------------------------------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const lv_flashinfer_table *loaded; /* stays so until the process ends */

static lvsa_status load(void)
{
    void *symbol;
    if (lv_module_load(&symbol, "flashinfer", LV_FLASHINFER_SYMBOL) != LVSA_OK)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer: %s; it is built with -DLVSA_FLASHINFER_DIR=, "
                       "-DLVSA_CUTLASS_DIR= and -DLVSA_CCCL_DIR= (README.md); use native",
                       lvsa_last_error());
    const lv_flashinfer_table *(*get)(void);
    memcpy(&get, &symbol, sizeof get);
    const lv_flashinfer_table *t = get();
    LV_TRY(lv_module_check_build("back end flashinfer: the module", t->abi, t->size,
                                 LV_FLASHINFER_ABI, sizeof *t));
    loaded = t;
    return LVSA_OK;
}

static lvsa_status get_table(const lv_flashinfer_table **out)
{
    pthread_mutex_lock(&lock);
    lvsa_status s = loaded ? LVSA_OK : load();
    *out = loaded;
    pthread_mutex_unlock(&lock);
    return s;
}

static lvsa_status check(const char *failure, const char *what)
{
    return failure ? lv_fail(LVSA_ERR_DEVICE, "back end flashinfer: %s: %s", what, failure)
                   : LVSA_OK;
}

/* ---- keys as pages --------------------------------------------------------------------------- */

/* All sources' keys in one row: a source's last row stands there as often as it counts. */
typedef struct layout {
    bool copied;                           /* into the workspace; one source as it lies otherwise */
    int64_t first[LVSA_MAX_SOURCES], rows; /* where a source begins; all of them */
    int64_t page;                          /* divides where runs begin and end   */
    int64_t frames, frame_rows;
    int64_t indices; /* pages of all frames' lists */
} layout;

static int64_t divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* A run's rows in the one row of keys. */
static lvsa_run place(const layout *l, const lvsa_source *s, int source, lvsa_run run)
{
    const bool at_end = (int64_t)run.start + run.count == s->tokens;
    const int64_t more = at_end ? lv_attn_last_row_count(s) - 1 : 0;
    return (lvsa_run){(int32_t)(l->first[source] + run.start), (int32_t)(run.count + more)};
}

/* One frame's runs, of all sources in turn, as places in the one row of keys. */
typedef struct walk {
    const layout *l;
    const lvsa_attention *c;
    int64_t frame;
    int source; /* -1 to begin with */
    int at, runs;
    const lvsa_run *run;
    lvsa_run all; /* of a source without a list */
} walk;

static walk walk_frame(const layout *l, const lvsa_attention *c, int64_t frame)
{
    return (walk){.l = l, .c = c, .frame = frame, .source = -1};
}

static bool next_run(lvsa_run *out, walk *w)
{
    while (w->at == w->runs) {
        if (++w->source == w->c->sources) return false;
        w->runs = lv_attn_get_runs(&w->run, &w->all, &w->c->source[w->source], w->frame);
        w->at = 0;
    }
    *out = place(w->l, &w->c->source[w->source], w->source, w->run[w->at++]);
    return true;
}

/* Where one source can be read as it lies: the kernel of every card has one set of strides. */
static bool lies_well(const lvsa_attention *c)
{
    const lvsa_source *s = &c->source[0];
    return c->sources == 1 && lv_attn_last_row_count(s) == 1 &&
           s->k_strides.token == s->v_strides.token && s->k_strides.head == s->v_strides.head;
}

static lvsa_status plan_pages(layout *l, const lvsa_attention *c)
{
    *l = (layout){.copied = !lies_well(c), .frame_rows = lv_attn_frame_rows(c)};
    l->frames = c->queries / l->frame_rows;
    for (int i = 0; i < c->sources; i++) {
        const int64_t count = lv_attn_last_row_count(&c->source[i]);
        l->first[i] = l->rows;
        if (count > INT_MAX) l->rows = (int64_t)INT_MAX + 1;
        else l->rows += c->source[i].tokens + (c->source[i].tokens ? count - 1 : 0);
        if (l->rows > INT_MAX)
            return lv_fail(
                LVSA_ERR_UNSUPPORTED,
                "back end flashinfer: more than %d rows of keys, each as often as it counts; use "
                "native",
                INT_MAX);
    }
    int64_t keys = 0;
    for (int64_t f = 0; f < l->frames; f++) {
        const int64_t before = keys;
        lvsa_run run;
        for (walk w = walk_frame(l, c, f); next_run(&run, &w);) {
            l->page = divisor(divisor(l->page, run.start), run.count);
            keys += run.count;
        }
        if (keys == before)
            return lv_fail(
                LVSA_ERR_UNSUPPORTED,
                "back end flashinfer: frame %lld attends to nothing; one row at least is wanted; "
                "use native",
                (long long)f);
    }
    l->indices = keys / l->page;
    return l->indices <= INT_MAX
               ? LVSA_OK
               : lv_fail(LVSA_ERR_UNSUPPORTED,
                         "back end flashinfer: %lld pages of keys: %d at most; use native",
                         (long long)l->indices, INT_MAX);
}

static void list_pages(int32_t *indptr, int32_t *indices, const layout *l, const lvsa_attention *c)
{
    int32_t at = 0;
    for (int64_t f = 0; f < l->frames; f++) {
        lvsa_run run;
        indptr[f] = at;
        for (walk w = walk_frame(l, c, f); next_run(&run, &w);) {
            const int32_t first = (int32_t)(run.start / l->page),
                          count = (int32_t)(run.count / l->page);
            for (int32_t k = 0; k < count; k++) indices[at++] = first + k;
        }
    }
    indptr[l->frames] = at;
}

/* ---- the call -------------------------------------------------------------------------------- */

enum { ALIGNMENT = 256 }; /* of what lies in the workspace, in bytes */

/* What lies where in the workspace; copies are of one batch item. */
typedef struct parts {
    size_t k, v, lse, ints, ints_size, all;
} parts;

static parts divide(const layout *l, const lvsa_attention *c)
{
    const size_t row = (size_t)c->kv_heads * (size_t)c->head_dim * 2,
                 copy = l->copied ? lv_round_up((size_t)l->rows * row, ALIGNMENT) : 0,
                 lse = c->lse
                           ? lv_round_up((size_t)(c->queries * c->heads) * sizeof(float), ALIGNMENT)
                           : 0;
    parts p = {.k = 0, .v = copy, .lse = 2 * copy, .ints = 2 * copy + lse};
    p.ints_size = lv_flashinfer_ints(l->frames, l->frame_rows, c->heads, l->indices) + 4096;
    p.all = p.ints + p.ints_size;
    return p;
}

static lvsa_status workspace(size_t *bytes, const lvsa_attention *c)
{
    layout l;
    LV_TRY(plan_pages(&l, c));
    *bytes = divide(&l, c).all;
    return LVSA_OK;
}

static lvsa_status copy_rows(const lv_flashinfer_table *t, char *to, const void *from,
                             lvsa_strides strides, const lvsa_attention *c, int64_t rows,
                             int64_t last_count)
{
    const size_t row = (size_t)c->kv_heads * (size_t)c->head_dim * 2;
    const lvsa_run all = {0, (int32_t)rows}, more = {0, (int32_t)(last_count - 1)};
    LV_TRY(check(t->gather(to, from, strides, &all, 1, c->kv_heads, c->head_dim, c->stream),
                 "copying keys"));
    if (last_count == 1) return LVSA_OK;
    const uint16_t *last = (const uint16_t *)from + (rows - 1) * strides.token;
    strides.token = 0; /* the same row again and again */
    return check(t->gather(to + (size_t)rows * row, last, strides, &more, 1, c->kv_heads,
                           c->head_dim, c->stream),
                 "copying the last key");
}

/* Keys and values of a batch item side by side; the job reads them there. */
static lvsa_status copy_keys(lv_flashinfer_job *job, const lv_flashinfer_table *t, const layout *l,
                             const lvsa_attention *c, int64_t b)
{
    const parts p = divide(l, c);
    const size_t row = (size_t)c->kv_heads * (size_t)c->head_dim * 2;
    char *k = (char *)c->workspace + p.k, *v = (char *)c->workspace + p.v;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        if (s->tokens == 0) continue;
        const size_t at = (size_t)l->first[i] * row;
        const int64_t count = lv_attn_last_row_count(s);
        LV_TRY(copy_rows(t, k + at, (const uint16_t *)s->k + b * s->k_strides.batch, s->k_strides,
                         c, s->tokens, count));
        LV_TRY(copy_rows(t, v + at, (const uint16_t *)s->v + b * s->v_strides.batch, s->v_strides,
                         c, s->tokens, count));
    }
    job->k = k, job->v = v;
    job->k_strides = job->v_strides =
        (lvsa_strides){.token = c->kv_heads * c->head_dim, .head = c->head_dim};
    return LVSA_OK;
}

static lvsa_status run_item(const lv_flashinfer_job *pattern, const lv_flashinfer_table *t,
                            const layout *l, const lvsa_attention *c, int64_t b)
{
    const parts p = divide(l, c);
    lv_flashinfer_job job = *pattern;
    job.q = (const uint16_t *)c->q + b * c->q_strides.batch;
    job.out = (uint16_t *)c->out + b * c->out_strides.batch;
    if (l->copied) LV_TRY(copy_keys(&job, t, l, c, b));
    else {
        const lvsa_source *s = &c->source[0];
        job.k = (const uint16_t *)s->k + b * s->k_strides.batch;
        job.v = (const uint16_t *)s->v + b * s->v_strides.batch;
        job.k_strides = s->k_strides, job.v_strides = s->v_strides;
    }
    if (c->lse) job.lse = (float *)(void *)((char *)c->workspace + p.lse);
    LV_TRY(check(t->run(&job), job.sm80 ? "its kernel for every card" : "its kernel for Hopper"));
    if (!c->lse) return LVSA_OK;
    return check(
        t->turn_lse(c->lse + b * c->heads * c->queries, job.lse, c->queries, c->heads, c->stream),
        "the sums' logarithms");
}

static lvsa_status run(const lvsa_attention *c, bool sm80)
{
    const lv_flashinfer_table *t;
    layout l;
    LV_TRY(get_table(&t));
    LV_TRY(plan_pages(&l, c));
    const parts p = divide(&l, c);
    int32_t *list = lv_zalloc_array((size_t)(l.indices + l.frames + 1), sizeof *list);
    if (!list)
        return lv_fail(LVSA_ERR_MEMORY,
                       "back end flashinfer: a list of %lld pages doesn't fit in memory",
                       (long long)l.indices);
    list_pages(list, list + l.frames + 1, &l, c);
    const lv_flashinfer_job job = {.q_strides = c->q_strides,
                                   .out_strides = c->out_strides,
                                   .frames = (int)l.frames,
                                   .frame_rows = (int)l.frame_rows,
                                   .heads = (int)c->heads,
                                   .kv_heads = (int)c->kv_heads,
                                   .head_dim = (int)c->head_dim,
                                   .page = (int)l.page,
                                   .indptr = list,
                                   .indices = list + l.frames + 1,
                                   .scale = (float)lv_attn_scale(c),
                                   .ints = (char *)c->workspace + p.ints,
                                   .ints_size = p.ints_size,
                                   .stream = c->stream,
                                   .sm80 = sm80};
    lvsa_status s = LVSA_OK;
    for (int64_t b = 0; b < c->batch && s == LVSA_OK; b++) s = run_item(&job, t, &l, c, b);
    lv_free(list);
    return s;
}

static lvsa_status run_sm80(const lvsa_attention *c) { return run(c, true); }
static lvsa_status run_sm90(const lvsa_attention *c) { return run(c, false); }

static const lv_attn_kernel flashinfer_sm80 = {
    .name = "flashinfer_bf16_sm80", .workspace = workspace, .run = run_sm80};
static const lv_attn_kernel flashinfer_sm90 = {
    .name = "flashinfer_bf16_sm90", .workspace = workspace, .run = run_sm90};

/* ---- which calls ----------------------------------------------------------------------------- */

static bool contiguous(const lvsa_attention *c)
{
    return c->out_strides.head == c->head_dim && c->out_strides.token == c->heads * c->head_dim;
}

/* The kernel of every card has strides of 32 bits. */
static bool is_short(const lvsa_attention *c)
{
    double most = (double)c->q_strides.token * (double)c->queries;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        const double k = (double)s->k_strides.token * (double)s->tokens;
        if (k > most) most = k;
    }
    return most < INT_MAX;
}

lvsa_status lv_attn_choose_flashinfer(const lv_attn_kernel **out, const lvsa_attention *c)
{
    const lv_flashinfer_table *t;
    bool sm90;
    if (c->device != LVSA_DEVICE_CUDA)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer computes on a GPU only; use device cuda, or native");
    if (c->dtype != LVSA_BF16)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "back end flashinfer takes bf16 only; use native");
    if (c->head_dim != 64 && c->head_dim != 128)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "head size %lld: back end flashinfer takes 64 and 128; use native",
                       (long long)c->head_dim);
    LV_TRY(get_table(&t));
    LV_TRY(lv_attn_want_sm90(&sm90));
    if (!lv_attn_has_vectors(c))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer: tensors and strides of whole 16 bytes are wanted; use "
                       "native");
    if (!sm90 && !is_short(c))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer: its kernel for this card wants less than 2^31 numbers "
                       "from the first row to the last; use native");
    if (!sm90 && !contiguous(c))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer: its kernel for this card wants an output whose heads "
                       "and rows lie side by side; use native");
    const int64_t rows = lv_attn_frame_rows(c) * (c->heads / c->kv_heads);
    if (!sm90 && rows <= 64)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "back end flashinfer: %lld rows a frame and key head: its kernel for this "
                       "card takes 65 at least; use native",
                       (long long)rows);
    *out = sm90 ? &flashinfer_sm90 : &flashinfer_sm80;
    return LVSA_OK;
}
