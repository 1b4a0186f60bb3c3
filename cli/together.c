/* together.c: a command in several processes. */
#include "together.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

static lvsa_ranks *ranks;
static bool gone; /* the first one has said what the others are to do */

bool together_is_first(void) { return !ranks || lvsa_ranks_get_rank(ranks) == 0; }

lvsa_ranks *together_get_ranks(void) { return ranks; }

exit_code together_warn_alone(const char *flag, int strict)
{
    if (ranks && lvsa_ranks_get_size(ranks) > 1) return CODE_DONE;
    return warn(strict,
                "%s: there is one process, which shares with nobody; mpirun -n 4 lvsa ... starts "
                "four",
                flag);
}

static exit_code tell(int *word)
{
    gone = true;
    return complain_status(lvsa_ranks_broadcast(ranks, word, sizeof *word));
}

exit_code together_meet(int *run)
{
    static char name[32]; /* talk_begin() keeps it */
    *run = 1;
    TRY(complain_status(lvsa_ranks_open(&ranks)));
    if (together_is_first()) return CODE_DONE;
    snprintf(name, sizeof name, "lvsa: rank %d", lvsa_ranks_get_rank(ranks));
    talk_begin(name, TALK_QUIET);
    /* The first one saves the run, and then ends all. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return tell(run);
}

exit_code together_go(void)
{
    int run = 1;
    return ranks ? tell(&run) : CODE_DONE;
}

exit_code together_complain(lvsa_status status)
{
    if (status != LVSA_OK && !together_is_first()) {
        signal(SIGTERM, SIG_DFL); /* by which mpirun ends it */
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return complain_status(status);
}

exit_code together_part(exit_code code)
{
    int nothing = 0;
    if (!ranks) return code;
    if (code == CODE_DONE && !gone) code = tell(&nothing);
    if (code != CODE_DONE) {
        fflush(stdout);
        lvsa_ranks_abort(ranks, (int)code);
    }
    lvsa_ranks_close(&ranks);
    return code;
}
