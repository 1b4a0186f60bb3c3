/* comm.c: which transport, and collectives in messages. */
#include "engine/parallel/comm.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/parallel/launcher.h"
#include "engine/parallel/nccl.h"
#include "engine/runtime/profile.h"

/* srun's processes can meet without MPI where lvsa has none, or another than srun is ready for. */
static lvsa_status open_mpi(lv_comm **out, const lv_launch *l)
{
    char why[512];
    lvsa_status s = lv_comm_open_mpi(out, l->size);
    if (s != LVSA_ERR_UNSUPPORTED || !l->place[0]) return s;
    snprintf(why, sizeof why, "%s", lvsa_last_error());
    s = lv_comm_open_nccl(out, l);
    return s == LVSA_OK ? s : lv_fail_in(s, "not by MPI (%s)", why);
}

static lvsa_status open_transport(lv_comm **out, const lv_launch *l)
{
    switch (l->launcher) {
    case LV_LAUNCHER_MPI: return open_mpi(out, l);
    case LV_LAUNCHER_PLAIN: return lv_comm_open_nccl(out, l);
    case LV_LAUNCHER_NONE: break;
    }
    return lv_comm_open_solo(out);
}

/* Memory first: once the ranks have met, one of them can't turn back alone. */
lvsa_status lv_comm_open(lv_comm **out)
{
    lv_launch launch;
    *out = NULL;
    LV_TRY(lv_launch_read(&launch));
    lv_message *lists = lv_zalloc_array(2 * (size_t)launch.size, sizeof *lists);
    if (!lists)
        return lv_fail(LVSA_ERR_MEMORY, "a list of %d ranks doesn't fit in memory", launch.size);
    lvsa_status s = open_transport(out, &launch);
    if (s != LVSA_OK) {
        lv_free(lists);
        return launch.size > 1 ? lv_fail_in(s, "%d processes (%s)", launch.size, launch.variable)
                               : s;
    }
    lv_comm *c = *out;
    c->send = lists;
    c->receive = lists + launch.size;
    c->local_size = launch.local_size;
    if (launch.launcher == LV_LAUNCHER_MPI) c->local = launch.local >= 0 ? launch.local : c->rank;
    return LVSA_OK;
}

int lv_comm_find_gpu(const lv_comm *c) { return lv_nccl_find_gpu(c->local); }

/* MPI's ranks tell each other by which number their GPUs meet. */
static lvsa_status open_nccl(lv_comm *c, int gpu)
{
    lv_nccl_options o = {.rank = c->rank, .size = c->size, .gpu = gpu};
    if (c->rank == 0) LV_TRY(lv_nccl_find_id(&o.id, NULL));
    LV_TRY(c->broadcast(c, &o.id, sizeof o.id, 0));
    LV_TRY(lv_nccl_open(&c->nccl, &o));
    c->begin = lv_comm_begin_nccl, c->wait = lv_comm_wait_nccl;
    return LVSA_OK;
}

lvsa_status lv_comm_join(lv_comm *c, const lv_device *device)
{
    static const char *const names[] = {"the CPU", "a GPU"};
    const bool gpu = device->kind == LVSA_DEVICE_CUDA;
    int first = gpu;
    LV_TRY(c->broadcast(c, &first, sizeof first, 0));
    if (first != gpu)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "rank %d computes on %s and rank 0 on %s: say which with device cpu or cuda",
                       c->rank, names[gpu], names[first]);
    if (!gpu || c->size == 1) return LVSA_OK;
    if (!c->nccl) LV_TRY(open_nccl(c, device->index));
    if (lv_nccl_get_gpu(c->nccl) == device->index) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "rank %d has GPU %d and computes on %d: name no GPU, and let "
                   "CUDA_VISIBLE_DEVICES say which there are",
                   c->rank, lv_nccl_get_gpu(c->nccl), device->index);
}

void lv_comm_close(lv_comm **comm)
{
    if (!comm || !*comm) return;
    lv_free((*comm)->send); /* both lists */
    (*comm)->close(*comm);
    *comm = NULL;
}

void lv_comm_abort(lv_comm *c, int code) { c->abort(c, code); }

static lvsa_status check_peers(const lv_comm *c, const lv_message *m, int count)
{
    for (int i = 0; i < count; i++)
        if (m[i].peer < 0 || m[i].peer >= c->size)
            return lv_fail(LVSA_ERR_ARGUMENT, "a message for rank %d: 0 to %d is wanted", m[i].peer,
                           c->size - 1);
    return LVSA_OK;
}

lvsa_status lv_comm_exchange(lv_comm *c, const lv_message *send, int sends,
                             const lv_message *receive, int receives)
{
    LV_TRY(check_peers(c, send, sends));
    LV_TRY(check_peers(c, receive, receives));
    return c->exchange(c, send, sends, receive, receives);
}

/* What a device waits for messages is timed as one of its operations; without their bytes, since
 * part of their way may have been beside other work. */
static lvsa_status end_waiting(lvsa_status s, const lv_device *device)
{
    if (s != LVSA_OK || !device->profile) return s;
    return lv_profile_end(device->profile, LV_KIND_EXCHANGE, device->dtype, 0.0, 0.0);
}

static lvsa_status begin_waiting(const lv_device *device)
{
    return device->profile ? lv_profile_begin(device->profile) : LVSA_OK;
}

lvsa_status lv_comm_begin(lv_comm *c, lv_device *device, const lv_message *send, int sends,
                          const lv_message *receive, int receives)
{
    LV_TRY(check_peers(c, send, sends));
    LV_TRY(check_peers(c, receive, receives));
    if (device->kind == LVSA_DEVICE_CPU) {
        LV_TRY(begin_waiting(device));
        return end_waiting(c->exchange(c, send, sends, receive, receives), device);
    }
    if (c->begin) return c->begin(c, device, send, sends, receive, receives);
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "the GPUs of %d ranks haven't met: lv_comm_join() is wanted before messages",
                   c->size);
}

lvsa_status lv_comm_wait(lv_comm *c, lv_device *device)
{
    if (device->kind == LVSA_DEVICE_CPU || !c->wait) return LVSA_OK;
    LV_TRY(begin_waiting(device));
    return end_waiting(c->wait(c, device), device);
}

lvsa_status lv_comm_check(lv_comm *c) { return c->nccl ? lv_nccl_check(c->nccl) : LVSA_OK; }

/* A message for each rank: parts of `data`, one behind the other. */
static void list_parts(lv_message *m, const lv_comm *c, const void *data, const size_t *bytes)
{
    char *at = (char *)data; /* what is sent is only read */
    for (int r = 0; r < c->size; r++) {
        m[r] = (lv_message){r, at, bytes[r]};
        at += bytes[r];
    }
}

static lvsa_status exchange_parts(lv_comm *c, lv_device *device)
{
    if (!device) return c->exchange(c, c->send, c->size, c->receive, c->size);
    LV_TRY(lv_comm_begin(c, device, c->send, c->size, c->receive, c->size));
    return lv_comm_wait(c, device);
}

lvsa_status lv_comm_all_to_all(lv_comm *c, lv_device *device, void *to,
                               const size_t *received_bytes, const void *from,
                               const size_t *sent_bytes)
{
    list_parts(c->send, c, from, sent_bytes);
    list_parts(c->receive, c, to, received_bytes);
    return exchange_parts(c, device);
}

lvsa_status lv_comm_all_gather(lv_comm *c, lv_device *device, void *to, const size_t *bytes,
                               const void *from)
{
    for (int r = 0; r < c->size; r++) c->send[r] = (lv_message){r, (void *)from, bytes[c->rank]};
    list_parts(c->receive, c, to, bytes);
    return exchange_parts(c, device);
}

lvsa_status lv_comm_broadcast(lv_comm *c, void *data, size_t bytes, int root)
{
    const lv_message m = {root, data, bytes};
    LV_TRY(check_peers(c, &m, 1));
    return c->broadcast(c, data, bytes, root);
}

lvsa_status lv_comm_broadcast_by_messages(lv_comm *c, void *data, size_t bytes, int root)
{
    const lv_message receive = {root, data, bytes};
    if (c->rank != root) return c->exchange(c, NULL, 0, &receive, 1);
    int sends = 0;
    for (int r = 0; r < c->size; r++)
        if (r != root) c->send[sends++] = (lv_message){r, data, bytes};
    return c->exchange(c, c->send, sends, NULL, 0);
}
