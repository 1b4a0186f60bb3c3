/* png.c: a numbered picture a frame, and single pictures, through libpng where the build has it. */
#include "flow/media/png.h"
#include "flow/media/writer.h"

#ifdef LVSA_HAVE_PNG

#include <png.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

/* "out_%04d.png" in its parts. */
typedef struct pattern {
    int before; /* bytes in front of the % */
    int digits; /* at least so many        */
    const char *after;
} pattern;

typedef struct pictures {
    lvsa_video base;
    lv_file **files;    /* [capacity], none in its place before all are written           */
    int capacity, made; /* the first is made at opening, to find out whether it can be */
    int count;          /* of pictures written                                         */
    pattern p;
    char *path;  /* as it was given */
    char *name;  /* of a picture    */
    size_t room; /* of name         */
} pictures;

/* One %d, %04d or the like, in the file's name and not in a folder's. */
static lvsa_status read_pattern(pattern *out, const char *path)
{
    const char *percent = strchr(path, '%'), *c = percent ? percent + 1 : path;
    if (!percent)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "\"%s\": a .png holds one frame; the place of its number is wanted, such as "
                       "out_%%04d.png",
                       path);
    out->before = (int)(percent - path);
    out->digits = 1;
    if (*c == '0' && c[1] >= '1' && c[1] <= '9') {
        out->digits = c[1] - '0';
        c += 2;
    }
    out->after = c + 1;
    if (*c != 'd' || strchr(out->after, '%') || strchr(out->after, '/'))
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "\"%s\": one number, written %%d or %%04d, is wanted in the file's name, and "
            "no other %%",
            path);
    return LVSA_OK;
}

static const char *name_of(pictures *w, int number)
{
    snprintf(w->name, w->room, "%.*s%0*d%s", w->p.before, w->path, w->p.digits, number, w->p.after);
    return w->name;
}

static void pictures_free(lvsa_video *video)
{
    pictures *w = (pictures *)video;
    lv_free(w->files);
    lv_free(w->name);
    lv_free(w->path);
    lv_free(w);
}

/* The names of all frames that are known to come, one at least. */
static lvsa_status check_names(pictures *w, const lvsa_video_format *format)
{
    for (int i = 0; i == 0 || i < format->frames; i++)
        LV_TRY(lv_video_check_free(name_of(w, i), format->replace));
    return LVSA_OK;
}

static void pictures_remove(lvsa_video *video)
{
    pictures *w = (pictures *)video;
    for (int i = 0; i < w->made; i++) lv_file_abort(&w->files[i]);
    w->made = 0;
}

/* The file of the next picture. */
static lvsa_status make_file(pictures *w)
{
    enum { FIRST = 256 };
    const char *name = name_of(w, w->made);
    if (w->made == w->capacity) {
        const int capacity = w->capacity ? 2 * w->capacity : FIRST;
        lv_file **files =
            lv_grow_array(w->files, (size_t)w->capacity, (size_t)capacity, sizeof *files);
        if (!files) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %d files", name, capacity);
        w->files = files, w->capacity = capacity;
    }
    LV_TRY(lv_file_create(&w->files[w->made], name));
    w->made++;
    return LVSA_OK;
}

static lvsa_status pictures_open(lvsa_video **out, const char *path,
                                 const lvsa_video_format *format)
{
    enum { NUMBER = 16 /* bytes */ };
    pattern p;
    LV_TRY(read_pattern(&p, path));
    const size_t length = strlen(path);
    pictures *w = lv_zalloc(sizeof *w);
    if (!w) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its writer", path);
    w->path = lv_strndup(path, length);
    w->room = length + NUMBER;
    w->name = lv_zalloc(w->room);
    lvsa_status s =
        w->path && w->name ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its name", path);
    if (s == LVSA_OK) {
        w->p = p;
        w->p.after = w->path + (p.after - path);
        s = check_names(w, format);
    }
    if (s == LVSA_OK) s = make_file(w);
    if (s != LVSA_OK) pictures_free(&w->base);
    else *out = &w->base;
    return s;
}

static png_image make_image(int width, int height)
{
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGB};
}

static lvsa_status pictures_write(lvsa_video *video, const uint8_t *rgb)
{
    pictures *w = (pictures *)video;
    uint8_t *data;
    size_t bytes;
    if (w->count == w->made) LV_TRY(make_file(w));
    LV_TRY(lv_png_encode(&data, &bytes, rgb, video->format.width, video->format.height));
    lv_file *file = w->files[w->count];
    lvsa_status s = lv_file_write(file, data, bytes);
    lv_free(data);
    if (s == LVSA_OK) s = lv_file_settle(file);
    if (s == LVSA_OK) w->count++;
    return s;
}

static lvsa_status pictures_finish(lvsa_video *video)
{
    pictures *w = (pictures *)video;
    lvsa_status s = LVSA_OK;
    int placed = 0;
    for (int i = 0; i < w->count && s == LVSA_OK; i++)
        s = lv_video_check_free(name_of(w, i), video->format.replace);
    for (int i = 0; i < w->count && s == LVSA_OK; i++) {
        s = lv_video_place(&w->files[i], name_of(w, i), video->format.replace);
        if (s == LVSA_OK) placed++;
    }
    if (s != LVSA_OK) /* something came into a place after the look at it */
        while (placed > 0) remove(name_of(w, --placed));
    pictures_remove(video); /* the first, where no frame came, and what couldn't be moved */
    return s;
}

const lv_video_writer lv_video_png = {
    .extension = ".png",
    .example = "out_%04d.png",
    .open = pictures_open,
    .write = pictures_write,
    .finish = pictures_finish,
    .remove = pictures_remove,
    .free = pictures_free,
};

/* ---- single pictures ------------------------------------------------------------------------- */

lvsa_status lv_png_check(const char *path)
{
    (void)path;
    return LVSA_OK;
}

lvsa_status lv_png_encode(uint8_t **out, size_t *bytes, const uint8_t *rgb, int width, int height)
{
    png_image image = make_image(width, height);
    *bytes = PNG_IMAGE_PNG_SIZE_MAX(image); /* even if nothing could be made smaller */
    *out = lv_zalloc(*bytes);
    if (*out && png_image_write_to_memory(&image, *out, bytes, 0, rgb, 0, NULL)) return LVSA_OK;
    lv_free(*out);
    *out = NULL;
    return lv_fail(LVSA_ERR_MEMORY, "a .png of %d x %d pixels doesn't fit in memory", width,
                   height);
}

#else

static lvsa_status pictures_open(lvsa_video **out, const char *path,
                                 const lvsa_video_format *format)
{
    (void)out, (void)format;
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s: this build has no libpng; write a .y4m, or build where libpng-dev is",
                   path);
}

lvsa_status lv_png_check(const char *path)
{
    return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: this build has no libpng; build where libpng-dev is",
                   path);
}

lvsa_status lv_png_encode(uint8_t **out, size_t *bytes, const uint8_t *rgb, int width, int height)
{
    (void)rgb, (void)width, (void)height;
    *out = NULL, *bytes = 0;
    return lv_png_check(".png");
}

const lv_video_writer lv_video_png = {
    .extension = ".png", .example = "out_%04d.png", .open = pictures_open};

#endif
