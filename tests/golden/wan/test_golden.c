/* test_golden.c: golden.h itself, and that every tensor that cases.json names is there. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "testing.h"

#include <jansson.h>

#include "golden/wan/golden.h"

static void check_entry(const lv_safetensors *golden, const char *name, const json_t *shape)
{
    const lv_tensor_entry *t = lv_safetensors_find(golden, name);
    if (!t) fail_msg("%s: no tensor %s", lv_safetensors_path(golden), name);
    assert_int_equal(t->rank, json_array_size(shape));
    for (int d = 0; d < t->rank; d++)
        assert_int_equal(t->shape[d], json_integer_value(json_array_get(shape, (size_t)d)));
    if (strcmp(t->type, "F32") != 0) {
        golden_get_bytes(golden, name, t->count);
        return;
    }
    const float *x = golden_get(golden, name, t->count);
    for (size_t i = 0; i < t->count; i++) assert_true(isfinite(x[i]));
}

static void holds_what_cases_name(void **state)
{
    (void)state;
    json_error_t error;
    json_t *cases = json_load_file(GOLDEN_DIR "/wan/cases.json", 0, &error);
    if (!cases) fail_msg("%s: %s", error.source, error.text);
    const char *file, *name;
    json_t *tensors, *shape;
    int files = 0;
    json_object_foreach(json_object_get(cases, "tensors"), file, tensors)
    {
        char path[256];
        snprintf(path, sizeof path, "wan/%s", file);
        lv_safetensors *golden = golden_open(path);
        assert_int_equal(lv_safetensors_count(golden), json_object_size(tensors));
        json_object_foreach(tensors, name, shape) check_entry(golden, name, shape);
        lv_safetensors_close(&golden);
        files++;
    }
    json_decref(cases);
    assert_int_equal(files, 13);
}

static void measures(void **state)
{
    (void)state;
    const float want[] = {3, 0, -4, 0};
    float have[] = {3, 0, -4, 0};
    golden_error e = golden_measure(have, want, 4);
    assert_true(e.relative == 0.0 && e.largest == 0.0);

    have[1] = 0.25f, have[2] = -3.5f;
    e = golden_measure(have, want, 4);
    assert_true(fabs(e.relative - sqrt(0.3125) / 5.0) < 1e-12);
    assert_true(e.largest == 0.5 && e.worst == 2);

    have[3] = NAN;
    e = golden_measure(have, want, 4);
    assert_true(isnan(e.relative) && isnan(e.largest) && e.worst == 3);

    have[3] = INFINITY;
    assert_true(isinf(golden_measure(have, want, 4).relative));
    assert_true(isinf(golden_measure(have + 1, want + 1, 1).relative));
}

static void compares(void **state)
{
    (void)state;
    enum { COUNT = 5 * 48 * 64 * 3 };
    static uint8_t bytes[COUNT];
    static float frames[COUNT];
    lv_safetensors *golden = golden_open("wan/vae-a.safetensors");
    memcpy(frames, golden_get(golden, "t2.frames", COUNT), sizeof frames);
    assert_true(golden_check(golden, "t2.frames", frames, COUNT, 0.0).relative == 0.0);
    frames[COUNT - 1] += 0.5f;
    golden_error e = golden_check(golden, "t2.frames", frames, COUNT, 1e-2);
    assert_int_equal(e.worst, COUNT - 1);

    /* rounding down is at most one below rounding */
    memcpy(bytes, golden_get_bytes(golden, "t2.truncated_u8", COUNT), sizeof bytes);
    golden_check_bytes(golden, "t2.truncated_u8", bytes, COUNT, 0);
    golden_check_bytes(golden, "t2.rounded_u8", bytes, COUNT, 1);
    lv_safetensors_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_cases_name),
        cmocka_unit_test(measures),
        cmocka_unit_test(compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
