/* commands.c: which commands there are, and the options that many of them share. */
#include "command.h"

const command *const commands[] = {&generate_command,        &resume_command,     &decode_command,
                                   &info_command,            &plan_command,
                                   &bench_attention_command, &bench_plan_command,
                                   &bench_dit_command, &bench_vae_command, &synth_command,
                                   NULL};

/* clang-format off */
const option help_options[] = {HELP_OPTION, {.name = NULL}};

const option common_options[] = {
    {"quiet", 'q', OPTION_FLAG, offsetof(common_settings, quiet), NULL,
     .help = "say nothing on stderr but errors, what was asked for and a drawn seed"},
    {"verbose", 'v', OPTION_FLAG, offsetof(common_settings, verbose), NULL,
     .help = "say more on stderr"},
    HELP_OPTION,
    {.name = NULL}};
/* clang-format on */
