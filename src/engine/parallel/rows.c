/* rows.c: messages between ranks whose rows touch. */
#include "engine/parallel/rows.h"

#include "base/mem.h"
#include "engine/pattern/pattern.h"

lvsa_status lv_rows_check(const lv_comm *comm, int64_t rows)
{
    if (comm->size <= rows) return LVSA_OK;
    return lv_fail(
        LVSA_ERR_ARGUMENT,
        "%d ranks for %lld rows of latents: each decodes whole ones, 1 to %lld ranks are "
        "wanted, or no VAE parallel",
        comm->size, (long long)rows, (long long)rows);
}

lvsa_status lv_rows_create(lv_rows **out, lv_comm *comm, int64_t rows)
{
    *out = NULL;
    LV_TRY(lv_rows_check(comm, rows));
    lv_rows *r = lv_zalloc(sizeof *r);
    if (r) r->bytes = lv_zalloc_array((size_t)comm->size, sizeof *r->bytes);
    if (!r || !r->bytes) {
        lv_rows_free(&r);
        return lv_fail(LVSA_ERR_MEMORY, "the rows of %d ranks don't fit in memory", comm->size);
    }
    r->comm = comm;
    r->first = lv_share_first(rows, comm->rank, comm->size);
    r->count = lv_share_first(rows, comm->rank + 1, comm->size) - r->first;
    r->all = rows;
    r->above = comm->rank > 0, r->below = comm->rank < comm->size - 1;
    *out = r;
    return LVSA_OK;
}

void lv_rows_free(lv_rows **rows)
{
    if (!rows || !*rows) return;
    lv_free((*rows)->bytes);
    lv_free(*rows);
    *rows = NULL;
}

/* Rows first .. first + count - 1 of a picture [1, Y, X, C]. */
static lv_tensor slice(lv_tensor picture, int64_t first, int64_t count)
{
    const size_t row =
        (size_t)(picture.shape[2] * picture.shape[3]) * lv_dtype_bytes(picture.dtype);
    if (picture.data) picture.data = (char *)picture.data + (size_t)first * row;
    picture.shape[1] = count;
    return picture;
}

lv_tensor lv_rows_own(const lv_rows *r, lv_tensor picture)
{
    return r ? slice(picture, r->above, picture.shape[1] - r->above - r->below) : picture;
}

static lv_message message(int peer, lv_tensor picture, int64_t row)
{
    const lv_tensor t = slice(picture, row, 1);
    return (lv_message){peer, t.data, (size_t)lv_tensor_count(t) * lv_dtype_bytes(t.dtype)};
}

lvsa_status lv_rows_look(const lv_rows *r, lv_exec *e, lv_tensor picture)
{
    lv_message send[2], receive[2];
    int count = 0;
    if (!r || e->arena.measuring) return LVSA_OK;
    if (r->above) {
        send[count] = message(r->comm->rank - 1, picture, 1);
        receive[count++] = message(r->comm->rank - 1, picture, 0);
    }
    if (r->below) {
        const int64_t last = picture.shape[1] - 1;
        send[count] = message(r->comm->rank + 1, picture, last - 1);
        receive[count++] = message(r->comm->rank + 1, picture, last);
    }
    LV_TRY(lv_comm_begin(r->comm, e->device, send, count, receive, count));
    return lv_comm_wait(r->comm, e->device);
}

lvsa_status lv_rows_gather(const lv_rows *r, lv_exec *e, lv_tensor all, lv_tensor own)
{
    const int ranks = r->comm->size;
    if (e->arena.measuring) return LVSA_OK;
    const size_t row = (size_t)(lv_tensor_count(all) / r->all) * lv_dtype_bytes(all.dtype);
    for (int i = 0; i < ranks; i++)
        r->bytes[i] =
            (size_t)(lv_share_first(r->all, i + 1, ranks) - lv_share_first(r->all, i, ranks)) * row;
    return lv_comm_all_gather(r->comm, e->device, all.data, r->bytes, own.data);
}
