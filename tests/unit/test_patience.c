/* test_patience.c: a call that comes back, one that doesn't, and one that can't be made. */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "testing.h"

#include "base/mem.h"
#include "engine/parallel/patience.h"

static void pause_briefly(void) { nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); }

static lvsa_status succeed(void *user)
{
    *(int *)user = 7;
    return LVSA_OK;
}

static lvsa_status refuse(void *user) { return lv_fail(LVSA_ERR_DEVICE, "call %d", *(int *)user); }

static void what_a_call_says_is_kept(void **state)
{
    (void)state;
    lvsa_status s = LVSA_ERR_IO;
    int number = 0;
    assert_true(lv_call_within(&s, succeed, &number, 60));
    CHECK_OK(s);
    assert_int_equal(number, 7);
    assert_true(lv_call_within(&s, refuse, &number, 60));
    CHECK_FAILS(s, LVSA_ERR_DEVICE, "call 7");
}

typedef struct gate {
    atomic_bool open, passed;
} gate;

static lvsa_status wait_at_gate(void *user)
{
    gate *g = user;
    while (!atomic_load(&g->open)) pause_briefly();
    atomic_store(&g->passed, true);
    return lv_fail(LVSA_ERR_DEVICE, "nobody hears this");
}

static void a_call_is_left_behind(void **state)
{
    (void)state;
    static gate g; /* the thread's, longer than this function */
    lvsa_status s = LVSA_OK;
    assert_false(lv_call_within(&s, wait_at_gate, &g, 1));
    assert_false(atomic_load(&g.passed));
    atomic_store(&g.open, true);
    while (!atomic_load(&g.passed)) pause_briefly();
}

static bool refuse_memory(size_t bytes)
{
    (void)bytes;
    return false;
}

static void without_memory_nothing_is_called(void **state)
{
    (void)state;
    lvsa_status s = LVSA_OK;
    int number = 0;
    lv_mem_set_hook(refuse_memory);
    const bool done = lv_call_within(&s, succeed, &number, 60);
    lv_mem_set_hook(NULL);
    assert_true(done);
    CHECK_FAILS(s, LVSA_ERR_MEMORY, "thread");
    assert_int_equal(number, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_call_says_is_kept),
        cmocka_unit_test(a_call_is_left_behind),
        cmocka_unit_test(without_memory_nothing_is_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
