/* command.h: a command of the program: its words, its options, what runs it. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>

#include "options.h"
#include "talk.h"

/* How every command's settings begin; zeros where the command has nothing to say on stderr. */
typedef struct common_settings {
    int_setting quiet, verbose;
} common_settings;

/* commands.c: the last rows of commands that talk, and of those that don't. */
extern const option common_options[];
extern const option help_options[];

/* clang-format off */
#define HELP_OPTION {"help", 'h', OPTION_HELP, 0, NULL, .help = "print this and stop"}
/* clang-format on */

typedef struct command {
    const char *name;    /* "plan", or two words: "bench attention" */
    const char *summary; /* one line: small first letter, no full stop */
    const char *details; /* a paragraph for --help and the man page */
    /* A command line, what it does, and so on; NULL ends. */
    const char *const *examples;
    const option_group *groups;
    size_t settings_size;
    bool computes; /* on all threads, for long */
    bool shares;   /* its work with the processes that mpirun has started, see together.h */
    exit_code (*run)(const void *settings);
} command;

extern const command generate_command;        /* generate.c */
extern const command resume_command;          /* resume.c   */
extern const command decode_command;          /* decode.c   */
extern const command info_command;            /* info.c     */
extern const command plan_command;            /* plan.c     */
extern const command bench_attention_command; /* bench.c    */
extern const command bench_plan_command;
extern const command bench_dit_command; /* bench_model.c */
extern const command bench_vae_command;
extern const command synth_command; /* synth.c */

extern const command *const commands[]; /* commands.c; NULL ends */

#endif
