/* share.c: what sharing a layer asks of each rank, and which way is the cheaper. */
#include <string.h>

#include "base/error.h"
#include "engine/pattern/pattern.h"

/* What a rank computes while one byte comes to it or goes: 400 TFLOP/s of attention beside 400 GB/s
 * of NVLink. Where messages are slower, what counts are their bytes, and balance less. */
#define FLOPS_A_BYTE 1e3

/* By heads has to win by more than this: halo copies nothing to pack it, and its messages travel
 * while the queries are computed. */
#define MARGIN 0.05

/* Bytes of a token's queries at most; a plan has at most 2^31 tokens, and bytes are counted in 63
 * bits. */
#define MOST_WIDTH (1 << 24)

static const char *const names[] = {"auto", "halo", "ulysses"};

const char *lvsa_sequence_name(lvsa_sequence sequence)
{
    return (unsigned)sequence <= LVSA_SEQUENCE_ULYSSES ? names[sequence] : NULL;
}

static lvsa_status check(const lvsa_shared_layer *l)
{
    if (l->ranks < 1 || l->heads < 1 || l->head_dim < 1 || l->number_bytes < 1)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "a layer of %d heads of %d numbers of %d bytes for %d ranks: 1 or more is wanted "
            "of each",
            l->heads, l->head_dim, l->number_bytes, l->ranks);
    if ((double)l->heads * l->head_dim * l->number_bytes <= MOST_WIDTH) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "a layer of %d heads of %d numbers of %d bytes: %d bytes a token at most",
                   l->heads, l->head_dim, l->number_bytes, MOST_WIDTH);
}

static bool heads_divide(const lvsa_shared_layer *l) { return l->heads % l->ranks == 0; }

/* By heads a rank sends queries, keys and values of its frames' other heads and gets its own heads
 * of all other frames; the output goes the other way. `frame`: bytes of a frame's queries. */
static void find_ulysses(lvsa_share *out, int64_t all, const lvsa_shared_layer *l, int64_t frame)
{
    const int64_t part = frame / l->ranks; /* of its heads */
    const int64_t away = out->frames * part * (l->ranks - 1), here = (all - out->frames) * part;
    out->ulysses_sent = 3 * away + here;
    out->ulysses_received = 3 * here + away;
}

lvsa_status lvsa_share_find(lvsa_share *out, const lvsa_plan *plan, const lvsa_shared_layer *layer,
                            int rank)
{
    lvsa_plan_info video = {.size = sizeof video};
    lvsa_shard_info info = {.size = sizeof info};
    lvsa_shard *shard;
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_share of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    LV_TRY(check(layer));
    LV_TRY(lvsa_plan_get_info(&video, plan));
    LV_TRY(lvsa_shard_create(&shard, plan, rank, layer->ranks));
    lvsa_status s = lvsa_shard_get_info(&info, shard);
    lvsa_shard_free(&shard);
    LV_TRY(s);

    const int64_t frame =
        (int64_t)video.patches_per_frame * layer->heads * layer->head_dim * layer->number_bytes;
    *out = (lvsa_share){.size = sizeof *out,
                        .first_frame = info.first_frame,
                        .frames = info.frames,
                        .attended = info.attended_sum,
                        .halo_sent = 2 * frame * info.sent_frames,
                        .halo_received = 2 * frame * info.received_frames,
                        .ulysses_sent = -1,
                        .ulysses_received = -1};
    if (heads_divide(layer)) find_ulysses(out, video.latent_frames, layer, frame);
    return LVSA_OK;
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The busiest of all ranks, whichever it is in each respect. */
static lvsa_status find_busiest(lvsa_share *out, const lvsa_plan *plan,
                                const lvsa_shared_layer *layer)
{
    for (int r = 0; r < layer->ranks; r++) {
        lvsa_share one = {.size = sizeof one};
        LV_TRY(lvsa_share_find(&one, plan, layer, r));
        out->attended = most(out->attended, one.attended);
        out->halo_sent = most(out->halo_sent, most(one.halo_sent, one.halo_received));
        out->ulysses_sent = most(out->ulysses_sent, most(one.ulysses_sent, one.ulysses_received));
    }
    return LVSA_OK;
}

lvsa_status lvsa_sequence_choose(lvsa_sequence_choice *out, const lvsa_plan *plan,
                                 const lvsa_shared_layer *layer)
{
    lvsa_plan_info video = {.size = sizeof video};
    lvsa_share busiest = {.ulysses_sent = -1};
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_sequence_choice of %zu bytes, %zu wanted: set its size", out->size,
                       sizeof *out);
    LV_TRY(check(layer));
    LV_TRY(lvsa_plan_get_info(&video, plan));
    LV_TRY(find_busiest(&busiest, plan, layer));
    const double P = video.patches_per_frame;
    const double pair = 4.0 * P * P * layer->heads * layer->head_dim; /* FLOPs */
    const double even = (double)video.attended_sum / layer->ranks;    /* pairs, by heads of all */
    const double halo = (double)busiest.halo_sent + (double)busiest.attended * pair / FLOPS_A_BYTE;
    const double ulysses = (double)busiest.ulysses_sent + even * pair / FLOPS_A_BYTE;
    *out = (lvsa_sequence_choice){.size = sizeof *out,
                                  .halo = busiest.halo_sent,
                                  .ulysses = busiest.ulysses_sent,
                                  .halo_balance = (double)busiest.attended / even,
                                  .sequence = heads_divide(layer) && ulysses < (1.0 - MARGIN) * halo
                                                  ? LVSA_SEQUENCE_ULYSSES
                                                  : LVSA_SEQUENCE_HALO};
    return LVSA_OK;
}
