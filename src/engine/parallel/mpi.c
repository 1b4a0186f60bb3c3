/* mpi.c: ranks that mpirun has started. Messages are cut into pieces, since MPI counts in ints. */
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "base/module.h"
#include "engine/parallel/mpi_module.h"
#include "engine/parallel/nccl.h"

/* Large enough that the time a message takes to start doesn't count. */
enum { PIECE = 1 << 26 };

typedef struct mpi_comm {
    lv_comm base;
    const lv_mpi_table *table;
    size_t room;       /* of the two below; grows with the most messages seen */
    lv_message *piece; /* [room] */
    char *requests;    /* [room] */
} mpi_comm;

static lvsa_status load(const lv_mpi_table **out)
{
    void *symbol;
    lvsa_status s = lv_module_load(&symbol, "mpi", LV_MPI_SYMBOL);
    if (s != LVSA_OK)
        return lv_fail_in(s, "they can't talk to each other (build lvsa where libopenmpi-dev is "
                             "installed)");
    const lv_mpi_table *(*get)(void);
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from void * to a function */
    const lv_mpi_table *t = get();
    LV_TRY(lv_module_check_build("the MPI module", t->abi, t->size, LV_MPI_ABI, sizeof *t));
    *out = t;
    return LVSA_OK;
}

static size_t count_pieces(const lv_message *m, int count)
{
    size_t pieces = 0;
    for (int i = 0; i < count; i++) pieces += (m[i].bytes + PIECE - 1) / PIECE;
    return pieces;
}

static lv_message *cut(lv_message *to, const lv_message *m, int count)
{
    for (int i = 0; i < count; i++)
        for (size_t at = 0; at < m[i].bytes; at += PIECE) {
            const size_t left = m[i].bytes - at;
            *to++ = (lv_message){m[i].peer, (char *)m[i].data + at, left < PIECE ? left : PIECE};
        }
    return to;
}

static lvsa_status make_room(mpi_comm *c, size_t pieces)
{
    if (pieces <= c->room) return LVSA_OK;
    const size_t room = pieces > 2 * c->room ? pieces : 2 * c->room;
    lv_message *piece = lv_zalloc_array(room, sizeof *piece);
    char *requests = lv_zalloc_array(room, c->table->request_bytes);
    if (!piece || !requests || room > INT_MAX) {
        lv_free(piece);
        lv_free(requests);
        return lv_fail(LVSA_ERR_MEMORY, "a list of %zu messages doesn't fit in memory", room);
    }
    lv_free(c->piece);
    lv_free(c->requests);
    c->room = room, c->piece = piece, c->requests = requests;
    return LVSA_OK;
}

static lvsa_status mpi_exchange(lv_comm *comm, const lv_message *send, int sends,
                                const lv_message *receive, int receives)
{
    mpi_comm *c = (mpi_comm *)comm;
    lv_mpi_why why = {""};
    LV_TRY(make_room(c, count_pieces(send, sends) + count_pieces(receive, receives)));
    lv_message *const received = cut(c->piece, send, sends);
    lv_message *const end = cut(received, receive, receives);
    lvsa_status s = c->table->exchange(c->piece, (int)(received - c->piece), received,
                                       (int)(end - received), c->requests, &why);
    return s == LVSA_OK ? s : lv_fail(s, "rank %d: %s", comm->rank, why.text);
}

static lvsa_status mpi_broadcast(lv_comm *comm, void *data, size_t bytes, int root)
{
    const mpi_comm *c = (const mpi_comm *)comm;
    lv_mpi_why why = {""};
    lvsa_status s = LVSA_OK;
    for (size_t at = 0; at < bytes && s == LVSA_OK; at += PIECE)
        s = c->table->broadcast((char *)data + at, (int)(bytes - at < PIECE ? bytes - at : PIECE),
                                root, &why);
    return s == LVSA_OK ? s : lv_fail(s, "rank %d: %s", comm->rank, why.text);
}

static void mpi_abort(lv_comm *comm, int code) { ((mpi_comm *)comm)->table->abort(code); }

static void mpi_close(lv_comm *comm)
{
    mpi_comm *c = (mpi_comm *)comm;
    lv_nccl_close(&comm->nccl);
    c->table->close();
    lv_free(c->piece);
    lv_free(c->requests);
    lv_free(c);
}

static lvsa_status start(mpi_comm *c, int size)
{
    lv_mpi_why why = {""};
    lvsa_status s = c->table->open(&c->base.rank, &c->base.size, &why);
    if (s != LVSA_OK) return lv_fail(s, "%s", why.text);
    if (c->base.size != size)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "the MPI that lvsa was built with sees %d: start them with its own mpirun",
                       c->base.size);
    return LVSA_OK;
}

lvsa_status lv_comm_open_mpi(lv_comm **out, int size)
{
    const lv_mpi_table *table = NULL;
    *out = NULL;
    LV_TRY(load(&table));
    mpi_comm *c = lv_zalloc(sizeof *c);
    if (!c) return lv_fail(LVSA_ERR_MEMORY, "a comm: %zu bytes don't fit in memory", sizeof *c);
    c->base = (lv_comm){.exchange = mpi_exchange,
                        .broadcast = mpi_broadcast,
                        .abort = mpi_abort,
                        .close = mpi_close};
    c->table = table;
    lvsa_status s = start(c, size);
    if (s == LVSA_OK) *out = &c->base;
    else mpi_close(&c->base);
    return s;
}
