/* comment.c: reads the comment of a container, and nothing else of it. */
#include <errno.h>
#include <stdio.h>

#include <libavformat/avformat.h>
#include <libavutil/dict.h>
#include <libavutil/mem.h>

#include "flow/media/av/encoder.h"

/* Whatever the file says, no other format is tried and no other file or address opened. */
static int set_limits(AVDictionary **out)
{
    int code = av_dict_set(out, "format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", 0);
    return code < 0 ? code : av_dict_set(out, "protocol_whitelist", "file", 0);
}

/* The system's errors are small numbers; the demuxers' own are four letters, but for the one that
 * says that a format isn't among those allowed. */
static bool is_format(int code)
{
    enum { MOST_ERRNO = 4095 };
    return code == AVERROR(EINVAL) || code < -MOST_ERRNO;
}

static lvsa_status fail_format(lv_av_why *why, int code)
{
    lv_av_fail(why, "neither .mp4 nor .webm that can be read", code);
    return LVSA_ERR_FORMAT;
}

lvsa_status lv_av_read_comment(const char *path, void (*take)(void *user, const char *text),
                               void *user, lv_av_why *why)
{
    AVFormatContext *file = NULL;
    AVDictionary *limits = NULL;
    char *url = lv_av_make_url(path);
    int code = url ? set_limits(&limits) : AVERROR(ENOMEM);
    if (code >= 0) code = avformat_open_input(&file, url, NULL, &limits);
    if (code >= 0) {
        const AVDictionaryEntry *comment = av_dict_get(file->metadata, "comment", NULL, 0);
        if (comment) take(user, comment->value);
    }
    avformat_close_input(&file);
    av_dict_free(&limits);
    av_free(url);
    if (code >= 0) return LVSA_OK;
    return is_format(code) ? fail_format(why, code) : lv_av_fail(why, "", code);
}
