/* attn_check.c: random and hostile problems, and the comparison with the reference. */
#include "check/attn_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/half.h"
#include "check/fp8_rounding.h"

enum { GUARD = 64 }; /* elements before and after the output that nobody may write */

static const uint16_t POISON_HALF = 0x7fa5; /* a NaN in bf16 and fp16 */
static const uint32_t POISON_FLOAT = 0x7fa5a5a5u;

/* ---- elements of any type ------------------------------------------------------------------- */

static size_t element_size(lvsa_dtype dtype) { return dtype == LVSA_F32 ? 4 : 2; }

static void set(void *tensor, size_t i, float value, lvsa_dtype dtype)
{
    if (dtype == LVSA_F32) ((float *)tensor)[i] = value;
    if (dtype == LVSA_BF16) ((uint16_t *)tensor)[i] = lv_f32_to_bf16(value);
    if (dtype == LVSA_F16) ((uint16_t *)tensor)[i] = lv_f32_to_f16(value);
}

static float get(const void *tensor, size_t i, lvsa_dtype dtype)
{
    if (dtype == LVSA_BF16) return lv_bf16_to_f32(((const uint16_t *)tensor)[i]);
    if (dtype == LVSA_F16) return lv_f16_to_f32(((const uint16_t *)tensor)[i]);
    return ((const float *)tensor)[i];
}

static void poison(void *tensor, size_t count, lvsa_dtype dtype)
{
    for (size_t i = 0; i < count; i++)
        if (dtype == LVSA_F32) ((uint32_t *)tensor)[i] = POISON_FLOAT;
        else ((uint16_t *)tensor)[i] = POISON_HALF;
}

static int is_poison(const void *tensor, size_t i, lvsa_dtype dtype)
{
    return dtype == LVSA_F32 ? ((const uint32_t *)tensor)[i] == POISON_FLOAT
                             : ((const uint16_t *)tensor)[i] == POISON_HALF;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static uint64_t random_state;

static double uniform(void) /* (0, 1] */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 11) + 1.0) * 0x1p-53;
}

static float normal(void)
{
    double radius = sqrt(-2.0 * log(uniform()));
    return (float)(radius * cos(6.283185307179586 * uniform()));
}

/* ---- building a problem --------------------------------------------------------------------- */

static void *keep(attn_problem *p, size_t count, size_t size)
{
    size_t bytes = (count * size + 63) / 64 * 64 + 64;
    void *memory = aligned_alloc(64, bytes);
    assert_non_null(memory);
    assert_true((size_t)p->memories < sizeof p->memory / sizeof p->memory[0]);
    p->bytes[p->memories] = bytes;
    p->memory[p->memories++] = memory;
    return memory;
}

/* Strides of a [B, rows, heads, D] tensor with the case's gaps; *elements spans it. */
static lvsa_strides lay_out(size_t *elements, const attn_case *c, int64_t rows, int64_t heads)
{
    int64_t pad = c->stride_pad;
    lvsa_strides s = {.head = c->head_dim + pad};
    s.token = heads * s.head + pad;
    s.batch = rows * s.token + pad;
    *elements = (size_t)(c->batch * s.batch);
    return s;
}

static size_t at(lvsa_strides s, int64_t b, int64_t row, int64_t h)
{
    return (size_t)(b * s.batch + row * s.token + h * s.head);
}

/* A [B, rows, heads, D] tensor of normal numbers times `size`, NaN in its gaps. */
static void *make_tensor(attn_problem *p, lvsa_strides *strides, int64_t rows, int64_t heads,
                         float size)
{
    const attn_case *c = &p->c;
    size_t elements;
    *strides = lay_out(&elements, c, rows, heads);
    void *tensor = keep(p, elements, element_size(c->dtype));
    poison(tensor, elements, c->dtype);
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t row = 0; row < rows; row++)
            for (int64_t h = 0; h < heads; h++)
                for (int d = 0; d < c->head_dim; d++)
                    set(tensor, at(*strides, b, row, h) + (size_t)d, normal() * size, c->dtype);
    return tensor;
}

/* Overwrites k (and v) of rows first .. first + count - 1 of every head and batch item. */
static void fill_rows(const attn_problem *p, void *tensor, lvsa_strides strides, int64_t first,
                      int64_t count, float value)
{
    for (int64_t b = 0; b < p->c.batch; b++)
        for (int64_t row = first; row < first + count; row++)
            for (int64_t h = 0; h < p->c.kv_heads; h++)
                for (int d = 0; d < p->c.head_dim; d++)
                    set(tensor, at(strides, b, row, h) + (size_t)d, value, p->c.dtype);
}

static lvsa_source *add_source(attn_problem *p, int64_t rows)
{
    lvsa_source *s = &p->call.source[p->call.sources++];
    float size = p->c.input == ATTN_LARGE ? 30.0f : p->c.input == ATTN_EQUAL ? 0.0f : 1.0f;
    s->tokens = rows, s->last_row_count = p->c.count;
    s->k = make_tensor(p, &s->k_strides, rows, p->c.kv_heads, size);
    s->v = make_tensor(p, &s->v_strides, rows, p->c.kv_heads, 1.0f);
    return s;
}

/* The rows of every second frame, from frame `odd` on, that each query frame attends to. */
static const lvsa_runs *split_runs(attn_problem *p, int odd)
{
    int frames = p->c.frames, patches = p->c.patches;
    lvsa_plan_info info = {.size = sizeof info};
    CHECK_OK(lvsa_plan_get_info(&info, p->plan));
    int32_t *indptr = calloc((size_t)frames + 1, sizeof *indptr);
    int32_t *indices = calloc((size_t)info.attended_sum, sizeof *indices);
    lvsa_runs *runs = keep(p, 1, sizeof *runs);
    int32_t *offsets = keep(p, (size_t)frames + 1, sizeof *offsets);
    lvsa_run *list = keep(p, (size_t)info.attended_sum, sizeof *list);
    assert_true(indptr && indices);
    CHECK_OK(lvsa_plan_write_csr(p->plan, indptr, indices));

    int32_t used = 0;
    for (int f = 0; f < frames; f++) {
        offsets[f] = used;
        for (int32_t i = indptr[f]; i < indptr[f + 1]; i++)
            if (indices[i] % 2 == odd) list[used++] = (lvsa_run){indices[i] / 2 * patches, patches};
    }
    offsets[frames] = used;
    *runs = (lvsa_runs){frames, patches, offsets, list};
    free(indices);
    free(indptr);
    return runs;
}

static void add_video(attn_problem *p)
{
    const attn_case *c = &p->c;
    int64_t even = (c->frames + 1) / 2, odd = c->frames / 2;
    if (c->split) {
        lvsa_source *s = add_source(p, even * c->patches);
        if (!c->dense) s->runs = split_runs(p, 0);
        s = add_source(p, odd * c->patches);
        if (!c->dense) s->runs = split_runs(p, 1);
    } else {
        lvsa_source *s = add_source(p, (int64_t)c->frames * c->patches);
        if (!c->dense) s->runs = lvsa_plan_get_runs(p->plan);
    }
}

/* Every `every`th channel from `first` on, times `factor`, plus `plus`. */
static void change_channels(const attn_problem *p, const void *tensor, lvsa_strides strides,
                            int64_t rows, int64_t heads, int first, int every, float factor,
                            float plus)
{
    void *numbers = (void *)(uintptr_t)tensor;
    for (int64_t b = 0; b < p->c.batch; b++)
        for (int64_t row = 0; row < rows; row++)
            for (int64_t h = 0; h < heads; h++)
                for (int d = first; d < p->c.head_dim; d += every) {
                    const size_t i = at(strides, b, row, h) + (size_t)d;
                    set(numbers, i, get(numbers, i, p->c.dtype) * factor + plus, p->c.dtype);
                }
}

static void add_outliers(const attn_problem *p)
{
    const lvsa_attention *c = &p->call;
    const int all = p->c.head_dim;
    change_channels(p, c->q, c->q_strides, c->queries, c->heads, 7, all, 3.0f, 0.0f);
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        change_channels(p, s->k, s->k_strides, s->tokens, c->kv_heads, 3, 16, 1.0f, 12.0f);
        change_channels(p, s->k, s->k_strides, s->tokens, c->kv_heads, 7, all, 8.0f, 0.0f);
        change_channels(p, s->v, s->v_strides, s->tokens, c->kv_heads, 5, 32, 4.0f, 6.0f);
    }
}

static void spoil_input(attn_problem *p)
{
    lvsa_source *s = &p->call.source[0];
    if (p->c.input == ATTN_OUTLIERS) add_outliers(p);
    void *k = p->memory[0], *v = p->memory[1]; /* add_source() took these first */
    assert_true(s->k == k && s->v == v);
    if (p->c.input == ATTN_NAN_FRAME) {
        int64_t frame = p->c.frames / 2;
        fill_rows(p, k, s->k_strides, frame * p->c.patches, p->c.patches, NAN);
        fill_rows(p, v, s->v_strides, frame * p->c.patches, p->c.patches, NAN);
    }
    if (p->c.input == ATTN_DOMINANT)
        for (int64_t row = 0; row < s->tokens; row += p->c.patches)
            fill_rows(p, k, s->k_strides, row, 1, 8.0f);
}

static void set_defaults(attn_case *c)
{
    if (!c->batch) c->batch = 1;
    if (!c->frames) c->frames = 1;
    if (!c->patches) c->patches = 1;
    if (!c->heads) c->heads = 1;
    if (!c->kv_heads) c->kv_heads = c->heads;
    if (!c->head_dim) c->head_dim = 64;
    if (!c->dtype) c->dtype = LVSA_F32;
    if (!c->window) c->window = 3;
    if (!c->interval) c->interval = LVSA_INTERVAL_AUTO;
    if (!c->queries) c->queries = c->frames * c->patches;
    if (!c->backend) c->backend = LVSA_BACKEND_NATIVE;
    if (!c->threads) c->threads = 2;
}

void attn_problem_create(attn_problem *p, const attn_case *wanted)
{
    *p = (attn_problem){.c = *wanted};
    attn_case *c = &p->c;
    set_defaults(c);
    random_state = 1;

    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = c->frames, o.patches_per_frame = c->patches;
    o.window = c->window < 0 ? 0 : c->window;
    o.keyframe_interval = c->interval, o.reference_latent_frames = 5, o.rotation = c->rotation;
    CHECK_OK(lvsa_plan_create(&p->plan, &o));

    p->call = (lvsa_attention){.size = sizeof p->call,
                               .dtype = c->dtype,
                               .batch = c->batch,
                               .queries = c->queries,
                               .heads = c->heads,
                               .kv_heads = c->kv_heads,
                               .head_dim = c->head_dim,
                               .scale = c->scale,
                               .fp8 = c->fp8,
                               .backend = c->backend,
                               .threads = c->threads,
                               .device = c->device};
    add_video(p);
    if (c->text) add_source(p, c->text);
    p->call.q = make_tensor(p, &p->call.q_strides, c->queries, c->heads,
                            c->input == ATTN_DOMINANT ? 3.0f : 1.0f);
    spoil_input(p);

    size_t elements;
    p->call.out_strides = lay_out(&elements, c, c->queries, c->heads);
    p->out_elements = elements + 2 * GUARD;
    p->out_start = keep(p, p->out_elements, element_size(c->dtype));
    poison(p->out_start, p->out_elements, c->dtype);
    p->call.out = (char *)p->out_start + GUARD * element_size(c->dtype);
    if (c->lse) {
        size_t rows = (size_t)(c->batch * c->heads * c->queries) + 2 * GUARD;
        float *lse = keep(p, rows, sizeof *lse);
        poison(lse, rows, LVSA_F32);
        p->lse_start = lse;
        p->call.lse = lse + GUARD;
    }
}

void attn_problem_free(attn_problem *p)
{
    while (p->memories > 0) free(p->memory[--p->memories]);
    lvsa_plan_free(&p->plan);
}

/* ---- running -------------------------------------------------------------------------------- */

static void run_on_cpu(attn_problem *p)
{
    lvsa_attention call = p->call;
    CHECK_OK(lvsa_attention_workspace(&call.workspace_size, &call));
    call.workspace = keep(p, call.workspace_size, 1);
    CHECK_OK(lvsa_attention_run(&call));
}

/* A pointer into the problem's memory, as one into the copies of it. */
static void *moved(const attn_problem *p, void *const *copy, const void *pointer)
{
    for (int i = 0; i < p->memories; i++) {
        const char *start = p->memory[i];
        if ((const char *)pointer >= start && (const char *)pointer < start + p->bytes[i])
            return (char *)copy[i] + ((const char *)pointer - start);
    }
    return NULL;
}

/* Runs the call on copies, three times; the output goes to the problem's memory. */
static void run_copies(attn_problem *p, const lvsa_attention *call, void *const *copy,
                       const char *file, int line)
{
    const lvsa_device device = p->c.device;
    for (int run = 0; run < 3; run++) {
        CHECK_OK(lvsa_attention_run(call));
        CHECK_OK(lvsa_device_synchronize(device, call->stream));
        for (int i = 0; i < p->memories; i++) {
            if (p->memory[i] != p->out_start && p->memory[i] != p->lse_start) continue;
            void *have = malloc(p->bytes[i]);
            assert_non_null(have);
            CHECK_OK(lvsa_device_copy(have, copy[i], p->bytes[i], device));
            if (run > 0 && memcmp(have, p->memory[i], p->bytes[i]) != 0)
                fail_msg("%s:%d: run %d gave other bits than the first", file, line, run + 1);
            if (run == 0) { /* the next one begins with poison again */
                CHECK_OK(lvsa_device_copy(copy[i], p->memory[i], p->bytes[i], device));
                memcpy(p->memory[i], have, p->bytes[i]);
            }
            free(have);
        }
    }
}

static void run_on_device(attn_problem *p, const char *file, int line)
{
    const lvsa_device device = p->c.device;
    void *copy[sizeof p->memory / sizeof p->memory[0]];
    for (int i = 0; i < p->memories; i++) {
        CHECK_OK(lvsa_device_alloc(&copy[i], device, p->bytes[i]));
        CHECK_OK(lvsa_device_copy(copy[i], p->memory[i], p->bytes[i], device));
    }
    lvsa_attention call = p->call;
    call.q = moved(p, copy, call.q);
    call.out = moved(p, copy, call.out);
    call.lse = moved(p, copy, call.lse);
    for (int i = 0; i < call.sources; i++) {
        call.source[i].k = moved(p, copy, call.source[i].k);
        call.source[i].v = moved(p, copy, call.source[i].v);
    }
    lvsa_tiles *tiles;
    CHECK_OK(lvsa_attention_workspace(&call.workspace_size, &call));
    CHECK_OK(lvsa_device_alloc(&call.workspace, device, call.workspace_size));
    CHECK_OK(lvsa_tiles_create(&tiles, &call));
    call.tiles = tiles;
    run_copies(p, &call, copy, file, line);
    lvsa_tiles_free(&tiles);
    lvsa_device_free(&call.workspace, device);
    for (int i = 0; i < p->memories; i++) lvsa_device_free(&copy[i], device);
}

void attn_problem_run(attn_problem *p, const char *file, int line)
{
    if (p->c.device == LVSA_DEVICE_CPU) run_on_cpu(p);
    else run_on_device(p, file, line);
}

/* ---- comparing ------------------------------------------------------------------------------ */

/* What the reference says of some query rows: out [B, rows, H, D], lse [B, H, rows]. */
typedef struct wanted {
    int64_t *row;
    int64_t rows;
    float *out, *lse;
} wanted;

static void list_rows(wanted *w, const attn_problem *p)
{
    const int64_t all = p->call.queries, patches = p->c.dense ? all : p->c.patches;
    w->rows = p->c.sample ? p->c.sample : all;
    w->row = malloc((size_t)w->rows * sizeof *w->row);
    assert_non_null(w->row);
    for (int64_t i = 0; i < w->rows; i++) {
        int64_t random = (int64_t)(uniform() * (double)all) % all;
        int64_t first = random / patches * patches; /* of the row's frame */
        int64_t choice[] = {random, first, first + patches - 1};
        w->row[i] = !p->c.sample ? i : i == 0 ? all - 1 : choice[i % 3];
    }
}

/* The call's tensors in fp32, as lvsa_attention wants them; *count copies, freed by the caller. */
static void widen(lvsa_attention *call, float **copy, int *count)
{
    *count = 0;
    for (int i = -1; i < call->sources; i++)
        for (int v = 0; v < (i < 0 ? 1 : 2); v++) {
            lvsa_source *s = i < 0 ? NULL : &call->source[i];
            const void **tensor = !s ? &call->q : v ? &s->v : &s->k;
            int64_t batch_stride = !s  ? call->q_strides.batch
                                   : v ? s->v_strides.batch
                                       : s->k_strides.batch;
            size_t elements = (size_t)(call->batch * batch_stride);
            float *wide = malloc((elements + 1) * sizeof *wide);
            assert_non_null(wide);
            for (size_t e = 0; e < elements; e++) wide[e] = get(*tensor, e, call->dtype);
            *tensor = copy[(*count)++] = wide;
        }
    call->dtype = LVSA_F32, call->backend = LVSA_BACKEND_REF, call->device = LVSA_DEVICE_CPU;
    call->fp8 = 0;
}

/* One query row, as a call of its own whose runs are those of the row's frame. */
static void compute_row(const wanted *w, int64_t i, const lvsa_attention *wide)
{
    lvsa_attention call = *wide;
    lvsa_runs one[LVSA_MAX_SOURCES];
    int32_t offsets[LVSA_MAX_SOURCES][2] = {{0}};
    const int64_t heads = call.heads;
    float *lse = malloc((size_t)(call.batch * heads) * sizeof *lse);
    assert_non_null(lse);
    call.queries = 1;
    call.q = (const float *)call.q + w->row[i] * call.q_strides.token;
    call.out = w->out + i * heads * call.head_dim;
    call.lse = lse;
    for (int s = 0; s < call.sources; s++) {
        const lvsa_runs *runs = call.source[s].runs;
        if (!runs) continue;
        int64_t frame = w->row[i] / runs->patches_per_frame;
        offsets[s][1] = runs->offsets[frame + 1] - runs->offsets[frame];
        one[s] = (lvsa_runs){1, 1, offsets[s], runs->list + runs->offsets[frame]};
        call.source[s].runs = &one[s];
    }
    CHECK_OK(lvsa_attention_run(&call));
    for (int64_t j = 0; j < call.batch * heads; j++) w->lse[j * w->rows + i] = lse[j];
    free(lse);
}

/* What goes through the reference. */
typedef enum wanted_of { AS_IS, ROUNDED, ROUNDED_SQUARES } wanted_of;

static void square_values(lvsa_attention *call)
{
    for (int i = 0; i < call->sources; i++) {
        const lvsa_source *s = &call->source[i];
        float *v = (float *)(uintptr_t)s->v;
        for (int64_t e = 0; e < call->batch * s->v_strides.batch; e++) v[e] *= v[e];
    }
}

/* Adds q . mean * scale to the lse of the rounded problem. */
static void shift_lse(wanted *w, const attn_problem *p, const double *means)
{
    const lvsa_attention *c = &p->call;
    const double scale = c->scale != 0.0 ? c->scale : 1.0 / sqrt((double)c->head_dim);
    for (int64_t bh = 0; bh < c->batch * c->heads; bh++)
        for (int64_t i = 0; i < w->rows; i++) {
            const int64_t b = bh / c->heads, h = bh % c->heads,
                          kv = b * c->kv_heads + h / (c->heads / c->kv_heads);
            double dot = 0.0;
            for (int64_t d = 0; d < c->head_dim; d++)
                dot += (double)get(c->q, at(c->q_strides, b, w->row[i], h) + (size_t)d, c->dtype) *
                       means[kv * c->head_dim + d];
            w->lse[bh * w->rows + i] += (float)(dot * scale);
        }
}

/* The problem through the reference, in fp32 so that its output isn't rounded; w->row is listed. */
static void compute_wanted_of(wanted *w, const attn_problem *p, wanted_of what)
{
    lvsa_attention call = p->call;
    float *copy[2 * LVSA_MAX_SOURCES + 1];
    double *means = calloc((size_t)(call.batch * call.kv_heads * call.head_dim), sizeof *means);
    int copies;
    const size_t rows = (size_t)(call.batch * call.heads * w->rows);
    w->out = malloc(rows * (size_t)call.head_dim * sizeof *w->out);
    w->lse = malloc(rows * sizeof *w->lse);
    assert_true(w->out && w->lse && means);
    widen(&call, copy, &copies);
    if (what != AS_IS) fp8_round(&call, means);
    if (what == ROUNDED_SQUARES) square_values(&call);
    call.out = w->out, call.lse = w->lse;
    call.out_strides = (lvsa_strides){w->rows * call.heads * call.head_dim,
                                      call.heads * call.head_dim, call.head_dim};
    if (!p->c.sample) CHECK_OK(lvsa_attention_run(&call));
    for (int64_t i = 0; i < w->rows && p->c.sample; i++) compute_row(w, i, &call);
    if (what != AS_IS) shift_lse(w, p, means);
    while (copies > 0) free(copy[--copies]);
    free(means);
}

static void compute_wanted(wanted *w, const attn_problem *p)
{
    list_rows(w, p);
    compute_wanted_of(w, p, AS_IS);
}

static void free_wanted(wanted *w)
{
    free(w->lse);
    free(w->out);
    free(w->row);
}

/* Outside the output nothing may have changed; inside, everything must have. */
static void check_written(const attn_problem *p, const char *file, int line)
{
    const lvsa_attention *call = &p->call;
    char *inside = calloc(p->out_elements, 1);
    assert_non_null(inside);
    for (int64_t b = 0; b < call->batch; b++)
        for (int64_t row = 0; row < call->queries; row++)
            for (int64_t h = 0; h < call->heads; h++)
                memset(inside + GUARD + at(call->out_strides, b, row, h), 1,
                       (size_t)call->head_dim);
    for (size_t i = 0; i < p->out_elements; i++)
        if (inside[i] == is_poison(p->out_start, i, call->dtype))
            fail_msg("%s:%d: element %lld of the output %s", file, line, (long long)i - GUARD,
                     inside[i] ? "was not written" : "lies outside it and was overwritten");
    free(inside);
    for (int i = 1; call->lse && i <= GUARD; i++)
        if (!is_poison(call->lse - GUARD, (size_t)(GUARD - i), LVSA_F32) ||
            !is_poison(call->lse, (size_t)(call->batch * call->heads * call->queries + i - 1),
                       LVSA_F32))
            fail_msg("%s:%d: lse was written outside its bounds", file, line);
}

/* Largest |lse| that is a number: the size of the logits, to which an fp32 error in them is
 * relative. */
static double largest(const float *lse, size_t count)
{
    double most = 0.0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(lse[i])) most = fmax(most, fabs((double)lse[i]));
    return most;
}

/* The wanted output's own size, and what a step of it is. */
static double step_of(const attn_problem *p, const wanted *w)
{
    const lvsa_attention *call = &p->call;
    const size_t rows = (size_t)(call->batch * call->heads * w->rows);
    double square = 0.0;
    size_t numbers = 0;
    for (size_t i = 0; i < rows * (size_t)call->head_dim; i++)
        if (isfinite(w->out[i])) square += (double)w->out[i] * w->out[i], numbers++;
    double rms = sqrt(square / (double)(numbers ? numbers : 1));
    return rms * (call->dtype == LVSA_BF16  ? 0x1p-8
                  : call->dtype == LVSA_F16 ? 0x1p-11
                                            : 0x1p-23 * (1.0 + largest(w->lse, rows)));
}

static double measure_out(const attn_problem *p, const wanted *w, const char *file, int line)
{
    const lvsa_attention *call = &p->call;
    const double step = step_of(p, w);
    const float *want = w->out;
    double worst = 0.0;
    for (int64_t b = 0; b < call->batch; b++)
        for (int64_t i = 0; i < w->rows; i++)
            for (int64_t h = 0; h < call->heads; h++)
                for (int64_t d = 0; d < call->head_dim; d++, want++) {
                    size_t place = at(call->out_strides, b, w->row[i], h) + (size_t)d;
                    float have = get(call->out, place, call->dtype);
                    if (isnan(have) != isnan(*want))
                        fail_msg("%s:%d: b %d row %d h %d d %d is %g, %g wanted", file, line,
                                 (int)b, (int)w->row[i], (int)h, (int)d, (double)have,
                                 (double)*want);
                    if (!isnan(have) && have != *want)
                        worst = fmax(worst, fabs((double)have - *want) / step);
                }
    return worst;
}

static double measure_lse(const attn_problem *p, const wanted *w, const char *file, int line)
{
    const lvsa_attention *call = &p->call;
    const int64_t heads = call->batch * call->heads;
    const double step = 0x1p-23 * (1.0 + largest(w->lse, (size_t)(heads * w->rows)));
    double worst = 0.0;
    for (int64_t bh = 0; bh < heads && call->lse; bh++)
        for (int64_t i = 0; i < w->rows; i++) {
            float have = call->lse[bh * call->queries + w->row[i]], want = w->lse[bh * w->rows + i];
            if (isnan(have) != isnan(want) || isinf(have) != isinf(want))
                fail_msg("%s:%d: lse of head %d, row %d is %g, %g wanted", file, line, (int)bh,
                         (int)w->row[i], (double)have, (double)want);
            if (isfinite(want)) worst = fmax(worst, fabs((double)have - want) / step);
        }
    return worst;
}

/* ---- comparing fp8 --------------------------------------------------------------------------- */

/* Beside the bound of one weight's rounding: sums of e4m3 products have fewer bits than fp32. */
static const double FP8_SPREAD = 1.0 / 15.0 + 0.02, FP8_LSE = 0.07;

/* Errors of all outputs, as parts of what is allowed, and of the whole. */
typedef struct fp8_errors {
    double worst, worst_lse;   /* of what is allowed                                    */
    double rounded, exact;     /* relative, of all outputs: to the rounded, to the true */
} fp8_errors;

static fp8_errors measure_fp8(const attn_problem *p, const wanted *w, const wanted *rounded,
                              const wanted *squares, const char *file, int line)
{
    const lvsa_attention *c = &p->call;
    double to_rounded = 0.0, to_exact = 0.0, size = 0.0;
    fp8_errors e = {0};
    size_t n = 0;
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t i = 0; i < w->rows; i++)
            for (int64_t hd = 0; hd < c->heads * c->head_dim; hd++, n++) {
                const int64_t h = hd / c->head_dim, d = hd % c->head_dim;
                const double have =
                    get(c->out, at(c->out_strides, b, w->row[i], h) + (size_t)d, c->dtype);
                const double want = rounded->out[n], exact = w->out[n];
                if (isnan(have) != isnan(exact))
                    fail_msg("%s:%d: b %d row %d h %d d %d is %g, %g wanted", file, line, (int)b,
                             (int)w->row[i], (int)h, (int)d, have, exact);
                if (isnan(have)) continue;
                const double spread = sqrt(fmax(squares->out[n] - want * want, 0.0));
                const double allowed = FP8_SPREAD * spread + 0x1p-7 * fabs(want) + 1e-6;
                e.worst = fmax(e.worst, fabs(have - want) / allowed);
                to_rounded += (have - want) * (have - want);
                to_exact += (have - exact) * (have - exact);
                size += exact * exact;
            }
    for (int64_t i = 0; c->lse && i < c->batch * c->heads * w->rows; i++) {
        const double have = c->lse[i / w->rows * c->queries + w->row[i % w->rows]];
        const double want = rounded->lse[i];
        if (isnan(have) != isnan(want) || isinf(have) != isinf(want))
            fail_msg("%s:%d: an lse is %g, %g wanted", file, line, have, want);
        if (isfinite(want))
            e.worst_lse = fmax(e.worst_lse, fabs(have - want) / (FP8_LSE + 1e-5 * fabs(want)));
    }
    e.rounded = sqrt(to_rounded / fmax(size, 1e-30));
    e.exact = sqrt(to_exact / fmax(size, 1e-30));
    return e;
}

static void compare_fp8(attn_problem *p, const char *file, int line)
{
    const attn_case *c = &p->c;
    wanted w, rounded, squares;
    compute_wanted(&w, p);
    rounded = squares = w;
    compute_wanted_of(&rounded, p, ROUNDED);
    compute_wanted_of(&squares, p, ROUNDED_SQUARES);
    check_written(p, file, line);
    const fp8_errors e = measure_fp8(p, &w, &rounded, &squares, file, line);
    const char *kernel;
    CHECK_OK(lvsa_attention_kernel(&kernel, &p->call));
    print_message("%-18s B %d T %2d P %3d H %d/%d: %.2f of what is allowed, lse %.2f; relative to "
                  "the rounded %.4f, to the true %.4f\n",
                  kernel, c->batch, c->frames, c->patches, c->heads, c->kv_heads, e.worst,
                  e.worst_lse, e.rounded, e.exact);
    const int tame = c->input == ATTN_RANDOM && c->scale == 0.0;
    if (e.worst > 1.0 || e.worst_lse > 1.0 || (tame && (e.rounded > 0.05 || e.exact > 0.08)))
        fail_msg("%s:%d: off by %.2f of what is allowed (lse %.2f); relative to the rounded %.4f, "
                 "to the true %.4f",
                 file, line, e.worst, e.worst_lse, e.rounded, e.exact);
    free(rounded.out), free(rounded.lse), free(squares.out), free(squares.lse);
    free_wanted(&w);
}

void attn_problem_compare(attn_problem *p, const char *file, int line)
{
    const attn_case *c = &p->c;
    const double steps = c->dtype == LVSA_F32 ? 16.0 : 8.0;
    wanted w;
    if (c->fp8 == 1) {
        compare_fp8(p, file, line);
        return;
    }
    compute_wanted(&w, p);
    check_written(p, file, line);
    double worst = measure_out(p, &w, file, line), worst_lse = measure_lse(p, &w, file, line);
    const char *kernel;
    CHECK_OK(lvsa_attention_kernel(&kernel, &p->call));
    print_message("%-18s B %d T %2d P %3d H %d/%d D %3d %s: %.2f of %.0f steps, lse %.2f\n", kernel,
                  c->batch, c->frames, c->patches, c->heads, c->kv_heads, c->head_dim,
                  c->dtype == LVSA_F32   ? "f32 "
                  : c->dtype == LVSA_F16 ? "f16 "
                                         : "bf16",
                  worst, steps, worst_lse);
    if (worst > steps || worst_lse > steps)
        fail_msg("%s:%d: off by %.2f steps (lse %.2f), %.0f allowed", file, line, worst, worst_lse,
                 steps);
    free_wanted(&w);
}

void attn_check(const attn_case *c, const char *file, int line)
{
    attn_problem p;
    attn_problem_create(&p, c);
    attn_problem_run(&p, file, line);
    attn_problem_compare(&p, file, line);
    attn_problem_free(&p);
}
