/* y4m.c: YUV4MPEG2, one header line, then frames of planes Y, Cb, Cr, one byte a sample.
 *
 *     Y  = 16 + 219 (kr R + kg G + kb B)                     R, G, B 0 .. 1
 *     Cb = 128 + 224 (B - luma) / (2 - 2 kb)                 of the mean of 2 x 2 pixels, in their
 *     Cr = 128 + 224 (R - luma) / (2 - 2 kr)                 middle, which is what C420jpeg means
 *
 * The format doesn't say which kr and kb: players take BT.709's for high definition and BT.601's
 * below, and so does this file, from 720 rows on. The range is the limited one, 16 .. 235. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "flow/media/writer.h"

/* What one byte of red, green and blue adds to a sample. */
typedef struct matrix {
    float y[3], cb[3], cr[3];
} matrix;

typedef struct y4m {
    lvsa_video base;
    FILE *file;
    char *path;
    matrix m;
    size_t size;      /* of a frame's planes */
    uint8_t planes[]; /* [size]             */
} y4m;

static matrix make_matrix(float kr, float kb)
{
    const float k[] = {kr, 1.0f - kr - kb, kb};
    matrix m;
    for (int c = 0; c < 3; c++) {
        m.y[c] = 219.0f / 255.0f * k[c];
        m.cb[c] = 224.0f / 255.0f * ((c == 2 ? 1.0f : 0.0f) - k[c]) / (2.0f - 2.0f * kb);
        m.cr[c] = 224.0f / 255.0f * ((c == 0 ? 1.0f : 0.0f) - k[c]) / (2.0f - 2.0f * kr);
    }
    return m;
}

static uint8_t sample(const float weight[3], const float rgb[3], float offset)
{
    return (uint8_t)(weight[0] * rgb[0] + weight[1] * rgb[1] + weight[2] * rgb[2] + offset + 0.5f);
}

static void fill_luma(uint8_t *to, const uint8_t *rgb, size_t pixels, const matrix *m)
{
    for (size_t i = 0; i < pixels; i++) {
        const float pixel[] = {rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]};
        to[i] = sample(m->y, pixel, 16.0f);
    }
}

/* Odd sizes: the last row and column count twice. */
static void fill_chroma(uint8_t *cb, uint8_t *cr, const uint8_t *rgb, int width, int height,
                        const matrix *m)
{
    for (int y = 0; y < height; y += 2)
        for (int x = 0; x < width; x += 2) {
            const size_t right = x + 1 < width ? 3 : 0;
            const uint8_t *top = rgb + 3 * ((size_t)y * (size_t)width + (size_t)x);
            const uint8_t *bottom = y + 1 < height ? top + 3 * (size_t)width : top;
            float mean[3];
            for (int c = 0; c < 3; c++)
                mean[c] = 0.25f * (float)(top[c] + top[right + (size_t)c] + bottom[c] +
                                          bottom[right + (size_t)c]);
            *cb++ = sample(m->cb, mean, 128.0f);
            *cr++ = sample(m->cr, mean, 128.0f);
        }
}

static lvsa_status fail_io(const y4m *w)
{
    return lv_fail(LVSA_ERR_IO, "%s: %s", w->path, strerror(errno));
}

static void y4m_free(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    lv_free(w->path);
    lv_free(w);
}

static void y4m_remove(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    if (w->file) fclose(w->file);
    w->file = NULL;
    lv_video_remove_file(w->path);
}

static lvsa_status y4m_open(lvsa_video **out, const char *path, const lvsa_video_format *f)
{
    LV_TRY(lv_video_check_free(path, f));
    const size_t chroma = (size_t)((f->width + 1) / 2) * (size_t)((f->height + 1) / 2);
    const size_t size = (size_t)f->width * (size_t)f->height + 2 * chroma;
    y4m *w = lv_zalloc(sizeof *w + size);
    if (w) w->path = lv_strndup(path, strlen(path));
    if (!w || !w->path) {
        lv_free(w);
        return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a frame of %zu bytes", path, size);
    }
    w->size = size;
    w->m = f->height >= 720 ? make_matrix(0.2126f, 0.0722f) : make_matrix(0.299f, 0.114f);
    lvsa_status s = lv_video_create_file(&w->file, path);
    if (s == LVSA_OK &&
        (fprintf(w->file, "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n",
                 f->width, f->height, f->rate, f->scale) < 0 ||
         fflush(w->file) != 0)) {
        s = fail_io(w);
        y4m_remove(&w->base);
    }
    if (s != LVSA_OK) y4m_free(&w->base);
    else *out = &w->base;
    return s;
}

static lvsa_status y4m_write(lvsa_video *video, const uint8_t *rgb)
{
    y4m *w = (y4m *)video;
    const int width = video->format.width, height = video->format.height;
    const size_t pixels = (size_t)width * (size_t)height, chroma = (w->size - pixels) / 2;
    fill_luma(w->planes, rgb, pixels, &w->m);
    fill_chroma(w->planes + pixels, w->planes + pixels + chroma, rgb, width, height, &w->m);
    if (fputs("FRAME\n", w->file) < 0 || fwrite(w->planes, 1, w->size, w->file) != w->size ||
        fflush(w->file) != 0)
        return fail_io(w);
    return LVSA_OK;
}

static lvsa_status y4m_finish(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    return lv_video_close_file(&w->file, w->path);
}

const lv_video_writer lv_video_y4m = {
    .extension = ".y4m",
    .example = "clip.y4m",
    .open = y4m_open,
    .write = y4m_write,
    .finish = y4m_finish,
    .remove = y4m_remove,
    .free = y4m_free,
};
