/* interrupt.c: the first signal lets a step end, the second nothing. */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "talk.h"

static volatile sig_atomic_t interruptions;

static void on_signal(int number)
{
    static const char words[] = "\nstopping after this step; once more stops at once\n";
    (void)number;
    const int before = errno;
    if (interruptions++ > 0) _exit(CODE_INTERRUPTED);
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0) interruptions = 1;
    errno = before;
}

/* But for a signal that whoever started the program has had ignored. */
static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

void interrupt_catch(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP); /* the terminal is gone, and the work isn't to go with it */
}

int interrupt_count(void) { return (int)interruptions; }
