/* testing.h: what every unit test starts from. */
#ifndef LV_TESTS_TESTING_H
#define LV_TESTS_TESTING_H

/* cmocka wants these four first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lvsa/lvsa_status.h>

/* The call works; if not, its sentence is the test's message. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        lvsa_status s_ = (call);                                                                   \
        if (s_ != LVSA_OK) fail_msg("%s: %s", lvsa_status_name(s_), lvsa_last_error());            \
    } while (0)

/* The call fails with this code, and its sentence holds these words. */
#define CHECK_FAILS(call, status, words)                                                           \
    do {                                                                                           \
        assert_string_equal(lvsa_status_name(call), lvsa_status_name(status));                     \
        if (!strstr(lvsa_last_error(), words))                                                     \
            fail_msg("\"%s\" doesn't say \"%s\"", lvsa_last_error(), words);                       \
    } while (0)

#endif
