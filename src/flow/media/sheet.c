/* sheet.c: a contact sheet: some of a video's frames, evenly spaced, on one picture.
 *
 * A frame becomes its cell by a triangle filter as wide as two pixels of whichever is coarser,
 * frame or cell: smooth where it grows, the mean of what it covers where it shrinks. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "flow/media/png.h"
#include "flow/media/writer.h"

enum {
    MOST_CELLS = 16,
    EDGE = 320, /* pixels of a cell's longer edge */
    GAP = 4,    /* between cells                  */
    GREY = 40   /* of the gaps                    */
};

struct lvsa_sheet {
    char *path; /* NULL: for nothing but get_png */
    int frames; /* of the video                  */
    int columns, rows;
    int cell_width, cell_height; /* in pixels                     */
    int width, height;           /* of the sheet                  */
    uint8_t *rgb;                /* [height, width, 3]            */
    float *line;                 /* [room]: a line out of a frame */
    size_t room;
    uint8_t *png; /* of rgb as it was when asked */
};

/* ---- layout ---------------------------------------------------------------------------------- */

/* All places are taken: 3 x 3 of eleven frames. */
static void lay_out(lvsa_sheet *s, const lvsa_sheet_format *f)
{
    const int most = f->frames < MOST_CELLS ? f->frames : MOST_CELLS;
    const int longer = f->width > f->height ? f->width : f->height;
    s->frames = f->frames;
    s->rows = (int)sqrt((double)most);
    s->columns = most / s->rows;
    s->cell_width = (int)((int64_t)f->width * EDGE / longer);
    s->cell_height = (int)((int64_t)f->height * EDGE / longer);
    if (s->cell_width < 1) s->cell_width = 1;
    if (s->cell_height < 1) s->cell_height = 1;
    s->width = s->columns * (s->cell_width + GAP) - GAP;
    s->height = s->rows * (s->cell_height + GAP) - GAP;
}

/* The frame in a place: the first of the video in the first, its last in the last. */
static int frame_at(const lvsa_sheet *s, int place)
{
    const int last = s->columns * s->rows - 1;
    return last > 0 ? (int)(((int64_t)place * (s->frames - 1) + last / 2) / last) : 0;
}

/* ---- a frame into its cell ------------------------------------------------------------------- */

/* The samples of a frame that make one of the cell. */
typedef struct span {
    int first, last;
    float middle, reach; /* in samples; the first one's middle is at 0.5 */
} span;

static span span_of(int index, int cell, int frame)
{
    const float step = (float)frame / (float)cell;
    span s = {.middle = ((float)index + 0.5f) * step, .reach = step > 1.0f ? step : 1.0f};
    s.first = (int)ceilf(s.middle - s.reach - 0.5f);
    s.last = (int)floorf(s.middle + s.reach - 0.5f);
    if (s.first < 0) s.first = 0;
    if (s.last > frame - 1) s.last = frame - 1;
    return s;
}

static float weight_of(const span *s, int sample)
{
    const float weight = 1.0f - fabsf((float)sample + 0.5f - s->middle) / s->reach;
    return weight > 0.0f ? weight : 0.0f;
}

/* line [3 * width] = the mean over a span of rows. */
static void mix_rows(float *line, const lvsa_frame *f, const span *rows)
{
    const size_t count = 3 * (size_t)f->width;
    float sum = 0.0f;
    memset(line, 0, count * sizeof *line);
    for (int y = rows->first; y <= rows->last; y++) {
        const float weight = weight_of(rows, y);
        const uint8_t *row = f->rgb + (size_t)y * count;
        for (size_t i = 0; i < count; i++) line[i] += weight * row[i];
        sum += weight;
    }
    for (size_t i = 0; i < count; i++) line[i] /= sum;
}

static void mix_columns(uint8_t *pixel, const float *line, const span *columns)
{
    float sum[3] = {0}, all = 0.0f;
    for (int x = columns->first; x <= columns->last; x++) {
        const float weight = weight_of(columns, x);
        for (int c = 0; c < 3; c++) sum[c] += weight * line[3 * x + c];
        all += weight;
    }
    for (int c = 0; c < 3; c++) pixel[c] = (uint8_t)(sum[c] / all + 0.5f);
}

static void draw(lvsa_sheet *s, int place, const lvsa_frame *f)
{
    const int left = place % s->columns * (s->cell_width + GAP);
    const int top = place / s->columns * (s->cell_height + GAP);
    for (int y = 0; y < s->cell_height; y++) {
        const span rows = span_of(y, s->cell_height, f->height);
        uint8_t *to = s->rgb + 3 * ((size_t)(top + y) * (size_t)s->width + (size_t)left);
        mix_rows(s->line, f, &rows);
        for (int x = 0; x < s->cell_width; x++) {
            const span columns = span_of(x, s->cell_width, f->width);
            mix_columns(to + 3 * x, s->line, &columns);
        }
    }
}

/* ---- what programs call ---------------------------------------------------------------------- */

/* That the sheet's place can be written to, as far as can be known before. */
static lvsa_status check_place(const char *path, int replace)
{
    const char *slash = strrchr(path, '/');
    struct stat status;
    const bool there = stat(path, &status) == 0;
    LV_TRY(lv_video_check_free(path, replace));
    if (there && S_ISDIR(status.st_mode))
        return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(EISDIR));
    /* A device is written to; a file is made in its folder, to take the place of what is there. */
    const bool plain = !there || S_ISREG(status.st_mode);
    char *place = !plain  ? lv_strndup(path, strlen(path))
                  : slash ? lv_strndup(path, (size_t)(slash - path) + 1)
                          : lv_strndup(".", 1);
    if (!place) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its name", path);
    const int error = access(place, W_OK) == 0 ? 0 : errno;
    lv_free(place);
    return error ? lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(error)) : LVSA_OK;
}

static lvsa_status check_format(const lvsa_sheet_format *f)
{
    if (f->size != sizeof *f)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_sheet_format of %zu bytes, %zu wanted: start with "
                       "LVSA_SHEET_FORMAT_INIT",
                       f->size, sizeof *f);
    if (f->frames < 1 || f->width < 1 || f->height < 1)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "a contact sheet of %d frames of %d x %d pixels: 1 and more of each is "
                       "wanted",
                       f->frames, f->width, f->height);
    return LVSA_OK;
}

lvsa_status lvsa_sheet_open(lvsa_sheet **out, const char *path, const lvsa_sheet_format *format)
{
    *out = NULL;
    LV_TRY(check_format(format));
    LV_TRY(lv_png_check(path ? path : "a contact sheet"));
    if (path) LV_TRY(check_place(path, format->replace));
    lvsa_sheet *s = lv_zalloc(sizeof *s);
    if (s) {
        lay_out(s, format);
        s->rgb = lv_zalloc(3 * (size_t)s->width * (size_t)s->height);
        if (path) s->path = lv_strndup(path, strlen(path));
    }
    if (!s || !s->rgb || (path && !s->path)) {
        lvsa_sheet_close(&s);
        return lv_fail(LVSA_ERR_MEMORY, "a contact sheet doesn't fit in memory");
    }
    memset(s->rgb, GREY, 3 * (size_t)s->width * (size_t)s->height);
    *out = s;
    return LVSA_OK;
}

void lvsa_sheet_close(lvsa_sheet **sheet)
{
    if (!sheet || !*sheet) return;
    lv_free((*sheet)->png);
    lv_free((*sheet)->line);
    lv_free((*sheet)->rgb);
    lv_free((*sheet)->path);
    lv_free(*sheet);
    *sheet = NULL;
}

lvsa_status lvsa_sheet_add(lvsa_sheet *s, const lvsa_frame *f)
{
    const size_t wanted = 3 * (size_t)f->width;
    int place = 0;
    while (place < s->columns * s->rows && frame_at(s, place) != f->index) place++;
    if (place == s->columns * s->rows) return LVSA_OK;
    if (s->room < wanted) {
        float *line = lv_grow_array(s->line, s->room, wanted, sizeof *line);
        if (!line)
            return lv_fail(LVSA_ERR_MEMORY, "a line of %d pixels doesn't fit in memory", f->width);
        s->line = line, s->room = wanted;
    }
    draw(s, place, f);
    return LVSA_OK;
}

lvsa_status lvsa_sheet_get_png(lvsa_png *out, lvsa_sheet *s)
{
    lv_free(s->png);
    *out = (lvsa_png){.width = s->width, .height = s->height};
    lvsa_status status = lv_png_encode(&s->png, &out->bytes, s->rgb, s->width, s->height);
    out->data = s->png;
    return status;
}

lvsa_status lvsa_sheet_write(lvsa_sheet *s)
{
    lvsa_png png;
    lv_file *file;
    if (!s->path)
        return lv_fail(LVSA_ERR_ARGUMENT, "a contact sheet without a path to write it to");
    LV_TRY(lvsa_sheet_get_png(&png, s));
    LV_TRY(lv_file_create(&file, s->path));
    lvsa_status status = lv_file_write(file, png.data, png.bytes);
    if (status == LVSA_OK) return lv_file_finish(&file);
    lv_file_abort(&file);
    return status;
}
