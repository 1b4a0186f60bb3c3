/* solo.c: one process, which sends to itself. */
#include <string.h>

#include "base/mem.h"
#include "engine/parallel/comm.h"

static const lv_message *next_message(const lv_message *m, int count, int *at)
{
    while (*at < count && m[*at].bytes == 0) ++*at;
    return *at < count ? &m[(*at)++] : NULL;
}

static lvsa_status solo_exchange(lv_comm *c, const lv_message *send, int sends,
                                 const lv_message *receive, int receives)
{
    (void)c;
    int s = 0, r = 0;
    for (;;) {
        const lv_message *out = next_message(send, sends, &s);
        const lv_message *in = next_message(receive, receives, &r);
        if (!out && !in) return LVSA_OK;
        if (!out || !in || out->bytes != in->bytes)
            return lv_fail(LVSA_ERR_ARGUMENT, "a message of %zu bytes, %zu are received",
                           out ? out->bytes : 0, in ? in->bytes : 0);
        memcpy(in->data, out->data, out->bytes);
    }
}

static lvsa_status solo_broadcast(lv_comm *c, void *data, size_t bytes, int root)
{
    (void)c, (void)data, (void)bytes, (void)root;
    return LVSA_OK;
}

static void solo_abort(lv_comm *c, int code) { (void)c, (void)code; }

static void solo_close(lv_comm *c) { lv_free(c); }

lvsa_status lv_comm_open_solo(lv_comm **out)
{
    lv_comm *c = *out = lv_zalloc(sizeof *c);
    if (!c) return lv_fail(LVSA_ERR_MEMORY, "a comm: %zu bytes don't fit in memory", sizeof *c);
    *c = (lv_comm){.size = 1,
                   .exchange = solo_exchange,
                   .broadcast = solo_broadcast,
                   .abort = solo_abort,
                   .close = solo_close};
    return LVSA_OK;
}
