/* test_ops_cuda.c: a GPU's operations against the CPU's, at odd sizes. */
#include "op_check.h"

#include "base/mem.h"

/* ---- dense layers ---------------------------------------------------------------------------- */

typedef struct linear_options {
    lv_activation f;
} linear_options;

static lvsa_status linear(lv_exec *e, const lv_tensor *t, const void *options)
{
    const linear_options *o = options;
    return lv_op_linear(e, t[0], t[1], t[2], t[3], o->f);
}

static lvsa_status linear_add(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_linear_add(e, t[0], t[1], t[2], t[3], t[4]);
}

static void linear_case(int64_t rows, int64_t columns, int64_t inner)
{
    for (lv_activation f = LV_LINEAR; f <= LV_GELU_TANH; f++) {
        const linear_options o = {f};
        CHECK_OP("linear", linear, &o, 3, OUT_BF16(rows, columns), BF16(rows, inner),
                 BF16(columns, inner), F32(columns));
        CHECK_OP("linear, no bias", linear, &o, 3, OUT_BF16(rows, columns), BF16(rows, inner),
                 BF16(columns, inner), {0});
        CHECK_OP("linear, f32", linear, &o, 16, OUT_F32(rows, columns), F32(rows, inner),
                 F32(columns, inner), F32(columns));
    }
    CHECK_OP("linear_add", linear_add, NULL, 3, OUT_BF16(rows, columns), BF16(rows, inner),
             BF16(columns, inner), F32(columns), F32(columns));
    CHECK_OP("linear_add, bare", linear_add, NULL, 3, OUT_BF16(rows, columns), BF16(rows, inner),
             BF16(columns, inner), {0}, {0});
    CHECK_OP("linear_add, bias", linear_add, NULL, 3, OUT_BF16(rows, columns), BF16(rows, inner),
             BF16(columns, inner), F32(columns), {0});
    CHECK_OP("linear_add, gate", linear_add, NULL, 3, OUT_BF16(rows, columns), BF16(rows, inner),
             BF16(columns, inner), {0}, F32(columns));
}

static void products(void **state)
{
    (void)state;
    linear_case(1, 24, 1);
    linear_case(1, 96, 40);
    linear_case(7, 33, 65);
    linear_case(65, 48, 130);
    linear_case(130, 17, 64);
    linear_case(300, 256, 512);
}

/* ---- e4m3 ------------------------------------------------------------------------------------ */

static lvsa_status copy(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_copy(e, t[0], t[1]);
}

/* Against f32 products of the same e4m3 numbers; rows are any, widths multiples of 16. */
/* Tensor cores cut sums of e4m3 products to some 14 bits, every 32 of them. */
static void e4m3_case(int64_t rows, int64_t columns, int64_t inner)
{
    const double cut = (double)inner / 1024.0, steps = 4.0 + cut, half_bits = 1.2 + 2.0 * cut;
    for (lv_activation f = LV_LINEAR; f <= LV_GELU_TANH; f++) {
        const linear_options o = {f};
        CHECK_OP("e4m3 linear", linear, &o, steps, OUT_BF16(rows, columns), E4M3(rows, inner),
                 E4M3(columns, inner), F32(columns));
    }
    const linear_options gelu = {LV_GELU_TANH}, plain = {LV_LINEAR};
    CHECK_OP("e4m3 linear, no bias", linear, &plain, steps, OUT_BF16(rows, columns),
             E4M3(rows, inner), E4M3(columns, inner), {0});
    CHECK_OP("e4m3 to e4m3, GELU", linear, &gelu, half_bits, OUT_E4M3(rows, columns),
             E4M3(rows, inner), E4M3(columns, inner), F32(columns));
    CHECK_OP("e4m3 to e4m3", linear, &plain, half_bits, OUT_E4M3(rows, columns), E4M3(rows, inner),
             E4M3(columns, inner), {0});
    CHECK_OP("e4m3 linear_add", linear_add, NULL, steps, OUT_BF16(rows, columns), E4M3(rows, inner),
             E4M3(columns, inner), F32(columns), F32(columns));
    CHECK_OP("e4m3 linear_add, bare", linear_add, NULL, steps, OUT_BF16(rows, columns),
             E4M3(rows, inner), E4M3(columns, inner), {0}, {0});
}

static void e4m3_products(void **state)
{
    (void)state;
    if (!op_check_takes_e4m3()) skip();
    e4m3_case(1, 96, 16);
    e4m3_case(7, 48, 80);
    e4m3_case(65, 16, 144);
    e4m3_case(131, 1536, 64);
    e4m3_case(300, 256, 8960);
    e4m3_case(2049, 512, 1536);
}

/* Each number is at most half a bit off. */
static void e4m3_copies(void **state)
{
    (void)state;
    static const int64_t widths[] = {8, 16, 48, 512, 1000, 1536, 5120, 8192, 8960};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const int64_t w = widths[i];
        CHECK_OP("copy to e4m3", copy, NULL, 1.001, OUT_E4M3(7, w), BF16(7, w));
        CHECK_OP("copy of f32 to e4m3", copy, NULL, 1.001, OUT_E4M3(3, w), F32(3, w));
        CHECK_OP("copy to e4m3, large", copy, NULL, 1.001, OUT_E4M3(1, w),
                 {LVSA_BF16, 2, {1, w}, .size = 1e30f});
    }
}

/* ---- norms ----------------------------------------------------------------------------------- */

static lvsa_status layer_norm(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    const lv_layer_norm n = {
        .weight = t[2], .bias = t[3], .scale = t[4], .shift = t[5], .eps = 1e-6f};
    return lv_op_layer_norm(e, t[0], t[1], &n);
}

/* Widths: whole vectors for each way through registers, and odd ones. */
static void layer_norms(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 8, 77, 512, 1000, 1536, 2050, 5120, 8192, 9000};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const int64_t w = widths[i];
        CHECK_OP("layer_norm", layer_norm, NULL, 2, OUT_BF16(7, w), BF16(7, w), F32(w), F32(w),
                 F32(w), F32(w));
        CHECK_OP("layer_norm, scale", layer_norm, NULL, 2, OUT_BF16(5, w), BF16(5, w), {0}, {0},
                 F32(w), F32(w));
        CHECK_OP("layer_norm, bare", layer_norm, NULL, 2, OUT_BF16(3, w), BF16(3, w), {0}, {0}, {0},
                 {0});
        if (w % 8 == 0 && w <= 8192) {
            CHECK_OP("layer_norm to e4m3", layer_norm, NULL, 1.01, OUT_E4M3(7, w), BF16(7, w),
                     F32(w), F32(w), F32(w), F32(w));
            CHECK_OP("layer_norm to e4m3", layer_norm, NULL, 1.01, OUT_E4M3(5, w), BF16(5, w), {0},
                     {0}, F32(w), F32(w));
        }
        CHECK_OP("layer_norm, f32", layer_norm, NULL, 16, OUT_F32(3, w), F32(3, w), F32(w), {0},
                 {0}, F32(w));
    }
}

static lvsa_status rms_norm(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_rms_norm(e, t[0], t[1], t[2], 1e-6f);
}

static void rms_norms(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 33, 256, 1536, 4096, 10240};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const int64_t w = widths[i];
        CHECK_OP("rms_norm", rms_norm, NULL, 2, OUT_BF16(6, w), BF16(6, w), F32(w));
        CHECK_OP("rms_norm, f32", rms_norm, NULL, 16, OUT_F32(2, w), F32(2, w), F32(w));
    }
}

typedef struct rope_options {
    int64_t frames, height, width, first, dim;
} rope_options;

static lvsa_status norm_rope(lv_exec *e, const lv_tensor *t, const void *options)
{
    const rope_options *o = options;
    lv_rope rope = {.frames = o->frames, .height = o->height, .width = o->width};
    for (int axis = 0; axis < 3; axis++)
        rope.cosine[axis] = t[2 + axis], rope.sine[axis] = t[5 + axis];
    return lv_op_norm_rope(e, t[0], t[1], 1e-6f, o->frames ? &rope : NULL, o->first, o->dim);
}

static void rope_case(lvsa_dtype dtype, int64_t heads, int64_t dim, int64_t rows)
{
    const int64_t E = heads * dim, across = dim / 6, along = dim / 2 - 2 * across;
    const rope_options o = {.frames = 3, .height = 4, .width = 5, .first = 7, .dim = dim};
    const rope_options none = {.dim = dim};
    const double steps = dtype == LVSA_BF16 ? 2 : 16;
    CHECK_OP("norm_rope", norm_rope, &o, steps,
             {dtype, .rank = 2, .shape = {rows, E}, .written = true}, F32(E), F32(3, along),
             F32(4, across), F32(5, across), F32(3, along), F32(4, across), F32(5, across));
    CHECK_OP("norm_rope, no rope", norm_rope, &none, steps,
             {dtype, .rank = 2, .shape = {rows, E}, .written = true}, F32(E), {0}, {0}, {0}, {0},
             {0}, {0});
}

static void norms_and_ropes(void **state)
{
    (void)state;
    for (lvsa_dtype type = LVSA_F32; type <= LVSA_BF16; type += 2) {
        rope_case(type, 3, 14, 21);
        rope_case(type, 2, 24, 9); /* a head's pairs differ from vector to vector */
        rope_case(type, 4, 64, 53);
        rope_case(type, 12, 128, 50);
        rope_case(type, 40, 128, 5);
    }
}

/* ---- attention with a bias ------------------------------------------------------------------- */

static lvsa_status attention_biased(lv_exec *e, const lv_tensor *t, const void *options)
{
    return lv_op_attention_biased(e, t[0], t[1], t[2], t[3], t[4], *(const int64_t *)options, 0.7f);
}

static void attention_with_bias(void **state)
{
    (void)state;
    const int64_t two = 2, three = 3;
    CHECK_OP("attention_biased", attention_biased, &three, 3, OUT_BF16(9, 15), BF16(9, 15),
             BF16(13, 15), BF16(13, 15), F32(3, 9, 13));
    CHECK_OP("attention_biased", attention_biased, &two, 3, OUT_BF16(70, 128), BF16(70, 128),
             BF16(70, 128), BF16(70, 128), F32(2, 70, 70));
    CHECK_OP("attention_biased", attention_biased, &two, 3, OUT_BF16(1, 128), BF16(1, 128),
             BF16(512, 128), BF16(512, 128), {0});
}

/* ---- elementwise ----------------------------------------------------------------------------- */

static lvsa_status add(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_add(e, t[0], t[1], t[2]);
}

static lvsa_status gelu_multiply(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_gelu_multiply(e, t[0], t[1], t[2]);
}

static lvsa_status activate(lv_exec *e, const lv_tensor *t, const void *options)
{
    return lv_op_activate(e, t[0], t[1], *(const lv_activation *)options);
}

static lvsa_status zero(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_zero(e, t[0]);
}

static void elementwise(void **state)
{
    (void)state;
    CHECK_OP("add", add, NULL, 1, OUT_BF16(3, 41), BF16(3, 41), BF16(41));
    CHECK_OP("add, f32", add, NULL, 1, OUT_F32(6, 333), F32(6, 333), F32(6, 333));
    CHECK_OP("gelu_multiply", gelu_multiply, NULL, 2, OUT_BF16(3, 1001),
             {LVSA_BF16, 2, {3, 1001}, .size = 9.0f}, BF16(3, 1001));
    for (lv_activation f = LV_LINEAR; f <= LV_GELU_TANH; f++) {
        CHECK_OP("activate", activate, &f, 1, OUT_BF16(3, 1001),
                 {LVSA_BF16, 2, {3, 1001}, .size = 30.0f});
        CHECK_OP("activate, f32", activate, &f, 16, OUT_F32(77),
                 {LVSA_F32, 1, {77}, .size = 30.0f});
    }
    CHECK_OP("copy", copy, NULL, 1, OUT_BF16(7, 9), F32(7, 9));
    CHECK_OP("copy", copy, NULL, 1, OUT_F32(7, 9), BF16(7, 9));
    CHECK_OP("copy", copy, NULL, 0, OUT_BF16(7, 9), BF16(7, 9));
    CHECK_OP("zero", zero, NULL, 0, OUT_BF16(7, 9));
}

/* ---- latents and tokens ---------------------------------------------------------------------- */

static lvsa_status patchify(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_patchify(e, t[0], t[1], 2, 2);
}

static lvsa_status unpatchify(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_unpatchify(e, t[0], t[1], 2, 2);
}

static void patches(void **state)
{
    (void)state;
    CHECK_OP("patchify", patchify, NULL, 1, OUT_BF16(3 * 2 * 5, 64), F32(16, 3, 4, 10));
    CHECK_OP("unpatchify", unpatchify, NULL, 0, OUT_F32(5, 2, 6, 4), BF16(2 * 3 * 2, 20));
}

/* An argument: only tests of such names run. */
int main(int argc, char **argv)
{
    if (!op_check_open()) return 77;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(e4m3_products),
        cmocka_unit_test(e4m3_copies),
        cmocka_unit_test(layer_norms),
        cmocka_unit_test(rms_norms),
        cmocka_unit_test(norms_and_ropes),
        cmocka_unit_test(attention_with_bias),
        cmocka_unit_test(elementwise),
        cmocka_unit_test(patches),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    op_check_close();
    return failed;
}
