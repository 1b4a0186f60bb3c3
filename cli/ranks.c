/* ranks.c: what N ranks have of a plan: frames, pairs of frames, bytes a layer. */
#include "ranks.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { BF16_BYTES = 2 };

exit_code ranks_find(rank_shares *out, const lvsa_plan *plan, int ranks, int heads, int head_dim)
{
    *out = (rank_shares){.layer = {ranks, heads, head_dim, BF16_BYTES},
                         .choice = {.size = sizeof out->choice}};
    out->of = calloc((size_t)ranks, sizeof *out->of);
    if (!out->of) return complain(CODE_MEMORY, "a table of %d ranks doesn't fit in memory", ranks);
    lvsa_status status = LVSA_OK;
    for (int r = 0; r < ranks && status == LVSA_OK; r++) {
        out->of[r].size = sizeof out->of[r];
        status = lvsa_share_find(&out->of[r], plan, &out->layer, r);
    }
    if (status == LVSA_OK) status = lvsa_sequence_choose(&out->choice, plan, &out->layer);
    if (status != LVSA_OK) ranks_release(out);
    return complain_status(status);
}

void ranks_release(rank_shares *shares)
{
    free(shares->of);
    shares->of = NULL;
}

static double megabytes(int64_t bytes) { return 1e-6 * (double)bytes; }

static void print_share(const char *name, const char *frames, const lvsa_share *s, bool ulysses)
{
    printf("  %-10s %-13s %5d %9lld %9.1f %9.1f", name, frames, s->frames, (long long)s->attended,
           megabytes(s->halo_sent), megabytes(s->halo_received));
    if (ulysses)
        printf("   %9.1f %9.1f\n", megabytes(s->ulysses_sent), megabytes(s->ulysses_received));
    else putchar('\n');
}

/* What --sequence-parallel auto would take. */
static void print_choice(const rank_shares *shares)
{
    const lvsa_sequence_choice *c = &shares->choice;
    if (c->ulysses < 0)
        printf("  %-10s not here: %d heads can't be dealt to %d ranks\n", "Ulysses",
               shares->layer.heads, shares->layer.ranks);
    printf("  %-10s %s: a rank sends or gets %.1f MB a layer at most", "auto",
           lvsa_sequence_name(c->sequence), megabytes(c->halo));
    if (c->ulysses >= 0) printf(", by Ulysses %.1f MB", megabytes(c->ulysses));
    putchar('\n');
}

void ranks_print(const rank_shares *shares)
{
    const bool ulysses = shares->choice.ulysses >= 0;
    lvsa_share all = {.halo_sent = 0};
    for (int r = 0; r < shares->layer.ranks; r++) {
        const lvsa_share *one = &shares->of[r];
        all.frames += one->frames, all.attended += one->attended;
        all.halo_sent += one->halo_sent, all.halo_received += one->halo_received;
        all.ulysses_sent += one->ulysses_sent, all.ulysses_received += one->ulysses_received;
    }
    printf("ranks        %d, the busiest has %.2fx the average of frame pairs; bytes of bf16, "
           "a layer\n",
           shares->layer.ranks, shares->choice.halo_balance);
    printf("  %-10s %-19s %9s %19s%s\n", "rank", "frames", "pairs", "halo MB sent, got",
           ulysses ? "     Ulysses MB sent, got" : "");
    for (int r = 0; r < shares->layer.ranks; r++) {
        const lvsa_share *s = &shares->of[r];
        char name[16], frames[32];
        snprintf(name, sizeof name, "%d", r);
        snprintf(frames, sizeof frames, "%d-%d", s->first_frame, s->first_frame + s->frames - 1);
        print_share(name, frames, s, ulysses);
    }
    print_share("all", "", &all, ulysses);
    print_choice(shares);
}

/* Bytes, or null. */
static void print_bytes(const char *key, int64_t bytes)
{
    if (bytes < 0) printf("\"%s\":null", key);
    else printf("\"%s\":%lld", key, (long long)bytes);
}

void ranks_print_json(const rank_shares *shares)
{
    const lvsa_sequence_choice *c = &shares->choice;
    printf("\"ranks\":[");
    for (int r = 0; r < shares->layer.ranks; r++) {
        const lvsa_share *one = &shares->of[r];
        printf("%s{\"first_frame\":%d,\"frames\":%d,\"attended\":%lld,\"halo_sent\":%lld,"
               "\"halo_received\":%lld,",
               r ? "," : "", one->first_frame, one->frames, (long long)one->attended,
               (long long)one->halo_sent, (long long)one->halo_received);
        print_bytes("ulysses_sent", one->ulysses_sent);
        putchar(',');
        print_bytes("ulysses_received", one->ulysses_received);
        putchar('}');
    }
    printf("],\"sequence\":{\"auto\":\"%s\",\"halo\":%lld,", lvsa_sequence_name(c->sequence),
           (long long)c->halo);
    print_bytes("ulysses", c->ulysses);
    printf(",\"halo_balance\":%.4f}", c->halo_balance);
}
