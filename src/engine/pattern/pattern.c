/* pattern.c: the arithmetic of anchors and windows. */
#include "engine/pattern/pattern.h"

#include <math.h>
#include <string.h>

static int min_int(int a, int b) { return a < b ? a : b; }
static int max_int(int a, int b) { return a > b ? a : b; }
static int ceil_div(int a, int b) { return (a + b - 1) / b; }

int lv_pattern_budget(int reference, double scale, int first)
{
    double scaled = floor(reference * scale);
    int frames = scaled < (double)INT32_MAX ? (int)scaled : INT32_MAX;
    return max_int(first + 1, frames);
}

/* |G| at rotation 0: the first frames, and the multiples of the interval that lie past them. */
static int count_anchors(int frames, int first, int interval)
{
    first = min_int(first, frames);
    return first + ceil_div(frames, interval) - ceil_div(first, interval);
}

int lv_pattern_auto_interval(int frames, int window, int first, int budget)
{
    if (frames <= budget) return 1;

    int target = max_int(first, budget - min_int(2 * window + 1, frames));
    int strict = frames;
    while (strict > 1 && count_anchors(frames, first, strict) < target) strict--;

    int spent = 2 * window + first; /* the frames that are attended to anyway */
    int fallback = ceil_div(max_int(frames - spent, 0), max_int(budget - spent, 1));
    return max_int(strict, fallback);
}

void lv_pattern_mark_anchors(uint8_t *is_anchor, int frames, int first, int interval, int rotation)
{
    memset(is_anchor, 0, (size_t)frames);
    memset(is_anchor, 1, (size_t)min_int(first, frames));
    if (interval == 0) return;
    int frame = rotation % frames;
    for (int i = 0, keyframes = ceil_div(frames, interval); i < keyframes; i++) {
        is_anchor[frame] = 1;
        frame = (frame + interval) % frames;
    }
}

lvsa_window lv_pattern_plain_window(int frame, int frames, int window)
{
    if (window == 0) return (lvsa_window){frame, frame - 1};
    int first = min_int(frame - window, frames - 1 - 2 * window);
    int last = max_int(frame + window, 2 * window);
    return (lvsa_window){max_int(first, 0), min_int(last, frames - 1)};
}

int lv_pattern_expand_window(lvsa_window *w, const uint8_t *is_anchor, int frames, int held,
                             int wanted)
{
    for (bool left = true; held < wanted && (w->first > 0 || w->last < frames - 1); left = !left) {
        if (left && w->first > 0) held += !is_anchor[--w->first];
        if (!left && w->last < frames - 1) held += !is_anchor[++w->last];
    }
    return held;
}
