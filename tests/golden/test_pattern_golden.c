/* test_pattern_golden.c: plans against vectors made by the reference implementation, to the
 * integer. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <jansson.h>

#include <lvsa/lvsa_attention.h>

static int get(const json_t *c, const char *key)
{
    return (int)json_integer_value(json_object_get(c, key));
}

static lvsa_plan_options read_options(const json_t *c)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    const json_t *interval = json_object_get(c, "interval");
    o.latent_frames = get(c, "latent_frames");
    o.patches_per_frame = get(c, "patches_per_frame");
    o.window = get(c, "window");
    o.first_anchors = get(c, "n_first");
    o.keyframe_interval =
        json_is_null(interval) ? LVSA_INTERVAL_AUTO : (int)json_integer_value(interval);
    o.reference_latent_frames = get(c, "reference");
    o.sparsity_scale = json_number_value(json_object_get(c, "sparsity_scale"));
    o.expand_window = json_is_true(json_object_get(c, "expand_window"));
    o.rotation = get(c, "offset");
    return o;
}

static void check_list(size_t index, const char *what, const int32_t *have, const json_t *want)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        if (have[i] != json_integer_value(json_array_get(want, i)))
            fail_msg("case %zu: %s[%zu] is %d, %lld wanted", index, what, i, have[i],
                     (long long)json_integer_value(json_array_get(want, i)));
}

/* The golden file numbers frames in the list of those that anyone attends to. */
static void check_csr(size_t index, const lvsa_plan *plan, const lvsa_plan_info *info,
                      const json_t *want)
{
    size_t frames = (size_t)info->latent_frames;
    int32_t *indptr = calloc(frames + 1, sizeof *indptr);
    int32_t *indices = calloc((size_t)info->attended_sum, sizeof *indices);
    int32_t *compact = calloc(frames, sizeof *compact);
    assert_true(indptr && indices && compact);
    CHECK_OK(lvsa_plan_write_csr(plan, indptr, indices));

    for (int64_t i = 0; i < info->attended_sum; i++) compact[indices[i]] = 1;
    int32_t used = 0;
    for (size_t f = 0; f < frames; f++)
        if (compact[f]) compact[f] = used++;
    for (int64_t i = 0; i < info->attended_sum; i++) indices[i] = compact[indices[i]];

    assert_int_equal(used, get(want, "compact_frames"));
    assert_int_equal(json_array_size(json_object_get(want, "indptr")), frames + 1);
    assert_int_equal(json_array_size(json_object_get(want, "indices")), info->attended_sum);
    check_list(index, "csr.indptr", indptr, json_object_get(want, "indptr"));
    check_list(index, "csr.indices", indices, json_object_get(want, "indices"));
    free(compact);
    free(indices);
    free(indptr);
}

static void check_case(size_t index, const json_t *c)
{
    lvsa_plan_options o = read_options(c);
    lvsa_plan_info info = {.size = sizeof info};
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    CHECK_OK(lvsa_plan_get_info(&info, plan));

    const json_t *globals = json_object_get(c, "globals");
    if (info.keyframe_interval != get(c, "kfi"))
        fail_msg("case %zu: kfi %d, %d wanted", index, info.keyframe_interval, get(c, "kfi"));
    assert_int_equal(info.anchors, json_array_size(globals));
    check_list(index, "globals", lvsa_plan_get_anchors(plan), globals);
    check_list(index, "attended", lvsa_plan_get_attended(plan), json_object_get(c, "attended"));

    const json_t *bounds = json_object_get(c, "window_bounds");
    assert_int_equal(json_array_size(bounds), info.latent_frames);
    for (size_t f = 0; f < json_array_size(bounds); f++) {
        lvsa_window w = lvsa_plan_get_windows(plan)[f];
        check_list(index, "window_bounds", (int32_t[]){w.first, w.last}, json_array_get(bounds, f));
    }
    check_csr(index, plan, &info, json_object_get(c, "csr"));
    lvsa_plan_free(&plan);
}

static void matches_reference(void **state)
{
    (void)state;
    json_error_t error;
    json_t *cases = json_load_file(GOLDEN_DIR "/pattern/pattern.json", 0, &error);
    if (!cases) fail_msg("%s: %s", error.source, error.text);
    size_t count = json_array_size(cases);
    for (size_t i = 0; i < count; i++) check_case(i, json_array_get(cases, i));
    json_decref(cases);
    print_message("%zu cases match\n", count);
    assert_int_equal(count, 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
