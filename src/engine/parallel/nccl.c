/* nccl.c: a communicator of NCCL, its stream, and the thread that watches the other ranks. */
#include "engine/parallel/nccl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "engine/parallel/patience.h"
#include "engine/parallel/process.h"
#include "engine/runtime/device.h"

/* The watcher looks twenty times a second. A rank that isn't there that often has gone; until then
 * it may be one that is done and has been waited for. */
enum { LOOK_NS = 50000000, LOOKS = 20, ALIGNMENT = 256 };

struct lv_nccl {
    const lv_nccl_library *library;
    lv_nccl_id id;
    int rank, size, gpu;
    lv_device *device; /* the GPU once more: its stream is that of the messages */
    void *staging;     /* of the GPU, for messages of host memory               */
    size_t staging_bytes;
    lv_message *message; /* [messages] the same messages in the staging memory    */
    size_t messages;

    pthread_mutex_t lock; /* of what follows, and round every call of NCCL */
    lv_nccl_comm *comm;   /* NULL: given up                                */
    char failure[256];    /* why; "": this rank wants to end               */
    lv_process *process;  /* [size] */
    int *missed;          /* [size] looks in a row                         */
    bool watching, stop;
    pthread_t watcher;
};

static lvsa_status check(const lv_nccl *n, int result, const char *call)
{
    if (result == LV_NCCL_SUCCESS) return LVSA_OK;
    return lv_fail(LVSA_ERR_DEVICE, "%s: %s", call, n->library->get_error_string(result));
}

/* ---- the other ranks ------------------------------------------------------------------------- */

/* With the lock. The kernels that wait for messages end. */
static void give_up(lv_nccl *n)
{
    lv_nccl_comm *comm = n->comm;
    n->comm = NULL;
    if (comm) n->library->abort(comm);
}

void lv_nccl_give_up(lv_nccl *n)
{
    pthread_mutex_lock(&n->lock);
    give_up(n);
    pthread_mutex_unlock(&n->lock);
}

/* With the lock. */
static void look(lv_nccl *n)
{
    int error = LV_NCCL_SUCCESS;
    const int asked = n->library->get_async_error(n->comm, &error);
    if (asked != LV_NCCL_SUCCESS) error = asked;
    if (error != LV_NCCL_SUCCESS && error != LV_NCCL_IN_PROGRESS)
        snprintf(n->failure, sizeof n->failure, "NCCL: %s; has another rank ended?",
                 n->library->get_error_string(error));
    for (int r = 0; r < n->size; r++) {
        n->missed[r] =
            lv_process_has_gone(&n->process[r], &n->process[n->rank]) ? n->missed[r] + 1 : 0;
        if (n->missed[r] == LOOKS)
            snprintf(n->failure, sizeof n->failure, "rank %d has ended (process %lld)", r,
                     (long long)n->process[r].number);
    }
    if (n->failure[0]) give_up(n);
}

static void *watch(void *nccl)
{
    lv_nccl *n = nccl;
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    for (bool stop = false; !stop;) {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&n->lock);
        stop = n->stop || !n->comm;
        if (!stop) look(n);
        pthread_mutex_unlock(&n->lock);
    }
    return NULL;
}

static lvsa_status start_watching(lv_nccl *n)
{
    n->process = lv_zalloc_array((size_t)n->size, sizeof *n->process);
    n->missed = lv_zalloc_array((size_t)n->size, sizeof *n->missed);
    lv_message *m = lv_zalloc_array(2 * (size_t)n->size, sizeof *m);
    lvsa_status s = n->process && n->missed && m
                        ? LVSA_OK
                        : lv_fail(LVSA_ERR_MEMORY, "%d ranks don't fit in memory", n->size);
    if (s == LVSA_OK) {
        lv_process_get_own(&n->process[n->rank]);
        for (int r = 0; r < n->size; r++) {
            m[r] = (lv_message){r, &n->process[n->rank], sizeof *n->process};
            m[n->size + r] = (lv_message){r, &n->process[r], sizeof *n->process};
        }
        s = lv_nccl_exchange(n, m, n->size, m + n->size, n->size);
    }
    lv_free(m);
    if (s != LVSA_OK) return s;
    n->watching = pthread_create(&n->watcher, NULL, watch, n) == 0;
    return n->watching ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "a thread can't be started");
}

/* ---- opening --------------------------------------------------------------------------------- */

int lv_nccl_find_gpu(int local)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return visible && *visible && !strchr(visible, ',') ? 0 : local;
}

/* Rank 0 listens at the place, which NCCL reads from the environment. NVLink's multicast: see
 * lv_nccl_find_id(). */
static void set_environment(const char *place)
{
    if (place) setenv("NCCL_COMM_ID", place, 1);
    setenv("NCCL_NVLS_ENABLE", "0", 0);
}

static void unset_environment(const char *place)
{
    if (place) unsetenv("NCCL_COMM_ID");
}

lvsa_status lv_nccl_find_id(lv_nccl_id *out, const char *place)
{
    const lv_nccl_library *library;
    LV_TRY(lv_nccl_library_get(&library));
    const lv_nccl n = {.library = library};
    set_environment(place);
    const int result = library->get_unique_id(out);
    unset_environment(place);
    return check(&n, result, "ncclGetUniqueId");
}

static lvsa_status meet(void *nccl)
{
    lv_nccl *n = nccl;
    LV_TRY(lv_device_open(&n->device, LVSA_DEVICE_CUDA, n->gpu));
    const int result = n->library->init_rank(&n->comm, n->size, n->id, n->rank);
    if (result == LV_NCCL_INVALID_USAGE)
        return lv_fail(LVSA_ERR_DEVICE,
                       "ncclCommInitRank: %s: are there as many GPUs on each host as ranks? Each "
                       "wants one of its own",
                       n->library->get_error_string(result));
    return check(n, result, "ncclCommInitRank");
}

/* False: the others didn't come, and NCCL still waits for them. */
static bool meet_in_time(lvsa_status *status, lv_nccl *n, const lv_nccl_options *o)
{
    bool in_time = true;
    set_environment(o->place);
    if (o->seconds == 0) *status = meet(n);
    else in_time = lv_call_within(status, meet, n, o->seconds);
    unset_environment(o->place);
    if (in_time) return true;
    *status = lv_fail(LVSA_ERR_DEVICE,
                      "rank %d has waited %d s for the other %d to come to %s: have they failed, "
                      "or not begun? LVSA_COMM_TIMEOUT, in seconds, lets it wait longer",
                      o->rank, o->seconds, o->size - 1, o->place);
    return false;
}

lvsa_status lv_nccl_open(lv_nccl **out, const lv_nccl_options *o)
{
    const lv_nccl_library *library;
    *out = NULL;
    LV_TRY(lv_nccl_library_get(&library));
    lv_nccl *n = lv_zalloc(sizeof *n);
    if (!n) return lv_fail(LVSA_ERR_MEMORY, "NCCL: %zu bytes don't fit in memory", sizeof *n);
    n->library = library;
    n->id = o->id, n->rank = o->rank, n->size = o->size, n->gpu = o->gpu;
    pthread_mutex_init(&n->lock, NULL);
    lvsa_status s;
    if (!meet_in_time(&s, n, o)) return s; /* NCCL has it */
    if (s == LVSA_OK) s = start_watching(n);
    if (s != LVSA_OK) {
        lv_nccl_give_up(n);
        lv_nccl_close(&n);
    }
    *out = n;
    return s;
}

/* A byte from each to each: the other ranks have nothing left to send. */
static void wait_for_all(lv_nccl *n)
{
    char byte[2] = {0};
    for (int r = 0; r < n->size; r++) {
        const lv_message send = {r, &byte[0], 1}, receive = {r, &byte[1], 1};
        if (lv_nccl_exchange(n, &send, 1, &receive, 1) != LVSA_OK) return;
    }
}

void lv_nccl_close(lv_nccl **nccl)
{
    if (!nccl || !*nccl) return;
    lv_nccl *n = *nccl;
    if (n->watching) wait_for_all(n); /* or nobody has met */
    pthread_mutex_lock(&n->lock);
    n->stop = true;
    pthread_mutex_unlock(&n->lock);
    if (n->watching) pthread_join(n->watcher, NULL);
    if (n->comm) n->library->destroy(n->comm);
    if (n->staging) n->device->release(n->device, n->staging);
    lv_device_close(&n->device);
    pthread_mutex_destroy(&n->lock);
    lv_free(n->missed);
    lv_free(n->process);
    lv_free(n->message);
    lv_free(n);
    *nccl = NULL;
}

int lv_nccl_get_gpu(const lv_nccl *n) { return n->device->index; }

/* ---- messages -------------------------------------------------------------------------------- */

/* With the lock. */
static lvsa_status check_alive(const lv_nccl *n)
{
    if (n->comm) return LVSA_OK;
    return lv_fail(LVSA_ERR_DEVICE, "%s", n->failure[0] ? n->failure : "this rank has given up");
}

lvsa_status lv_nccl_check(lv_nccl *n)
{
    pthread_mutex_lock(&n->lock);
    lvsa_status s = check_alive(n);
    pthread_mutex_unlock(&n->lock);
    return s;
}

/* With the lock: all messages as one of NCCL's operations. */
static lvsa_status enqueue(lv_nccl *n, const lv_message *send, int sends, const lv_message *receive,
                           int receives)
{
    const lv_nccl_library *l = n->library;
    void *stream = n->device->stream;
    int result = l->group_start();
    for (int i = 0; i < sends && result == LV_NCCL_SUCCESS; i++)
        if (send[i].bytes > 0)
            result =
                l->send(send[i].data, send[i].bytes, LV_NCCL_BYTE, send[i].peer, n->comm, stream);
    for (int i = 0; i < receives && result == LV_NCCL_SUCCESS; i++)
        if (receive[i].bytes > 0)
            result = l->receive(receive[i].data, receive[i].bytes, LV_NCCL_BYTE, receive[i].peer,
                                n->comm, stream);
    const int ended = l->group_end();
    return check(n, result == LV_NCCL_SUCCESS ? ended : result, "sending between GPUs");
}

static lvsa_status launch(lv_nccl *n, const lv_message *send, int sends, const lv_message *receive,
                          int receives)
{
    pthread_mutex_lock(&n->lock);
    lvsa_status s = check_alive(n);
    if (s == LVSA_OK) s = enqueue(n, send, sends, receive, receives);
    pthread_mutex_unlock(&n->lock);
    return s;
}

lvsa_status lv_nccl_begin(lv_nccl *n, lv_device *device, const lv_message *send, int sends,
                          const lv_message *receive, int receives)
{
    LV_TRY(n->device->follow(n->device, device));
    return launch(n, send, sends, receive, receives);
}

lvsa_status lv_nccl_wait(lv_nccl *n, lv_device *device)
{
    return device->follow(device, n->device);
}

/* ---- messages of host memory ----------------------------------------------------------------- */

static size_t count_bytes(const lv_message *m, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += lv_round_up(m[i].bytes, ALIGNMENT);
    return bytes;
}

static lvsa_status make_room(lv_nccl *n, size_t bytes, size_t messages)
{
    if (messages > n->messages) {
        lv_message *grown = lv_grow_array(n->message, n->messages, messages, sizeof *grown);
        if (!grown)
            return lv_fail(LVSA_ERR_MEMORY, "a list of %zu messages doesn't fit in memory",
                           messages);
        n->message = grown, n->messages = messages;
    }
    if (bytes <= n->staging_bytes) return LVSA_OK;
    if (n->staging) n->device->release(n->device, n->staging);
    n->staging = NULL, n->staging_bytes = 0;
    LV_TRY(n->device->allocate(n->device, &n->staging, bytes));
    n->staging_bytes = bytes;
    return LVSA_OK;
}

/* The messages' places in the staging memory, from `at` on. */
static char *stage(lv_message *to, const lv_message *m, int count, char *at)
{
    for (int i = 0; i < count; i++) {
        to[i] = (lv_message){m[i].peer, at, m[i].bytes};
        at += lv_round_up(m[i].bytes, ALIGNMENT);
    }
    return at;
}

/* A device's upload is of whole numbers of two or four bytes. */
static lvsa_status upload(lv_device *d, char *to, const char *from, size_t bytes)
{
    const size_t whole = bytes / 4 * 4;
    char rest[4] = {0};
    if (whole > 0) LV_TRY(d->upload(d, to, from, whole));
    if (whole == bytes) return LVSA_OK;
    memcpy(rest, from + whole, bytes - whole);
    return d->upload(d, to + whole, rest, sizeof rest);
}

lvsa_status lv_nccl_exchange(lv_nccl *n, const lv_message *send, int sends,
                             const lv_message *receive, int receives)
{
    lv_device *d = n->device;
    LV_TRY(make_room(n, count_bytes(send, sends) + count_bytes(receive, receives),
                     (size_t)sends + (size_t)receives));
    lv_message *const out = n->message, *const in = out + sends;
    stage(in, receive, receives, stage(out, send, sends, n->staging));
    for (int i = 0; i < sends; i++) LV_TRY(upload(d, out[i].data, send[i].data, send[i].bytes));
    LV_TRY(launch(n, out, sends, in, receives));
    for (int i = 0; i < receives; i++)
        if (receive[i].bytes > 0)
            LV_TRY(d->download(d, receive[i].data, in[i].data, receive[i].bytes));
    return lv_nccl_check(n); /* or what has come is nothing */
}
