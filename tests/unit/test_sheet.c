/* test_sheet.c: contact sheets, read back; places and disks that aren't right. */
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
#include "scratch.h"

static lvsa_sheet_format make_format(int frames, int width, int height)
{
    lvsa_sheet_format f = LVSA_SHEET_FORMAT_INIT;
    f.frames = frames, f.width = width, f.height = height;
    return f;
}

#ifdef LVSA_HAVE_PNG

enum { GAP = 4 };

typedef struct picture {
    int width, height;
    uint8_t *rgb;
} picture;

static picture decode(const void *png, size_t bytes)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png, bytes));
    image.format = PNG_FORMAT_RGB;
    picture p = {(int)image.width, (int)image.height, malloc(PNG_IMAGE_SIZE(image))};
    assert_non_null(p.rgb);
    assert_true(png_image_finish_read(&image, NULL, p.rgb, 0, NULL));
    return p;
}

static picture read_picture(const char *path)
{
    char bytes[1 << 18];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return decode(bytes, size);
}

static const uint8_t *pixel(const picture *p, int x, int y)
{
    return p->rgb + 3 * (y * p->width + x);
}

static void check_colour(const uint8_t *have, int r, int g, int b)
{
    if (have[0] != r || have[1] != g || have[2] != b)
        fail_msg("%d %d %d; %d %d %d is wanted", have[0], have[1], have[2], r, g, b);
}

/* A frame of one colour, which says its number. */
static void add_flat(lvsa_sheet *sheet, int width, int height, int index)
{
    uint8_t *rgb = malloc((size_t)(3 * width * height));
    assert_non_null(rgb);
    for (int i = 0; i < 3 * width * height; i++)
        rgb[i] = (uint8_t)(i % 3 == 0 ? index % 256 : i % 3 == 1 ? index / 256 : 200);
    const lvsa_frame frame = {index, width, height, rgb};
    CHECK_OK(lvsa_sheet_add(sheet, &frame));
    free(rgb);
}

/* A video's frames, and which of them are where. */
static void layout_case(lvsa_sheet_format f, int columns, int rows, int width, int height,
                        const int *wanted)
{
    lvsa_sheet *sheet;
    lvsa_png png;
    CHECK_OK(lvsa_sheet_open(&sheet, NULL, &f));
    for (int i = 0; i < f.frames; i++) add_flat(sheet, f.width, f.height, i);
    CHECK_OK(lvsa_sheet_get_png(&png, sheet));
    picture p = decode(png.data, png.bytes);
    assert_int_equal(p.width, columns * (width + GAP) - GAP);
    assert_int_equal(p.height, rows * (height + GAP) - GAP);
    assert_true(png.width == p.width && png.height == p.height);
    for (int i = 0; i < columns * rows; i++) {
        const int x = i % columns * (width + GAP), y = i / columns * (height + GAP);
        check_colour(pixel(&p, x, y), wanted[i] % 256, wanted[i] / 256, 200);
        check_colour(pixel(&p, x + width - 1, y + height - 1), wanted[i] % 256, wanted[i] / 256,
                     200);
        if (i % columns) check_colour(pixel(&p, x - 1, y), 40, 40, 40);
        if (i >= columns) check_colour(pixel(&p, x, y - 1), 40, 40, 40);
    }
    free(p.rgb);
    lvsa_sheet_close(&sheet);
}

static void frames_have_their_places(void **state)
{
    (void)state;
    layout_case(make_format(1, 48, 32), 1, 1, 320, 213, (int[]){0});
    layout_case(make_format(2, 48, 32), 2, 1, 320, 213, (int[]){0, 1});
    layout_case(make_format(3, 32, 48), 3, 1, 213, 320, (int[]){0, 1, 2});
    layout_case(make_format(5, 640, 640), 2, 2, 320, 320, (int[]){0, 1, 3, 4});
    layout_case(make_format(11, 48, 32), 3, 3, 320, 213, (int[]){0, 1, 3, 4, 5, 6, 8, 9, 10});
    layout_case(make_format(16, 8, 8), 4, 4, 320, 320,
                (int[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
    layout_case(
        make_format(1000, 16, 9), 4, 4, 320, 180,
        (int[]){0, 67, 133, 200, 266, 333, 400, 466, 533, 599, 666, 733, 799, 866, 932, 999});
    layout_case(make_format(1, 1, 4000), 1, 1, 1, 320, (int[]){0});
}

/* A frame of 4 x 2 squares, light and dark, larger or smaller than its cell. */
static picture draw_squares(int width, int height)
{
    const lvsa_sheet_format f = make_format(1, 4, 2);
    lvsa_sheet *sheet;
    lvsa_png png;
    uint8_t *rgb = malloc((size_t)(3 * width * height));
    assert_non_null(rgb);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            memset(rgb + 3 * (y * width + x), (x * 4 / width + y * 2 / height) % 2 ? 250 : 10, 3);
    const lvsa_frame frame = {0, width, height, rgb};
    CHECK_OK(lvsa_sheet_open(&sheet, NULL, &f));
    CHECK_OK(lvsa_sheet_add(sheet, &frame));
    CHECK_OK(lvsa_sheet_get_png(&png, sheet));
    picture p = decode(png.data, png.bytes);
    lvsa_sheet_close(&sheet);
    free(rgb);
    return p;
}

static void frames_of_any_size_fill_a_cell(void **state)
{
    (void)state;
    static const int sizes[][2] = {{4, 2}, {8, 4}, {320, 160}, {640, 320}, {1000, 7}, {3200, 1600}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        picture p = draw_squares(sizes[i][0], sizes[i][1]);
        assert_true(p.width == 320 && p.height == 160);
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 4; x++) {
                const int have = pixel(&p, 80 * x + 40, 80 * y + 40)[1];
                const int wanted = (x + y) % 2 ? 250 : 10;
                if (abs(have - wanted) > 3)
                    fail_msg("%d x %d: square %d, %d is %d, %d wanted", sizes[i][0], sizes[i][1], x,
                             y, have, wanted);
            }
        free(p.rgb);
    }
    picture same = draw_squares(320, 160); /* nothing to do: to the bit */
    for (int y = 0; y < 160; y++)
        for (int x = 0; x < 320; x++)
            assert_int_equal(pixel(&same, x, y)[2], (x / 80 + y / 80) % 2 ? 250 : 10);
    free(same.rgb);
}

static int checkers(int x, int y) { return (x + y) % 2; }
static int columns_of_four(int x, int y) { return (void)y, x % 4 == 0; }
static int rows_of_four(int x, int y) { return (void)x, y % 4 == 0; }

/* Each pixel of the cell is the mean of a pattern that is four times as fine. */
static void shrink(int (*is_light)(int x, int y), int mean)
{
    const lvsa_sheet_format f = make_format(1, 1280, 640);
    lvsa_sheet *sheet;
    lvsa_png png;
    uint8_t *rgb = malloc(3 * 1280 * 640);
    assert_non_null(rgb);
    for (int y = 0; y < 640; y++)
        for (int x = 0; x < 1280; x++)
            memset(rgb + 3 * (y * 1280 + x), is_light(x, y) ? 255 : 0, 3);
    const lvsa_frame frame = {0, 1280, 640, rgb};
    CHECK_OK(lvsa_sheet_open(&sheet, NULL, &f));
    CHECK_OK(lvsa_sheet_add(sheet, &frame));
    CHECK_OK(lvsa_sheet_get_png(&png, sheet));
    picture p = decode(png.data, png.bytes);
    for (int y = 1; y < p.height - 1; y++) /* at the edges there is less to take a mean of */
        for (int x = 1; x < p.width - 1; x++)
            assert_in_range(pixel(&p, x, y)[1], mean - 1, mean + 1);
    free(p.rgb);
    lvsa_sheet_close(&sheet);
    free(rgb);
}

/* So that fine patterns become grey and nothing else. */
static void what_shrinks_is_a_mean(void **state)
{
    (void)state;
    shrink(checkers, 128);
    shrink(columns_of_four, 64);
    shrink(rows_of_four, 64);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Files in the folder besides those that the test knows of. */
static void nothing_else_is_there(const char *folder, size_t known)
{
    char pattern[600];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*", scratch_path(folder));
    int none = glob(pattern, 0, NULL, &found);
    assert_int_equal(none == GLOB_NOMATCH ? 0 : found.gl_pathc, known);
    globfree(&found);
}

static void a_sheet_may_be_written_again(void **state)
{
    (void)state;
    const lvsa_sheet_format f = make_format(4, 8, 8);
    const char *path = scratch_path("again/sheet.png");
    lvsa_sheet *sheet;
    CHECK_OK(lvsa_sheet_open(&sheet, path, &f));
    nothing_else_is_there("again", 0);
    for (int i = 0; i < 4; i++) {
        add_flat(sheet, 8, 8, i);
        CHECK_OK(lvsa_sheet_write(sheet));
        picture p = read_picture(path);
        check_colour(pixel(&p, 0, 0), 0, 0, 200);
        if (i == 3) check_colour(pixel(&p, p.width - 1, p.height - 1), 3, 0, 200);
        else check_colour(pixel(&p, p.width - 1, p.height - 1), 40, 40, 40);
        free(p.rgb);
    }
    nothing_else_is_there("again", 1);
    lvsa_sheet_close(&sheet);
    assert_null(sheet);
    nothing_else_is_there("again", 1);
    remove(path);
    lvsa_sheet_close(&sheet);
    lvsa_sheet_close(NULL);
}

static void places(void **state)
{
    (void)state;
    lvsa_sheet_format f = make_format(1, 8, 8);
    lvsa_sheet *sheet;
    CHECK_FAILS(lvsa_sheet_open(&sheet, scratch_path("."), &f), LVSA_ERR_IO, strerror(EISDIR));
    assert_null(sheet);
    CHECK_FAILS(lvsa_sheet_open(&sheet, "/nowhere/a.png", &f), LVSA_ERR_IO, strerror(ENOENT));
    CHECK_FAILS(lvsa_sheet_open(&sheet, "/dev/null/a.png", &f), LVSA_ERR_IO, strerror(ENOTDIR));

    const char *path = scratch_write("p/old.png", "old", 3);
    CHECK_FAILS(lvsa_sheet_open(&sheet, path, &f), LVSA_ERR_IO, "is there already");
    f.replace = 1;
    CHECK_OK(lvsa_sheet_open(&sheet, path, &f));
    CHECK_OK(lvsa_sheet_write(sheet));
    lvsa_sheet_close(&sheet);
    picture p = read_picture(path);
    assert_int_equal(p.width, 320);
    free(p.rgb);

    /* through a link, which stays one */
    const char *link = scratch_path("p/link.png");
    assert_int_equal(symlink("old.png", link), 0);
    f.frames = 2;
    CHECK_OK(lvsa_sheet_open(&sheet, link, &f));
    CHECK_OK(lvsa_sheet_write(sheet));
    lvsa_sheet_close(&sheet);
    p = read_picture(path);
    assert_int_equal(p.width, 644);
    free(p.rgb);
    nothing_else_is_there("p", 2);
    remove(link);
    remove(path);

    CHECK_OK(lvsa_sheet_open(&sheet, NULL, &f));
    CHECK_FAILS(lvsa_sheet_write(sheet), LVSA_ERR_ARGUMENT, "without a path");
    lvsa_sheet_close(&sheet);
}

/* Known before, and not only when the frames are there. The superuser may write anywhere. */
static void places_that_may_not_be_written(void **state)
{
    (void)state;
    lvsa_sheet_format f = make_format(1, 8, 8);
    lvsa_sheet *sheet;
    if (geteuid() == 0) skip();
    f.replace = 1;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_write("locked/old.png", "old", 3));
    assert_int_equal(chmod(scratch_path("locked"), 0500), 0);
    CHECK_FAILS(lvsa_sheet_open(&sheet, path, &f), LVSA_ERR_IO, strerror(EACCES));
    CHECK_FAILS(lvsa_sheet_open(&sheet, scratch_path("locked/new.png"), &f), LVSA_ERR_IO,
                strerror(EACCES));
    assert_int_equal(chmod(scratch_path("locked"), 0700), 0);
}

/* A device takes the bytes and stays. */
static void devices(void **state)
{
    (void)state;
    struct stat status;
    const lvsa_sheet_format f = make_format(1, 8, 8);
    lvsa_sheet *sheet;
    CHECK_OK(lvsa_sheet_open(&sheet, "/dev/null", &f));
    CHECK_OK(lvsa_sheet_write(sheet));
    lvsa_sheet_close(&sheet);
    assert_true(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
    CHECK_OK(lvsa_sheet_open(&sheet, "/dev/full", &f));
    CHECK_FAILS(lvsa_sheet_write(sheet), LVSA_ERR_IO, strerror(ENOSPC));
    lvsa_sheet_close(&sheet);
}

/* What was there stays when the disk is full. */
static void a_full_disk(void **state)
{
    (void)state;
    const lvsa_sheet_format f = make_format(1, 8, 8);
    const char *path = scratch_path("full/sheet.png");
    struct rlimit limit;
    lvsa_sheet *sheet;
    CHECK_OK(lvsa_sheet_open(&sheet, path, &f));
    CHECK_OK(lvsa_sheet_write(sheet));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    lvsa_status s = lvsa_sheet_write(sheet);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_FAILS(s, LVSA_ERR_IO, strerror(EFBIG));
    free(read_picture(path).rgb);
    nothing_else_is_there("full", 1);
    lvsa_sheet_close(&sheet);
    remove(path);
}

static lvsa_status make_sheet(void *user)
{
    static const uint8_t rgb[3 * 8 * 8];
    const lvsa_sheet_format f = make_format(1, 8, 8);
    const lvsa_frame frame = {0, 8, 8, rgb};
    lvsa_sheet *sheet;
    lvsa_status s = lvsa_sheet_open(&sheet, user, &f);
    assert_true((s == LVSA_OK) == (sheet != NULL));
    if (s == LVSA_OK) s = lvsa_sheet_add(sheet, &frame);
    if (s == LVSA_OK) s = lvsa_sheet_write(sheet);
    lvsa_sheet_close(&sheet);
    nothing_else_is_there("memory", s == LVSA_OK);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("memory/sheet.png"));
    assert_int_equal(fail_each_allocation(make_sheet, path), 9);
    remove(path);
}

#else

static void png_is_off(void **state)
{
    (void)state;
    const lvsa_sheet_format f = make_format(1, 8, 8);
    lvsa_sheet *sheet;
    CHECK_FAILS(lvsa_sheet_open(&sheet, "a.png", &f), LVSA_ERR_UNSUPPORTED, "no libpng");
    CHECK_FAILS(lvsa_sheet_open(&sheet, NULL, &f), LVSA_ERR_UNSUPPORTED, "no libpng");
    assert_null(sheet);
}

#endif

static void formats(void **state)
{
    (void)state;
    lvsa_sheet *sheet;
    lvsa_sheet_format f = make_format(1, 8, 8);
    f.size = 3;
    CHECK_FAILS(lvsa_sheet_open(&sheet, NULL, &f), LVSA_ERR_ARGUMENT, "3 bytes");
    f = make_format(0, 8, 8);
    CHECK_FAILS(lvsa_sheet_open(&sheet, NULL, &f), LVSA_ERR_ARGUMENT, "0 frames");
    f = make_format(1, 0, 8);
    CHECK_FAILS(lvsa_sheet_open(&sheet, NULL, &f), LVSA_ERR_ARGUMENT, "0 x 8");
    f = make_format(1, 8, -8);
    CHECK_FAILS(lvsa_sheet_open(&sheet, NULL, &f), LVSA_ERR_ARGUMENT, "8 x -8");
    assert_null(sheet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
#ifdef LVSA_HAVE_PNG
        cmocka_unit_test(frames_have_their_places),
        cmocka_unit_test(frames_of_any_size_fill_a_cell),
        cmocka_unit_test(what_shrinks_is_a_mean),
        cmocka_unit_test(a_sheet_may_be_written_again),
        cmocka_unit_test(places),
        cmocka_unit_test(places_that_may_not_be_written),
        cmocka_unit_test(devices),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(any_allocation_may_fail),
#else
        cmocka_unit_test(png_is_off),
#endif
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
