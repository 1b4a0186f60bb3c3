/* group.c: some ranks of a comm as a comm of their own, on any transport: its messages are the
 * other's, with peers counted from the group's first. */
#include "base/mem.h"
#include "engine/parallel/comm.h"

typedef struct group {
    lv_comm base;
    lv_comm *parent;
    int first;        /* rank of the parent that is the group's 0      */
    size_t room;      /* of the list below; grows with the most messages seen */
    lv_message *list; /* [room] as the parent counts                    */
} group;

static lvsa_status make_room(group *g, size_t messages)
{
    if (messages <= g->room) return LVSA_OK;
    const size_t room = messages > 2 * g->room ? messages : 2 * g->room;
    lv_message *list = lv_zalloc_array(room, sizeof *list);
    if (!list)
        return lv_fail(LVSA_ERR_MEMORY, "a list of %zu messages doesn't fit in memory", room);
    lv_free(g->list);
    g->room = room, g->list = list;
    return LVSA_OK;
}

static lv_message *renumber(lv_message *to, const group *g, const lv_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        *to = m[i];
        to++->peer += g->first;
    }
    return to;
}

static lvsa_status group_exchange(lv_comm *comm, const lv_message *send, int sends,
                                  const lv_message *receive, int receives)
{
    group *g = (group *)comm;
    LV_TRY(make_room(g, (size_t)sends + (size_t)receives));
    lv_message *const received = renumber(g->list, g, send, sends);
    renumber(received, g, receive, receives);
    return g->parent->exchange(g->parent, g->list, sends, received, receives);
}

static lvsa_status group_begin(lv_comm *comm, lv_device *device, const lv_message *send, int sends,
                               const lv_message *receive, int receives)
{
    group *g = (group *)comm;
    LV_TRY(make_room(g, (size_t)sends + (size_t)receives));
    lv_message *const received = renumber(g->list, g, send, sends);
    renumber(received, g, receive, receives);
    return lv_comm_begin(g->parent, device, g->list, sends, received, receives);
}

/* Not by lv_comm_wait(), which times it: the group's has done so. */
static lvsa_status group_wait(lv_comm *comm, lv_device *device)
{
    lv_comm *parent = ((group *)comm)->parent;
    return parent->wait ? parent->wait(parent, device) : LVSA_OK;
}

static void group_abort(lv_comm *comm, int code) { lv_comm_abort(((group *)comm)->parent, code); }

static void group_close(lv_comm *comm)
{
    lv_free(((group *)comm)->list);
    lv_free(comm);
}

lvsa_status lv_comm_open_group(lv_comm **out, lv_comm *parent, int first, int count)
{
    *out = NULL;
    if (first < 0 || first > parent->rank || parent->rank - first >= count ||
        count > parent->size - first)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "a group of ranks %d to %d: some of 0 to %d are wanted, %d among them",
                       first, first + count - 1, parent->size - 1, parent->rank);
    group *g = lv_zalloc(sizeof *g);
    lv_message *lists = lv_zalloc_array(2 * (size_t)count, sizeof *lists);
    if (!g || !lists) {
        lv_free(g);
        lv_free(lists);
        return lv_fail(LVSA_ERR_MEMORY, "a group of %d ranks doesn't fit in memory", count);
    }
    *g = (group){.base = {.rank = parent->rank - first,
                          .size = count,
                          .send = lists,
                          .receive = lists + count,
                          .exchange = group_exchange,
                          .begin = group_begin,
                          .wait = group_wait,
                          .broadcast = lv_comm_broadcast_by_messages,
                          .abort = group_abort,
                          .close = group_close},
                 .parent = parent,
                 .first = first};
    *out = &g->base;
    return LVSA_OK;
}
