/* encoder.c: frames through libavcodec into a container of libavformat.
 *
 * H.264 is kept at a quality that the eye can't tell from the source (CRF 18), VP9 at about the
 * same. H.264 in 4:2:0 has even sizes only: an odd edge gets its last column or row twice. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/dict.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>

#include "flow/media/av/encoder.h"

struct lv_av_encoder {
    AVFormatContext *file;
    AVCodecContext *codec;
    AVStream *stream; /* of file */
    AVFrame *frame;
    AVPacket *packet;
    int width, height; /* of the frames that come in */
    int64_t count;
};

/* ---- codecs ---------------------------------------------------------------------------------- */

typedef struct codec {
    const char *name;
    lv_av_container container;
    bool even;           /* wants an even width and height */
    int most;            /* pixels each way                */
    const char *options; /* its own                        */
} codec;

static const codec codecs[] = {
    {"libx264", LV_AV_MP4, true, 16384, "preset=medium:crf=18"},
    {"libopenh264", LV_AV_MP4, true, 16384, "rc_mode=quality:allow_skip_frames=0"},
    {"libvpx-vp9", LV_AV_WEBM, false, 65535, "crf=24:deadline=good:cpu-used=3:row-mt=1"},
};
enum { CODECS = sizeof codecs / sizeof codecs[0] };

static const codec *find_codec(lv_av_container container, int index)
{
    for (int i = 0; i < CODECS; i++)
        if (codecs[i].container == container && avcodec_find_encoder_by_name(codecs[i].name) &&
            index-- == 0)
            return &codecs[i];
    return NULL;
}

const char *lv_av_codec_name(lv_av_container container, int index)
{
    const codec *c = find_codec(container, index);
    return c ? c->name : NULL;
}

static lvsa_status choose_codec(const codec **out, const lv_av_video *v, lv_av_why *why)
{
    const bool mp4 = v->container == LV_AV_MP4;
    const unsigned version = avcodec_version();
    const codec *c = *out = find_codec(v->container, 0);
    if (c && v->width <= c->most && v->height <= c->most) return LVSA_OK;
    if (c)
        snprintf(why->text, sizeof why->text, "%d x %d pixels: %s takes %d each way at most",
                 v->width, v->height, c->name, c->most);
    else
        snprintf(why->text, sizeof why->text,
                 "libavcodec %u.%u has no %s; install one that has, or write a %s or .y4m",
                 AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version),
                 mp4 ? "libx264 and no libopenh264" : "libvpx-vp9", mp4 ? ".webm" : ".mp4");
    return LVSA_ERR_UNSUPPORTED;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Primaries and curve are those of the pictures that models are trained on, whatever the matrix. */
static void set_codec(AVCodecContext *c, const lv_av_video *v, const codec *chosen)
{
    c->width = chosen->even ? v->width + v->width % 2 : v->width;
    c->height = chosen->even ? v->height + v->height % 2 : v->height;
    c->time_base = (AVRational){v->scale, v->rate};
    c->framerate = (AVRational){v->rate, v->scale};
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = v->bt709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->bit_rate = 0; /* the quality decides */
    /* OpenH264 has no constant quality: a quarter of a bit a pixel. */
    if (strcmp(chosen->name, "libopenh264") == 0)
        c->bit_rate = (int64_t)c->width * c->height * v->rate / v->scale / 4;
    c->thread_count = 0; /* as many as there are processors */
}

static int open_codec(lv_av_encoder *e, const lv_av_video *v, const codec *chosen)
{
    AVDictionary *options = NULL;
    e->codec = avcodec_alloc_context3(avcodec_find_encoder_by_name(chosen->name));
    if (!e->codec) return AVERROR(ENOMEM);
    set_codec(e->codec, v, chosen);
    if (e->file->oformat->flags & AVFMT_GLOBALHEADER)
        e->codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    int code = av_dict_parse_string(&options, chosen->options, "=", ":", 0);
    if (code >= 0) code = avcodec_open2(e->codec, NULL, &options);
    av_dict_free(&options);
    return code;
}

static int open_stream(lv_av_encoder *e, const lv_av_video *v)
{
    e->stream = avformat_new_stream(e->file, NULL);
    if (!e->stream) return AVERROR(ENOMEM);
    e->stream->time_base = e->codec->time_base;
    e->stream->avg_frame_rate = e->stream->r_frame_rate = e->codec->framerate;
    e->stream->sample_aspect_ratio = e->codec->sample_aspect_ratio;
    int code = avcodec_parameters_from_context(e->stream->codecpar, e->codec);
    if (code >= 0 && v->comment && *v->comment)
        code = av_dict_set(&e->file->metadata, "comment", v->comment, 0);
    return code;
}

static int make_frame(lv_av_encoder *e)
{
    e->packet = av_packet_alloc();
    e->frame = av_frame_alloc();
    if (!e->packet || !e->frame) return AVERROR(ENOMEM);
    e->frame->format = e->codec->pix_fmt;
    e->frame->width = e->codec->width;
    e->frame->height = e->codec->height;
    e->frame->color_range = e->codec->color_range;
    e->frame->colorspace = e->codec->colorspace;
    e->frame->color_primaries = e->codec->color_primaries;
    e->frame->color_trc = e->codec->color_trc;
    e->frame->chroma_location = e->codec->chroma_sample_location;
    return av_frame_get_buffer(e->frame, 0);
}

static lvsa_status open_parts(lv_av_encoder *e, const lv_av_video *v, lv_av_why *why)
{
    const codec *chosen;
    lvsa_status s = choose_codec(&chosen, v, why);
    if (s != LVSA_OK) return s;
    int code = avformat_alloc_output_context2(&e->file, NULL,
                                              v->container == LV_AV_MP4 ? "mp4" : "webm", NULL);
    if (code >= 0) code = open_codec(e, v, chosen);
    if (code < 0) {
        char what[160];
        snprintf(what, sizeof what, "%s refuses %d x %d pixels at %d/%d frames a second",
                 chosen->name, v->width, v->height, v->rate, v->scale);
        s = lv_av_fail(why, what, code);
        return s == LVSA_ERR_MEMORY ? s : LVSA_ERR_UNSUPPORTED;
    }
    code = open_stream(e, v);
    if (code >= 0) code = make_frame(e);
    return code < 0 ? lv_av_fail(why, chosen->name, code) : LVSA_OK;
}

lvsa_status lv_av_open(lv_av_encoder **out, const lv_av_video *video, lv_av_why *why)
{
    lv_av_encoder *e = av_mallocz(sizeof *e);
    *out = NULL;
    if (!e) return lv_av_fail(why, "an encoder", AVERROR(ENOMEM));
    e->width = video->width, e->height = video->height;
    lvsa_status s = open_parts(e, video, why);
    if (s != LVSA_OK) lv_av_close(&e);
    *out = e;
    return s;
}

lvsa_status lv_av_start(lv_av_encoder *e, const char *path, lv_av_why *why)
{
    AVDictionary *options = NULL;
    e->file->url = lv_av_make_url(path);
    if (!e->file->url) return lv_av_fail(why, "its name", AVERROR(ENOMEM));
    int code = avio_open(&e->file->pb, e->file->url, AVIO_FLAG_WRITE);
    if (code < 0) return lv_av_fail(why, "", code);
    const bool mp4 = strcmp(e->file->oformat->name, "mp4") == 0;
    if (mp4 && !(e->file->pb->seekable & AVIO_SEEKABLE_NORMAL)) {
        snprintf(why->text, sizeof why->text,
                 "no file: an .mp4 isn't written in one go; a .webm or .y4m can be");
        return LVSA_ERR_IO;
    }
    /* moov, the index, comes first, so that a player on the network can start at once. */
    if (mp4) code = av_dict_set(&options, "movflags", "+faststart", 0);
    if (code >= 0) code = avformat_write_header(e->file, &options);
    av_dict_free(&options);
    if (code >= 0) avio_flush(e->file->pb);
    if (code >= 0) code = e->file->pb->error;
    return code < 0 ? lv_av_fail(why, "", code) : LVSA_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* One plane; past the right and lower edge of what came in, that edge. */
static void fill_plane(uint8_t *to, int to_stride, int to_width, int to_height, const uint8_t *from,
                       int width, int height)
{
    for (int y = 0; y < to_height; y++) {
        const uint8_t *row = from + (size_t)width * (size_t)(y < height ? y : height - 1);
        uint8_t *out = to + (ptrdiff_t)to_stride * y;
        memcpy(out, row, (size_t)width);
        if (to_width > width) out[width] = row[width - 1];
    }
}

static void fill_frame(AVFrame *f, const uint8_t *planes, int width, int height)
{
    const int half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    const size_t luma = (size_t)width * (size_t)height;
    const size_t chroma = (size_t)half_width * (size_t)half_height;
    fill_plane(f->data[0], f->linesize[0], f->width, f->height, planes, width, height);
    for (int c = 0; c < 2; c++)
        fill_plane(f->data[1 + c], f->linesize[1 + c], half_width, half_height,
                   planes + luma + (size_t)c * chroma, half_width, half_height);
}

/* Into the file with all that the encoder has ready; frame NULL: with all that it has. */
static int encode(lv_av_encoder *e, const AVFrame *frame)
{
    int code = avcodec_send_frame(e->codec, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(e->codec, e->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return e->file->pb->error;
        if (code < 0) break;
        if (e->packet->duration == 0) e->packet->duration = 1; /* the last frame lasts as well */
        av_packet_rescale_ts(e->packet, e->codec->time_base, e->stream->time_base);
        e->packet->stream_index = e->stream->index;
        code = av_interleaved_write_frame(e->file, e->packet);
        if (code >= 0) code = e->file->pb->error;
    }
    return code;
}

lvsa_status lv_av_write(lv_av_encoder *e, const uint8_t *planes, lv_av_why *why)
{
    int code = av_frame_make_writable(e->frame);
    if (code >= 0) {
        fill_frame(e->frame, planes, e->width, e->height);
        e->frame->pts = e->count++;
        code = encode(e, e->frame);
    }
    return code < 0 ? lv_av_fail(why, "", code) : LVSA_OK;
}

lvsa_status lv_av_finish(lv_av_encoder *e, lv_av_why *why)
{
    int code = encode(e, NULL);
    if (code >= 0) code = av_write_trailer(e->file);
    if (code >= 0) avio_flush(e->file->pb);
    if (code >= 0) code = e->file->pb->error;
    int closed = avio_closep(&e->file->pb);
    if (code >= 0) code = closed;
    return code < 0 ? lv_av_fail(why, "", code) : LVSA_OK;
}

void lv_av_close(lv_av_encoder **encoder)
{
    lv_av_encoder *e = *encoder;
    *encoder = NULL;
    if (!e) return;
    av_packet_free(&e->packet);
    av_frame_free(&e->frame);
    avcodec_free_context(&e->codec);
    if (e->file) avio_closep(&e->file->pb);
    avformat_free_context(e->file);
    av_free(e);
}
