/* fake_nccl.c: NCCL without GPUs: messages go through memory that processes share, while the stream
 * that they are for counts them as under way. One that waits for a rank that has gone waits for
 * ever, as on a GPU, until it is aborted. FAKE_NCCL=old: of a version that is too old. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/parallel/nccl_library.h"
#include "fake_stream.h"

#define NCCL(type) __attribute__((visibility("default"))) type

enum { MOST_RANKS = 8, RING = 1 << 16, MOST_MESSAGES = 4096, INTERNAL_ERROR = 3 };

/* Bytes on their way from one rank to another. */
typedef struct ring {
    _Atomic uint64_t in, out; /* counted from the beginning */
    char data[RING];
} ring;

typedef struct shared {
    atomic_int joined;
    ring ring[MOST_RANKS][MOST_RANKS]; /* [from][to] */
} shared;

typedef struct message {
    char *data;
    size_t bytes, done;
    int peer;
    bool is_sent;
} message;

struct ncclComm {
    shared *memory;
    int ranks, rank;
    atomic_bool aborted;
    pthread_t worker; /* of the last group */
    bool busy;
};

typedef struct job {
    lv_nccl_comm *comm;
    fake_stream *stream;
    pthread_t before; /* its group comes first */
    bool has_before;
    int count;
    message *message;
} job;

/* Of the group that is being made. */
static message list[MOST_MESSAGES];
static int listed;
static lv_nccl_comm *group_comm;
static fake_stream *group_stream;

NCCL(int) ncclGetVersion(int *version);
NCCL(int) ncclGetUniqueId(lv_nccl_id *out);
NCCL(int) ncclCommInitRank(lv_nccl_comm **out, int ranks, lv_nccl_id id, int rank);
NCCL(int) ncclCommDestroy(lv_nccl_comm *c);
NCCL(int) ncclCommAbort(lv_nccl_comm *c);
NCCL(int) ncclCommGetAsyncError(lv_nccl_comm *c, int *error);
NCCL(int) ncclGroupStart(void);
NCCL(int) ncclGroupEnd(void);
NCCL(int) ncclSend(const void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *s);
NCCL(int) ncclRecv(void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *s);
NCCL(const char *) ncclGetErrorString(int result);

int ncclGetVersion(int *version)
{
    const char *asked = getenv("FAKE_NCCL");
    *version = asked && strcmp(asked, "old") == 0 ? 2603 : 22703;
    return LV_NCCL_SUCCESS;
}

const char *ncclGetErrorString(int result) { return result ? "internal error" : "no error"; }

int ncclGetUniqueId(lv_nccl_id *out)
{
    const char *place = getenv("NCCL_COMM_ID");
    memset(out, 0, sizeof *out);
    if (place) snprintf(out->bytes, sizeof out->bytes, "%s", place);
    else snprintf(out->bytes, sizeof out->bytes, "process-%d", (int)getpid());
    return LV_NCCL_SUCCESS;
}

/* ---- meeting --------------------------------------------------------------------------------- */

static void *map(const char *name, bool make)
{
    if (make) shm_unlink(name);
    int file = -1;
    for (int tries = 0; file < 0 && tries < 100000; tries++) {
        file = shm_open(name, make ? O_RDWR | O_CREAT | O_EXCL : O_RDWR, 0600);
        if (file < 0) fake_pause();
    }
    if (file < 0 || (make && ftruncate(file, sizeof(shared)) != 0)) return NULL;
    while (lseek(file, 0, SEEK_END) < (off_t)sizeof(shared)) fake_pause();
    void *memory = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return memory == MAP_FAILED ? NULL : memory;
}

int ncclCommInitRank(lv_nccl_comm **out, int ranks, lv_nccl_id id, int rank)
{
    char name[160];
    const char *multicast = getenv("NCCL_NVLS_ENABLE");
    if (ranks > MOST_RANKS || !multicast || strcmp(multicast, "0") != 0) return INTERNAL_ERROR;
    snprintf(name, sizeof name, "/lvsa-fake-%s", id.bytes);
    lv_nccl_comm *c = calloc(1, sizeof *c);
    if (!c) return INTERNAL_ERROR;
    c->ranks = ranks, c->rank = rank;
    c->memory = map(name, rank == 0);
    if (!c->memory) return INTERNAL_ERROR;
    atomic_fetch_add(&c->memory->joined, 1);
    while (atomic_load(&c->memory->joined) < ranks) fake_pause();
    if (rank == 0) shm_unlink(name);
    *out = c;
    return LV_NCCL_SUCCESS;
}

static void release(lv_nccl_comm *c)
{
    if (c->busy) pthread_join(c->worker, NULL);
    munmap(c->memory, sizeof *c->memory);
    free(c);
}

int ncclCommDestroy(lv_nccl_comm *c)
{
    release(c);
    return LV_NCCL_SUCCESS;
}

int ncclCommAbort(lv_nccl_comm *c)
{
    atomic_store(&c->aborted, true);
    release(c);
    return LV_NCCL_SUCCESS;
}

int ncclCommGetAsyncError(lv_nccl_comm *c, int *error)
{
    (void)c;
    *error = LV_NCCL_SUCCESS;
    return LV_NCCL_SUCCESS;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* As many bytes as there is room for, or as there are; whether there were any. */
static bool move(lv_nccl_comm *c, message *m)
{
    ring *r = m->is_sent ? &c->memory->ring[c->rank][m->peer] : &c->memory->ring[m->peer][c->rank];
    const uint64_t in = atomic_load(&r->in), out = atomic_load(&r->out);
    const uint64_t at = m->is_sent ? in : out, most = m->is_sent ? RING - (in - out) : in - out;
    size_t count = m->bytes - m->done;
    if (count > most) count = (size_t)most;
    if (count > RING - at % RING) count = (size_t)(RING - at % RING);
    char *there = r->data + at % RING, *here = m->data + m->done;
    memcpy(m->is_sent ? there : here, m->is_sent ? here : there, count);
    atomic_fetch_add(m->is_sent ? &r->in : &r->out, count);
    m->done += count;
    return count > 0;
}

/* Of messages to one rank, and of those from it, the first that isn't done is next. */
static bool is_next(const job *j, int i)
{
    for (int k = 0; k < i; k++)
        if (j->message[k].peer == j->message[i].peer &&
            j->message[k].is_sent == j->message[i].is_sent &&
            j->message[k].done < j->message[k].bytes)
            return false;
    return true;
}

static void *work(void *argument)
{
    job *j = argument;
    if (j->has_before) pthread_join(j->before, NULL);
    for (bool left = true; left && !atomic_load(&j->comm->aborted);) {
        bool moved = left = false;
        for (int i = 0; i < j->count; i++) {
            message *m = &j->message[i];
            if (m->done == m->bytes || !is_next(j, i)) continue;
            moved |= move(j->comm, m);
            left |= m->done < m->bytes;
        }
        if (left && !moved) fake_pause();
    }
    atomic_fetch_sub(&j->stream->pending, 1);
    free(j->message);
    free(j);
    return NULL;
}

int ncclGroupStart(void)
{
    listed = 0, group_comm = NULL;
    return LV_NCCL_SUCCESS;
}

static int add(message m, lv_nccl_comm *c, void *stream)
{
    if (listed == MOST_MESSAGES || m.peer < 0 || m.peer >= c->ranks) return INTERNAL_ERROR;
    list[listed++] = m;
    group_comm = c, group_stream = stream;
    return LV_NCCL_SUCCESS;
}

int ncclSend(const void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *stream)
{
    (void)type;
    return add((message){(char *)(uintptr_t)data, count, 0, peer, true}, c, stream);
}

int ncclRecv(void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *stream)
{
    (void)type;
    return add((message){data, count, 0, peer, false}, c, stream);
}

int ncclGroupEnd(void)
{
    lv_nccl_comm *c = group_comm;
    if (!c) return LV_NCCL_SUCCESS;
    job *j = calloc(1, sizeof *j);
    if (j) j->message = malloc((size_t)listed * sizeof *j->message);
    if (!j || !j->message) return INTERNAL_ERROR;
    j->comm = c, j->stream = group_stream, j->count = listed;
    j->before = c->worker, j->has_before = c->busy;
    memcpy(j->message, list, (size_t)listed * sizeof *list);
    atomic_fetch_add(&j->stream->pending, 1);
    c->busy = true;
    return pthread_create(&c->worker, NULL, work, j) == 0 ? LV_NCCL_SUCCESS : INTERNAL_ERROR;
}
