/* halo.c: messages of a layer. */
#include "engine/parallel/halo.h"

#include "base/mem.h"
#include "engine/runtime/device.h"

lvsa_status lv_halo_update(lv_halo *h)
{
    h->info.size = sizeof h->info;
    lvsa_shard_update(h->shard);
    return lvsa_shard_get_info(&h->info, h->shard);
}

static lvsa_status fill(lv_halo *h, const lvsa_plan *plan)
{
    lvsa_plan_info video = {.size = sizeof video};
    LV_TRY(lvsa_shard_create(&h->shard, plan, h->comm->rank, h->comm->size));
    LV_TRY(lv_halo_update(h));
    LV_TRY(lvsa_plan_get_info(&video, plan));
    h->patches = video.patches_per_frame;
    /* A run of frames for a peer at most every second frame; received, a run a frame. */
    const size_t own = (size_t)h->info.frames, all = (size_t)video.latent_frames;
    h->send = lv_zalloc_array((own + 1) / 2 * (size_t)h->comm->size, 2 * sizeof *h->send);
    h->receive = lv_zalloc_array(all - own, 2 * sizeof *h->receive);
    if (h->send && h->receive) return LVSA_OK;
    return lv_fail(LVSA_ERR_MEMORY, "the messages of %zu latent frames don't fit in memory", all);
}

lvsa_status lv_halo_create(lv_halo **out, lv_comm *comm, const lvsa_plan *plan)
{
    lv_halo *h = lv_zalloc(sizeof *h);
    if (h) h->comm = comm;
    lvsa_status s =
        h ? fill(h, plan)
          : lv_fail(LVSA_ERR_MEMORY, "a halo: %zu bytes don't fit in memory", sizeof *h);
    if (s != LVSA_OK) lv_halo_free(&h);
    *out = h;
    return s;
}

void lv_halo_free(lv_halo **halo)
{
    if (!halo || !*halo) return;
    lv_halo *h = *halo;
    lv_free(h->receive);
    lv_free(h->send);
    lvsa_shard_free(&h->shard);
    lv_free(h);
    *halo = NULL;
}

/* A message for each transfer of rows of t. */
static void list_messages(lv_message *m, const lvsa_transfer *transfer, int count, lv_tensor t)
{
    const size_t row = (size_t)lv_tensor_row(t) * lv_dtype_bytes(t.dtype);
    for (int i = 0; i < count; i++) {
        const lvsa_run rows = transfer[i].rows;
        m[i] = (lv_message){transfer[i].peer, lv_tensor_rows(t, rows.start, rows.count).data,
                            (size_t)rows.count * row};
    }
}

lvsa_status lv_halo_begin(lv_halo *h, lv_exec *e, lv_tensor k, lv_tensor v)
{
    const int64_t rows = h->info.received_frames * h->patches;
    int sends, receives;
    const lvsa_transfer *send = lvsa_shard_get_sends(&sends, h->shard);
    const lvsa_transfer *receive = lvsa_shard_get_receives(&receives, h->shard);
    LV_TRY(lv_take(&h->k, e, e->dtype, 2, LV_SHAPE(rows, k.shape[1])));
    LV_TRY(lv_take(&h->v, e, e->dtype, 2, LV_SHAPE(rows, v.shape[1])));
    if (e->arena.measuring) return LVSA_OK;
    list_messages(h->send, send, sends, k);
    list_messages(h->send + sends, send, sends, v);
    list_messages(h->receive, receive, receives, h->k);
    list_messages(h->receive + receives, receive, receives, h->v);
    return lv_comm_begin(h->comm, e->device, h->send, 2 * sends, h->receive, 2 * receives);
}

lvsa_status lv_halo_attend(lv_halo *h, lv_exec *e, const lv_self_attention *a)
{
    lvsa_attention call = lv_self_attention_call(a);
    call.source[0].runs = lvsa_shard_get_local_runs(h->shard);
    call.source[call.sources++] =
        lv_self_attention_source(h->k, h->v, a->head_dim, lvsa_shard_get_received_runs(h->shard));
    if (!e->arena.measuring) LV_TRY(lv_comm_wait(h->comm, e->device));
    return lv_op_attention(e, &call);
}
