/* test_attention_check.c: the CPU kernels against the reference, each instruction set the machine
 * has. */
#include "check/attn_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/cpu.h"

static void random_inputs(void **state)
{
    (void)state;
    CHECK_ATTN(.frames = 3, .patches = 131, .heads = 2, .head_dim = 128, .lse = 1);
    CHECK_ATTN(.frames = 13, .patches = 36, .heads = 2, .head_dim = 64, .lse = 1);
    CHECK_ATTN(.frames = 20, .patches = 17, .heads = 1, .head_dim = 64, .rotation = 1);
    CHECK_ATTN(.frames = 11, .patches = 300, .heads = 1, .head_dim = 32);
    CHECK_ATTN(.frames = 4, .patches = 257, .heads = 1, .head_dim = 32, .interval = 2);
}

static void odd_sizes(void **state)
{
    (void)state;
    static const int patches[] = {1, 7, 31, 32, 33, 63, 65, 127, 129};
    static const int dims[] = {32, 40, 63, 96, 128, 160, 256, 1, 5};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++)
        CHECK_ATTN(.frames = 7, .patches = patches[i], .heads = 1, .head_dim = dims[i], .lse = 1);
    CHECK_ATTN(.frames = 1, .patches = 1, .heads = 1, .head_dim = 64, .lse = 1);
}

static void storage_types(void **state)
{
    (void)state;
    for (lvsa_dtype dtype = LVSA_F32; dtype <= LVSA_BF16; dtype++) {
        CHECK_ATTN(.frames = 9, .patches = 50, .heads = 2, .head_dim = 64, .dtype = dtype,
                   .lse = 1);
        CHECK_ATTN(.frames = 9, .patches = 33, .heads = 1, .head_dim = 77, .dtype = dtype);
    }
}

static void shared_heads_strides_batch(void **state)
{
    (void)state;
    CHECK_ATTN(.frames = 8, .patches = 37, .heads = 6, .kv_heads = 2, .head_dim = 48);
    CHECK_ATTN(.frames = 8, .patches = 37, .heads = 4, .kv_heads = 1, .head_dim = 64,
               .stride_pad = 3, .lse = 1);
    CHECK_ATTN(.batch = 2, .frames = 6, .patches = 41, .heads = 2, .head_dim = 64, .stride_pad = 1,
               .lse = 1);
}

static void sources(void **state)
{
    (void)state;
    static const int text[] = {1, 63, 64, 65, 300};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        CHECK_ATTN(.frames = 8, .patches = 37, .heads = 2, .head_dim = 64, .text = text[i],
                   .lse = 1);
    CHECK_ATTN(.frames = 9, .patches = 37, .heads = 2, .head_dim = 64, .split = 1, .lse = 1);
    CHECK_ATTN(.batch = 2, .frames = 9, .patches = 37, .heads = 2, .head_dim = 64, .split = 1,
               .text = 77, .stride_pad = 5);
}

/* Each source's last row counts so often, in the middle of a tile of keys and at its end. */
static void last_row_counts(void **state)
{
    (void)state;
    static const int text[] = {1, 2, 63, 64, 65, 300};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        CHECK_ATTN(.dense = 1, .frames = 1, .patches = 31, .queries = 70, .heads = 2,
                   .head_dim = 64, .text = text[i], .count = 1 + 97 * (int)i, .lse = 1);
    for (lvsa_dtype dtype = LVSA_F32; dtype <= LVSA_BF16; dtype++)
        CHECK_ATTN(.batch = 2, .frames = 9, .patches = 37, .heads = 2, .head_dim = 40, .split = 1,
                   .text = 77, .count = 1000000, .dtype = dtype, .lse = 1);
    CHECK_ATTN(.frames = 12, .patches = 29, .heads = 1, .head_dim = 64, .text = 21, .count = 491,
               .input = ATTN_LARGE, .lse = 1);
    CHECK_ATTN(.frames = 12, .patches = 29, .heads = 1, .head_dim = 64, .text = 21, .count = 491,
               .input = ATTN_NAN_FRAME, .lse = 1);
}

/* 21 rows whose last counts 492 times are the same as 512 rows, in the reference too. */
static void counting_is_repeating(void **state)
{
    (void)state;
    enum { ROWS = 21, ALL = 512, QUERIES = 33, DIM = 24 };
    static float q[QUERIES * DIM], k[ALL * DIM], v[ALL * DIM], out[2][QUERIES * DIM];
    uint32_t random = 1;
    for (int i = 0; i < ALL * DIM; i++) {
        const int from = i < ROWS * DIM ? i : (ROWS - 1) * DIM + i % DIM;
        if (i == from) random = random * 1664525u + 1013904223u;
        k[i] = i == from ? (float)(random >> 16 & 255) / 64.0f - 2.0f : k[from];
        v[i] = i == from ? (float)(random >> 24) / 64.0f - 2.0f : v[from];
        if (i < QUERIES * DIM) q[i] = (float)(i * 7 % 23) / 11.0f - 1.0f;
    }
    const lvsa_strides strides = {0, DIM, DIM};
    for (int b = 0; b < 2; b++) {
        for (int counted = 0; counted < 2; counted++) {
            lvsa_attention c = {.size = sizeof c,
                                .dtype = LVSA_F32,
                                .batch = 1,
                                .queries = QUERIES,
                                .heads = 1,
                                .kv_heads = 1,
                                .head_dim = DIM,
                                .q = q,
                                .q_strides = strides,
                                .out = out[counted],
                                .out_strides = strides,
                                .sources = 1,
                                .threads = 1};
            c.backend = b ? LVSA_BACKEND_NATIVE : LVSA_BACKEND_REF;
            c.source[0] = (lvsa_source){.k = k,
                                        .v = v,
                                        .k_strides = strides,
                                        .v_strides = strides,
                                        .tokens = counted ? ROWS : ALL,
                                        .last_row_count = counted ? ALL - ROWS + 1 : 0};
            CHECK_OK(lvsa_attention_workspace(&c.workspace_size, &c));
            c.workspace = aligned_alloc(64, c.workspace_size + 64);
            assert_non_null(c.workspace);
            CHECK_OK(lvsa_attention_run(&c));
            free(c.workspace);
        }
        for (int i = 0; i < QUERIES * DIM; i++)
            assert_true(fabsf(out[0][i] - out[1][i]) < (b ? 4e-6f : 2.4e-7f)); /* up to 2 */
    }
}

static void dense_and_cross(void **state)
{
    (void)state;
    CHECK_ATTN(.dense = 1, .frames = 5, .patches = 97, .heads = 2, .head_dim = 64, .lse = 1);
    CHECK_ATTN(.dense = 1, .frames = 1, .patches = 512, .queries = 333, .heads = 2, .head_dim = 64,
               .lse = 1);
    CHECK_ATTN(.dense = 1, .frames = 1, .patches = 3, .queries = 700, .heads = 1, .head_dim = 64,
               .text = 5);
}

static void hostile_inputs(void **state)
{
    (void)state;
    for (lvsa_dtype dtype = LVSA_F32; dtype <= LVSA_BF16; dtype++)
        for (attn_input input = ATTN_LARGE; input <= ATTN_NAN_FRAME; input++)
            CHECK_ATTN(.frames = 12, .patches = 29, .heads = 2, .head_dim = 64, .dtype = dtype,
                       .input = input, .lse = 1);
    CHECK_ATTN(.frames = 12, .patches = 29, .heads = 1, .head_dim = 64, .scale = 3.0, .lse = 1);
    CHECK_ATTN(.frames = 12, .patches = 29, .heads = 1, .head_dim = 64, .scale = 1e-6, .lse = 1);
}

/* W = 0: most frames are attended to by nobody; they are NaN here and must not leak. */
static void unattended_frames(void **state)
{
    (void)state;
    CHECK_ATTN(.frames = 12, .patches = 29, .heads = 2, .head_dim = 64, .window = -1, .interval = 4,
               .input = ATTN_NAN_FRAME, .rotation = 1, .lse = 1);
}

/* Frame by frame over gathered keys. */
static void sdpa(void **state)
{
    (void)state;
    for (lvsa_dtype dtype = LVSA_F32; dtype <= LVSA_BF16; dtype++)
        CHECK_ATTN(.backend = LVSA_BACKEND_SDPA, .batch = 2, .frames = 9, .patches = 37, .heads = 4,
                   .kv_heads = 2, .head_dim = 64, .dtype = dtype, .split = 1, .text = 21,
                   .count = 492, .stride_pad = 3, .lse = 1);
    for (attn_input input = ATTN_LARGE; input <= ATTN_NAN_FRAME; input++)
        CHECK_ATTN(.backend = LVSA_BACKEND_SDPA, .frames = 12, .patches = 29, .heads = 2,
                   .head_dim = 40, .window = -1, .interval = 4, .rotation = 1, .input = input);
    CHECK_ATTN(.backend = LVSA_BACKEND_SDPA, .dense = 1, .frames = 5, .patches = 31, .lse = 1);
}

static void run_once(attn_problem *p, int threads)
{
    p->call.threads = threads;
    CHECK_OK(lvsa_attention_workspace(&p->call.workspace_size, &p->call));
    p->call.workspace = aligned_alloc(64, (p->call.workspace_size + 63) / 64 * 64);
    assert_non_null(p->call.workspace);
    CHECK_OK(lvsa_attention_run(&p->call));
    free(p->call.workspace);
}

static void same_for_any_thread_count(void **state)
{
    (void)state;
    attn_problem p;
    attn_problem_create(&p, &(attn_case){.frames = 9, .patches = 70, .heads = 3, .head_dim = 64});
    size_t bytes = p.out_elements * sizeof(float);
    void *first = malloc(bytes);
    assert_non_null(first);
    run_once(&p, 1);
    memcpy(first, p.out_start, bytes);
    for (int threads = 2; threads <= 5; threads++) {
        run_once(&p, threads);
        assert_memory_equal(first, p.out_start, bytes);
    }
    free(first);
    attn_problem_free(&p);
}

int main(void)
{
    int failed = 0;
    for (int isa = LV_CPU_GENERIC; isa <= LV_CPU_AVX512; isa++) {
        const char *name = lv_cpu_isa_name((lv_cpu_isa)isa);
        if (isa > (int)lv_cpu_find_isa()) {
            print_message("skipped: this processor has no %s\n", name);
            continue;
        }
        setenv("LVSA_CPU_ISA", name, 1);
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(random_inputs),
            cmocka_unit_test(odd_sizes),
            cmocka_unit_test(storage_types),
            cmocka_unit_test(shared_heads_strides_batch),
            cmocka_unit_test(sources),
            cmocka_unit_test(last_row_counts),
            cmocka_unit_test(counting_is_repeating),
            cmocka_unit_test(dense_and_cross),
            cmocka_unit_test(hostile_inputs),
            cmocka_unit_test(unattended_frames),
            cmocka_unit_test(sdpa),
            cmocka_unit_test(same_for_any_thread_count),
        };
        failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
    }
    return failed;
}
