/* patience.h: calls that wait for other processes, and for ever where those don't come. */
#ifndef LV_ENGINE_PARALLEL_PATIENCE_H
#define LV_ENGINE_PARALLEL_PATIENCE_H

#include <stdbool.h>

#include "base/error.h"

/* call(user) in a thread of its own, for so many seconds at most; *status is what it returned, or
 * LVSA_ERR_MEMORY. False: it hasn't returned by then. The thread stays behind with `user`, which
 * can never be freed then: nothing ends a call of somebody else's library. */
bool lv_call_within(lvsa_status *status, lvsa_status (*call)(void *user), void *user, int seconds);

#endif
