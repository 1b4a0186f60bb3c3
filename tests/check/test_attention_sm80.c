/* test_attention_sm80.c: the CUDA kernels for every card against the reference: head sizes and
 * strides that the Hopper kernels don't take. Exits with 77, skipped, where device cuda can't be
 * used. */
#include "check/attn_check.h"
#include "gpu.h"

#include "testing.h"

#define CHECK_CUDA(...) CHECK_ATTN(.device = LVSA_DEVICE_CUDA, .lse = 1, __VA_ARGS__)

/* Head sizes up to each kernel's, whole vectors or not; rows that begin anywhere. */
#define CHECK_KERNELS(...)                                                                         \
    do                                                                                             \
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)                                  \
            for (lvsa_dtype type = LVSA_F16; type <= LVSA_BF16; type++)                            \
                CHECK_CUDA(.dtype = type, .head_dim = dims[d], .stride_pad = dims[d] % 64 ? 8 : 3, \
                           __VA_ARGS__);                                                           \
    while (0)

static const int dims[] = {1, 12, 32, 64, 96, 127, 128, 200, 256};

static void odd_sizes(void **state)
{
    (void)state;
    static const int patches[] = {1, 16, 63, 65, 129, 257, 390};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++)
        CHECK_KERNELS(.frames = patches[i] < 8 ? 77 : 9, .patches = patches[i], .heads = 2,
                      .interval = 4, .window = 1, .rotation = 1, .sample = 40);
    CHECK_CUDA(.dense = 1, .frames = 1, .patches = 512, .queries = 333, .dtype = LVSA_BF16,
               .head_dim = 32);
}

static void sources(void **state)
{
    (void)state;
    CHECK_KERNELS(.frames = 9, .patches = 131, .heads = 2, .split = 1, .text = 77, .count = 436,
                  .sample = 50);
    CHECK_KERNELS(.batch = 2, .frames = 9, .patches = 37, .heads = 8, .kv_heads = 2, .split = 1,
                  .text = 1, .count = 2, .sample = 50);
}

static void hostile_inputs(void **state)
{
    (void)state;
    for (attn_input input = ATTN_RANDOM; input <= ATTN_NAN_FRAME; input++)
        CHECK_KERNELS(.frames = 12, .patches = 47, .heads = 2, .interval = 4, .window = 1,
                      .input = input, .sample = 60);
}

/* With an argument, the tests of that name (* and ? match). */
int main(int argc, char **argv)
{
    lvsa_device_info info;
    if (!find_gpu(&info)) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(sources),
        cmocka_unit_test(hostile_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
