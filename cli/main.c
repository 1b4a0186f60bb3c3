/* main.c: finds the command, reads its options, runs it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "environment.h"
#include "manual.h"
#include "together.h"

#ifdef LVSA_HAVE_PNG
#include <png.h>
#define PNG_LINE PNG_LIBPNG_VER_STRING
#else
#define PNG_LINE "off"
#endif

/* ---- without a command ----------------------------------------------------------------------- */

typedef struct program_settings {
    int_setting version, man, completion;
} program_settings;

static const char *shell_name(int index) { return index == 0 ? "bash" : NULL; }

/* clang-format off */
static const option program_options[] = {
    {"version", 0, OPTION_FLAG, offsetof(program_settings, version), NULL,
     .help = "print the version and what was built in"},
    {"man", 0, OPTION_FLAG, offsetof(program_settings, man), NULL,
     .help = "print the man page, for man -l -"},
    {"completion", 0, OPTION_CHOICE, offsetof(program_settings, completion), "SHELL",
     .choice = shell_name, .help = "print the completion for a shell"},
    HELP_OPTION,
    {.name = NULL}};
/* clang-format on */

static const option_group program_groups[] = {{"Without a command", program_options, 0},
                                              {NULL, NULL, 0}};

static exit_code run_program_options(int argc, char **argv)
{
    program_settings s = {0};
    char sentence[512];
    parse_result result = options_parse(&s, program_groups, argc, argv, sentence, sizeof sentence);
    if (result == PARSE_WRONG) return complain(CODE_USAGE, "%s", sentence);
    if (result == PARSE_HELP) manual_print_program_help(stdout, program_groups);
    else if (s.version.value)
        printf("lvsa %s\n%spng: %s\n", lvsa_version(), lvsa_build_info(), PNG_LINE);
    else if (s.man.value) manual_print_man_page(stdout, program_groups);
    else if (s.completion.from == FROM_FLAG) manual_print_bash_completion(stdout, program_groups);
    return CODE_DONE;
}

/* ---- with one -------------------------------------------------------------------------------- */

/* Whether a command's name has two words, this one and another. */
static bool begins_with(const command *c, const char *word)
{
    size_t length = strlen(word);
    return strncmp(c->name, word, length) == 0 && c->name[length] == ' ';
}

/* The command that the words begin with; *words is how many they are. */
static const command *find_command(int *words, int argc, char **argv)
{
    for (const command *const *c = commands; *c; c++) {
        *words = begins_with(*c, argv[0]) ? 2 : 1;
        const char *name = (*c)->name + (*words == 2 ? strlen(argv[0]) + 1 : 0);
        if (*words <= argc && strcmp(name, argv[*words - 1]) == 0) return *c;
    }
    return NULL;
}

static exit_code unknown_command(int argc, char **argv)
{
    char typed[128], known[512] = "";
    snprintf(typed, sizeof typed, "%.60s%s%.60s", argv[0], argc > 1 ? " " : "",
             argc > 1 ? argv[1] : "");
    nearest both = nearest_begin(typed), one = nearest_begin(argv[0]);
    size_t used = 0;
    for (const command *const *c = commands; *c; c++) {
        nearest_try(&both, (*c)->name);
        nearest_try(&one, (*c)->name);
        if (!begins_with(*c, argv[0])) continue;
        int length =
            snprintf(known + used, sizeof known - used, "%s%s", used ? " or " : "", (*c)->name);
        if (length > 0 && (size_t)length < sizeof known - used) used += (size_t)length;
    }
    if (both.best)
        return complain(CODE_USAGE, "unknown command \"%s\"; did you mean %s?", typed, both.best);
    if (used) return complain(CODE_USAGE, "unknown command \"%s\"; %s is wanted", typed, known);
    if (one.best)
        return complain(CODE_USAGE, "unknown command \"%.60s\"; did you mean %s?", argv[0],
                        one.best);
    return complain(CODE_USAGE, "unknown command \"%.60s\"; --help lists all", argv[0]);
}

static bool is_variable(const char *name)
{
    for (const command *const *c = commands; *c; c++)
        for (const option_group *g = (*c)->groups; g->options; g++)
            for (const option *o = g->options; o->name; o++)
                if (o->environment && strcmp(o->environment, name) == 0) return true;
    return false;
}

static exit_code run_command(const command *c, int argc, char **argv)
{
    char name[64], sentence[512];
    snprintf(name, sizeof name, "lvsa %s", c->name);
    if (together_is_first()) talk_begin(name, TALK_NORMAL);
    void *settings = calloc(1, c->settings_size);
    if (!settings) return complain(CODE_MEMORY, "%zu bytes don't fit in memory", c->settings_size);

    exit_code code = CODE_DONE;
    switch (options_parse(settings, c->groups, argc, argv, sentence, sizeof sentence)) {
    case PARSE_WRONG: code = complain(CODE_USAGE, "%s", sentence); break;
    case PARSE_HELP: manual_print_command_help(stdout, c); break;
    case PARSE_RUN: {
        const common_settings *s = settings;
        if (together_is_first())
            talk_begin(name, s->quiet.value     ? TALK_QUIET
                             : s->verbose.value ? TALK_VERBOSE
                                                : TALK_NORMAL);
        const char *unknown = environment_find_unknown(is_variable);
        if (unknown) note(TALK_NORMAL, "LVSA_CONFIG: no option reads %s; it isn't used", unknown);
        code = c->run(settings);
        break;
    }
    }
    free(settings);
    talk_begin("lvsa", TALK_NORMAL);
    return code;
}

/* The same where mpirun has started several processes, if the command can use them. */
static exit_code run_together(const command *c, int argc, char **argv)
{
    int run = 1;
    exit_code code = c->shares ? together_meet(&run) : CODE_DONE;
    if (code == CODE_DONE && run) code = run_command(c, argc, argv);
    return together_part(code);
}

/* A result that couldn't be written is no result. */
static exit_code finish(exit_code code)
{
    errno = 0;
    bool failed = fflush(stdout) != 0;
    const char *reason = failed ? strerror(errno) : "a write failed";
    if (!failed && !ferror(stdout)) return code;
    complain(CODE_FAILED, "the output couldn't be written: %s", reason);
    return code == CODE_DONE ? CODE_FAILED : code;
}

/* A file that is opened later must not become stdin, stdout or stderr because that was closed. What
 * takes its place can only be used the other way, so that reading or writing still fails. */
static void occupy_closed_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

/* OpenMP threads that wait for work spin for about a millisecond, so that on a machine whose cores
 * are busy a run takes ten times as long; ten microseconds are enough on a quiet one
 * (docs/SPEED.md). OpenMP reads its settings when it is loaded, before main(): so the program
 * starts again, unless the user has said what is wished. GNU's library takes the count, LLVM's
 * the policy. */
static void spin_briefly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || getenv("KMP_BLOCKTIME")) return;
    if (setenv("GOMP_SPINCOUNT", "3000", 1) == 0 && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        execv("/proc/self/exe", argv);
    /* Where that can't be done, the run is only slower. */
}

int main(int argc, char **argv)
{
    occupy_closed_files();
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error like a full disk */
    signal(SIGXFSZ, SIG_IGN); /* and so is a limit on the size of files */
    if (argc < 2) {
        manual_print_program_help(stderr, program_groups);
        return CODE_USAGE;
    }
    argc--, argv++;
    if (argv[0][0] == '-') return (int)finish(run_program_options(argc, argv));
    int words = 0;
    const command *c = find_command(&words, argc, argv);
    if (c && c->computes) spin_briefly(argv - 1);
    return (int)finish(c ? run_together(c, argc - words, argv + words)
                         : unknown_command(argc, argv));
}
