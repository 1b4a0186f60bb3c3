/* test_video.c: video files, read back; names, places and disks that aren't right. */
#include <errno.h>
#include <glob.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef LVSA_HAVE_PNG
#include <png.h>
#endif

#include "testing.h"

#include <lvsa/lvsa.h>

#include "allocations.h"
#include "flow/media/yuv.h"
#include "scratch.h"

static lvsa_video_format make_format(int width, int height)
{
    lvsa_video_format f = LVSA_VIDEO_FORMAT_INIT;
    f.width = width, f.height = height, f.rate = 30000, f.scale = 1001;
    return f;
}

/* Frame `index` of some video: squares of 2 x 2 pixels of one colour each, or every pixel of
 * its own. The caller frees it. */
static uint8_t *make_frame(int width, int height, int index, bool squares)
{
    uint8_t *rgb = malloc((size_t)(width * height * 3));
    assert_non_null(rgb);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                int at_y = squares ? y / 2 : y, at_x = squares ? x / 2 : x;
                uint32_t bits = (uint32_t)(((index * 1000 + at_y) * 1000 + at_x) * 3 + c + 1);
                bits *= 2654435761u;
                bits = (bits ^ bits >> 15) * 2246822519u;
                /* the corners of the cube of colours too */
                int value = (int)(bits >> 16 & 0x1ff) - 128;
                rgb[(y * width + x) * 3 + c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
    return rgb;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static long size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (long)status.st_size;
}

/* Files that aren't in their place yet. */
static int count_pieces(void)
{
    glob_t found;
    if (glob(scratch_path("*.tmp"), 0, NULL, &found) != 0) return 0;
    const int count = (int)found.gl_pathc;
    globfree(&found);
    return count;
}

/* ---- y4m ------------------------------------------------------------------------------------- */

/* Red, green and blue, 0 .. 255, from samples of the limited range; kr and kb are the matrix's. */
static void to_rgb(double rgb[3], double y, double cb, double cr, double kr, double kb)
{
    const double luma = (y - 16.0) / 219.0, kg = 1.0 - kr - kb;
    const double red = luma + (cr - 128.0) / 224.0 * (2.0 - 2.0 * kr);
    const double blue = luma + (cb - 128.0) / 224.0 * (2.0 - 2.0 * kb);
    rgb[0] = 255.0 * red;
    rgb[1] = 255.0 * (luma - kr * red - kb * blue) / kg;
    rgb[2] = 255.0 * blue;
}

/* Half a step of each sample moves a colour by no more than this: 0.5 * 255 / 219 of luma and
 * 0.5 * 255 / 224 * 1.86 of chroma, the most any matrix has. */
static const double MOST = 1.7;

static void check_planes(const uint8_t *planes, const uint8_t *rgb, int width, int height)
{
    const double kr = height >= 720 ? 0.2126 : 0.299, kb = height >= 720 ? 0.0722 : 0.114;
    const int half_width = (width + 1) / 2, half = half_width * ((height + 1) / 2);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int at = y * width + x, chroma = width * height + y / 2 * half_width + x / 2;
            double have[3];
            to_rgb(have, planes[at], planes[chroma], planes[chroma + half], kr, kb);
            for (int c = 0; c < 3; c++)
                if (fabs(have[c] - rgb[3 * at + c]) > MOST)
                    fail_msg("%d x %d: pixel %d, %d, colour %d is %.2f, %d wanted", width, height,
                             x, y, c, have[c], rgb[3 * at + c]);
        }
}

static void y4m_case(int width, int height)
{
    const size_t size = (size_t)(width * height + 2 * ((width + 1) / 2) * ((height + 1) / 2));
    const lvsa_video_format format = make_format(width, height);
    char wanted[256], path[512], line[256];
    lvsa_video *video;
    snprintf(path, sizeof path, "%s", scratch_path("clip.y4m"));
    CHECK_OK(lvsa_video_open(&video, path, &format));
    for (int i = 0; i < 3; i++) {
        uint8_t *rgb = make_frame(width, height, i, true);
        CHECK_OK(lvsa_video_write(video, rgb));
        free(rgb);
    }
    CHECK_OK(lvsa_video_finish(&video));
    assert_null(video);

    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    snprintf(wanted, sizeof wanted,
             "YUV4MPEG2 W%d H%d F30000:1001 Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n", width, height);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, wanted);
    uint8_t *planes = malloc(size);
    assert_non_null(planes);
    for (int i = 0; i < 3; i++) {
        uint8_t *rgb = make_frame(width, height, i, true);
        assert_non_null(fgets(line, sizeof line, file));
        assert_string_equal(line, "FRAME\n");
        assert_int_equal(fread(planes, 1, size, file), size);
        check_planes(planes, rgb, width, height);
        free(rgb);
    }
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    free(planes);
    remove(path);
}

static void y4m_comes_back(void **state)
{
    (void)state;
    y4m_case(16, 8);
    y4m_case(1, 1);
    y4m_case(7, 5);
    y4m_case(2, 720);
    y4m_case(3, 719);
    y4m_case(5, 721);
}

/* Four colours of a square give the chroma of their mean. */
static void y4m_averages_chroma(void **state)
{
    (void)state;
    static const uint8_t rgb[] = {255, 0, 0, 0, 0, 255, 0, 255, 0, 40, 80, 120};
    const lvsa_video_format format = make_format(2, 2);
    uint8_t bytes[512];
    char path[512];
    lvsa_video *video;
    snprintf(path, sizeof path, "%s", scratch_path("four.Y4M"));
    CHECK_OK(lvsa_video_open(&video, path, &format));
    CHECK_OK(lvsa_video_write(video, rgb));
    CHECK_OK(lvsa_video_finish(&video));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    const uint8_t *planes = bytes + size - 6;
    double mean[3], luma = 0.0;
    static const double k[] = {0.299, 0.587, 0.114};
    for (int c = 0; c < 3; c++) {
        mean[c] = (rgb[c] + rgb[3 + c] + rgb[6 + c] + rgb[9 + c]) / 4.0 / 255.0;
        luma += k[c] * mean[c];
    }
    for (int i = 0; i < 4; i++) {
        double y = 16.0;
        for (int c = 0; c < 3; c++) y += 219.0 * k[c] * rgb[3 * i + c] / 255.0;
        assert_true(fabs(planes[i] - y) < 0.51);
    }
    assert_true(fabs(planes[4] - (128.0 + 224.0 * (mean[2] - luma) / 1.772)) < 0.51);
    assert_true(fabs(planes[5] - (128.0 + 224.0 * (mean[0] - luma) / 1.402)) < 0.51);
}

/* H.264's chroma lies on the even columns: half of it is that column's, and a quarter each
 * neighbour's. */
static void chroma_may_lie_left(void **state)
{
    (void)state;
    static const uint8_t rgb[] = {10, 20, 250, 0, 0, 0, 90, 160, 40, 200, 30, 100};
    const lv_yuv yuv = lv_yuv_make(4, 1, LV_YUV_LEFT);
    uint8_t planes[8];
    assert_int_equal(yuv.size, sizeof planes);
    lv_yuv_convert(planes, rgb, &yuv);
    for (int i = 0; i < 2; i++) {
        static const int columns[2][3] = {{0, 0, 1}, {1, 2, 3}};
        double mean[3];
        for (int c = 0; c < 3; c++)
            mean[c] = (rgb[3 * columns[i][0] + c] + 2 * rgb[3 * columns[i][1] + c] +
                       rgb[3 * columns[i][2] + c]) /
                      4.0 / 255.0;
        const double luma = 0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2];
        assert_true(fabs(planes[4 + i] - (128.0 + 224.0 * (mean[2] - luma) / 1.772)) < 0.51);
        assert_true(fabs(planes[6 + i] - (128.0 + 224.0 * (mean[0] - luma) / 1.402)) < 0.51);
    }
}

/* ---- png ------------------------------------------------------------------------------------- */

#ifdef LVSA_HAVE_PNG

static void check_png(const char *path, const uint8_t *rgb, int width, int height)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, path)) fail_msg("%s: %s", path, image.message);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.format, PNG_FORMAT_RGB);
    uint8_t *have = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(have);
    assert_true(png_image_finish_read(&image, NULL, have, 0, NULL));
    assert_memory_equal(have, rgb, (size_t)(width * height * 3));
    free(have);
}

static void png_case(const char *pattern, const char *first, const char *twelfth)
{
    enum { WIDTH = 9, HEIGHT = 5, FRAMES = 12 };
    const lvsa_video_format format = make_format(WIDTH, HEIGHT);
    lvsa_video *video;
    uint8_t *rgb[FRAMES];
    CHECK_OK(lvsa_video_open(&video, scratch_path(pattern), &format));
    for (int i = 0; i < FRAMES; i++) {
        rgb[i] = make_frame(WIDTH, HEIGHT, i, false);
        CHECK_OK(lvsa_video_write(video, rgb[i]));
    }
    CHECK_OK(lvsa_video_finish(&video));
    check_png(scratch_path(first), rgb[0], WIDTH, HEIGHT);
    check_png(scratch_path(twelfth), rgb[11], WIDTH, HEIGHT);
    for (int i = 0; i < FRAMES; i++) free(rgb[i]);
}

static void png_comes_back(void **state)
{
    (void)state;
    png_case("a/out_%04d.png", "a/out_0000.png", "a/out_0011.png");
    png_case("a/%d.PNG", "a/0.PNG", "a/11.PNG");
}

/* Whichever of the pictures that are to come is there. */
static void no_picture_is_lost(void **state)
{
    (void)state;
    lvsa_video_format format = make_format(4, 4);
    lvsa_video *video;
    const char *last = scratch_write("p_7.png", "old", 3);
    format.frames = 8;
    CHECK_FAILS(lvsa_video_open(&video, scratch_path("p_%d.png"), &format), LVSA_ERR_IO,
                "p_7.png is there already");
    format.frames = 7;
    CHECK_OK(lvsa_video_open(&video, scratch_path("p_%d.png"), &format));
    lvsa_video_abort(&video);
    assert_int_equal(size_of(last), 3);
    remove(last);
}

#else

static void png_is_off(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    lvsa_video *video;
    CHECK_FAILS(lvsa_video_open(&video, scratch_path("f_%d.png"), &format), LVSA_ERR_UNSUPPORTED,
                "no libpng; write a .y4m");
    assert_null(video);
}

#endif

/* ---- what is refused ------------------------------------------------------------------------- */

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words;
    } cases[] = {
        {"clip.mp4x", "such as clip.mp4, clip.webm, clip.y4m, out_%04d.png"},
        {"clip", "isn't known"},
        {"y4m", "isn't known"},
        {".y4m", "isn't known"},
        {"", "isn't known"},
        {"clip.y4m/", "isn't known"},
#ifdef LVSA_HAVE_PNG
        {"out.png", "holds one frame"},
        {"%d_%d.png", "no other %"},
        {"out_%04d_%s.png", "no other %"},
        {"out_%n.png", "one number"},
        {"out_%s.png", "one number"},
        {"out_%x.png", "one number"},
        {"out_%ld.png", "one number"},
        {"out_%%d.png", "one number"},
        {"out_%", "isn't known"},
        {"out_%.png", "one number"},
        {"out_%0.png", "one number"},
        {"out_%0", "isn't known"},
        {"out_%00d.png", "one number"},
        {"out_%010d.png", "one number"},
        {"out_%4d.png", "one number"},
        {"out_%-4d.png", "one number"},
        {"out_%*d.png", "one number"},
        {"out_%1$d.png", "one number"},
        {"out_%d%%.png", "no other %"},
        {"%d/out.png", "in the file's name"},
#endif
    };
    const lvsa_video_format format = make_format(4, 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvsa_video *video = (lvsa_video *)&video;
        CHECK_FAILS(lvsa_video_open(&video, cases[i].name, &format), LVSA_ERR_ARGUMENT,
                    cases[i].words);
        assert_null(video);
    }
}

static void formats(void **state)
{
    (void)state;
    static const lvsa_video_format bad[] = {
        {sizeof bad[0], 0, 4, 16, 1, 0, 0, NULL},     {sizeof bad[0], 4, -1, 16, 1, 0, 0, NULL},
        {sizeof bad[0], 4, 40000, 16, 1, 0, 0, NULL}, {sizeof bad[0], 4, 4, 0, 1, 0, 0, NULL},
        {sizeof bad[0], 4, 4, 16, 0, 0, 0, NULL},     {sizeof bad[0] - 1, 4, 4, 16, 1, 0, 0, NULL},
    };
    lvsa_video *video;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_FAILS(lvsa_video_open(&video, scratch_path("never.y4m"), &bad[i]), LVSA_ERR_ARGUMENT,
                    "");
        assert_null(video);
    }
    assert_false(exists(scratch_path("never.y4m")));
}

/* Without the libav module the library works, and says what is wanted; no file is touched. */
static void no_module(void **state)
{
    (void)state;
    static const char *const names[] = {"f.mp4", "f.WEBM"};
    lvsa_video_format format = make_format(4, 4);
    format.replace = 1;
    setenv("LVSA_MODULE_DIR", scratch_path("empty/"), 1);
    for (int i = 0; i < 2; i++) {
        lvsa_video *video;
        char *text;
        CHECK_FAILS(lvsa_video_open(&video, scratch_path(names[i]), &format), LVSA_ERR_UNSUPPORTED,
                    "libavformat-dev");
        assert_null(video);
        assert_non_null(strstr(lvsa_last_error(), names[i]));
        assert_non_null(strstr(lvsa_last_error(), scratch_path("empty/")));
        assert_false(exists(scratch_path(names[i])));
        CHECK_FAILS(lvsa_video_read_comment(&text, scratch_path(names[i])), LVSA_ERR_UNSUPPORTED,
                    "libavformat-dev");
        assert_null(text);
    }
    unsetenv("LVSA_MODULE_DIR");
}

/* The formats that can't hold a comment have none. */
static void comments_that_are_not_kept(void **state)
{
    (void)state;
    lvsa_video_format format = make_format(4, 4);
    format.comment = "lost";
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    char *text;
    CHECK_OK(lvsa_video_open(&video, scratch_path("f.y4m"), &format));
    CHECK_OK(lvsa_video_write(video, rgb));
    CHECK_OK(lvsa_video_finish(&video));
    CHECK_OK(lvsa_video_read_comment(&text, scratch_path("f.y4m")));
    assert_null(text);
    remove(scratch_path("f.y4m"));
    free(rgb);
}

static const char *const endings[] = {
    "f.y4m",
#ifdef LVSA_HAVE_PNG
    "f_%d.png",
#endif
};
static const char *const first_files[] = {"f.y4m", "f_0.png"};
enum { ENDINGS = sizeof endings / sizeof endings[0] };

static void places_that_cannot_be_written(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/none/%s", scratch_path(""), endings[i]);
        CHECK_FAILS(lvsa_video_open(&video, path, &format), LVSA_ERR_IO, first_files[i]);
        assert_null(video);
        mkdir(scratch_path(first_files[i]), 0700);
        CHECK_FAILS(lvsa_video_open(&video, scratch_path(endings[i]), &format), LVSA_ERR_IO,
                    first_files[i]);
        rmdir(scratch_path(first_files[i]));
    }
}

static void files_are_kept_or_replaced(void **state)
{
    (void)state;
    lvsa_video_format format = make_format(4, 4);
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        const char *first = scratch_write(first_files[i], "old", 3);
        format.replace = 0;
        CHECK_FAILS(lvsa_video_open(&video, scratch_path(endings[i]), &format), LVSA_ERR_IO,
                    "is there already");
        assert_true(exists(first));
        format.replace = 1;
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        CHECK_OK(lvsa_video_write(video, rgb));
        assert_int_equal(size_of(first), 3);
        lvsa_video_abort(&video);
        assert_int_equal(size_of(first), 3);
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        CHECK_OK(lvsa_video_write(video, rgb));
        assert_int_equal(size_of(first), 3);
        CHECK_OK(lvsa_video_finish(&video));
        assert_true(size_of(first) > 3);
        remove(first);
    }
    free(rgb);
    lvsa_video_abort(&video);
    lvsa_video_abort(NULL);
    CHECK_OK(lvsa_video_finish(&video));
}

/* What has come to the place while the video was made isn't the video's to replace. */
static void a_newcomer_stays(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        CHECK_OK(lvsa_video_write(video, rgb));
        const char *first = scratch_write(first_files[i], "new", 3);
        CHECK_FAILS(lvsa_video_finish(&video), LVSA_ERR_IO, "is there already");
        assert_null(video);
        assert_int_equal(size_of(first), 3);
        assert_int_equal(count_pieces(), 0);
        remove(first);
    }
    free(rgb);
}

#ifdef LVSA_HAVE_PNG
/* Nor are the pictures before it left, or was one replaced. */
static void a_newcomer_among_pictures_stays(void **state)
{
    (void)state;
    lvsa_video_format format = make_format(4, 4);
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    CHECK_OK(lvsa_video_open(&video, scratch_path("f_%d.png"), &format));
    for (int i = 0; i < 3; i++) CHECK_OK(lvsa_video_write(video, rgb));
    scratch_write("f_2.png", "new", 3);
    CHECK_FAILS(lvsa_video_finish(&video), LVSA_ERR_IO, "f_2.png is there already");
    assert_int_equal(size_of(scratch_path("f_2.png")), 3);
    assert_int_not_equal(access(scratch_path("f_0.png"), F_OK), 0);
    assert_int_not_equal(access(scratch_path("f_1.png"), F_OK), 0);
    assert_int_equal(count_pieces(), 0);
    remove(scratch_path("f_2.png"));
    free(rgb);
}
#endif

/* Nothing can take a folder's place; the pieces of the video are gone then. */
static void a_folder_stays(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        const char *first = scratch_path(first_files[i]);
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        CHECK_OK(lvsa_video_write(video, rgb));
        assert_int_equal(mkdir(first, 0777), 0);
        CHECK_FAILS(lvsa_video_finish(&video), LVSA_ERR_IO, first_files[i]);
        assert_int_equal(count_pieces(), 0);
        assert_int_equal(rmdir(first), 0);
    }
    free(rgb);
}

/* The file is where the link points, whether or not something has been there. */
static void links_are_followed(void **state)
{
    (void)state;
    lvsa_video_format format = make_format(4, 4);
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        const char *link = scratch_path(first_files[i]), *target = scratch_path("far/target");
        struct stat status;
        assert_int_equal(symlink("far/target", link), 0);
        for (format.replace = 0; format.replace < 2; format.replace++) {
            CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
            CHECK_OK(lvsa_video_write(video, rgb));
            CHECK_OK(lvsa_video_finish(&video));
            assert_true(lstat(link, &status) == 0 && S_ISLNK(status.st_mode));
            assert_true(lstat(target, &status) == 0 && S_ISREG(status.st_mode));
        }
        remove(target);
        remove(link);
        assert_int_equal(symlink(first_files[i], link), 0); /* to itself */
        CHECK_FAILS(lvsa_video_open(&video, scratch_path(endings[i]), &format), LVSA_ERR_IO,
                    "symbolic links");
        remove(link);
    }
    free(rgb);
}

static void an_abort_leaves_nothing(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    static const char *const second_files[] = {"f.y4m", "f_1.png"};
    uint8_t *rgb = make_frame(4, 4, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        for (int j = 0; j < 2; j++) CHECK_OK(lvsa_video_write(video, rgb));
        assert_false(exists(scratch_path(first_files[i])));
        lvsa_video_abort(&video);
        assert_null(video);
        assert_int_equal(count_pieces(), 0);
        assert_false(exists(scratch_path(first_files[i])));
        assert_false(exists(scratch_path(second_files[i])));
    }
    free(rgb);
}

/* A link, pipe or device isn't ours to remove. */
static void an_abort_leaves_links(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(4, 4);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        const char *link = scratch_path(first_files[i]);
        assert_int_equal(symlink("/dev/null", link), 0);
        CHECK_OK(lvsa_video_open(&video, scratch_path(endings[i]), &format));
        lvsa_video_abort(&video);
        assert_true(exists(link));
        remove(link);
    }
}

/* A disk with room for `bytes` more in a file. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disks(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(64, 64);
    uint8_t *rgb = make_frame(64, 64, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        limit_files(7000); /* a .y4m's first frame fits */
        lvsa_status opened = lvsa_video_open(&video, scratch_path(endings[i]), &format);
        lvsa_status s = opened;
        for (int j = 0; s == LVSA_OK && j < 2; j++) s = lvsa_video_write(video, rgb);
        limit_files(RLIM_INFINITY);
        CHECK_OK(opened);
        CHECK_FAILS(s, LVSA_ERR_IO, first_files[i]);
        assert_non_null(strstr(lvsa_last_error(), strerror(EFBIG)));
        lvsa_video_abort(&video);
        assert_false(exists(scratch_path(first_files[i])));
    }
    free(rgb);
}

/* The header alone doesn't fit, or closing is what fails. */
static void full_devices(void **state)
{
    (void)state;
    const lvsa_video_format format = make_format(2, 2);
    uint8_t *rgb = make_frame(2, 2, 0, false);
    lvsa_video *video;
    for (int i = 0; i < ENDINGS; i++) {
        const char *link = scratch_path(first_files[i]);
        assert_int_equal(symlink("/dev/full", link), 0);
        lvsa_status s = lvsa_video_open(&video, scratch_path(endings[i]), &format);
        if (s == LVSA_OK) s = lvsa_video_write(video, rgb);
        CHECK_FAILS(s, LVSA_ERR_IO, first_files[i]);
        lvsa_video_abort(&video);
        remove(link);
    }
    free(rgb);
}

typedef struct place {
    const char *ending, *first;
} place;

static lvsa_status open_video(void *user)
{
    const place *p = user;
    const lvsa_video_format format = make_format(4, 4);
    lvsa_video *video;
    lvsa_status s = lvsa_video_open(&video, scratch_path(p->ending), &format);
    assert_true((s == LVSA_OK) == (video != NULL));
    lvsa_video_abort(&video);
    assert_false(exists(scratch_path(p->first)));
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (int i = 0; i < ENDINGS; i++)
        assert_true(fail_each_allocation(open_video, &(place){endings[i], first_files[i]}) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(y4m_comes_back),
        cmocka_unit_test(y4m_averages_chroma),
        cmocka_unit_test(chroma_may_lie_left),
#ifdef LVSA_HAVE_PNG
        cmocka_unit_test(png_comes_back),
        cmocka_unit_test(no_picture_is_lost),
#else
        cmocka_unit_test(png_is_off),
#endif
        cmocka_unit_test(names),
        cmocka_unit_test(formats),
        cmocka_unit_test(no_module),
        cmocka_unit_test(comments_that_are_not_kept),
        cmocka_unit_test(places_that_cannot_be_written),
        cmocka_unit_test(files_are_kept_or_replaced),
        cmocka_unit_test(a_newcomer_stays),
#ifdef LVSA_HAVE_PNG
        cmocka_unit_test(a_newcomer_among_pictures_stays),
#endif
        cmocka_unit_test(an_abort_leaves_nothing),
        cmocka_unit_test(a_folder_stays),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(an_abort_leaves_links),
        cmocka_unit_test(full_disks),
        cmocka_unit_test(full_devices),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
