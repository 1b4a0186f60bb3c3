/* together.h: processes that a launcher has started, and that make one video. The first has the
 * files and tells; the others are silent, and begin when it does: so what fails in all is said
 * once. */
#ifndef CLI_TOGETHER_H
#define CLI_TOGETHER_H

#include <stdbool.h>

#include "talk.h"

/* Before the command. *run is 0 where there is nothing to do for this process: the first one's
 * command needs no help. */
exit_code together_meet(int *run);

bool together_is_first(void);
lvsa_ranks *together_get_ranks(void); /* NULL: this command is one process's */

/* Warns that a flag of several processes changes nothing where there is one: its video is right, so
 * it isn't refused, but for `strict`. */
exit_code together_warn_alone(const char *flag, int strict);

/* Of the first one: the others begin, with the same command. */
exit_code together_go(void);

/* Says what the work failed with. What all fail with the first one says, and then ends all: the
 * others give it a second for that. */
exit_code together_complain(lvsa_status status);

/* After the command. Where it failed, all end, with its code. */
exit_code together_part(exit_code code);

#endif
