/* fake_stream.h: what fake_cuda.c and fake_nccl.c know of each other: a stream is the number of
 * operations that are still under way on it. */
#ifndef FAKE_STREAM_H
#define FAKE_STREAM_H

#include <stdatomic.h>
#include <time.h>

typedef struct fake_stream {
    atomic_int pending;
} fake_stream;

static inline void fake_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static inline void fake_stream_wait(fake_stream *s)
{
    while (atomic_load(&s->pending) > 0) fake_pause();
}

#endif
