/* test_allocation_failure.c: any allocation may fail: each failure is a status, with nothing
 * leaked (the sanitizers see to that) and *out NULL. Every single allocation fails once; then
 * random ones. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa.h>

#include "base/mem.h"

static int countdown;         /* allocations until the one that fails */
static unsigned random_state; /* 0: count down                        */

static bool may_allocate(size_t bytes)
{
    (void)bytes;
    if (random_state) {
        random_state = random_state * 1103515245u + 12345u;
        return (random_state >> 16) % 4 != 0;
    }
    return countdown-- != 0;
}

static lvsa_status make_plan(void)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = 30, o.patches_per_frame = 4, o.reference_latent_frames = 9;
    lvsa_plan *plan = (lvsa_plan *)&o;
    lvsa_status s = lvsa_plan_create(&plan, &o);
    assert_true((s == LVSA_OK) == (plan != NULL));
    lvsa_plan_free(&plan);
    return s;
}

/* Fails the first allocation, then the second, ... until the work gets through. */
static void fail_each(lvsa_status (*work)(void))
{
    lv_mem_set_hook(may_allocate);
    random_state = 0;
    int failures = 0;
    for (lvsa_status s = LVSA_ERR_MEMORY; s != LVSA_OK; failures++) {
        countdown = failures;
        s = work();
        if (s != LVSA_OK) {
            assert_int_equal(s, LVSA_ERR_MEMORY);
            assert_non_null(strstr(lvsa_last_error(), "memory"));
        }
        assert_true(failures < 10000);
    }
    assert_true(failures > 1);
    for (unsigned seed = 1; seed <= 200; seed++) {
        random_state = seed;
        lvsa_status s = work();
        assert_true(s == LVSA_OK || s == LVSA_ERR_MEMORY);
    }
    lv_mem_set_hook(NULL);
}

static void plans(void **state)
{
    (void)state;
    fail_each(make_plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
