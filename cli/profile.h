/* profile.h: a profile as a table. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include <stdio.h>

#include <lvsa/lvsa_profile.h>

/* A line a kind of operation in one phase, and what the clock says besides. */
void profile_print(FILE *out, const lvsa_profile *profile, lvsa_phase phase);

#endif
