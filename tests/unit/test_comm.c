/* test_comm.c: a comm of one process; several are in tests/rank. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "engine/parallel/comm.h"

static void one_sends_to_itself(void **state)
{
    (void)state;
    char to[8] = "", from[] = "abcdef";
    const lv_message send[] = {{0, from, 2}, {0, NULL, 0}, {0, from + 2, 4}};
    const lv_message receive[] = {{0, to + 4, 2}, {0, to, 4}};
    const size_t bytes = 6;
    lv_comm *c;
    CHECK_OK(lv_comm_open(&c));
    assert_true(c->rank == 0 && c->size == 1);
    CHECK_OK(lv_comm_exchange(c, send, 3, receive, 2));
    assert_memory_equal(to, "cdefab", 6);
    CHECK_FAILS(lv_comm_exchange(c, send, 1, receive, 2), LVSA_ERR_ARGUMENT, "a message of 0");
    CHECK_FAILS(lv_comm_exchange(c, send, 3, receive, 1), LVSA_ERR_ARGUMENT, "0 are received");
    CHECK_FAILS(lv_comm_exchange(c, send + 2, 1, receive, 1), LVSA_ERR_ARGUMENT, "2 are received");
    const lv_message other = {1, from, 1};
    CHECK_FAILS(lv_comm_exchange(c, &other, 1, NULL, 0), LVSA_ERR_ARGUMENT, "rank 1: 0 to 0");
    CHECK_OK(lv_comm_all_to_all(c, NULL, to, &bytes, from, &bytes));
    assert_memory_equal(to, "abcdef", 6);
    CHECK_OK(lv_comm_all_gather(c, NULL, to, &bytes, "ghijkl"));
    assert_memory_equal(to, "ghijkl", 6);
    CHECK_OK(lv_comm_broadcast(c, to, 6, 0));
    CHECK_FAILS(lv_comm_broadcast(c, to, 6, 1), LVSA_ERR_ARGUMENT, "rank 1");
    lv_comm_abort(c, 1); /* there is nobody else to end */
    lv_comm_close(&c);
    assert_null(c);
    lv_comm_close(&c);
    lv_comm_close(NULL);
}

static lvsa_status open_one(void *user)
{
    (void)user;
    lv_comm *c;
    lvsa_status s = lv_comm_open(&c);
    assert_true((s == LVSA_OK) == (c != NULL));
    lv_comm_close(&c);
    return s;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_int_equal(fail_each_allocation(open_one, NULL), 2);
}

static void launchers_are_believed(void **state)
{
    (void)state;
    static const char *const wrong[] = {"two", "0", "-3", "2x", "99999999999"};
    lv_comm *c;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        setenv("PMI_SIZE", wrong[i], 1);
        CHECK_FAILS(lv_comm_open(&c), LVSA_ERR_ARGUMENT, "PMI_SIZE=");
        assert_null(c);
    }
    setenv("PMI_SIZE", "2", 1);
    setenv("LVSA_MODULE_DIR", "/nowhere", 1);
    CHECK_FAILS(lv_comm_open(&c), LVSA_ERR_UNSUPPORTED, "2 processes (PMI_SIZE)");
    assert_null(c);
    setenv("PMI_SIZE", "1", 1);
    CHECK_OK(lv_comm_open(&c));
    lv_comm_close(&c);
}

int main(void)
{
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("PMI_SIZE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sends_to_itself),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(launchers_are_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
