/* test_attention_fp8.c: the attention in fp8 against the reference of its rounded tensors. Exits
 * with 77, skipped, where device cuda can't be used. */
#include <string.h>

#include "check/attn_check.h"
#include "gpu.h"
#include "testing.h"

/* The module is fake_cuda.c, which rounds nothing and is slow. */
static int fake;

/* fp8 is 2 for the fake: held against the exact numbers. */
#define CHECK_FP8(...)                                                                             \
    for (int dim = 64; dim <= 128; dim += 64)                                                      \
    CHECK_ATTN(.device = LVSA_DEVICE_CUDA, .dtype = LVSA_BF16, .head_dim = dim, .lse = 1,          \
               .fp8 = fake ? 2 : 1, __VA_ARGS__)

/* Frames that end anywhere in a unit of 32 keys, and in a tile of 128 or 224. */
static void odd_sizes(void **state)
{
    (void)state;
    static const int patches[] = {1, 7, 31, 32, 33, 63, 65, 127, 129, 223, 224, 225, 390};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        CHECK_FP8(.frames = patches[i] < 8 ? 40
                            : fake         ? 3
                                           : 9,
                  .patches = patches[i], .heads = fake ? 1 : 2, .interval = 4, .window = 1,
                  .rotation = 1, .sample = fake ? 40 : 60);
        CHECK_FP8(.dense = 1, .frames = 1, .patches = patches[i], .queries = 70);
    }
    CHECK_FP8(.frames = 241, .patches = 1, .interval = 11, .sample = 60);
}

static void patterns(void **state)
{
    (void)state;
    for (int interval = 1; interval <= 4; interval++)
        for (int rotation = 0; rotation < interval; rotation++)
            CHECK_FP8(.frames = 13, .patches = fake ? 22 : 65, .interval = interval,
                      .rotation = rotation, .window = rotation ? 1 : -1, .sample = 60);
    CHECK_FP8(.dense = 1, .frames = 5, .patches = 97, .sample = 60);
    CHECK_FP8(.dense = 1, .frames = 1, .patches = 3, .queries = 700, .text = 5, .sample = 60);
}

static void sources(void **state)
{
    (void)state;
    static const int text[] = {1, 31, 32, 224, 300};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        CHECK_FP8(.frames = 8, .patches = fake ? 5 : 37, .text = text[i], .sample = 60);
    CHECK_FP8(.frames = 9, .patches = fake ? 31 : 131, .heads = 2, .split = 1, .sample = 60);
    CHECK_FP8(.batch = 2, .frames = 9, .patches = fake ? 17 : 37, .heads = 8, .kv_heads = 2,
              .split = 1, .text = 77, .stride_pad = 24, .sample = 30);
}

/* Logits in the hundreds, equal keys, a key that takes all, NaN where it may not reach, channels
 * far wider than others. */
static void hostile_inputs(void **state)
{
    (void)state;
    for (attn_input input = ATTN_LARGE; input <= ATTN_OUTLIERS; input++)
        CHECK_FP8(.frames = 12, .patches = fake ? 9 : 29, .heads = 2, .input = input);
    CHECK_FP8(.frames = 12, .patches = 29, .scale = 3.0, .sample = 60);
    CHECK_FP8(.frames = 12, .patches = 29, .scale = 1e-6, .sample = 60);
    for (int dim = 64; dim <= 128; dim += 64)
        CHECK_ATTN(.device = LVSA_DEVICE_CUDA, .dtype = LVSA_BF16, .head_dim = dim, .frames = 8,
                   .patches = 37, .heads = 4, .kv_heads = 2, .text = 21, .fp8 = fake ? 2 : 1);
}

/* W = 0: most frames are attended to by nobody; one of them is NaN here and must not leak. */
static void unattended_frames(void **state)
{
    (void)state;
    static const int patches[] = {29, 64, 150, 257};
    for (size_t i = 0; i < (fake ? 2 : sizeof patches / sizeof patches[0]); i++)
        CHECK_FP8(.frames = 12, .patches = patches[i], .window = -1, .interval = 4,
                  .input = ATTN_NAN_FRAME, .rotation = 1, .sample = 60);
}

/* Sums of many keys. */
static void real_sizes(void **state)
{
    (void)state;
    if (fake) return;
    CHECK_FP8(.frames = 41, .patches = 1560, .interval = 3, .rotation = 1, .sample = 12);
    CHECK_FP8(.frames = 21, .patches = 1590, .interval = 2, .text = 300, .sample = 9);
    CHECK_FP8(.frames = 23, .patches = 920, .heads = 4, .kv_heads = 1, .interval = 3, .sample = 6);
    CHECK_FP8(.frames = 41, .patches = 1560, .interval = 3, .rotation = 1, .sample = 12,
              .input = ATTN_OUTLIERS);
}

static void refuse(const attn_case *c, lvsa_status status, const char *text)
{
    attn_problem p;
    const char *kernel;
    attn_problem_create(&p, c);
    CHECK_FAILS(lvsa_attention_kernel(&kernel, &p.call), status, text);
    attn_problem_free(&p);
}

static void refusals(void **state)
{
    (void)state;
    attn_case c = {.frames = 9, .patches = 70, .head_dim = 128, .dtype = LVSA_BF16, .fp8 = 1};
    refuse(&c, LVSA_ERR_UNSUPPORTED, "on device cpu");
    c.device = LVSA_DEVICE_CUDA, c.head_dim = 96;
    refuse(&c, LVSA_ERR_UNSUPPORTED, "head size 96");
    c.head_dim = 128, c.dtype = LVSA_F16;
    refuse(&c, LVSA_ERR_UNSUPPORTED, "f16 tensors");
    c.dtype = LVSA_BF16, c.count = 5;
    refuse(&c, LVSA_ERR_UNSUPPORTED, "counts several times");
    c.count = 0, c.stride_pad = 1;
    refuse(&c, LVSA_ERR_UNSUPPORTED, "16 bytes");
    c.stride_pad = 0, c.backend = LVSA_BACKEND_SDPA;
    refuse(&c, LVSA_ERR_UNSUPPORTED, "back end sdpa");

    attn_problem p;
    lvsa_tiles *tiles;
    c.backend = LVSA_BACKEND_NATIVE;
    attn_problem_create(&p, &c);
    lvsa_attention call = p.call;
    CHECK_OK(lvsa_attention_workspace(&call.workspace_size, &call));
    CHECK_OK(lvsa_device_alloc(&call.workspace, LVSA_DEVICE_CUDA, call.workspace_size--));
    CHECK_OK(lvsa_tiles_create(&tiles, &call));
    call.tiles = tiles;
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_MEMORY, "workspace");
    call.fp8 = 0;
    CHECK_FAILS(lvsa_attention_run(&call), LVSA_ERR_ARGUMENT, "made for other");
    call.fp8 = 1;
    lvsa_tiles_free(&tiles);

    /* Runs that don't take whole frames. */
    const int32_t offsets[2] = {0, 1};
    const lvsa_run run = {1, 69};
    const lvsa_runs runs = {1, 70, offsets, &run};
    call.queries = 70;
    call.source[0].runs = &runs;
    CHECK_FAILS(lvsa_tiles_create(&tiles, &call), LVSA_ERR_UNSUPPORTED, "whole frames");
    lvsa_device_free(&call.workspace, LVSA_DEVICE_CUDA);
    attn_problem_free(&p);
}

/* With an argument, the tests of that name (* and ? match). */
int main(int argc, char **argv)
{
    lvsa_device_info info;
    if (!find_gpu(&info)) return 77;
    print_message("%s\n", info.name);
    if (!strstr(info.name, "sm_90")) {
        print_message("skipped: attention in fp8 wants an sm_90\n");
        return 77;
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    fake = strncmp(info.name, "Fake", 4) == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_sizes),         cmocka_unit_test(patterns),
        cmocka_unit_test(sources),           cmocka_unit_test(hostile_inputs),
        cmocka_unit_test(unattended_frames), cmocka_unit_test(real_sizes),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
