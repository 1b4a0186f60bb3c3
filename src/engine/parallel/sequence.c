/* sequence.c: which of the two ways. */
#include "engine/parallel/sequence.h"

#include "base/mem.h"
#include "engine/pattern/pattern.h"
#include "engine/runtime/device.h"

static lvsa_status fill(lv_sequence *s, lv_comm *comm, const lvsa_plan *plan, int64_t heads,
                        lvsa_sequence how)
{
    lvsa_plan_info video = {.size = sizeof video};
    LV_TRY(lvsa_plan_get_info(&video, plan));
    s->all = video.latent_frames, s->patches = video.patches_per_frame;
    s->first = lv_share_first(s->all, comm->rank, comm->size);
    s->frames = lv_share_first(s->all, comm->rank + 1, comm->size) - s->first;
    return how == LVSA_SEQUENCE_ULYSSES
               ? lv_ulysses_create(&s->ulysses, comm, s->all, s->patches, heads)
               : lv_halo_create(&s->halo, comm, plan);
}

lvsa_status lv_sequence_create(lv_sequence **out, lv_comm *comm, const lvsa_plan *plan,
                               int64_t heads, lvsa_sequence how)
{
    lv_sequence *s = lv_zalloc(sizeof *s);
    lvsa_status status =
        s ? fill(s, comm, plan, heads, how)
          : lv_fail(LVSA_ERR_MEMORY, "a rank's frames: %zu bytes don't fit in memory", sizeof *s);
    if (status != LVSA_OK) lv_sequence_free(&s);
    *out = s;
    return status;
}

void lv_sequence_free(lv_sequence **sequence)
{
    if (!sequence || !*sequence) return;
    lv_ulysses_free(&(*sequence)->ulysses);
    lv_halo_free(&(*sequence)->halo);
    lv_free(*sequence);
    *sequence = NULL;
}

lvsa_status lv_sequence_update(lv_sequence *s)
{
    return s->halo ? lv_halo_update(s->halo) : LVSA_OK;
}

lvsa_status lv_sequence_begin(lv_sequence *s, lv_exec *e, lv_tensor k, lv_tensor v)
{
    if (!s) return LVSA_OK;
    return s->halo ? lv_halo_begin(s->halo, e, k, v) : lv_ulysses_begin(s->ulysses, e, k, v);
}

lvsa_status lv_sequence_attend(lv_sequence *s, lv_exec *e, const lv_self_attention *a)
{
    if (s) return s->halo ? lv_halo_attend(s->halo, e, a) : lv_ulysses_attend(s->ulysses, e, a);
    lvsa_attention call = lv_self_attention_call(a);
    return lv_op_attention(e, &call);
}
