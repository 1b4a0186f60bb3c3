/* pty.c: runs a command under a pseudo-terminal and copies what it prints there to stdout.
 * usage: pty [-w COLUMNS] [-k WORDS]... COMMAND [ARGUMENT...]
 * Each -k types Ctrl-C when the output holds its words, one after the other. Exits with the
 * command's code. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MOST_KEYS = 8, MOST_OUTPUT = 1 << 20 };

static int fail(const char *what)
{
    fprintf(stderr, "pty: %s: %s\n", what, strerror(errno));
    return 1;
}

/* The child's side: the terminal is its own, on all three files. */
static void become(char **argv, const char *name)
{
    setsid();
    int terminal = open(name, O_RDWR); /* of a leader without one: it becomes the terminal */
    if (terminal < 0) _exit(fail(name));
    for (int fd = 0; fd < 3; fd++) dup2(terminal, fd);
    if (terminal > 2) close(terminal);
    execvp(argv[0], argv);
    _exit(fail(argv[0]));
}

/* All of the output to stdout; a key for each word that comes by. */
static void copy(int terminal, char *const *keys, int count)
{
    static char all[MOST_OUTPUT + 1];
    size_t length = 0, seen = 0;
    for (int key = 0;;) {
        if (length == MOST_OUTPUT) length = seen = 0; /* words across this edge are missed */
        ssize_t got = read(terminal, all + length, MOST_OUTPUT - length);
        if (got <= 0) break; /* EIO: nobody holds the other side any more */
        fwrite(all + length, 1, (size_t)got, stdout);
        length += (size_t)got;
        all[length] = '\0';
        const char *found = key < count ? strstr(all + seen, keys[key]) : NULL;
        if (!found) continue;
        seen = (size_t)(found - all) + strlen(keys[key++]);
        if (write(terminal, "\003", 1) != 1) break;
    }
}

int main(int argc, char **argv)
{
    char *keys[MOST_KEYS];
    int count = 0, status;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    for (argv++, argc--; argc > 2 && argv[0][0] == '-'; argv += 2, argc -= 2) {
        if (argv[0][1] == 'w') size.ws_col = (unsigned short)atoi(argv[1]);
        else if (count < MOST_KEYS) keys[count++] = argv[1];
    }
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        return fail("a pseudo-terminal");
    const char *name = ptsname(terminal);
    int keep = open(name, O_RDWR | O_NOCTTY); /* so that the size stays until the child has it */
    if (keep < 0 || ioctl(keep, TIOCSWINSZ, &size) != 0) return fail(name);
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return fail("fork");
    if (child == 0) become(argv, name);
    close(keep);
    copy(terminal, keys, count);
    if (waitpid(child, &status, 0) != child) return fail("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
