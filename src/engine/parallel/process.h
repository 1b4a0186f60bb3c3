/* process.h: whether another process of this host is still there. */
#ifndef LV_ENGINE_PARALLEL_PROCESS_H
#define LV_ENGINE_PARALLEL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* A process, by what no other one shares with it. */
typedef struct lv_process {
    char host[64];  /* this start of its machine; "": nobody knows */
    uint64_t space; /* of numbers, which containers have their own */
    int64_t number;
} lv_process;

void lv_process_get_own(lv_process *out);

/* False too where it can't be seen from here: on another host, in another container. */
bool lv_process_has_gone(const lv_process *p, const lv_process *own);

#endif
