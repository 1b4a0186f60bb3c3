/* video.c: finds the writer for a name. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "flow/media/writer.h"

static const lv_video_writer *const writers[] = {&lv_video_mp4, &lv_video_webm, &lv_video_y4m,
                                                 &lv_video_png};
enum { WRITERS = sizeof writers / sizeof writers[0] };

static bool ends_in(const char *path, const char *extension)
{
    size_t length = strlen(path), wanted = strlen(extension);
    if (length <= wanted) return false;
    for (size_t i = 0; i < wanted; i++)
        if (tolower((unsigned char)path[length - wanted + i]) != extension[i]) return false;
    return true;
}

/* NULL: no format's. */
static const lv_video_writer *find_writer(const char *path)
{
    for (int i = 0; i < WRITERS; i++)
        if (ends_in(path, writers[i]->extension)) return writers[i];
    return NULL;
}

static lvsa_status fail_unknown(const char *path)
{
    char known[256] = "";
    for (int i = 0, used = 0; i < WRITERS; i++)
        used += snprintf(known + used, sizeof known - (size_t)used, "%s%s", i ? ", " : "",
                         writers[i]->example);
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "\"%s\": the end of the name says what to write, and this one isn't known; such "
                   "as %s is wanted",
                   path, known);
}

lvsa_status lvsa_video_open(lvsa_video **out, const char *path, const lvsa_video_format *format)
{
    enum { MOST = 1 << 15 };
    const lv_video_writer *writer = find_writer(path);
    *out = NULL;
    if (format->size != sizeof *format)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_video_format of %zu bytes, %zu wanted: start with "
                       "LVSA_VIDEO_FORMAT_INIT",
                       format->size, sizeof *format);
    if (!writer) return fail_unknown(path);
    if (format->width < 1 || format->height < 1 || format->width > MOST || format->height > MOST)
        return lv_fail(LVSA_ERR_ARGUMENT, "frames of %d x %d pixels: 1 to %d each way is wanted",
                       format->width, format->height, MOST);
    if (format->rate < 1 || format->scale < 1)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d/%d frames a second: above 0 is wanted", format->rate,
                       format->scale);
    LV_TRY(writer->open(out, path, format));
    (*out)->writer = writer;
    (*out)->format = *format;
    (*out)->format.comment = NULL; /* was the caller's */
    return LVSA_OK;
}

lvsa_status lvsa_video_write(lvsa_video *video, const uint8_t *rgb)
{
    return video->writer->write(video, rgb);
}

lvsa_status lvsa_video_finish(lvsa_video **video)
{
    if (!video || !*video) return LVSA_OK;
    lvsa_status s = (*video)->writer->finish(*video);
    if (s != LVSA_OK) (*video)->writer->remove(*video);
    (*video)->writer->free(*video);
    *video = NULL;
    return s;
}

void lvsa_video_abort(lvsa_video **video)
{
    if (!video || !*video) return;
    (*video)->writer->remove(*video);
    (*video)->writer->free(*video);
    *video = NULL;
}

/* FFmpeg and others keep the comment when they put a video into a container of these. */
static bool is_container(const char *path)
{
    return ends_in(path, ".mkv") || ends_in(path, ".mov") || ends_in(path, ".m4v");
}

lvsa_status lvsa_video_read_comment(char **out, const char *path)
{
    const lv_video_writer *writer = is_container(path) ? &lv_video_mp4 : find_writer(path);
    *out = NULL;
    if (!writer)
        return lv_fail(LVSA_ERR_ARGUMENT, "\"%s\": the name of a video, such as %s, is wanted",
                       path, lv_video_mp4.example);
    return writer->read_comment ? writer->read_comment(out, path) : LVSA_OK;
}

void lvsa_video_comment_free(char **text)
{
    if (!text) return;
    lv_free(*text);
    *text = NULL;
}

lvsa_status lv_video_check_free(const char *path, int replace)
{
    struct stat status;
    if (replace || stat(path, &status) != 0 || !S_ISREG(status.st_mode)) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO,
                   "%s is there already; another name is wanted, or leave to replace it (--force)",
                   path);
}

lvsa_status lv_video_place(lv_file **file, const char *path, int replace)
{
    LV_TRY(lv_video_check_free(path, replace));
    return replace ? lv_file_finish(file) : lv_file_finish_new(file);
}
