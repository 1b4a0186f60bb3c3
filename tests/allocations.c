/* allocations.c: see allocations.h. */
#include "allocations.h"

#include <string.h>

#include "testing.h"

#include "base/mem.h"

enum { MOST = 10000 };

static int countdown;

static bool may_allocate(size_t bytes)
{
    (void)bytes;
    return countdown-- != 0;
}

void fail_allocation(int at)
{
    countdown = at;
    lv_mem_set_hook(at < 0 ? NULL : may_allocate);
}

int fail_each_allocation(lvsa_status (*work)(void *user), void *user)
{
    for (int failures = 0; failures < MOST; failures++) {
        fail_allocation(failures);
        lvsa_status s = work(user);
        fail_allocation(-1);
        if (s == LVSA_OK) return failures;
        CHECK_FAILS(s, LVSA_ERR_MEMORY, "memory");
    }
    fail_msg("%d allocations failed, one after the other, and it goes on", MOST);
    return MOST;
}
