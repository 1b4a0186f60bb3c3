/* y4m.c: YUV4MPEG2, one header line, then frames of planes Y, Cb, Cr, one byte a sample. C420jpeg
 * says where chroma lies; the format has no word for the matrix (see yuv.c), and no room for a
 * comment: readers take 80 bytes or so of header. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "flow/media/writer.h"
#include "flow/media/yuv.h"

typedef struct y4m {
    lvsa_video base;
    lv_file *file;
    char *path;
    lv_yuv yuv;
    uint8_t frame[]; /* FRAME_HEAD, then planes [yuv.size] */
} y4m;

static const char FRAME_HEAD[] = "FRAME\n";
enum { HEAD = sizeof FRAME_HEAD - 1 };

static void y4m_free(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    lv_free(w->path);
    lv_free(w);
}

static void y4m_remove(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    lv_file_abort(&w->file);
}

static lvsa_status y4m_open(lvsa_video **out, const char *path, const lvsa_video_format *f)
{
    LV_TRY(lv_video_check_free(path, f->replace));
    const lv_yuv yuv = lv_yuv_make(f->width, f->height, LV_YUV_CENTRE);
    char head[128];
    const int length = snprintf(head, sizeof head,
                                "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n",
                                f->width, f->height, f->rate, f->scale);
    y4m *w = lv_zalloc(sizeof *w + HEAD + yuv.size);
    if (w) w->path = lv_strndup(path, strlen(path));
    if (!w || !w->path) {
        lv_free(w);
        return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a frame of %zu bytes", path, yuv.size);
    }
    w->yuv = yuv;
    memcpy(w->frame, FRAME_HEAD, HEAD);
    lvsa_status s = lv_file_create(&w->file, path);
    if (s == LVSA_OK) s = lv_file_write(w->file, head, (size_t)length);
    if (s != LVSA_OK) {
        y4m_remove(&w->base);
        y4m_free(&w->base);
    } else *out = &w->base;
    return s;
}

static lvsa_status y4m_write(lvsa_video *video, const uint8_t *rgb)
{
    y4m *w = (y4m *)video;
    lv_yuv_convert(w->frame + HEAD, rgb, &w->yuv);
    return lv_file_write(w->file, w->frame, HEAD + w->yuv.size);
}

static lvsa_status y4m_finish(lvsa_video *video)
{
    y4m *w = (y4m *)video;
    return lv_video_place(&w->file, w->path, video->format.replace);
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
