/* progress.c: bars and lines. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { USUAL_WIDTH = 80, LEAST_BAR = 8, MOST_BAR = 40, MOST_LINE = 256 };
static const double REDRAW = 0.1; /* seconds between drawings of one phase */

progress progress_begin(void) { return (progress){.terminal = isatty(STDERR_FILENO) == 1}; }

const char *progress_time(char text[PROGRESS_TIME_TEXT], double seconds)
{
    const long long s = (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, PROGRESS_TIME_TEXT, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(text, PROGRESS_TIME_TEXT, "%lld:%02lld", s / 60, s % 60);
    return text;
}

static const char *phase_name(lvsa_phase phase)
{
    switch (phase) {
    case LVSA_PHASE_TEXT: return "text";
    case LVSA_PHASE_LOAD: return "load";
    case LVSA_PHASE_DENOISE: return "denoise";
    case LVSA_PHASE_DECODE: return "decode";
    }
    return "";
}

/* ---- a terminal ------------------------------------------------------------------------------ */

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                           : USUAL_WIDTH;
}

/* "denoise [#####...] 5/8  1.23 s each  0:04 left", as much of it as the terminal is wide. */
static void draw(progress *p, const lvsa_progress *now)
{
    char tail[MOST_LINE], line[MOST_LINE], time[PROGRESS_TIME_TEXT];
    const int width = terminal_width() - 1; /* the last column would wrap */
    int used = snprintf(tail, sizeof tail, " %d/%d", now->done, now->total);
    if (now->done > p->first && now->done < now->total) {
        const double each = now->seconds / (now->done - p->first);
        snprintf(tail + used, sizeof tail - (size_t)used, "  %.*f s each  %s left",
                 each < 10.0 ? 2 : 1, each, progress_time(time, each * (now->total - now->done)));
    }
    used = snprintf(line, sizeof line, "%-7s ", phase_name(now->phase));
    int bar = width - used - 2 - (int)strlen(tail);
    if (bar > MOST_BAR) bar = MOST_BAR;
    if (bar >= LEAST_BAR) {
        const int full = now->total > 0 ? (int)((long long)bar * now->done / now->total) : 0;
        line[used++] = '[';
        for (int i = 0; i < bar; i++) line[used++] = i < full ? '#' : '.';
        line[used++] = ']';
    }
    snprintf(line + used, sizeof line - (size_t)used, "%s", tail);
    fprintf(stderr, "\r\033[K%.*s", width > 0 ? width : 0, line);
    p->drawn = true;
    p->last_drawn = now->seconds;
}

void progress_clear(progress *p)
{
    if (!p->drawn) return;
    fputs("\r\033[K", stderr);
    p->drawn = false;
}

/* ---- a pipe ---------------------------------------------------------------------------------- */

static void write_lines(const progress *p, const lvsa_progress *now)
{
    char time[PROGRESS_TIME_TEXT];
    const bool end = now->done == now->total;
    switch (now->phase) {
    case LVSA_PHASE_TEXT:
        if (end) fprintf(stderr, "encoded the text in %.1f s\n", now->seconds);
        break;
    case LVSA_PHASE_LOAD:
        if (end) fprintf(stderr, "loaded the model in %.1f s\n", now->seconds);
        break;
    case LVSA_PHASE_DENOISE:
        if (now->done == p->first) break;
        fprintf(stderr, "step %d/%d: %.2f s, %s left\n", now->done, now->total,
                now->seconds - p->last_step,
                progress_time(time, now->seconds / (now->done - p->first) *
                                        (now->total - now->done)));
        break;
    case LVSA_PHASE_DECODE:
        if (end)
            fprintf(stderr, "decoded %d frame%s in %.1f s\n", now->total,
                    now->total == 1 ? "" : "s", now->seconds);
        break;
    }
}

void progress_show(progress *p, const lvsa_progress *now)
{
    if (now->phase != p->phase || now->done == 0) p->first = now->done;
    p->phase = now->phase;
    if (talk_get_level() > TALK_QUIET) {
        if (!p->terminal) write_lines(p, now);
        else if (now->done == p->first || now->done == now->total ||
                 now->seconds >= p->last_drawn + REDRAW)
            draw(p, now);
    }
    p->last_step = now->seconds;
}
