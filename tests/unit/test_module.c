/* test_module.c: what is said where device cuda can't be used, and what its kernels refuse. Runs on
 * fake_cuda.c, whose faults FAKE_CUDA chooses. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa_attention.h>

enum { S = 12, H = 1, D = 64 };

static uint16_t data[S * D];

static lvsa_attention good_call(void)
{
    const lvsa_strides strides = {S * D, D, D};
    lvsa_attention c = {.size = sizeof c,
                        .dtype = LVSA_BF16,
                        .batch = 1,
                        .queries = S,
                        .heads = H,
                        .kv_heads = H,
                        .head_dim = D,
                        .q = data,
                        .q_strides = strides,
                        .out = data,
                        .out_strides = strides,
                        .sources = 1,
                        .device = LVSA_DEVICE_CUDA};
    c.source[0] = (lvsa_source){
        .k = data, .v = data, .k_strides = strides, .v_strides = strides, .tokens = S};
    return c;
}

static void refuse(lvsa_attention c, lvsa_status status, const char *words)
{
    const char *name;
    lvsa_tiles *tiles;
    CHECK_FAILS(lvsa_attention_run(&c), status, words);
    CHECK_FAILS(lvsa_attention_kernel(&name, &c), status, words);
    CHECK_FAILS(lvsa_tiles_create(&tiles, &c), status, words);
    assert_null(tiles);
}

/* First, because a module that was loaded stays. */
static void no_good_module(void **state)
{
    (void)state;
    const char *folder = getenv("LVSA_MODULE_DIR");
    assert_non_null(folder);
    char *kept = strdup(folder);
    assert_non_null(kept);
    setenv("LVSA_MODULE_DIR", "/nowhere", 1);
    refuse(good_call(), LVSA_ERR_UNSUPPORTED, "in /nowhere: build it");
    assert_non_null(strstr(lvsa_last_error(), "LVSA_MODULE_DIR"));
    setenv("LVSA_MODULE_DIR", kept, 1);
    free(kept);
    static const char *const faults[][2] = {{"abi", "of another build (ABI 77"},
                                            {"driver", "no NVIDIA driver is installed; use"},
                                            {"old", "Fake V100 is sm_70"}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        setenv("FAKE_CUDA", faults[i][0], 1);
        refuse(good_call(), LVSA_ERR_UNSUPPORTED, faults[i][1]);
    }
    unsetenv("FAKE_CUDA");
}

static void kernels_refuse(void **state)
{
    (void)state;
    lvsa_attention c;
    const char *name;
    c = good_call();
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_bf16_sm90");
    c.dtype = LVSA_F16;
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_f16_sm90");
    c = good_call(), c.dtype = LVSA_F32, refuse(c, LVSA_ERR_UNSUPPORTED, "data type f32");
    c = good_call(), c.head_dim = 257, refuse(c, LVSA_ERR_UNSUPPORTED, "head size 257");
    c = good_call(), c.scale = 1e-40, refuse(c, LVSA_ERR_UNSUPPORTED, "softmax scale");
    c = good_call(), c.source[0].tokens = 0, refuse(c, LVSA_ERR_UNSUPPORTED, "0 rows of keys");
    c = good_call(), c.heads = c.kv_heads = INT32_MAX, c.q_strides.head = c.out_strides.head = D;
    refuse(c, LVSA_ERR_UNSUPPORTED, "split the batch");
    c = good_call(), c.backend = LVSA_BACKEND_REF, refuse(c, LVSA_ERR_UNSUPPORTED, "back end ref");
    c = good_call(), c.device = (lvsa_device)7, refuse(c, LVSA_ERR_ARGUMENT, "device 7");
    c = good_call(), c.q_strides.batch = c.q_strides.head = 3; /* of one: never used */
    CHECK_OK(lvsa_attention_kernel(&name, &c));
}

/* What the Hopper kernels don't take is computed by those for every card, and the name says so. */
static void other_kernels_are_named(void **state)
{
    (void)state;
    lvsa_attention c[6];
    const char *name;
    for (int i = 0; i < 6; i++) c[i] = good_call();
    c[0].head_dim = 96;
    c[1].q = data + 1;
    c[2].source[0].v = data + 4;
    c[3].q_strides.token = D + 4;
    c[4].source[0].k_strides.token = -D;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(lvsa_attention_kernel(&name, &c[i]));
        assert_string_equal(name, "attn_bf16_sm80");
    }
    c[5].dtype = LVSA_F16, c[5].head_dim = 7;
    CHECK_OK(lvsa_attention_kernel(&name, &c[5]));
    assert_string_equal(name, "attn_f16_sm80");
}

/* Other people's kernels are in modules of their own, which aren't here. */
static void other_back_ends_say_how_to_get_them(void **state)
{
    (void)state;
    lvsa_attention c = good_call();
    c.backend = LVSA_BACKEND_SDPA,
    refuse(c, LVSA_ERR_UNSUPPORTED, "it is cuDNN's: no liblvsa_cudnn");
    c.backend = LVSA_BACKEND_FLASHINFER, refuse(c, LVSA_ERR_UNSUPPORTED, "LVSA_FLASHINFER_DIR");
    c.head_dim = 96, refuse(c, LVSA_ERR_UNSUPPORTED, "head size 96: back end flashinfer");
    c.head_dim = 136, c.backend = LVSA_BACKEND_SDPA;
    refuse(c, LVSA_ERR_UNSUPPORTED, "head size 136: back end sdpa");
}

static void kernels_can_be_asked_for(void **state)
{
    (void)state;
    lvsa_attention c = good_call();
    const char *name;
    setenv("LVSA_CUDA_KERNELS", "sm80", 1);
    CHECK_OK(lvsa_attention_kernel(&name, &c));
    assert_string_equal(name, "attn_bf16_sm80");
    setenv("LVSA_CUDA_KERNELS", "sm70", 1);
    refuse(c, LVSA_ERR_ARGUMENT, "LVSA_CUDA_KERNELS=sm70");
    unsetenv("LVSA_CUDA_KERNELS");
}

static void device_faults(void **state)
{
    (void)state;
    lvsa_attention c = good_call();
    lvsa_tiles *tiles;
    void *memory;
    setenv("FAKE_CUDA", "memory", 1);
    CHECK_FAILS(lvsa_device_alloc(&memory, LVSA_DEVICE_CUDA, 10), LVSA_ERR_MEMORY, "out of memory");
    CHECK_FAILS(lvsa_tiles_create(&tiles, &c), LVSA_ERR_MEMORY, "don't fit in the device's memory");
    assert_null(tiles);
    unsetenv("FAKE_CUDA");
    CHECK_OK(lvsa_tiles_create(&tiles, &c));
    c.tiles = tiles;
    setenv("FAKE_CUDA", "launch", 1);
    CHECK_FAILS(lvsa_attention_run(&c), LVSA_ERR_DEVICE, "attn_bf16_sm90: unspecified launch");
    unsetenv("FAKE_CUDA");
    lvsa_tiles_free(&tiles);
    lvsa_tiles_free(&tiles);
}

static void memory_of_both_devices(void **state)
{
    (void)state;
    for (lvsa_device d = LVSA_DEVICE_CPU; d <= LVSA_DEVICE_CUDA; d++) {
        lvsa_device_info info = {.size = sizeof info};
        char text[] = "frames", back[sizeof text];
        void *memory;
        CHECK_OK(lvsa_device_get_info(&info, d));
        assert_true(strlen(info.name) > 3 && info.memory > 0);
        CHECK_OK(lvsa_device_alloc(&memory, d, sizeof text));
        CHECK_OK(lvsa_device_copy(memory, text, sizeof text, d));
        CHECK_OK(lvsa_device_copy(back, memory, sizeof text, d));
        CHECK_OK(lvsa_device_synchronize(d, NULL));
        assert_string_equal(back, text);
        lvsa_device_free(&memory, d);
        assert_null(memory);
    }
    lvsa_device_info info = {.size = 1};
    CHECK_FAILS(lvsa_device_get_info(&info, LVSA_DEVICE_CPU), LVSA_ERR_ARGUMENT, "1 bytes");
    CHECK_FAILS(lvsa_device_synchronize((lvsa_device)3, NULL), LVSA_ERR_ARGUMENT, "device 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_good_module),
        cmocka_unit_test(kernels_refuse),
        cmocka_unit_test(other_kernels_are_named),
        cmocka_unit_test(device_faults),
        cmocka_unit_test(memory_of_both_devices),
        cmocka_unit_test(kernels_can_be_asked_for),
        cmocka_unit_test(other_back_ends_say_how_to_get_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
