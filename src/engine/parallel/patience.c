/* patience.c: a call in a thread that is left behind. */
#include "engine/parallel/patience.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"

typedef struct wait {
    lvsa_status (*call)(void *user);
    void *user;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool done, left; /* the call is; nobody waits for it */
    lvsa_status status;
    char why[1024]; /* an error's sentence is the thread's own */
} wait;

static void release(wait *w)
{
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    lv_free(w);
}

static void *run(void *argument)
{
    wait *w = argument;
    const lvsa_status s = w->call(w->user);
    pthread_mutex_lock(&w->lock);
    w->status = s;
    if (s != LVSA_OK) snprintf(w->why, sizeof w->why, "%s", lvsa_last_error());
    w->done = true;
    const bool left = w->left;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (left) release(w);
    return NULL;
}

/* Whether the call is done. */
static bool await(wait *w, int seconds)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += seconds;
    pthread_mutex_lock(&w->lock);
    for (int late = 0; !w->done && !late;)
        late = pthread_cond_timedwait(&w->changed, &w->lock, &end);
    const bool done = w->done;
    w->left = !done;
    pthread_mutex_unlock(&w->lock);
    return done;
}

bool lv_call_within(lvsa_status *status, lvsa_status (*call)(void *user), void *user, int seconds)
{
    pthread_t thread;
    wait *w = lv_zalloc(sizeof *w);
    if (w) {
        w->call = call, w->user = user;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->changed, NULL);
    }
    if (!w || pthread_create(&thread, NULL, run, w) != 0) {
        if (w) release(w);
        *status = lv_fail(LVSA_ERR_MEMORY, "a thread can't be started");
        return true;
    }
    if (!await(w, seconds)) {
        pthread_detach(thread);
        return false;
    }
    pthread_join(thread, NULL);
    *status = w->status == LVSA_OK ? LVSA_OK : lv_fail(w->status, "%s", w->why);
    release(w);
    return true;
}
