/* machine.h: what the machine has left. */
#ifndef LV_BASE_MACHINE_H
#define LV_BASE_MACHINE_H

#include <stdint.h>

/* Bytes that this process can still take without swapping: the least of what the system has, what
 * its control groups allow and what its address space may grow by. 0: not known. */
uint64_t lv_machine_available(void);

#endif
