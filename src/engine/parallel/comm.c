/* comm.c: which transport, and collectives in messages. */
#include "engine/parallel/comm.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"

/* Says how many processes there are: Open MPI's mpirun; those of MPICH and its kin, and Slurm. */
static const char *const size_variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};

static lvsa_status read_size(int *size, const char **variable)
{
    *size = 1;
    for (size_t i = 0; i < sizeof size_variables / sizeof size_variables[0]; i++) {
        const char *text = getenv(size_variables[i]);
        if (!text || !*text) continue;
        char *end;
        errno = 0;
        const long value = strtol(text, &end, 10);
        if (errno || *end || value < 1 || value > INT_MAX)
            return lv_fail(LVSA_ERR_ARGUMENT, "%s=%s: a number of processes is wanted",
                           size_variables[i], text);
        *size = (int)value;
        *variable = size_variables[i];
        return LVSA_OK;
    }
    return LVSA_OK;
}

/* Memory first: once the ranks have met, one of them can't turn back alone. */
lvsa_status lv_comm_open(lv_comm **out)
{
    const char *variable = NULL;
    int size;
    *out = NULL;
    LV_TRY(read_size(&size, &variable));
    lv_message *lists = lv_zalloc_array(2 * (size_t)size, sizeof *lists);
    if (!lists) return lv_fail(LVSA_ERR_MEMORY, "a list of %d ranks doesn't fit in memory", size);
    lvsa_status s = size > 1 ? lv_comm_open_mpi(out, size) : lv_comm_open_solo(out);
    if (s != LVSA_OK) {
        lv_free(lists);
        return size > 1 ? lv_fail_in(s, "%d processes (%s)", size, variable) : s;
    }
    (*out)->send = lists;
    (*out)->receive = lists + size;
    return LVSA_OK;
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

/* A message for each rank: parts of `data`, one behind the other. */
static void list_parts(lv_message *m, const lv_comm *c, const void *data, const size_t *bytes)
{
    char *at = (char *)data; /* what is sent is only read */
    for (int r = 0; r < c->size; r++) {
        m[r] = (lv_message){r, at, bytes[r]};
        at += bytes[r];
    }
}

lvsa_status lv_comm_all_to_all(lv_comm *c, void *to, const size_t *received_bytes, const void *from,
                               const size_t *sent_bytes)
{
    list_parts(c->send, c, from, sent_bytes);
    list_parts(c->receive, c, to, received_bytes);
    return c->exchange(c, c->send, c->size, c->receive, c->size);
}

lvsa_status lv_comm_all_gather(lv_comm *c, void *to, const size_t *bytes, const void *from)
{
    for (int r = 0; r < c->size; r++) c->send[r] = (lv_message){r, (void *)from, bytes[c->rank]};
    list_parts(c->receive, c, to, bytes);
    return c->exchange(c, c->send, c->size, c->receive, c->size);
}

lvsa_status lv_comm_broadcast(lv_comm *c, void *data, size_t bytes, int root)
{
    const lv_message m = {root, data, bytes};
    LV_TRY(check_peers(c, &m, 1));
    return c->broadcast(c, data, bytes, root);
}
