/* terminal.h: pictures in the terminal that stderr is, where it can draw them. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <lvsa/lvsa.h>

/* What a terminal takes pictures by. */
typedef enum terminal_way { TERMINAL_NONE, TERMINAL_KITTY, TERMINAL_ITERM } terminal_way;

/* By what the environment says of the terminal. TERMINAL_NONE: *why says why. */
terminal_way terminal_find(const char **why);

/* No wider than the terminal. */
void terminal_draw(terminal_way way, const lvsa_png *png);

#endif
