/* options.h: what a command can be told. One table a command: parsing, --help, the man page and the
 * shell's completion all read it.
 *
 * A settings struct holds one setting an option, of the type that belongs to the option's; a group
 * of options fills one such struct, and a command's settings are those structs side by side. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

/* Where a value comes from. A later one beats an earlier one. */
typedef enum origin { FROM_DEFAULT, FROM_ENVIRONMENT, FROM_FLAG } origin;

/* All begin with the origin. Without fallback, environment and flag the value is 0 or NULL. */
typedef struct int_setting {
    origin from;
    int value;
} int_setting;

typedef struct whole_setting {
    origin from;
    uint64_t value;
} whole_setting;

typedef struct number_setting {
    origin from;
    double value;
} number_setting;

typedef struct text_setting {
    origin from;
    const char *value; /* borrowed from the table, the environment or argv */
} text_setting;

typedef enum option_type {
    OPTION_FLAG = 1, /* int_setting: --name is 1, --no-name 0                 */
    OPTION_INT,      /* int_setting in lo .. hi                               */
    OPTION_WHOLE,    /* whole_setting: 0 .. 2^64 - 1                          */
    OPTION_NUMBER,   /* number_setting in lo .. hi                            */
    OPTION_CHOICE,   /* int_setting: which of the choices                     */
    OPTION_TEXT,     /* text_setting                                          */
    OPTION_REFUSED,  /* other programs have it; `help` says why this one doesn't, and no page
                        shows it */
    OPTION_HELP      /* nothing is stored: the help is printed                */
} option_type;

typedef struct option {
    const char *name; /* long, without its dashes */
    char letter;      /* short, or 0 */
    option_type type;
    size_t offset;                    /* of the setting in the group's struct */
    const char *value;                /* what --help calls the argument; flags have none */
    double lo, hi;                    /* for INT and NUMBER, both allowed */
    const char *(*choice)(int index); /* for CHOICE: the names from 0 on, then NULL */
    const char *bare;                 /* a CHOICE that no choice follows is this; or NULL */
    int operand;                      /* 1: words that belong to no option are the values of
                                         these, in the table's order */
    const char *fallback;             /* the default, as one would type it; flags "1"; or NULL */
    const char *environment;          /* variable that is read when no flag is given, or NULL */
    const char *aliases;              /* other long names, a space between; or NULL */
    const char *help;                 /* one sentence, small first letter, no full stop */
} option;

typedef struct option_group {
    const char *heading;
    const option *options; /* the last one's name is NULL */
    size_t base;           /* where the group's struct lies in the command's settings */
} option_group;            /* the last group's options are NULL */

typedef enum parse_result { PARSE_RUN, PARSE_HELP, PARSE_WRONG } parse_result;

/* Fills `settings`, zeroed by the caller, from argv[0 .. argc - 1], then the environment, then the
 * fallbacks. PARSE_WRONG: `sentence` says what was seen and what is wanted. */
parse_result options_parse(void *settings, const option_group *groups, int argc, char *const *argv,
                           char *sentence, size_t size);

/* Whether a flag has set the option of that name. */
int options_is_flag(const void *settings, const option_group *groups, const char *name);

/* Sets the option of that name, as if by a flag. 0: `sentence` says what is wrong. */
int options_set(void *settings, const option_group *groups, const char *name, const char *text,
                char *sentence, size_t size);

/* The candidate that most resembles a mistyped word. */
typedef struct nearest {
    const char *word;
    int distance; /* of the best so far; what is too far is never taken */
    const char *best;
} nearest;

nearest nearest_begin(const char *word);
/* Returns 1 when `candidate` is the best so far. */
int nearest_try(nearest *n, const char *candidate);

#endif
