/* terminal.c: the graphics protocol of Kitty (sw.kovidgoyal.net/kitty/graphics-protocol) and the
 * inline images of iTerm2 (iterm2.com/documentation-images.html). Both take a .png in base64. */
#include "terminal.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    PIECE = 3072, /* bytes; 4096 characters, the most that Kitty takes at once */
    PIECE_TEXT = PIECE / 3 * 4,
    USUAL_COLUMNS = 80,
    USUAL_COLUMN = 8 /* pixels */
};

/* ---- which ----------------------------------------------------------------------------------- */

static bool says(const char *variable, const char *value)
{
    const char *have = getenv(variable);
    return have && strcmp(have, value) == 0;
}

static bool begins(const char *variable, const char *start)
{
    const char *have = getenv(variable);
    return have && strncmp(have, start, strlen(start)) == 0;
}

/* What runs inside tmux or screen has the outer terminal's variables too: those two come first. */
terminal_way terminal_find(const char **why)
{
    *why = "stderr is no terminal";
    if (!isatty(STDERR_FILENO)) return TERMINAL_NONE;
    *why = "tmux and screen pass no pictures on";
    if (getenv("TMUX") || getenv("STY") || begins("TERM", "tmux") || begins("TERM", "screen"))
        return TERMINAL_NONE;
    if (says("TERM_PROGRAM", "iTerm.app") || says("TERM_PROGRAM", "WezTerm") ||
        says("LC_TERMINAL", "iTerm2"))
        return TERMINAL_ITERM;
    if (says("TERM", "xterm-kitty") || says("TERM", "xterm-ghostty") || getenv("KITTY_WINDOW_ID") ||
        says("TERM_PROGRAM", "ghostty"))
        return TERMINAL_KITTY;
    *why = "this terminal isn't known to draw pictures (Kitty, Ghostty, WezTerm and iTerm2 are)";
    return TERMINAL_NONE;
}

/* ---- how ------------------------------------------------------------------------------------- */

/* text [4 * ceil(count / 3)], without a 0. Returns its length. */
static size_t encode(char *text, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = 0;
    for (size_t i = 0; i < count; i += 3, length += 4) {
        const unsigned second = i + 1 < count ? bytes[i + 1] : 0;
        const unsigned third = i + 2 < count ? bytes[i + 2] : 0;
        const unsigned bits = (unsigned)bytes[i] << 16 | second << 8 | third;
        for (int d = 0; d < 4; d++) text[length + (size_t)d] = digits[bits >> (18 - 6 * d) & 63];
        if (i + 1 >= count) text[length + 2] = '=';
        if (i + 2 >= count) text[length + 3] = '=';
    }
    return length;
}

/* Columns to squeeze a picture into; 0: it fits as it is. */
static int columns_for(int width)
{
    struct winsize size;
    int columns = USUAL_COLUMNS, column = USUAL_COLUMN;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        columns = size.ws_col;
        if (size.ws_xpixel >= size.ws_col) column = size.ws_xpixel / size.ws_col;
    }
    return width > columns * column ? columns : 0;
}

/* a=T: take and show, f=100: a .png, q=2: no answer, c: columns, m=1: more comes. */
static void draw_kitty(const lvsa_png *png, int columns)
{
    char text[PIECE_TEXT];
    for (size_t at = 0; at < png->bytes; at += PIECE) {
        const size_t count = png->bytes - at < PIECE ? png->bytes - at : PIECE;
        fputs("\033_G", stderr);
        if (at == 0) fputs("a=T,f=100,q=2,", stderr);
        if (at == 0 && columns > 0) fprintf(stderr, "c=%d,", columns);
        fprintf(stderr, "m=%d;", at + count < png->bytes);
        fwrite(text, 1, encode(text, png->data + at, count), stderr);
        fputs("\033\\", stderr);
    }
}

static void draw_iterm(const lvsa_png *png, int columns)
{
    char text[PIECE_TEXT];
    fprintf(stderr, "\033]1337;File=inline=1;size=%zu", png->bytes);
    if (columns > 0) fprintf(stderr, ";width=%d", columns);
    fputc(':', stderr);
    for (size_t at = 0; at < png->bytes; at += PIECE) {
        const size_t count = png->bytes - at < PIECE ? png->bytes - at : PIECE;
        fwrite(text, 1, encode(text, png->data + at, count), stderr);
    }
    fputc('\a', stderr);
}

void terminal_draw(terminal_way way, const lvsa_png *png)
{
    const int columns = columns_for(png->width);
    if (way == TERMINAL_NONE) return;
    if (way == TERMINAL_KITTY) draw_kitty(png, columns);
    else draw_iterm(png, columns);
    fputc('\n', stderr);
}
