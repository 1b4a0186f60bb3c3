/* onednn.c: products through oneDNN 2. A primitive is made once for each shape
 * and kept; after that a call only points its memories elsewhere. */
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#ifdef LVSA_HAVE_OPENMP
#include <omp.h>
#endif

#include "base/mem.h"
#include "engine/runtime/cpu/cpu.h"

enum { MOST_ARGS = 5, MOST_PLANS = 1024 };

/* Sizes as oneDNN takes them: always room for all its axes. */
#define DIMS(...)                                                                                  \
    (const dnnl_dims_t) { __VA_ARGS__ }

/* What tells primitives apart. Made with memset, compared with memcmp. */
typedef struct key {
    int64_t rows, columns, inner;
    lv_activation f;
    int bias, gate, add;
    int threads; /* oneDNN runs a primitive with as many as it was made for */
} key;

typedef struct plan {
    key key;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arg[MOST_ARGS]; /* src, weights, dst, then bias and gate where they are */
    int args;
} plan;

typedef struct state {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    plan *plans;
    size_t count, capacity;
} state;

static lvsa_status check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success) return LVSA_OK;
    if (status == dnnl_out_of_memory)
        return lv_fail(LVSA_ERR_MEMORY, "oneDNN %s: not enough memory", what);
    return lv_fail(LVSA_ERR_DEVICE, "oneDNN %s failed with status %d", what, (int)status);
}

static void free_plan(plan *p)
{
    for (int i = 0; i < p->args; i++) dnnl_memory_destroy(p->arg[i].memory);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
}

void lv_cpu_matmul_free(void *memory)
{
    state *s = memory;
    if (!s) return;
    while (s->count > 0) free_plan(&s->plans[--s->count]);
    lv_free(s->plans);
    if (s->stream) dnnl_stream_destroy(s->stream);
    if (s->engine) dnnl_engine_destroy(s->engine);
    lv_free(s);
}

static lvsa_status find_state(state **out, lv_exec *e)
{
    lv_cpu_device *cpu = (lv_cpu_device *)e->device;
    *out = cpu->matmul;
    if (*out) return LVSA_OK;
    state *s = lv_zalloc(sizeof *s);
    if (!s) return lv_fail(LVSA_ERR_MEMORY, "oneDNN: %zu bytes don't fit in memory", sizeof *s);
    lvsa_status status = check(dnnl_engine_create(&s->engine, dnnl_cpu, 0), "engine");
    if (status == LVSA_OK)
        status =
            check(dnnl_stream_create(&s->stream, s->engine, dnnl_stream_default_flags), "stream");
    if (status == LVSA_OK) *out = cpu->matmul = s;
    else lv_cpu_matmul_free(s);
    return status;
}

/* ---- making a primitive ---------------------------------------------------------------------- */

static lvsa_status add_arg(plan *p, const state *s, int index, const dnnl_memory_desc_t *desc)
{
    dnnl_exec_arg_t *arg = &p->arg[p->args];
    arg->arg = index;
    LV_TRY(check(dnnl_memory_create(&arg->memory, desc, s->engine, DNNL_MEMORY_NONE), "memory"));
    p->args++;
    return LVSA_OK;
}

/* f, the gate and the sum with what is there, in this order; *gate is the gate's place among
 * them. */
static lvsa_status make_attributes(dnnl_primitive_attr_t *out, int *gate, const key *k,
                                   const dnnl_memory_desc_t *gate_desc)
{
    dnnl_post_ops_t after;
    LV_TRY(check(dnnl_primitive_attr_create(out), "attributes"));
    LV_TRY(check(dnnl_post_ops_create(&after), "attributes"));
    dnnl_status_t s = dnnl_success;
    if (k->f == LV_SILU)
        s = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_swish, 1.0f, 0.0f);
    if (k->f == LV_GELU_TANH)
        s = dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_gelu_tanh, 0.0f, 0.0f);
    *gate = dnnl_post_ops_len(after);
    if (s == dnnl_success && k->gate)
        s = dnnl_post_ops_append_binary(after, dnnl_binary_mul, gate_desc);
    if (s == dnnl_success && k->add) s = dnnl_post_ops_append_sum(after, 1.0f);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(*out, after);
    dnnl_post_ops_destroy(after);
    return check(s, "attributes");
}

static lvsa_status describe(dnnl_memory_desc_t *out, int64_t rows, int64_t columns,
                            dnnl_format_tag_t tag)
{
    return check(dnnl_memory_desc_init_by_tag(out, 2, DIMS(rows, columns), dnnl_f32, tag), "sizes");
}

/* The primitive of an operation's description, with its arguments. */
static lvsa_status make_primitive(plan *p, const state *s, const_dnnl_op_desc_t description,
                                  const dnnl_memory_desc_t *src, const dnnl_memory_desc_t *weights,
                                  const dnnl_memory_desc_t *dst, const dnnl_memory_desc_t *vector)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t found = NULL;
    int gate = 0;
    lvsa_status status = make_attributes(&attributes, &gate, &p->key, vector);
    if (status == LVSA_OK)
        status = check(dnnl_primitive_desc_create(&found, description, attributes, s->engine, NULL),
                       "primitive");
    if (status == LVSA_OK) status = check(dnnl_primitive_create(&p->primitive, found), "primitive");
    if (status == LVSA_OK) status = add_arg(p, s, DNNL_ARG_SRC, src);
    if (status == LVSA_OK) status = add_arg(p, s, DNNL_ARG_WEIGHTS, weights);
    if (status == LVSA_OK) status = add_arg(p, s, DNNL_ARG_DST, dst);
    if (status == LVSA_OK && p->key.bias) status = add_arg(p, s, DNNL_ARG_BIAS, vector);
    if (status == LVSA_OK && p->key.gate)
        status = add_arg(p, s, DNNL_ARG_ATTR_MULTIPLE_POST_OP(gate) | DNNL_ARG_SRC_1, vector);
    if (found) dnnl_primitive_desc_destroy(found);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

static lvsa_status make_matmul(plan *p, const state *s)
{
    const int64_t rows = p->key.rows, columns = p->key.columns, inner = p->key.inner;
    dnnl_memory_desc_t src, weights, dst, vector;
    dnnl_matmul_desc_t matmul;
    LV_TRY(describe(&src, rows, inner, dnnl_ab));
    LV_TRY(describe(&weights, inner, columns, dnnl_ba));
    LV_TRY(describe(&dst, rows, columns, dnnl_ab));
    LV_TRY(describe(&vector, 1, columns, dnnl_ab));
    LV_TRY(check(dnnl_matmul_desc_init(&matmul, &src, &weights, p->key.bias ? &vector : NULL, &dst),
                 "matmul"));
    return make_primitive(p, s, &matmul, &src, &weights, &dst, &vector);
}

static lvsa_status find_plan(plan **out, state *s, const key *wanted)
{
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(&s->plans[i].key, wanted, sizeof *wanted) == 0) {
            *out = &s->plans[i];
            return LVSA_OK;
        }
    /* Many sizes of video have been made: begin anew. */
    if (s->count == MOST_PLANS)
        while (s->count > 0) free_plan(&s->plans[--s->count]);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 32;
        plan *plans = lv_grow_array(s->plans, s->capacity, capacity, sizeof *plans);
        if (!plans) return lv_fail(LVSA_ERR_MEMORY, "%zu primitives don't fit in memory", capacity);
        s->plans = plans;
        s->capacity = capacity;
    }
    plan *p = &s->plans[s->count];
    *p = (plan){.key = *wanted};
    lvsa_status status = make_matmul(p, s);
    if (status != LVSA_OK) {
        free_plan(p);
        return status;
    }
    s->count++;
    *out = p;
    return LVSA_OK;
}

static lvsa_status execute(const state *s, plan *p, void *const data[MOST_ARGS])
{
    for (int i = 0; i < p->args; i++)
        LV_TRY(check(dnnl_memory_set_data_handle(p->arg[i].memory, data[i]), "memory"));
    dnnl_status_t status = dnnl_primitive_execute(p->primitive, s->stream, p->args, p->arg);
    if (status == dnnl_success) status = dnnl_stream_wait(s->stream);
    return check(status, "execution");
}

/* ---- running it ------------------------------------------------------------------------------ */

/* Makes the primitive if need be and runs it; while measuring, having it is all. oneDNN takes as
 * many threads as OpenMP would. `data` in the order of the arguments. */
static lvsa_status run(lv_exec *e, const key *k, void *const data[MOST_ARGS])
{
    state *s;
    plan *p = NULL;
    LV_TRY(find_state(&s, e));
#ifdef LVSA_HAVE_OPENMP
    const int before = omp_get_max_threads();
    omp_set_num_threads(k->threads);
#endif
    lvsa_status status = find_plan(&p, s, k);
    if (status == LVSA_OK && !e->arena.measuring) status = execute(s, p, data);
#ifdef LVSA_HAVE_OPENMP
    omp_set_num_threads(before);
#endif
    return status;
}

static void *address(const void *memory) { return (void *)(uintptr_t)memory; }

lvsa_status lv_cpu_matmul(lv_exec *e, float *c, const float *a, const float *b, int64_t rows,
                          int64_t columns, int64_t inner, const lv_epilogue *end)
{
    key k;
    if (rows == 0) return LVSA_OK;
    memset(&k, 0, sizeof k);
    k.rows = rows, k.columns = columns, k.inner = inner;
    k.bias = end->bias.rank != 0, k.f = end->f, k.gate = end->gate.rank != 0, k.add = end->add;
    k.threads = lv_cpu_threads(e, rows * columns * inner);
    void *data[MOST_ARGS] = {address(a), address(b), c};
    int args = 3;
    if (k.bias) data[args++] = end->bias.data;
    if (k.gate) data[args++] = end->gate.data;
    return run(e, &k, data);
}
