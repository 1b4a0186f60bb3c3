/* test_attention_backends.c: other people's attention on a GPU, cuDNN's and FlashInfer's, against
 * the reference. Exits with 77, skipped, where neither can be used. */
#include "check/attn_check.h"

#include <stdlib.h>
#include <string.h>

#include "testing.h"

static lvsa_backend backend;

#define CHECK_BACKEND(...)                                                                         \
    CHECK_ATTN(.backend = backend, .device = LVSA_DEVICE_CUDA, .dtype = LVSA_BF16, __VA_ARGS__)

static void videos(void **state)
{
    (void)state;
    for (int dim = 64; dim <= 128; dim += 64) {
        CHECK_BACKEND(.frames = 9, .patches = 70, .heads = 2, .head_dim = dim, .lse = 1);
        CHECK_BACKEND(.frames = 13, .patches = 131, .heads = 4, .kv_heads = 2, .head_dim = dim,
                      .interval = 4, .window = 1, .rotation = 1, .sample = 100);
        CHECK_BACKEND(.dense = 1, .frames = 5, .patches = 97, .heads = 2, .head_dim = dim,
                      .lse = 1);
    }
    CHECK_BACKEND(.frames = 21, .patches = 1560, .head_dim = 128, .interval = 6, .sample = 24);
}

static void sources(void **state)
{
    (void)state;
    CHECK_BACKEND(.frames = 9, .patches = 70, .heads = 2, .head_dim = 128, .text = 300, .lse = 1);
    CHECK_BACKEND(.batch = 2, .frames = 9, .patches = 66, .heads = 4, .kv_heads = 2,
                  .head_dim = 128, .split = 1, .text = 21, .count = 492, .lse = 1);
    CHECK_BACKEND(.frames = 9, .patches = 66, .heads = 2, .head_dim = 64, .text = 7);
}

static void inputs(void **state)
{
    (void)state;
    for (attn_input input = ATTN_LARGE; input <= ATTN_EQUAL; input++)
        CHECK_BACKEND(.frames = 12, .patches = 68, .heads = 2, .head_dim = 128, .input = input);
}

/* What computes the smallest call of a back end, or NULL. */
static const char *find_kernel(void)
{
    static uint16_t number[64];
    const lvsa_strides s = {64, 64, 64};
    const char *name;
    lvsa_attention c = {.size = sizeof c,
                        .dtype = LVSA_BF16,
                        .batch = 1,
                        .queries = 1,
                        .heads = 1,
                        .kv_heads = 1,
                        .head_dim = 64,
                        .q = number,
                        .q_strides = s,
                        .out = number,
                        .out_strides = s,
                        .sources = 1,
                        .backend = backend,
                        .device = LVSA_DEVICE_CUDA};
    c.source[0] =
        (lvsa_source){.k = number, .v = number, .k_strides = s, .v_strides = s, .tokens = 1};
    return lvsa_attention_kernel(&name, &c) == LVSA_OK ? name : NULL;
}

/* With an argument, the tests of that name (* and ? match). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(videos),
        cmocka_unit_test(sources),
        cmocka_unit_test(inputs),
    };
    int failed = 0, ran = 0;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    for (backend = LVSA_BACKEND_SDPA; backend <= LVSA_BACKEND_FLASHINFER; backend++) {
        const char *name = find_kernel();
        if (!name) {
            print_message("skipped: %s\n", lvsa_last_error());
            continue;
        }
        failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
        ran++;
    }
    return ran ? failed : 77;
}
