/* thread_ranks.c: messages are copied by their receivers, between two barriers. */
#include "thread_ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct thread_rank thread_rank;

typedef struct team {
    pthread_barrier_t barrier;
    thread_rank *rank; /* [size] */
    lvsa_status (*work)(lv_comm *comm, void *user);
    void *user;
} team;

struct thread_rank {
    lv_comm base;
    team *team;
    pthread_t thread;
    const lv_message *sent; /* in the exchange that goes on */
    int sends;
};

/* The next message of this list for rank `to`, from *at on. */
static const lv_message *next_for(const thread_rank *from, int to, int *at)
{
    while (*at < from->sends && (from->sent[*at].peer != to || from->sent[*at].bytes == 0)) ++*at;
    return *at < from->sends ? &from->sent[(*at)++] : NULL;
}

static lvsa_status take(const thread_rank *me, int *at, const lv_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        if (m[i].bytes == 0) continue;
        const lv_message *out = next_for(&me->team->rank[m[i].peer], me->base.rank, &at[m[i].peer]);
        if (!out || out->bytes != m[i].bytes)
            return lv_fail(LVSA_ERR_ARGUMENT, "rank %d wants %zu bytes of %d, which sends %zu",
                           me->base.rank, m[i].bytes, m[i].peer, out ? out->bytes : 0);
        memcpy(m[i].data, out->data, out->bytes);
    }
    for (int r = 0; r < me->base.size; r++)
        if (next_for(&me->team->rank[r], me->base.rank, &at[r]))
            return lv_fail(LVSA_ERR_ARGUMENT, "rank %d sends more than %d wants", r, me->base.rank);
    return LVSA_OK;
}

static lvsa_status exchange(lv_comm *comm, const lv_message *send, int sends,
                            const lv_message *receive, int receives)
{
    thread_rank *me = (thread_rank *)comm;
    int *at = calloc((size_t)comm->size, sizeof *at);
    if (!at) abort();
    me->sent = send, me->sends = sends;
    pthread_barrier_wait(&me->team->barrier);
    lvsa_status s = take(me, at, receive, receives);
    pthread_barrier_wait(&me->team->barrier);
    free(at);
    return s;
}

static void *run(void *user)
{
    thread_rank *me = user;
    if (me->team->work(&me->base, me->team->user) == LVSA_OK) return NULL;
    fprintf(stderr, "rank %d of %d: %s\n", me->base.rank, me->base.size, lvsa_last_error());
    abort();
}

void run_ranks(int ranks, lvsa_status (*work)(lv_comm *comm, void *user), void *user)
{
    team t = {.work = work, .user = user};
    lv_message *lists = calloc((size_t)ranks * (size_t)ranks * 2, sizeof *lists);
    t.rank = calloc((size_t)ranks, sizeof *t.rank);
    if (!t.rank || !lists || pthread_barrier_init(&t.barrier, NULL, (unsigned)ranks) != 0) abort();
    for (int r = 0; r < ranks; r++)
        t.rank[r] = (thread_rank){.base = {.rank = r,
                                           .size = ranks,
                                           .send = lists + 2 * r * ranks,
                                           .receive = lists + (2 * r + 1) * ranks,
                                           .exchange = exchange},
                                  .team = &t};
    for (int r = 0; r < ranks; r++)
        if (pthread_create(&t.rank[r].thread, NULL, run, &t.rank[r]) != 0) abort();
    for (int r = 0; r < ranks; r++) pthread_join(t.rank[r].thread, NULL);
    pthread_barrier_destroy(&t.barrier);
    free(t.rank);
    free(lists);
}
