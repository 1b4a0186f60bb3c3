/* test_allocation_failure.c: any allocation may fail: each failure is a status, with nothing
 * leaked (the sanitizers see to that) and *out NULL. Every single allocation fails once; then
 * random ones. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa.h>

#include "allocations.h"
#include "base/mem.h"

static unsigned random_state;

static bool sometimes(size_t bytes)
{
    (void)bytes;
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % 4 != 0;
}

static lvsa_status make_plan(void *user)
{
    (void)user;
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = 30, o.patches_per_frame = 4, o.reference_latent_frames = 9;
    lvsa_plan *plan = (lvsa_plan *)&o;
    lvsa_status s = lvsa_plan_create(&plan, &o);
    assert_true((s == LVSA_OK) == (plan != NULL));
    lvsa_plan_free(&plan);
    return s;
}

static void plans(void **state)
{
    (void)state;
    assert_true(fail_each_allocation(make_plan, NULL) >= 1);
    lv_mem_set_hook(sometimes);
    for (unsigned seed = 1; seed <= 200; seed++) {
        random_state = seed;
        lvsa_status s = make_plan(NULL);
        assert_true(s == LVSA_OK || s == LVSA_ERR_MEMORY);
    }
    lv_mem_set_hook(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
