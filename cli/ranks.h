/* ranks.h: what N ranks have of a plan, for `lvsa plan --ranks`. */
#ifndef CLI_RANKS_H
#define CLI_RANKS_H

#include "talk.h"

/* What one rank sends and receives in one layer, in bytes of bf16. Halo: keys and values of whole
 * frames. Ulysses: queries, keys and values from shards of tokens to shards of heads, and the
 * attention's output back. */
typedef struct rank_share {
    lvsa_shard_info shard;
    double halo_sent, halo_received;
    double ulysses_sent, ulysses_received; /* 0 where heads can't be dealt */
} rank_share;

typedef struct rank_shares {
    int ranks, heads;
    rank_share *of; /* [ranks] */
} rank_shares;

/* Fails with CODE_USAGE (more ranks than frames) or CODE_MEMORY; release with ranks_release(). */
exit_code ranks_find(rank_shares *out, const lvsa_plan *plan, int ranks, int heads, int head_dim);
void ranks_release(rank_shares *shares);

/* Lines of the table. */
void ranks_print(const rank_shares *shares);

/* "ranks":[{...}, ...], without a comma round it; Ulysses is null where heads can't be dealt. */
void ranks_print_json(const rank_shares *shares);

#endif
