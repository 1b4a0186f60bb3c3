/* manual.h: the option tables as text for people, man and bash. */
#ifndef CLI_MANUAL_H
#define CLI_MANUAL_H

#include <stdio.h>

#include "command.h"

void manual_print_command_help(FILE *out, const command *c);

/* In these, `program` has the options that need no command. */
void manual_print_program_help(FILE *out, const option_group *program);
void manual_print_man_page(FILE *out, const option_group *program);
void manual_print_bash_completion(FILE *out, const option_group *program);

#endif
