/* clock.h: time that goes by. */
#ifndef LV_BASE_CLOCK_H
#define LV_BASE_CLOCK_H

#include <time.h>

/* Seconds since some moment, which no change of the clock moves. */
static inline double lv_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
