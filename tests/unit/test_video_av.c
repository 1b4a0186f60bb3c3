/* test_video_av.c: .mp4 and .webm, read back with libav; disks, devices and files that aren't
 * right. */
#include <stdio.h>

#ifndef LVSA_HAVE_LIBAV

int main(void)
{
    puts("skipped: the libav module isn't built here");
    return 77;
}

#else

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "testing.h"

#include <lvsa/lvsa.h>

#include "allocations.h"
#include "flow/media/yuv.h"
#include "scratch.h"

static const char *const endings[] = {"f.mp4", "f.webm"};
enum { MP4 = 0, WEBM = 1, ENDINGS = 2 };

static lvsa_video_format make_format(int width, int height)
{
    lvsa_video_format f = LVSA_VIDEO_FORMAT_INIT;
    f.width = width, f.height = height, f.rate = 30000, f.scale = 1001;
    return f;
}

/* Frame `index` of eight bars that move to the left. */
static void draw_bars(uint8_t *rgb, int width, int height, int index)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int bar = (x + 2 * index) * 8 / width % 8;
            for (int c = 0; c < 3; c++)
                rgb[(y * width + x) * 3 + c] = (uint8_t)(bar >> c & 1 ? 200 + 2 * c : 30 + y % 40);
        }
}

/* What no encoder can make small. */
static void draw_noise(uint8_t *rgb, int width, int height, int index)
{
    uint32_t bits = (uint32_t)index * 77777u + 1;
    for (int i = 0; i < width * height * 3; i++) {
        bits = bits * 1664525u + 1013904223u;
        rgb[i] = (uint8_t)(bits >> 24);
    }
}

static uint8_t *make_room(size_t bytes)
{
    uint8_t *room = malloc(bytes);
    assert_non_null(room);
    return room;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* ---- what was written comes back ------------------------------------------------------------- */

enum { FRAMES = 25 };

static void write_bars(const char *path, const lvsa_video_format *format)
{
    uint8_t *rgb = make_room((size_t)(format->width * format->height * 3));
    lvsa_video *video;
    CHECK_OK(lvsa_video_open(&video, path, format));
    for (int i = 0; i < FRAMES; i++) {
        draw_bars(rgb, format->width, format->height, i);
        CHECK_OK(lvsa_video_write(video, rgb));
    }
    CHECK_OK(lvsa_video_finish(&video));
    assert_null(video);
    free(rgb);
}

/* dB, of one plane. */
static double psnr(const uint8_t *have, int stride, const uint8_t *want, int width, int height)
{
    double sum = 0.0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const double d = have[y * stride + x] - want[y * width + x];
            sum += d * d;
        }
    return sum == 0.0 ? 99.0 : 10.0 * log10(255.0 * 255.0 * width * height / sum);
}

static void check_frame(const AVFrame *have, const lvsa_video_format *format, int index)
{
    const int width = format->width, height = format->height;
    const int half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    const lv_yuv yuv = lv_yuv_make(width, height, LV_YUV_LEFT);
    uint8_t *rgb = make_room((size_t)(width * height * 3)), *planes = make_room(yuv.size);
    const uint8_t *want[] = {planes, planes + width * height,
                             planes + width * height + half_width * half_height};
    draw_bars(rgb, width, height, index);
    lv_yuv_convert(planes, rgb, &yuv);
    for (int p = 0; p < 3; p++) {
        const double db = psnr(have->data[p], have->linesize[p], want[p], p ? half_width : width,
                               p ? half_height : height);
        if (db < 30.0)
            fail_msg("%d x %d: frame %d, plane %d: %.1f dB", width, height, index, p, db);
    }
    free(rgb);
    free(planes);
}

/* The picture's matrix is the one that it says, and the time is the frame's. */
static void check_stream(const AVCodecContext *c, const AVStream *s,
                         const lvsa_video_format *format, int ending)
{
    const int pad = ending == MP4; /* to an even size */
    const double fps = (double)format->rate / format->scale;
    assert_int_equal(c->width, format->width + pad * (format->width % 2));
    assert_int_equal(c->height, format->height + pad * (format->height % 2));
    assert_int_equal(c->pix_fmt, AV_PIX_FMT_YUV420P);
    assert_int_equal(c->color_range, AVCOL_RANGE_MPEG);
    assert_int_equal(c->colorspace, format->height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M);
    assert_int_equal(c->color_primaries, AVCOL_PRI_BT709);
    assert_int_equal(c->color_trc, AVCOL_TRC_BT709);
    assert_true(fabs(av_q2d(s->avg_frame_rate) - fps) < 1e-3);
    if (ending == MP4)
        assert_int_equal(av_cmp_q(s->avg_frame_rate, (AVRational){format->rate, format->scale}), 0);
}

static void check_time(int64_t pts, const AVStream *s, const lvsa_video_format *format, int ending,
                       int index)
{
    const double seconds = (double)index * format->scale / format->rate;
    /* .webm counts milliseconds */
    assert_true(fabs((double)pts * av_q2d(s->time_base) - seconds) < (ending == MP4 ? 1e-9 : 6e-4));
}

static void check_video(const char *path, const lvsa_video_format *format, int ending)
{
    AVFormatContext *file = NULL;
    assert_int_equal(avformat_open_input(&file, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(file, NULL) >= 0);
    assert_int_equal(file->nb_streams, 1);
    const AVStream *s = file->streams[0];
    const AVCodec *decoder =
        avcodec_find_decoder(ending == MP4 ? AV_CODEC_ID_H264 : AV_CODEC_ID_VP9);
    AVCodecContext *c = avcodec_alloc_context3(decoder);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    assert_true(c && packet && frame);
    assert_int_equal(avcodec_parameters_to_context(c, s->codecpar), 0);
    assert_int_equal(avcodec_open2(c, decoder, NULL), 0);
    int count = 0, packets = 0;
    for (bool more = true; more;) {
        more = av_read_frame(file, packet) >= 0;
        assert_int_equal(avcodec_send_packet(c, more ? packet : NULL), 0);
        packets += more;
        av_packet_unref(packet);
        while (avcodec_receive_frame(c, frame) >= 0) {
            check_time(frame->pts, s, format, ending, count);
            check_frame(frame, format, count++);
        }
    }
    assert_int_equal(count, FRAMES);
    assert_int_equal(packets, FRAMES);
    check_stream(c, s, format, ending);
    const double end = (double)file->duration / AV_TIME_BASE;
    assert_true(fabs(end - (double)FRAMES * format->scale / format->rate) < 2e-3);
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&c);
    avformat_close_input(&file);
}

/* At even sizes and odd ones, in the one matrix and the other, at a fraction and a round rate. */
static void bars_come_back(void **state)
{
    (void)state;
    static const int sizes[][2] = {{64, 48}, {63, 47}, {160, 90}, {33, 721}, {48, 720}, {1, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int e = 0; e < ENDINGS; e++) {
            lvsa_video_format format = make_format(sizes[i][0], sizes[i][1]);
            if (i % 2) format.rate = 16, format.scale = 1;
            write_bars(scratch_path(endings[e]), &format);
            check_video(scratch_path(endings[e]), &format, e);
            remove(scratch_path(endings[e]));
        }
}

/* The boxes of the file in their order: "ftypmoovfreemdat". */
static void the_index_comes_first(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(64, 48);
    const char *path = scratch_path("f.mp4");
    char boxes[256] = "";
    unsigned char head[8];
    write_bars(path, &format);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while (fread(head, 1, sizeof head, file) == sizeof head) {
        const long size = (long)head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3];
        assert_true(size >= 8 && strlen(boxes) < 200);
        strncat(boxes, (const char *)head + 4, 4);
        fseek(file, size - 8, SEEK_CUR);
    }
    fclose(file);
    const char *moov = strstr(boxes, "moov"), *mdat = strstr(boxes, "mdat");
    assert_true(moov && mdat && moov < mdat);
    remove(path);
}

/* ---- comments -------------------------------------------------------------------------------- */

static void comment_case(const char *path, const char *comment)
{
    lvsa_video_format format = make_format(16, 16);
    char *have;
    format.comment = comment;
    write_bars(path, &format);
    CHECK_OK(lvsa_video_read_comment(&have, path));
    if (comment) assert_string_equal(have, comment);
    else assert_null(have);
    lvsa_video_comment_free(&have);
    assert_null(have);
    remove(path);
}

static void comments_come_back(void **state)
{
    (void)state;
    enum { LONG = 100000 };
    char *text = (char *)make_room(LONG + 1);
    for (int i = 0; i < LONG; i++) text[i] = (char)('a' + i % 26);
    text[LONG] = '\0';
    for (int e = 0; e < ENDINGS; e++) {
        comment_case(scratch_path(endings[e]), NULL);
        comment_case(scratch_path(endings[e]), "{\"prompt\": \"Ein Fuchs \xc3\xbc"
                                               "ber\\n\xe9\x9b\xaa = ; \\\\ \"}");
        comment_case(scratch_path(endings[e]), text);
    }
    free(text);
    lvsa_video_comment_free(NULL);
}

static void comments_that_cannot_be_read(void **state)
{
    (void)state;
    /* A playlist that names another file must stay a file that isn't a video. */
    static const char list[] = "ffconcat version 1.0\nfile /etc/hostname\n";
    char *text = (char *)list;
    for (int e = 0; e < ENDINGS; e++) {
        CHECK_FAILS(lvsa_video_read_comment(&text, scratch_path(endings[e])), LVSA_ERR_IO,
                    strerror(ENOENT));
        assert_null(text);
        const char *path = scratch_write(endings[e], list, sizeof list - 1);
        CHECK_FAILS(lvsa_video_read_comment(&text, path), LVSA_ERR_FORMAT, "neither .mp4");
        scratch_write(endings[e], "", 0);
        CHECK_FAILS(lvsa_video_read_comment(&text, path), LVSA_ERR_FORMAT, endings[e]);
        remove(path);
    }
    CHECK_FAILS(lvsa_video_read_comment(&text, "f.avi"), LVSA_ERR_ARGUMENT, "such as clip.mp4");
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void an_abort_leaves_nothing(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(64, 48);
    uint8_t *rgb = make_room(64 * 48 * 3);
    draw_noise(rgb, 64, 48, 0);
    for (int e = 0; e < ENDINGS; e++)
        for (int frames = 0; frames < 12; frames = frames * 2 + 1) {
            lvsa_video *video;
            CHECK_OK(lvsa_video_open(&video, scratch_path(endings[e]), &format));
            assert_false(exists(scratch_path(endings[e]))); /* not before all of it is there */
            for (int i = 0; i < frames; i++) CHECK_OK(lvsa_video_write(video, rgb));
            lvsa_video_abort(&video);
            assert_null(video);
            assert_false(exists(scratch_path(endings[e])));
        }
    free(rgb);
}

/* A video without a frame is one that no player takes, but no mistake. */
static void no_frames(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(64, 48);
    for (int e = 0; e < ENDINGS; e++) {
        lvsa_video *video;
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[e]), &format));
        CHECK_OK(lvsa_video_finish(&video));
        remove(scratch_path(endings[e]));
    }
}

/* A file is lost neither without leave nor to a video that can't be. */
static void files_are_kept(void **state)
{
    (void)state;
    lvsa_video *video;
    for (int e = 0; e < ENDINGS; e++) {
        const char *path = scratch_write(endings[e], "old", 3);
        lvsa_video_format format = make_format(64, 48);
        struct stat status;
        CHECK_FAILS(lvsa_video_open(&video, path, &format), LVSA_ERR_IO, "is there already");
        format.replace = 1, format.width = 32000;
        if (e == MP4)
            CHECK_FAILS(lvsa_video_open(&video, path, &format), LVSA_ERR_UNSUPPORTED,
                        "32000 x 48 pixels");
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, 3);
        format.width = 64;
        CHECK_OK(lvsa_video_open(&video, path, &format));
        lvsa_video_abort(&video);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, 3);
        remove(path);
        mkdir(path, 0700);
        CHECK_FAILS(lvsa_video_open(&video, path, &format), LVSA_ERR_IO, strerror(EISDIR));
        rmdir(path);
        CHECK_FAILS(lvsa_video_open(&video, "/nowhere/f.mp4", &format), LVSA_ERR_IO,
                    "/nowhere/f.mp4: ");
    }
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Writes up to `frames` on a disk with room for some only, and says whether writing has failed,
 * not finishing. */
static bool fill_disk(const char *ending, int frames)
{
    const lvsa_video_format format = make_format(64, 64);
    uint8_t *rgb = make_room(64 * 64 * 3);
    lvsa_video *video;
    limit_files(20000);
    lvsa_status s = lvsa_video_open(&video, scratch_path(ending), &format);
    for (int i = 0; s == LVSA_OK && i < frames; i++) {
        draw_noise(rgb, 64, 64, i);
        s = lvsa_video_write(video, rgb);
    }
    const bool early = s != LVSA_OK;
    if (!early) s = lvsa_video_finish(&video);
    limit_files(RLIM_INFINITY);
    CHECK_FAILS(s, LVSA_ERR_IO, ending);
    assert_non_null(strstr(lvsa_last_error(), strerror(EFBIG)));
    /* Once failed, it stays so. */
    if (early) CHECK_FAILS(lvsa_video_write(video, rgb), LVSA_ERR_IO, strerror(EFBIG));
    if (early) CHECK_FAILS(lvsa_video_finish(&video), LVSA_ERR_IO, strerror(EFBIG));
    lvsa_video_abort(&video);
    assert_false(exists(scratch_path(ending)));
    free(rgb);
    return early;
}

/* A few frames are still in the encoder when the disk is full, so finishing tells; of many, writing
 * does. */
static void full_disks(void **state)
{
    (void)state;
    for (int e = 0; e < ENDINGS; e++) {
        assert_false(fill_disk(endings[e], 10));
        assert_true(fill_disk(endings[e], 400));
    }
}

/* Not even the header fits. The link isn't ours to remove. */
static void full_devices(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(64, 48);
    for (int e = 0; e < ENDINGS; e++) {
        const char *link = scratch_path(endings[e]);
        lvsa_video *video;
        assert_int_equal(symlink("/dev/full", link), 0);
        CHECK_FAILS(lvsa_video_open(&video, link, &format), LVSA_ERR_IO, strerror(ENOSPC));
        assert_null(video);
        assert_true(exists(link));
        remove(link);
    }
}

/* Two at once, and one that is filled faster than it encodes. */
static void two_at_once(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(320, 240);
    uint8_t *rgb = make_room(320 * 240 * 3);
    lvsa_video *videos[ENDINGS];
    for (int e = 0; e < ENDINGS; e++)
        CHECK_OK(lvsa_video_open(&videos[e], scratch_path(endings[e]), &format));
    for (int i = 0; i < FRAMES; i++) {
        draw_bars(rgb, 320, 240, i);
        for (int e = 0; e < ENDINGS; e++) CHECK_OK(lvsa_video_write(videos[e], rgb));
        memset(rgb, 0, 320 * 240 * 3); /* what was given is the caller's again */
    }
    for (int e = 0; e < ENDINGS; e++) {
        CHECK_OK(lvsa_video_finish(&videos[e]));
        check_video(scratch_path(endings[e]), &format, e);
        remove(scratch_path(endings[e]));
    }
    free(rgb);
}

static lvsa_status open_video(void *user)
{
    const char *ending = user;
    const lvsa_video_format format = make_format(16, 16);
    lvsa_video *video;
    lvsa_status s = lvsa_video_open(&video, scratch_path(ending), &format);
    assert_true((s == LVSA_OK) == (video != NULL));
    lvsa_video_abort(&video);
    assert_false(exists(scratch_path(ending)));
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    char mp4[] = "f.mp4", webm[] = "f.webm";
    assert_int_equal(fail_each_allocation(open_video, mp4), 7);
    assert_int_equal(fail_each_allocation(open_video, webm), 7);
}

static int set_up(void **state)
{
    setenv("LVSA_MODULE_DIR", MODULE_DIR, 1);
    return scratch_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars_come_back),
        cmocka_unit_test(the_index_comes_first),
        cmocka_unit_test(comments_come_back),
        cmocka_unit_test(comments_that_cannot_be_read),
        cmocka_unit_test(an_abort_leaves_nothing),
        cmocka_unit_test(no_frames),
        cmocka_unit_test(files_are_kept),
        cmocka_unit_test(full_disks),
        cmocka_unit_test(full_devices),
        cmocka_unit_test(two_at_once),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}

#endif
