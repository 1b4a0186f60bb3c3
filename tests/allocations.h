/* allocations.h: allocations that fail, in cmocka tests. */
#ifndef LV_TESTS_ALLOCATIONS_H
#define LV_TESTS_ALLOCATIONS_H

#include <lvsa/lvsa_status.h>

/* From now on the library's allocation `at` fails, once, counted from 0; -1: none does any more. */
void fail_allocation(int at);

/* Works with the first allocation failing, then with the second, and so on until `work` gets
 * through. Before that it has to end in LVSA_ERR_MEMORY, with a sentence that says so. Returns how
 * often it did. */
int fail_each_allocation(lvsa_status (*work)(void *user), void *user);

#endif
