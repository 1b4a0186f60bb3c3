/* y4m.c: YUV4MPEG2, one header line, then frames of planes Y, Cb, Cr, one byte a sample. C420jpeg
 * says where chroma lies; the format has no word for the matrix (see yuv.c), and no room for a
 * comment: readers take 80 bytes or so of header. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "flow/media/writer.h"
#include "flow/media/yuv.h"

typedef struct y4m {
    lvsa_video base;
    FILE *file;
    char *path;
    lv_yuv yuv;
    uint8_t planes[]; /* [yuv.size] */
} y4m;

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
    LV_TRY(lv_video_check_free(path, f->replace));
    const lv_yuv yuv = lv_yuv_make(f->width, f->height, LV_YUV_CENTRE);
    y4m *w = lv_zalloc(sizeof *w + yuv.size);
    if (w) w->path = lv_strndup(path, strlen(path));
    if (!w || !w->path) {
        lv_free(w);
        return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a frame of %zu bytes", path, yuv.size);
    }
    w->yuv = yuv;
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
    lv_yuv_convert(w->planes, rgb, &w->yuv);
    if (fputs("FRAME\n", w->file) < 0 ||
        fwrite(w->planes, 1, w->yuv.size, w->file) != w->yuv.size || fflush(w->file) != 0)
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
