/* ranks.c: what N ranks have of a plan: frames, pairs of frames, bytes a layer. */
#include "ranks.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define BF16_BYTES 2.0

static exit_code find_share(rank_share *r, const lvsa_plan *plan, int rank, int ranks, double width,
                            bool heads_divide)
{
    lvsa_plan_info video = {.size = sizeof video};
    lvsa_shard *shard;
    *r = (rank_share){.shard = {.size = sizeof r->shard}};
    TRY(complain_status(lvsa_plan_get_info(&video, plan)));
    TRY(complain_status(lvsa_shard_create(&shard, plan, rank, ranks)));
    exit_code code = complain_status(lvsa_shard_get_info(&r->shard, shard));
    lvsa_shard_free(&shard);

    const double row = width * BF16_BYTES, frame = row * video.patches_per_frame;
    r->halo_sent = 2 * frame * r->shard.sent_frames;
    r->halo_received = 2 * frame * r->shard.received_frames;
    if (!heads_divide) return code;
    /* There, a rank keeps the Nth part of its frames' heads; back, of all others' frames. */
    const double own = frame * r->shard.frames / ranks * (ranks - 1);
    const double others = frame * (video.latent_frames - r->shard.frames) / ranks;
    r->ulysses_sent = 3 * own + others;
    r->ulysses_received = 3 * others + own;
    return code;
}

exit_code ranks_find(rank_shares *out, const lvsa_plan *plan, int ranks, int heads, int head_dim)
{
    *out = (rank_shares){.ranks = ranks, .heads = heads};
    out->of = calloc((size_t)ranks, sizeof *out->of);
    if (!out->of) return complain(CODE_MEMORY, "a table of %d ranks doesn't fit in memory", ranks);
    exit_code code = CODE_DONE;
    for (int r = 0; r < ranks && code == CODE_DONE; r++)
        code =
            find_share(&out->of[r], plan, r, ranks, (double)heads * head_dim, heads % ranks == 0);
    if (code != CODE_DONE) ranks_release(out);
    return code;
}

void ranks_release(rank_shares *shares)
{
    free(shares->of);
    shares->of = NULL;
}

static void print_share(const char *name, const char *frames, const rank_share *r, bool ulysses)
{
    printf("  %-10s %-13s %5d %9lld %9.1f %9.1f", name, frames, r->shard.frames,
           (long long)r->shard.attended_sum, 1e-6 * r->halo_sent, 1e-6 * r->halo_received);
    if (ulysses) printf("   %9.1f %9.1f\n", 1e-6 * r->ulysses_sent, 1e-6 * r->ulysses_received);
    else putchar('\n');
}

void ranks_print(const rank_shares *shares)
{
    const bool ulysses = shares->heads % shares->ranks == 0;
    rank_share all = {.halo_sent = 0.0};
    int64_t busiest = 0;
    for (int r = 0; r < shares->ranks; r++) {
        const rank_share *one = &shares->of[r];
        all.shard.frames += one->shard.frames;
        all.shard.attended_sum += one->shard.attended_sum;
        all.halo_sent += one->halo_sent, all.halo_received += one->halo_received;
        all.ulysses_sent += one->ulysses_sent, all.ulysses_received += one->ulysses_received;
        if (one->shard.attended_sum > busiest) busiest = one->shard.attended_sum;
    }
    printf("ranks        %d, the busiest has %.2fx the average of frame pairs; bytes of bf16, "
           "a layer\n",
           shares->ranks, (double)busiest * shares->ranks / (double)all.shard.attended_sum);
    printf("  %-10s %-19s %9s %19s%s\n", "rank", "frames", "pairs", "halo MB sent, got",
           ulysses ? "     Ulysses MB sent, got" : "");
    for (int r = 0; r < shares->ranks; r++) {
        const lvsa_shard_info *s = &shares->of[r].shard;
        char name[16], frames[32];
        snprintf(name, sizeof name, "%d", s->rank);
        snprintf(frames, sizeof frames, "%d-%d", s->first_frame, s->first_frame + s->frames - 1);
        print_share(name, frames, &shares->of[r], ulysses);
    }
    print_share("all", "", &all, ulysses);
    if (!ulysses)
        printf("  Ulysses    not here: %d heads can't be dealt to %d ranks\n", shares->heads,
               shares->ranks);
}

void ranks_print_json(const rank_shares *shares)
{
    printf("\"ranks\":[");
    for (int r = 0; r < shares->ranks; r++) {
        const rank_share *one = &shares->of[r];
        printf("%s{\"first_frame\":%d,\"frames\":%d,\"attended\":%lld,\"halo_sent\":%.0f,"
               "\"halo_received\":%.0f,",
               r ? "," : "", one->shard.first_frame, one->shard.frames,
               (long long)one->shard.attended_sum, one->halo_sent, one->halo_received);
        if (shares->heads % shares->ranks == 0)
            printf("\"ulysses_sent\":%.0f,\"ulysses_received\":%.0f}", one->ulysses_sent,
                   one->ulysses_received);
        else printf("\"ulysses_sent\":null,\"ulysses_received\":null}");
    }
    putchar(']');
}
