/* test_attention_cuda.c: the CUDA kernels against the reference. Exits with 77, skipped, where
 * device cuda can't be used. */
#include "check/attn_check.h"
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

#include "testing.h"

#define CHECK_CUDA(...) CHECK_ATTN(.device = LVSA_DEVICE_CUDA, .lse = 1, __VA_ARGS__)

/* The module is fake_cuda.c, which is slow and has one kernel: small sizes, and one of each. */
static int fake;

/* Every kernel: bf16 and f16, D = 64 and 128. */
#define CHECK_KERNELS(...)                                                                         \
    do                                                                                             \
        for (lvsa_dtype type = fake ? LVSA_BF16 : LVSA_F16; type <= LVSA_BF16; type++)             \
            for (int dim = 64; dim <= (fake ? 64 : 128); dim += 64)                                \
                CHECK_CUDA(.dtype = type, .head_dim = dim, __VA_ARGS__);                           \
    while (0)

/* Frames that end anywhere in a block of 256 rows, or many in one. */
static void odd_sizes(void **state)
{
    (void)state;
    static const int patches[] = {1, 7, 63, 64, 65, 127, 128, 129, 255, 257, 390};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        CHECK_KERNELS(.frames = patches[i] < 8 ? 77
                                : fake         ? 3
                                               : 9,
                      .patches = patches[i], .heads = fake ? 1 : 2, .interval = 4, .window = 1,
                      .rotation = 1, .sample = 60);
        CHECK_CUDA(.frames = 1, .patches = patches[i], .dtype = LVSA_BF16, .head_dim = 64);
    }
    CHECK_CUDA(.frames = 241, .patches = 1, .dtype = LVSA_BF16, .head_dim = 64, .interval = 11);
    CHECK_CUDA(.frames = fake ? 41 : 241, .patches = 7, .dtype = LVSA_BF16, .head_dim = 128,
               .interval = 11, .rotation = 5, .sample = 100);
}

/* One-frame runs, runs that touch the video's end, dense neighbours. */
static void patterns(void **state)
{
    (void)state;
    for (int interval = 1; interval <= 4; interval++)
        for (int rotation = 0; rotation < interval; rotation++)
            CHECK_CUDA(.frames = 13, .patches = fake ? 22 : 65, .dtype = LVSA_BF16, .head_dim = 64,
                       .interval = interval, .rotation = rotation, .window = rotation ? 1 : -1);
    CHECK_CUDA(.dense = 1, .frames = 5, .patches = 97, .dtype = LVSA_BF16, .head_dim = 128);
    CHECK_CUDA(.dense = 1, .frames = 1, .patches = 512, .queries = 333, .dtype = LVSA_BF16,
               .head_dim = 128);
    CHECK_CUDA(.dense = 1, .frames = 1, .patches = 3, .queries = 700, .dtype = LVSA_F16,
               .head_dim = 64, .text = 5);
}

static void sources(void **state)
{
    (void)state;
    static const int text[] = {1, 191, 192, 193, 300, 1985};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        CHECK_CUDA(.frames = 8, .patches = fake ? 5 : 37, .dtype = LVSA_BF16, .head_dim = 128,
                   .text = text[i]);
    CHECK_KERNELS(.frames = 9, .patches = fake ? 31 : 131, .heads = 2, .split = 1, .sample = 100);
    CHECK_KERNELS(.batch = 2, .frames = 9, .patches = fake ? 17 : 37, .heads = 8, .kv_heads = 2,
                  .split = 1, .text = 77, .stride_pad = 24, .sample = 50);
}

/* A last row that counts several times: alone, with its group at a tile's end and past it, in
 * blocks of two frames, in every source. */
static void last_row_counts(void **state)
{
    (void)state;
    static const int text[] = {1, 2, 21, 191, 192, 193, 384};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        CHECK_KERNELS(.dense = 1, .frames = 1, .patches = 1, .queries = 300, .text = text[i],
                      .count = 1 + 97 * (int)i, .sample = 40);
        CHECK_CUDA(.frames = 8, .patches = fake ? 5 : 37, .dtype = LVSA_BF16, .head_dim = 128,
                   .text = text[i], .count = 492);
    }
    CHECK_KERNELS(.dense = 1, .frames = 1, .patches = 384, .queries = 300, .count = 3,
                  .sample = 40);
    CHECK_KERNELS(.batch = 2, .frames = 9, .patches = fake ? 17 : 131, .heads = 2, .kv_heads = 1,
                  .split = 1, .text = 77, .count = 1000000, .sample = 50);
    for (attn_input input = ATTN_LARGE; input <= ATTN_NAN_FRAME; input++)
        CHECK_KERNELS(.frames = 12, .patches = fake ? 9 : 29, .text = 21, .count = 492,
                      .input = input);
}

static void shared_heads_strides_batch(void **state)
{
    (void)state;
    CHECK_KERNELS(.frames = 8, .patches = 37, .heads = 6, .kv_heads = 2);
    CHECK_KERNELS(.frames = 8, .patches = 37, .heads = 4, .kv_heads = 1, .stride_pad = 8);
    CHECK_KERNELS(.batch = 2, .frames = 6, .patches = 41, .heads = 2, .stride_pad = 136);
    for (int dim = 64; dim <= 128; dim += 64) /* nobody asks for the sums' logarithms */
        CHECK_ATTN(.device = LVSA_DEVICE_CUDA, .dtype = LVSA_BF16, .head_dim = dim, .frames = 8,
                   .patches = 37, .heads = 4, .kv_heads = 2, .text = 21);
}

static void hostile_inputs(void **state)
{
    (void)state;
    for (attn_input input = ATTN_LARGE; input <= ATTN_NAN_FRAME; input++)
        CHECK_KERNELS(.frames = 12, .patches = fake ? 9 : 29, .heads = 2, .input = input);
    CHECK_KERNELS(.frames = 12, .patches = 29, .heads = 1, .scale = 3.0);
    CHECK_KERNELS(.frames = 12, .patches = 29, .heads = 1, .scale = 1e-6);
}

/* W = 0: most frames are attended to by nobody; one of them is NaN here and must not leak. */
static void unattended_frames(void **state)
{
    (void)state;
    static const int patches[] = {29, 64, 150, 257};
    for (size_t i = 0; i < (fake ? 2 : sizeof patches / sizeof patches[0]); i++)
        CHECK_KERNELS(.frames = 12, .patches = patches[i], .window = -1, .interval = 4,
                      .input = ATTN_NAN_FRAME, .rotation = 1, .sample = 100);
}

/* The sizes of real videos, one or two heads of them, at some rows. */
static void real_sizes(void **state)
{
    (void)state;
    if (fake) return;
    CHECK_CUDA(.frames = 81, .patches = 1560, .dtype = LVSA_BF16, .head_dim = 128, .interval = 6,
               .rotation = 1, .sample = 24);
    CHECK_CUDA(.frames = 49, .patches = 1590, .dtype = LVSA_BF16, .head_dim = 128, .interval = 2,
               .text = 300, .sample = 16);
    CHECK_CUDA(.frames = 95, .patches = 920, .heads = 4, .kv_heads = 1, .dtype = LVSA_BF16,
               .head_dim = 128, .interval = 3, .sample = 8);
    CHECK_CUDA(.frames = 25, .patches = 1350, .dtype = LVSA_F16, .head_dim = 64, .interval = 3,
               .text = 226, .sample = 24);
    CHECK_CUDA(.frames = 21, .patches = 3600, .dtype = LVSA_BF16, .head_dim = 128, .interval = 7,
               .sample = 16);
    CHECK_CUDA(.frames = 121, .patches = 880, .dtype = LVSA_BF16, .head_dim = 128, .interval = 9,
               .rotation = 8, .sample = 24);
}

static void refusals(void **state)
{
    (void)state;
    attn_problem p;
    attn_problem_create(&p, &(attn_case){.frames = 9,
                                         .patches = 70,
                                         .head_dim = 128,
                                         .dtype = LVSA_BF16,
                                         .device = LVSA_DEVICE_CUDA});
    lvsa_tiles *tiles;
    lvsa_attention call = p.call;
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_ARGUMENT, "tiles is NULL");
    CHECK_OK(lvsa_tiles_create(&tiles, &call));
    call.tiles = tiles;
    CHECK_OK(lvsa_plan_set_rotation(p.plan, 1));
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_ARGUMENT, "made for other runs");
    CHECK_OK(lvsa_plan_set_rotation(p.plan, 0));
    call.device = LVSA_DEVICE_CPU;
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_MEMORY, "workspace");
    call.backend = LVSA_BACKEND_REF;
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_ARGUMENT, "another device");
    lvsa_tiles_free(&tiles);
    attn_problem_free(&p);
}

/* With an argument, the tests of that name (* and ? match). */
int main(int argc, char **argv)
{
    lvsa_device_info info;
    if (!find_gpu(&info)) return 77;
    print_message("%s\n", info.name);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    fake = strncmp(info.name, "Fake", 4) == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_sizes),      cmocka_unit_test(patterns),
        cmocka_unit_test(sources),        cmocka_unit_test(last_row_counts),
        cmocka_unit_test(shared_heads_strides_batch),
        cmocka_unit_test(hostile_inputs), cmocka_unit_test(unattended_frames),
        cmocka_unit_test(real_sizes),     cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
