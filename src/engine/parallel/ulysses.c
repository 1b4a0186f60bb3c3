/* ulysses.c: from frames to heads and back.
 *
 *     x [rows, N, w]    this rank's rows, w = H/N*D numbers for each rank
 *     p [N, rows, w]    packed: a piece for each rank, which is sent
 *     y [T*P, w]        this rank's heads of all rows; what a rank sends is a piece of it */
#include "engine/parallel/ulysses.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/pattern/pattern.h"

/* "1, 2, 3 or 6": what divides `heads`, into words. */
static void list_divisors(char *words, size_t size, int64_t heads)
{
    size_t used = 0;
    int64_t last = 0; /* that isn't yet in the list */
    for (int64_t d = 1; d <= heads; d++) {
        if (heads % d != 0) continue;
        if (last && used + 24 < size)
            used += (size_t)snprintf(words + used, size - used, "%s%lld", used ? ", " : "",
                                     (long long)last);
        last = d;
    }
    snprintf(words + used, size - used, "%s%lld", used ? " or " : "", (long long)last);
}

static lvsa_status check(const lv_comm *comm, int64_t frames, int64_t heads)
{
    char words[160];
    if (comm->size > frames)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "%d ranks for %lld latent frames: a rank has whole frames, 1 to %lld ranks "
                       "are wanted",
                       comm->size, (long long)frames, (long long)frames);
    if (heads % comm->size == 0) return LVSA_OK;
    list_divisors(words, sizeof words, heads);
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "Ulysses with %lld heads and %d ranks: heads are dealt whole and evenly, to %s "
                   "ranks; halo takes any number",
                   (long long)heads, comm->size, words);
}

lvsa_status lv_ulysses_create(lv_ulysses **out, lv_comm *comm, int64_t frames, int64_t patches,
                              int64_t heads)
{
    *out = NULL;
    LV_TRY(check(comm, frames, heads));
    lv_ulysses *u = lv_zalloc(sizeof *u);
    if (u) u->whole = lv_zalloc_array(2 * (size_t)comm->size, sizeof *u->whole);
    if (u) u->send = lv_zalloc_array(4 * (size_t)comm->size, sizeof *u->send);
    if (!u || !u->whole || !u->send) {
        lv_ulysses_free(&u);
        return lv_fail(LVSA_ERR_MEMORY, "the tokens of %d ranks don't fit in memory", comm->size);
    }
    const int64_t first = lv_share_first(frames, comm->rank, comm->size);
    u->part = u->whole + comm->size;
    u->receive = u->send + 2 * comm->size;
    u->comm = comm;
    u->all = frames, u->patches = patches;
    u->frames = lv_share_first(frames, comm->rank + 1, comm->size) - first;
    *out = u;
    return LVSA_OK;
}

void lv_ulysses_free(lv_ulysses **ulysses)
{
    if (!ulysses || !*ulysses) return;
    lv_free((*ulysses)->send);  /* and what is received */
    lv_free((*ulysses)->whole); /* and the parts */
    lv_free(*ulysses);
    *ulysses = NULL;
}

/* Bytes of w numbers a token. */
static void count_bytes(lv_ulysses *u, const lv_exec *e, int64_t w)
{
    const int ranks = u->comm->size;
    const size_t frame = (size_t)(u->patches * w) * lv_dtype_bytes(e->dtype);
    for (int r = 0; r < ranks; r++) {
        u->whole[r] =
            (size_t)(lv_share_first(u->all, r + 1, ranks) - lv_share_first(u->all, r, ranks)) *
            frame;
        u->part[r] = (size_t)u->frames * frame;
    }
}

/* Between x and p: column r of one is piece r of the other. */
static lvsa_status repack(const lv_ulysses *u, lv_exec *e, lv_tensor x, lv_tensor p, bool pack)
{
    const int64_t rows = p.shape[1], w = p.shape[2];
    const lv_tensor columns =
        lv_tensor_view(x.data, x.dtype, 4, LV_SHAPE(1, rows, u->comm->size, w));
    for (int r = 0; r < u->comm->size; r++) {
        const lv_tensor one = lv_tensor_rows(p, r, 1);
        const lv_tensor piece = lv_tensor_view(one.data, x.dtype, 4, LV_SHAPE(1, rows, 1, w));
        lv_blend b = {.height = rows, .width = 1};
        if (pack) b.from_x = r;
        else b.to_x = r;
        LV_TRY(lv_op_blend(e, pack ? piece : columns, pack ? columns : piece, &b));
    }
    return LVSA_OK;
}

/* Pieces of p to all ranks, and theirs into y. */
static void list_messages(lv_ulysses *u, lv_message *send, lv_message *receive, lv_tensor y,
                          lv_tensor p)
{
    char *from = p.data, *to = y.data;
    for (int r = 0; r < u->comm->size; r++) {
        send[r] = (lv_message){r, from, u->part[r]};
        receive[r] = (lv_message){r, to, u->whole[r]};
        from += u->part[r], to += u->whole[r];
    }
}

/* Both are on their way at once, so each has its packed memory. */
lvsa_status lv_ulysses_begin(lv_ulysses *u, lv_exec *e, lv_tensor k, lv_tensor v)
{
    const int ranks = u->comm->size;
    const int64_t rows = u->all * u->patches, own = u->frames * u->patches, w = k.shape[1] / ranks;
    count_bytes(u, e, w);
    LV_TRY(lv_take(&u->k, e, e->dtype, 2, LV_SHAPE(rows, w)));
    LV_TRY(lv_take(&u->v, e, e->dtype, 2, LV_SHAPE(rows, w)));
    for (int i = 0; i < 2; i++)
        LV_TRY(lv_take(&u->packed[i], e, e->dtype, 3, LV_SHAPE(ranks, own, w)));
    LV_TRY(repack(u, e, k, u->packed[0], true));
    LV_TRY(repack(u, e, v, u->packed[1], true));
    if (e->arena.measuring) return LVSA_OK;
    list_messages(u, u->send, u->receive, u->k, u->packed[0]);
    list_messages(u, u->send + ranks, u->receive + ranks, u->v, u->packed[1]);
    return lv_comm_begin(u->comm, e->device, u->send, 2 * ranks, u->receive, 2 * ranks);
}

static lvsa_status send_all(const lv_ulysses *u, lv_exec *e, lv_tensor to, const size_t *received,
                            lv_tensor from, const size_t *sent)
{
    if (e->arena.measuring) return LVSA_OK;
    return lv_comm_all_to_all(u->comm, e->device, to.data, received, from.data, sent);
}

lvsa_status lv_ulysses_attend(lv_ulysses *u, lv_exec *e, const lv_self_attention *a)
{
    const int64_t rows = u->k.shape[0], w = u->k.shape[1];
    const lv_tensor packed = u->packed[0];
    const size_t mark = lv_arena_mark(&e->arena);
    lv_self_attention here = *a;
    here.heads = a->heads / u->comm->size, here.k = u->k, here.v = u->v;
    LV_TRY(lv_take(&here.q, e, e->dtype, 2, LV_SHAPE(rows, w)));
    LV_TRY(lv_take(&here.out, e, e->dtype, 2, LV_SHAPE(rows, w)));
    if (!e->arena.measuring) LV_TRY(lv_comm_wait(u->comm, e->device));
    LV_TRY(repack(u, e, a->q, packed, true));
    LV_TRY(send_all(u, e, here.q, u->whole, packed, u->part));
    lvsa_attention call = lv_self_attention_call(&here);
    LV_TRY(lv_op_attention(e, &call));
    LV_TRY(send_all(u, e, packed, u->part, here.out, u->whole));
    LV_TRY(repack(u, e, a->out, packed, false));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}
