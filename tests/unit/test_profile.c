/* test_profile.c: what operations count as, and when they are timed. */
#include <math.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa_profile.h>

#include "engine/runtime/profile.h"

static lv_device *device;
static float numbers[4096];

static lv_tensor tensor(int rank, const int64_t *shape)
{
    return lv_tensor_view(numbers, LVSA_F32, rank, shape);
}

static lv_exec begin(void)
{
    lv_exec e = lv_exec_measure(device);
    e.arena.peak = 1 << 16;
    CHECK_OK(lv_exec_begin(&e));
    return e;
}

static int open_cpu(void **state)
{
    (void)state;
    return lv_device_open(&device, LVSA_DEVICE_CPU, 1) == LVSA_OK ? 0 : -1;
}

static int close_cpu(void **state)
{
    (void)state;
    lv_device_close(&device);
    return 0;
}

static void operations_are_counted(void **state)
{
    (void)state;
    const lv_tensor none = {0};
    lv_exec e = begin();
    const lv_tensor x = tensor(2, LV_SHAPE(6, 8)), w = tensor(2, LV_SHAPE(5, 8)),
                    out = tensor(2, LV_SHAPE(6, 5));
    CHECK_OK(lv_op_linear(&e, out, x, w, none, LV_LINEAR)); /* nobody asked yet */
    CHECK_OK(lv_profile_create(device));
    lv_profile *p = device->profile;
    CHECK_OK(lv_op_linear(&e, out, x, w, none, LV_LINEAR));
    CHECK_OK(lv_op_linear_add(&e, out, x, w, none, none));
    lv_profile_set_stage(device, 2);
    const lv_tensor frame = tensor(4, LV_SHAPE(1, 3, 4, 2)), in[3] = {frame, frame, frame};
    CHECK_OK(lv_op_conv(&e, frame, in, tensor(5, LV_SHAPE(2, 3, 3, 3, 2)), none, false));
    CHECK_OK(lv_op_zero(&e, frame));
    CHECK_OK(lv_profile_collect(p));
    const lv_profile_row *linear = &p->row[0][LV_KIND_LINEAR], *conv = &p->row[2][LV_KIND_CONV];
    assert_int_equal(linear->calls, 2);
    assert_true(linear->flops == 2.0 * 2 * 6 * 8 * 5);
    assert_true(linear->bytes == 4.0 * (2 * (6 * 8 + 5 * 8) + 3 * 6 * 5));
    assert_int_equal(conv->calls, 1);
    assert_true(conv->flops == 2.0 * 3 * 4 * 2 * 2 * 27);
    assert_true(conv->seconds > 0.0 && conv->seconds < 10.0);
    assert_int_equal(p->row[2][LV_KIND_OTHER].calls, 1);
    assert_int_equal(p->row[0][LV_KIND_OTHER].calls, 0);
    assert_true(p->stage_seconds[0] > 0.0 && p->stage_seconds[2] > 0.0);
    CHECK_OK(lv_profile_reset(p));
    assert_int_equal(p->row[0][LV_KIND_LINEAR].calls, 0);
    lv_profile_free(device);
    assert_null(device->profile);
    lv_exec_end(&e);
}

/* Pairs that attend to each other: 2 frames of 3 rows, the second sees both. */
static void attention_counts_pairs(void **state)
{
    (void)state;
    static const int32_t offsets[] = {0, 1, 2};
    static const lvsa_run list[] = {{0, 3}, {0, 6}};
    const lvsa_runs runs = {.frames = 2, .patches_per_frame = 3, .offsets = offsets, .list = list};
    const lvsa_strides s = {.batch = 6 * 8, .token = 8, .head = 4};
    lvsa_attention call = {.batch = 1,
                           .queries = 6,
                           .heads = 2,
                           .kv_heads = 2,
                           .head_dim = 4,
                           .q = numbers,
                           .q_strides = s,
                           .out = numbers + 512,
                           .out_strides = s,
                           .sources = 1};
    call.source[0] = (lvsa_source){
        .k = numbers, .v = numbers, .k_strides = s, .v_strides = s, .tokens = 6, .runs = &runs};
    lv_exec e = begin();
    CHECK_OK(lv_profile_create(device));
    CHECK_OK(lv_op_attention(&e, &call));
    CHECK_OK(lv_profile_collect(device->profile));
    const lv_profile_row *r = &device->profile->row[0][LV_KIND_ATTENTION];
    assert_int_equal(r->calls, 1);
    assert_true(r->flops == 4.0 * (3 * 3 + 3 * 6) * 2 * 4);
    assert_true(r->bytes == 4.0 * 4 * 6 * 8);
    lv_profile_free(device);
    lv_exec_end(&e);
}

/* Products of 16-bit numbers and of fp8 have peaks of their own, those of f32 none known. */
static void peaks_are_of_types(void **state)
{
    (void)state;
    device->peak_flops = 1e12, device->peak_e4m3_flops = 2e12;
    CHECK_OK(lv_profile_create(device));
    lv_profile *p = device->profile;
    const lvsa_dtype factors[] = {LVSA_BF16, LVSA_F16, LV_E4M3, LVSA_F32};
    for (int i = 0; i < 4; i++) {
        CHECK_OK(lv_profile_begin(p));
        CHECK_OK(lv_profile_end(p, (lv_kind)i, factors[i], 5e9, 0.0));
    }
    CHECK_OK(lv_profile_collect(p));
    const double least[] = {5e-3, 5e-3, 2.5e-3, 0.0};
    for (int i = 0; i < 4; i++) assert_true(fabs(p->row[0][i].least_seconds - least[i]) < 1e-12);
    lv_profile_free(device);
    device->peak_flops = device->peak_e4m3_flops = 0.0;
}

/* More operations than are kept at a time. */
static void many_operations(void **state)
{
    (void)state;
    lv_exec e = begin();
    CHECK_OK(lv_profile_create(device));
    for (int i = 0; i < 3 * LV_PROFILE_PENDING + 7; i++)
        CHECK_OK(lv_op_zero(&e, tensor(1, LV_SHAPE(4))));
    CHECK_OK(lv_profile_collect(device->profile));
    assert_int_equal(device->profile->row[0][LV_KIND_OTHER].calls, 3 * LV_PROFILE_PENDING + 7);
    lv_profile_free(device);
    lv_exec_end(&e);
}

/* A pipeline without a model to run: the public side, and what it refuses. */
static void bench_refuses(void **state)
{
    (void)state;
    lvsa_bench_options o = LVSA_BENCH_OPTIONS_INIT;
    lvsa_bench_info info = {.size = sizeof info};
    lvsa_profile profile = {.size = sizeof profile};
    double seconds[5];
    o.model = "/nowhere";
    CHECK_FAILS(lvsa_bench_transformer(&info, seconds, &profile, &o), LVSA_ERR_IO, "/nowhere");
    o.repeat = 0;
    CHECK_FAILS(lvsa_bench_decoder(&info, seconds, &profile, &o), LVSA_ERR_ARGUMENT,
                "LVSA_BENCH_OPTIONS_INIT");
}

static void bench_measures(void **state)
{
    (void)state;
    lvsa_bench_options o = LVSA_BENCH_OPTIONS_INIT;
    lvsa_bench_info info = {.size = sizeof info};
    lvsa_profile profile = {.size = sizeof profile};
    double seconds[2] = {0};
    o.model = GOLDEN_DIR "/wan/tiny-a", o.repeat = 2;
    o.frames = 5, o.height = 32, o.width = 32;
    CHECK_OK(lvsa_bench_transformer(&info, seconds, &profile, &o));
    assert_true(seconds[0] > 0.0 && seconds[1] > 0.0 && info.latent_frames == 2 && !info.sparse);
    assert_true(profile.rows == 4 && profile.seconds[LVSA_PHASE_DENOISE] > 0.0);
    assert_string_equal(profile.row[0].kind, "linear");
    assert_int_equal(profile.row[0].phase, LVSA_PHASE_DENOISE);
    CHECK_OK(lvsa_bench_decoder(&info, seconds, &profile, &o));
    assert_true(profile.row[2].phase == LVSA_PHASE_DECODE && profile.row[2].flops > 0.0);
    assert_string_equal(profile.row[2].kind, "convolution");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_counted), cmocka_unit_test(attention_counts_pairs),
        cmocka_unit_test(peaks_are_of_types),     cmocka_unit_test(many_operations),
        cmocka_unit_test(bench_refuses),          cmocka_unit_test(bench_measures),
    };
    return cmocka_run_group_tests(tests, open_cpu, close_cpu);
}
