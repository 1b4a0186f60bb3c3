/* test_attention_contract.c: what the attention call refuses, and what its sentence says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa_attention.h>

enum { T = 3, P = 4, S = T * P, D = 8 };

static float q[S * D], k[S * D], v[S * D], out[S * D];

static lvsa_attention good_call(const lvsa_runs *runs)
{
    const lvsa_strides strides = {S * D, D, D};
    lvsa_attention c = {.size = sizeof c,
                        .dtype = LVSA_F32,
                        .batch = 1,
                        .queries = S,
                        .heads = 1,
                        .kv_heads = 1,
                        .head_dim = D,
                        .q = q,
                        .q_strides = strides,
                        .out = out,
                        .out_strides = strides,
                        .sources = 1,
                        .backend = LVSA_BACKEND_REF};
    c.source[0] = (lvsa_source){.k = k,
                                .v = v,
                                .k_strides = strides,
                                .v_strides = strides,
                                .tokens = S,
                                .runs = runs};
    return c;
}

static void refuse(lvsa_attention c, lvsa_status status, const char *words)
{
    size_t bytes;
    const char *name;
    CHECK_FAILS(lvsa_attention_run(&c), status, words);
    CHECK_FAILS(lvsa_attention_workspace(&bytes, &c), status, words);
    CHECK_FAILS(lvsa_attention_kernel(&name, &c), status, words);
}

static void bad_sizes(void **state)
{
    (void)state;
    lvsa_attention c;
    c = good_call(NULL), c.size = 3, refuse(c, LVSA_ERR_ARGUMENT, "3 bytes");
    c = good_call(NULL), c.dtype = (lvsa_dtype)9, refuse(c, LVSA_ERR_ARGUMENT, "data type 9");
    c = good_call(NULL), c.batch = 0, refuse(c, LVSA_ERR_SHAPE, "batch 0");
    c = good_call(NULL), c.queries = 0, refuse(c, LVSA_ERR_SHAPE, "queries 0");
    c = good_call(NULL), c.queries = INT64_MAX, refuse(c, LVSA_ERR_SHAPE, "at most");
    c = good_call(NULL), c.heads = 3, c.kv_heads = 2, refuse(c, LVSA_ERR_SHAPE, "must divide");
    c = good_call(NULL), c.head_dim = 1025, refuse(c, LVSA_ERR_SHAPE, "head size 1025");
    c = good_call(NULL), c.q = NULL, refuse(c, LVSA_ERR_ARGUMENT, "q is NULL");
    c = good_call(NULL), c.out = NULL, refuse(c, LVSA_ERR_ARGUMENT, "out is NULL");
    c = good_call(NULL), c.scale = NAN, refuse(c, LVSA_ERR_ARGUMENT, "softmax scale");
    c = good_call(NULL), c.scale = -1.0, refuse(c, LVSA_ERR_ARGUMENT, "softmax scale -1");
    c = good_call(NULL), c.threads = -1, refuse(c, LVSA_ERR_ARGUMENT, "-1 threads");
    c = good_call(NULL), c.sources = 4, refuse(c, LVSA_ERR_ARGUMENT, "4 sources");
    c = good_call(NULL), c.source[0].v = NULL, refuse(c, LVSA_ERR_ARGUMENT, "v is NULL");
    c = good_call(NULL), c.source[0].tokens = -1, refuse(c, LVSA_ERR_SHAPE, "-1 rows");
    c = good_call(NULL), c.source[0].last_row_count = -2,
    refuse(c, LVSA_ERR_ARGUMENT, "last row counts -2 times");
}

/* The geometry guard: what isn't exactly T*P tokens never runs sparse. */
static void bad_runs(void **state)
{
    (void)state;
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    lvsa_plan *plan;
    o.latent_frames = T, o.patches_per_frame = P, o.keyframe_interval = 2;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    const lvsa_runs *runs = lvsa_plan_get_runs(plan);
    lvsa_attention c;
    c = good_call(runs);
    CHECK_OK(lvsa_attention_run(&c));
    c = good_call(runs), c.queries = S - 1, refuse(c, LVSA_ERR_SHAPE, "can't run sparse");
    c = good_call(runs), c.queries = S + 1, refuse(c, LVSA_ERR_SHAPE, "can't run sparse");
    c = good_call(runs), c.source[0].tokens = S - 1, refuse(c, LVSA_ERR_SHAPE, "11 rows");

    const int32_t offsets[] = {0, 2, 2, 2};
    const lvsa_run falling[] = {{4, 4}, {2, 1}}, empty[] = {{0, 0}, {4, 4}};
    lvsa_runs made = {T, P, offsets, falling};
    c = good_call(&made), refuse(c, LVSA_ERR_SHAPE, "frame 0");
    made.list = empty;
    c = good_call(&made), refuse(c, LVSA_ERR_SHAPE, "a run of 0 rows");
    lvsa_runs other = {P, T, runs->offsets, runs->list};
    c = good_call(runs), c.sources = 2, c.source[1] = c.source[0], c.source[1].runs = &other;
    refuse(c, LVSA_ERR_SHAPE, "patches a frame");
    lvsa_plan_free(&plan);
}

static void back_ends(void **state)
{
    (void)state;
    lvsa_backend backend;
    const char *name;
    CHECK_OK(lvsa_backend_from_name(&backend, "native"));
    assert_int_equal(backend, LVSA_BACKEND_NATIVE);
    assert_string_equal(lvsa_backend_name(LVSA_BACKEND_FLASHINFER), "flashinfer");
    CHECK_FAILS(lvsa_backend_from_name(&backend, "natif"), LVSA_ERR_ARGUMENT, "\"natif\"");

    lvsa_attention c = good_call(NULL);
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_ref");
    c.backend = LVSA_BACKEND_FLASHINFER,
    refuse(c, LVSA_ERR_UNSUPPORTED, "flashinfer computes on a GPU only");
    c.backend = (lvsa_backend)77, refuse(c, LVSA_ERR_ARGUMENT, "back end 77");
    c.backend = LVSA_BACKEND_AUTO, c.device = LVSA_DEVICE_CUDA,
    refuse(c, LVSA_ERR_UNSUPPORTED, "data type f32");

    c = good_call(NULL), c.backend = LVSA_BACKEND_AUTO;
    setenv("LVSA_BACKEND", "ref", 1);
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_ref");
    setenv("LVSA_BACKEND", "reef", 1);
    refuse(c, LVSA_ERR_ARGUMENT, "LVSA_BACKEND: back end \"reef\"");
    unsetenv("LVSA_BACKEND");
    setenv("LVSA_CPU_ISA", "avx9", 1);
    refuse(c, LVSA_ERR_ARGUMENT, "LVSA_CPU_ISA=avx9");
    setenv("LVSA_CPU_ISA", "generic", 1);
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_f32_generic");
    unsetenv("LVSA_CPU_ISA");
}

static void workspace_is_checked(void **state)
{
    (void)state;
    lvsa_attention c = good_call(NULL);
    c.backend = LVSA_BACKEND_NATIVE, c.threads = 1;
    size_t bytes;
    CHECK_OK(lvsa_attention_workspace(&bytes, &c));
    assert_true(bytes > 0 && bytes % 64 == 0);
    CHECK_FAILS(lvsa_attention_run(&c), LVSA_ERR_MEMORY, "workspace of 0 bytes");
    char *memory = aligned_alloc(64, bytes + 64);
    assert_non_null(memory);
    c.workspace = memory, c.workspace_size = bytes - 1;
    CHECK_FAILS(lvsa_attention_run(&c), LVSA_ERR_MEMORY, "needs");
    c.workspace = memory + 4, c.workspace_size = bytes;
    CHECK_FAILS(lvsa_attention_run(&c), LVSA_ERR_ARGUMENT, "aligned");
    c.workspace = memory;
    CHECK_OK(lvsa_attention_run(&c));
    free(memory);
}

static void nothing_to_attend_to_gives_zero(void **state)
{
    (void)state;
    float lse[S];
    const int32_t offsets[] = {0, 1, 1, 1};
    const lvsa_run list[] = {{0, 4}};
    const lvsa_runs runs = {T, P, offsets, list};
    for (int i = 0; i < S * D; i++) q[i] = k[i] = v[i] = 1.0f;
    for (lvsa_backend b = LVSA_BACKEND_NATIVE; b <= LVSA_BACKEND_REF;
         b += LVSA_BACKEND_REF - LVSA_BACKEND_NATIVE) {
        lvsa_attention c = good_call(&runs);
        c.backend = b, c.lse = lse;
        CHECK_OK(lvsa_attention_workspace(&c.workspace_size, &c));
        c.workspace = aligned_alloc(64, c.workspace_size + 64 - c.workspace_size % 64);
        assert_non_null(c.workspace);
        memset(out, 0xff, sizeof out);
        CHECK_OK(lvsa_attention_run(&c));
        for (int i = 0; i < S * D; i++) assert_true(out[i] == (i < P * D ? 1.0f : 0.0f));
        for (int i = P; i < S; i++) assert_true(isinf(lse[i]) && lse[i] < 0);
        free(c.workspace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_sizes),
        cmocka_unit_test(bad_runs),
        cmocka_unit_test(back_ends),
        cmocka_unit_test(workspace_is_checked),
        cmocka_unit_test(nothing_to_attend_to_gives_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
