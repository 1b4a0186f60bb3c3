/* test_pattern.c: what holds for every plan, over many geometries; and what is refused. */
#include <math.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa_attention.h>

#include "base/mem.h"

static lvsa_plan_options options(int frames, int window, int first, int interval, int reference)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = frames, o.patches_per_frame = 7, o.window = window, o.first_anchors = first;
    o.keyframe_interval = interval, o.reference_latent_frames = reference;
    return o;
}

/* Whether frame f attends to frame g, told from the runs. */
static int attends(const lvsa_runs *runs, int f, int g)
{
    int32_t row = g * runs->patches_per_frame;
    for (int32_t i = runs->offsets[f]; i < runs->offsets[f + 1]; i++)
        if (row >= runs->list[i].start && row < runs->list[i].start + runs->list[i].count) return 1;
    return 0;
}

static void check_runs(const lvsa_runs *runs, int f)
{
    int64_t end = -1;
    for (int32_t i = runs->offsets[f]; i < runs->offsets[f + 1]; i++) {
        lvsa_run r = runs->list[i];
        assert_true(r.start > end && r.count > 0); /* > : runs that touch are one */
        assert_true(r.start % runs->patches_per_frame == 0 &&
                    r.count % runs->patches_per_frame == 0);
        end = (int64_t)r.start + r.count;
    }
    assert_true(end <= (int64_t)runs->frames * runs->patches_per_frame);
}

static void check_plan(const lvsa_plan *plan, const lvsa_plan_options *o)
{
    lvsa_plan_info info = {.size = sizeof info};
    CHECK_OK(lvsa_plan_get_info(&info, plan));
    const lvsa_runs *runs = lvsa_plan_get_runs(plan);
    const int32_t *attended = lvsa_plan_get_attended(plan), *anchors = lvsa_plan_get_anchors(plan);
    const int T = o->latent_frames;
    int free_frames = T - info.anchors, room = 2 * o->window + 1;
    int64_t sum = 0;

    const int horizon = o->reference_latent_frames;
    assert_int_equal(info.opening, !o->trained_opening ? 0 : horizon < T ? horizon : T);
    for (int f = 0; f < T; f++) {
        check_runs(runs, f);
        int count = 0, anchor = 0;
        for (int g = 0; g < T; g++) count += attends(runs, f, g);
        lvsa_window w = lvsa_plan_get_windows(plan)[f];
        for (int g = w.first; g <= w.last; g++) assert_true(attends(runs, f, g));
        assert_int_equal(count, attended[f]);
        sum += count;
        if (f < info.opening) {
            assert_int_equal(w.first, 0);
            assert_int_equal(w.last, info.opening - 1);
            assert_int_equal(count, info.opening);
            continue;
        }
        for (int a = 0; a < info.anchors; a++) {
            assert_true(attends(runs, f, anchors[a]));
            anchor |= anchors[a] == f;
        }
        if (o->window > 0 && o->expand_window)
            assert_int_equal(count, info.anchors + (free_frames < room ? free_frames : room));
        if (o->window > 0 || anchor) assert_true(attends(runs, f, f));
    }
    assert_int_equal(sum, info.attended_sum);
    assert_int_equal(info.dense, sum == (int64_t)T * T);
}

static void properties_hold(void **state)
{
    (void)state;
    int plans = 0;
    static const int frames[] = {1, 2, 5, 8, 21, 22, 40};
    for (size_t t = 0; t < sizeof frames / sizeof frames[0]; t++)
        for (int window = 0; window <= 5; window++)
            for (int first = 0; first <= 3; first++)
                for (int interval = LVSA_INTERVAL_AUTO; interval <= 9; interval += 2)
                    for (int rotation = 0; rotation <= 11; rotation += 5)
                        for (int flags = 0; flags < 4; flags++) {
                            lvsa_plan_options o = options(frames[t], window, first, interval, 6);
                            o.rotation = rotation, o.expand_window = flags & 1;
                            o.trained_opening = flags >> 1;
                            lvsa_plan *plan;
                            CHECK_OK(lvsa_plan_create(&plan, &o));
                            check_plan(plan, &o);
                            lvsa_plan_free(&plan);
                            plans++;
                        }
    print_message("%d plans\n", plans);
}

static void every_frame_is_an_anchor_once_in_a_round(void **state)
{
    (void)state;
    for (int frames = 1; frames <= 50; frames += 7)
        for (int interval = LVSA_INTERVAL_AUTO; interval <= 12; interval++) {
            if (interval == LVSA_INTERVAL_NONE) continue;
            lvsa_plan_options o = options(frames, 2, 1, interval, 9);
            lvsa_plan_info info = {.size = sizeof info};
            lvsa_plan *plan;
            int seen[64] = {0};
            CHECK_OK(lvsa_plan_create(&plan, &o));
            CHECK_OK(lvsa_plan_get_info(&info, plan));
            for (int step = 0; step < info.keyframe_interval; step++) {
                lvsa_plan_info now = {.size = sizeof now};
                CHECK_OK(lvsa_plan_set_step(plan, step));
                CHECK_OK(lvsa_plan_get_info(&now, plan));
                for (int a = 0; a < now.anchors; a++) seen[lvsa_plan_get_anchors(plan)[a]] = 1;
            }
            for (int f = 0; f < frames; f++) assert_true(seen[f]);
            lvsa_plan_free(&plan);
        }
}

static void moving_equals_making(void **state)
{
    (void)state;
    lvsa_plan_options o = options(40, 3, 1, LVSA_INTERVAL_AUTO, 12);
    lvsa_plan *moved, *made;
    CHECK_OK(lvsa_plan_create(&moved, &o));
    for (int rotation = 17; rotation >= 0; rotation--) {
        o.rotation = rotation;
        CHECK_OK(lvsa_plan_create(&made, &o));
        CHECK_OK(lvsa_plan_set_rotation(moved, rotation));
        const lvsa_runs *a = lvsa_plan_get_runs(moved), *b = lvsa_plan_get_runs(made);
        assert_memory_equal(a->offsets, b->offsets, sizeof *a->offsets * 41);
        assert_memory_equal(a->list, b->list, sizeof *a->list * (size_t)a->offsets[40]);
        lvsa_plan_free(&made);
    }
    lvsa_plan_free(&moved);
}

static int allocations;

static bool count_allocation(size_t bytes)
{
    (void)bytes;
    allocations++;
    return true;
}

static void moving_allocates_nothing(void **state)
{
    (void)state;
    lvsa_plan_options o = options(200, 3, 1, LVSA_INTERVAL_AUTO, 21);
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    lv_mem_set_hook(count_allocation);
    for (int step = 0; step < 40; step++) CHECK_OK(lvsa_plan_set_step(plan, step));
    lv_mem_set_hook(NULL);
    assert_int_equal(allocations, 0);
    lvsa_plan_free(&plan);
    assert_null(plan);
    lvsa_plan_free(&plan);
    lvsa_plan_free(NULL);
}

static void refuse(lvsa_plan_options o, const char *words)
{
    lvsa_plan *plan = (lvsa_plan *)&o;
    CHECK_FAILS(lvsa_plan_create(&plan, &o), LVSA_ERR_ARGUMENT, words);
    assert_null(plan);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    lvsa_plan_options o = options(21, 3, 1, LVSA_INTERVAL_AUTO, 21);
    o.size = 8, refuse(o, "8 bytes");
    refuse(options(0, 3, 1, 4, 21), "0 latent frames");
    refuse(options(1 << 21, 3, 1, 4, 21), "2097152 latent frames");
    refuse(options(21, -1, 1, 4, 21), "half-width -1");
    refuse(options(21, 3, -1, 4, 21), "-1 first anchors");
    refuse(options(21, 3, 1, -2, 21), "interval -2");
    refuse(options(21, 3, 1, LVSA_INTERVAL_AUTO, 0), "0 reference latent frames");
    refuse(options(21, 0, 0, LVSA_INTERVAL_NONE, 21), "attend to nothing");
    o = options(21, 3, 1, 4, 0);
    o.trained_opening = 1, refuse(o, "an opening as in training");
    refuse(options(1 << 20, 3, 1, 2, 21), "isn't supported");
    o = options(21, 3, 1, LVSA_INTERVAL_AUTO, 21);
    o.patches_per_frame = 0, refuse(o, "0 patches");
    o.patches_per_frame = 1 << 27, refuse(o, "tokens");
    o = options(21, 3, 1, LVSA_INTERVAL_AUTO, 21);
    o.sparsity_scale = 0.0, refuse(o, "scale 0");
    o.sparsity_scale = NAN, refuse(o, "scale");
    o.sparsity_scale = INFINITY, refuse(o, "scale inf");
    o.sparsity_scale = 1.0, o.rotation = -1, refuse(o, "rotation -1");
}

/* The widest of windows over the most frames: no work for every pair, and no CSR of them. */
static void the_largest_plan_is_made(void **state)
{
    (void)state;
    enum { MOST = 1 << 20 };
    const lvsa_plan_options o = options(MOST, MOST, 1, LVSA_INTERVAL_NONE, 0);
    lvsa_plan_info info = {.size = sizeof info};
    int32_t number;
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    CHECK_OK(lvsa_plan_get_info(&info, plan));
    assert_true(info.attended_sum == (int64_t)MOST * MOST);
    CHECK_FAILS(lvsa_plan_write_csr(plan, &number, &number), LVSA_ERR_ARGUMENT,
                "1099511627776 pairs of frames");
    lvsa_plan_free(&plan);
}

static void a_refused_move_changes_nothing(void **state)
{
    (void)state;
    lvsa_plan_options o = options(30, 2, 1, 4, 0);
    lvsa_plan_info info = {.size = sizeof info};
    lvsa_plan *plan;
    o.rotation = 2;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    CHECK_FAILS(lvsa_plan_set_step(plan, -1), LVSA_ERR_ARGUMENT, "step -1");
    CHECK_FAILS(lvsa_plan_set_rotation(plan, -3), LVSA_ERR_ARGUMENT, "rotation -3");
    CHECK_OK(lvsa_plan_get_info(&info, plan));
    assert_int_equal(info.rotation, 2);
    info.size = 1;
    CHECK_FAILS(lvsa_plan_get_info(&info, plan), LVSA_ERR_ARGUMENT, "1 bytes");
    lvsa_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_hold),
        cmocka_unit_test(every_frame_is_an_anchor_once_in_a_round),
        cmocka_unit_test(moving_equals_making),
        cmocka_unit_test(moving_allocates_nothing),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(the_largest_plan_is_made),
        cmocka_unit_test(a_refused_move_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
