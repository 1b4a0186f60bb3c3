/* ranks.h: what N ranks have of a plan, for `lvsa plan --ranks`. */
#ifndef CLI_RANKS_H
#define CLI_RANKS_H

#include "talk.h"

typedef struct rank_shares {
    lvsa_shared_layer layer; /* of bf16; ranks 0: nobody asked */
    lvsa_sequence_choice choice;
    lvsa_share *of; /* [ranks] */
} rank_shares;

/* Fails with CODE_USAGE (more ranks than frames) or CODE_MEMORY; release with ranks_release(). */
exit_code ranks_find(rank_shares *out, const lvsa_plan *plan, int ranks, int heads, int head_dim);
void ranks_release(rank_shares *shares);

/* Lines of the table. */
void ranks_print(const rank_shares *shares);

/* "ranks":[{...}, ...],"sequence":{...}, without a comma round them; Ulysses is null where heads
 * can't be dealt. */
void ranks_print_json(const rank_shares *shares);

#endif
