/* mask.c: the picture as text, SVG and PNG. */
#include "mask.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifdef LVSA_HAVE_PNG
#include <png.h>
#endif

/* What a query frame has at an attended frame. Also the picture's palette. */
enum { NEITHER, ANCHOR, WINDOW, BOTH, INK, COLOURS };
static const char letters[] = ".GWX";

/* Told apart by the colour-blind, and in grey by their lightness (CIE L* 100, 53, 79, 20, 0). */
static const unsigned char palette[COLOURS][3] = {
    {255, 255, 255}, {213, 94, 0}, {158, 202, 225}, {8, 48, 107}, {0, 0, 0}};

static lvsa_plan_info info_of(const lvsa_plan *plan)
{
    lvsa_plan_info info = {.size = sizeof info};
    lvsa_plan_get_info(&info, plan); /* fails on a wrong size only */
    return info;
}

/* cells [T]: what query frame `frame` attends to. */
static void fill_row(unsigned char *cells, const lvsa_plan *plan, const lvsa_plan_info *info,
                     int frame)
{
    const int32_t *anchor = lvsa_plan_get_anchors(plan);
    const lvsa_window w = lvsa_plan_get_windows(plan)[frame];
    memset(cells, NEITHER, (size_t)info->latent_frames);
    if (frame >= info->opening)
        for (int i = 0; i < info->anchors; i++) cells[anchor[i]] = ANCHOR;
    for (int f = w.first; f <= w.last; f++) cells[f] = cells[f] == ANCHOR ? BOTH : WINDOW;
}

/* The distance of ticks: 1, 2 or 5 times a power of ten, so that there are about ten. */
static int tick_step(int frames)
{
    for (int power = 1;; power *= 10)
        for (int step = 1; step <= 5; step = step == 1 ? 2 : step + 3)
            if (frames / (step * power) <= 10) return step * power;
}

/* ---- text ------------------------------------------------------------------------------------ */

exit_code mask_print(FILE *out, const lvsa_plan *plan, int most)
{
    const lvsa_plan_info info = info_of(plan);
    const int frames = info.latent_frames;
    const int distance = most > 0 ? (frames + most - 1) / most : 1;
    const int32_t *attended = lvsa_plan_get_attended(plan);
    unsigned char *row = malloc((size_t)frames);
    if (!row) return complain(CODE_MEMORY, "a mask of %d frames doesn't fit in memory", frames);

    const int label = snprintf(NULL, 0, "%d", frames - 1);
    fprintf(out, "%*s ", label, "");
    for (int f = 0; f < frames; f += 10) fprintf(out, f + 10 < frames ? " %-9d" : " %d", f);
    fputc('\n', out);
    for (int f = 0; f < frames; f += distance) {
        fill_row(row, plan, &info, f);
        for (int i = 0; i < frames; i++) row[i] = (unsigned char)letters[row[i]];
        fprintf(out, "%*d  %.*s  %d\n", label, f, frames, (const char *)row, attended[f]);
    }
    free(row);
    return CODE_DONE;
}

/* ---- SVG ------------------------------------------------------------------------------------- */

enum { PLOT = 560, LEFT = 64, TOP = 48, RIGHT = 24, BOTTOM = 88 }; /* in the drawing's units */

/* A rectangle in frames, as part of a path. */
static void path_rect(FILE *out, int x, int y, int w, int h)
{
    fprintf(out, "M%d %dh%dv%dh-%dz", x, y, w, h, w);
}

static void begin_path(FILE *out, int colour)
{
    const unsigned char *c = palette[colour];
    fprintf(out, "<path fill=\"#%02x%02x%02x\" d=\"", c[0], c[1], c[2]);
}

/* Anchors are whole columns, below an opening; windows cover them, and where both are is painted
 * last. */
static void svg_cells(FILE *out, const lvsa_plan *plan, const lvsa_plan_info *info)
{
    const int frames = info->latent_frames;
    const int32_t *anchor = lvsa_plan_get_anchors(plan);
    const lvsa_window *w = lvsa_plan_get_windows(plan);

    begin_path(out, ANCHOR);
    for (int i = 0, next; i < info->anchors && info->opening < frames; i = next) {
        for (next = i + 1; next < info->anchors && anchor[next] == anchor[next - 1] + 1;) next++;
        path_rect(out, anchor[i], info->opening, next - i, frames - info->opening);
    }
    fputs("\"/>\n", out);

    begin_path(out, WINDOW);
    for (int f = 0; f < frames; f++)
        if (w[f].last >= w[f].first) path_rect(out, w[f].first, f, w[f].last - w[f].first + 1, 1);
    fputs("\"/>\n", out);

    begin_path(out, BOTH);
    for (int i = 0; i < info->anchors; i++)
        for (int f = info->opening, end; f < frames; f = end + 1) {
            for (end = f; end < frames && anchor[i] >= w[end].first && anchor[i] <= w[end].last;)
                end++;
            if (end > f) path_rect(out, anchor[i], f, 1, end - f);
        }
    fputs("\"/>\n", out);
}

static void svg_ticks(FILE *out, int frames)
{
    const double cell = (double)PLOT / frames;
    for (int f = 0, step = tick_step(frames); f < frames; f += step) {
        double at = (f + 0.5) * cell;
        fprintf(out, "<path stroke=\"#000\" d=\"M%.2f %dv5M%d %.2fh-5\"/>", LEFT + at, TOP + PLOT,
                LEFT, TOP + at);
        fprintf(out, "<text x=\"%.2f\" y=\"%d\" text-anchor=\"middle\">%d</text>", LEFT + at,
                TOP + PLOT + 20, f);
        fprintf(out, "<text x=\"%d\" y=\"%.2f\" text-anchor=\"end\">%d</text>\n", LEFT - 9,
                TOP + at + 4.5, f);
    }
}

static void svg_legend(FILE *out)
{
    static const char *const names[] = {[ANCHOR] = "anchor", [WINDOW] = "window", [BOTH] = "both"};
    const int y = TOP + PLOT + 64;
    for (int i = ANCHOR; i <= BOTH; i++) {
        int x = LEFT + PLOT / 2 - 140 + (i - ANCHOR) * 100;
        begin_path(out, i);
        fprintf(out, "M%d %dh14v14h-14z\"/>", x, y);
        fprintf(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", x + 21, y + 12, names[i]);
    }
}

static void write_svg(FILE *out, const lvsa_plan *plan, const char *title)
{
    const lvsa_plan_info info = info_of(plan);
    const int width = LEFT + PLOT + RIGHT, height = TOP + PLOT + BOTTOM, middle = LEFT + PLOT / 2;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
            "<text x=\"%d\" y=\"28\" text-anchor=\"middle\" font-size=\"16\">%s</text>\n",
            width, height, width, height, width, height, middle, title);
    fprintf(out, "<g transform=\"translate(%d %d) scale(%.9g)\" shape-rendering=\"crispEdges\">\n",
            LEFT, TOP, (double)PLOT / info.latent_frames);
    svg_cells(out, plan, &info);
    fprintf(out,
            "</g>\n<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
            "fill=\"none\" stroke=\"#000\"/>\n",
            LEFT, TOP, PLOT, PLOT);
    svg_ticks(out, info.latent_frames);
    fprintf(
        out,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"15\">attended frame</text>\n",
        middle, TOP + PLOT + 44);
    fprintf(out,
            "<text transform=\"translate(20 %d) rotate(-90)\" text-anchor=\"middle\" "
            "font-size=\"15\">query frame</text>\n",
            TOP + PLOT / 2);
    svg_legend(out);
    fputs("</svg>\n", out);
}

/* ---- PNG ------------------------------------------------------------------------------------- */

#ifdef LVSA_HAVE_PNG

/* The plot in pixels; without words, but with the drawing's colours, frame and ticks. */
enum { PNG_PLOT = 1000, PNG_MARGIN = 16, PNG_MOST_FRAMES = 8192 };

typedef struct bitmap {
    unsigned char *pixels; /* [edge, edge], indices into the palette */
    int edge, cell, plot;  /* pixels of the whole, of a frame, of all frames */
} bitmap;

static unsigned char *pixel(const bitmap *b, int x, int y)
{
    return b->pixels + (size_t)y * (size_t)b->edge + x;
}

static void draw_cells(bitmap *b, unsigned char *cells, const lvsa_plan *plan,
                       const lvsa_plan_info *info)
{
    for (int f = 0; f < info->latent_frames; f++) {
        int y = PNG_MARGIN + f * b->cell;
        fill_row(cells, plan, info, f);
        for (int x = 0; x < b->plot; x++) *pixel(b, PNG_MARGIN + x, y) = cells[x / b->cell];
        for (int i = 1; i < b->cell; i++)
            memcpy(pixel(b, PNG_MARGIN, y + i), pixel(b, PNG_MARGIN, y), (size_t)b->plot);
    }
}

static void draw_axes(bitmap *b, int frames)
{
    const int first = PNG_MARGIN - 1, last = PNG_MARGIN + b->plot;
    for (int i = first; i <= last; i++)
        *pixel(b, i, first) = *pixel(b, i, last) = *pixel(b, first, i) = *pixel(b, last, i) = INK;
    for (int f = 0, step = tick_step(frames); f < frames; f += step)
        for (int i = 1, at = PNG_MARGIN + f * b->cell + b->cell / 2; i <= PNG_MARGIN / 2; i++)
            *pixel(b, at, last + i) = *pixel(b, first - i, at) = INK;
}

static exit_code check_png(const lvsa_plan *plan)
{
    const int frames = info_of(plan).latent_frames;
    if (frames <= PNG_MOST_FRAMES) return CODE_DONE;
    return complain(CODE_USAGE, "a .png of %d frames: %d at most; write a .svg", frames,
                    PNG_MOST_FRAMES);
}

static exit_code write_png(FILE *out, const lvsa_plan *plan)
{
    const lvsa_plan_info info = info_of(plan);
    const int frames = info.latent_frames;
    bitmap b = {.cell = frames < PNG_PLOT ? PNG_PLOT / frames : 1};
    b.plot = b.cell * frames;
    b.edge = b.plot + 2 * PNG_MARGIN;
    b.pixels = calloc((size_t)b.edge, (size_t)b.edge);
    unsigned char *cells = malloc((size_t)frames);
    exit_code code = CODE_DONE;
    if (b.pixels && cells) {
        draw_cells(&b, cells, plan, &info);
        draw_axes(&b, frames);
        png_image image = {.version = PNG_IMAGE_VERSION,
                           .width = (png_uint_32)b.edge,
                           .height = (png_uint_32)b.edge,
                           .format = PNG_FORMAT_RGB_COLORMAP,
                           .colormap_entries = COLOURS};
        if (!png_image_write_to_stdio(&image, out, 0, b.pixels, b.edge, palette))
            code = complain(CODE_FAILED, "the .png couldn't be written: %s", image.message);
    } else {
        code =
            complain(CODE_MEMORY, "a .png of %d x %d pixels doesn't fit in memory", b.edge, b.edge);
    }
    free(cells);
    free(b.pixels);
    return code;
}

#else

static exit_code check_png(const lvsa_plan *plan)
{
    (void)plan;
    return complain(CODE_FAILED, "this program was built without libpng; write a .svg");
}

static exit_code write_png(FILE *out, const lvsa_plan *plan)
{
    (void)out;
    return check_png(plan);
}

#endif

/* ---- either ---------------------------------------------------------------------------------- */

exit_code mask_check(mask_format *out, const char *path, int replace)
{
    struct stat status;
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot, ".svg") == 0) *out = MASK_SVG;
    else if (dot && strcmp(dot, ".png") == 0) *out = MASK_PNG;
    else
        return complain(CODE_USAGE, "--mask-out %s: a path that ends in .svg or .png is wanted",
                        path);
    if (!replace && stat(path, &status) == 0 && S_ISREG(status.st_mode))
        return complain_there(path);
    return CODE_DONE;
}

exit_code mask_write(const char *path, mask_format format, const lvsa_plan *plan, const char *title)
{
    if (format == MASK_PNG) TRY(check_png(plan)); /* before a file of that name is lost */
    FILE *file = fopen(path, "wb");
    if (!file) return complain(CODE_FAILED, "%s: %s", path, strerror(errno));
    exit_code code = CODE_DONE;
    if (format == MASK_SVG) write_svg(file, plan, title);
    else code = write_png(file, plan);
    bool failed = ferror(file) != 0;
    errno = 0;
    if ((fclose(file) != 0 || failed) && code == CODE_DONE)
        code = complain(CODE_FAILED, "%s: %s", path, errno ? strerror(errno) : "a write failed");
    struct stat status; /* half a picture is none */
    if (code != CODE_DONE && stat(path, &status) == 0 && S_ISREG(status.st_mode)) remove(path);
    return code;
}
