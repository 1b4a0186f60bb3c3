/* thread_ranks.h: ranks that are threads of a test, for what needs several and no launcher. */
#ifndef LV_TESTS_THREAD_RANKS_H
#define LV_TESTS_THREAD_RANKS_H

#include "engine/parallel/comm.h"

/* Runs `work` on as many threads, each with its comm, and waits for them. One that fails ends the
 * test with its sentence, as the others would wait for it. All exchange at the same time. */
void run_ranks(int ranks, lvsa_status (*work)(lv_comm *comm, void *user), void *user);

#endif
