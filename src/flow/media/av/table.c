/* table.c: the module's side: all that it offers. */
#include <stdio.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/log.h>

#include "flow/media/av/encoder.h"

/* libav talks to stderr, and its setting is the process's: a program that has set it keeps it. */
static void be_silent(void)
{
    if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_QUIET);
}

static const lv_av_table table = {
    .abi = LV_AV_ABI,
    .size = sizeof(lv_av_table),
    .open = lv_av_open,
    .start = lv_av_start,
    .write = lv_av_write,
    .finish = lv_av_finish,
    .close = lv_av_close,
    .read_comment = lv_av_read_comment,
};

LVSA_API const lv_av_table *lv_av_module_table(void)
{
    be_silent();
    return &table;
}

LVSA_API const char *lv_av_module_about(void)
{
    static char text[128];
    const unsigned version = avformat_version();
    const char *h264 = lv_av_codec_name(LV_AV_MP4, 0), *vp9 = lv_av_codec_name(LV_AV_WEBM, 0);
    snprintf(text, sizeof text, "%u.%u (%s, %s)", AV_VERSION_MAJOR(version),
             AV_VERSION_MINOR(version), h264 ? h264 : "no H.264", vp9 ? vp9 : "no VP9");
    return text;
}

char *lv_av_make_url(const char *path) { return av_asprintf("file:%s", path); }

lvsa_status lv_av_fail(lv_av_why *why, const char *what, int code)
{
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, words, sizeof words);
    snprintf(why->text, sizeof why->text, "%s%s%s", what, *what ? ": " : "", words);
    return code == AVERROR(ENOMEM) ? LVSA_ERR_MEMORY : LVSA_ERR_IO;
}
