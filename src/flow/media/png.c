/* png.c: a numbered picture a frame, through libpng where the build has it. */
#include "flow/media/writer.h"

#ifdef LVSA_HAVE_PNG

#include <errno.h>
#include <png.h>
#include <string.h>

#include "base/mem.h"

/* "out_%04d.png" in its parts. */
typedef struct pattern {
    int before; /* bytes in front of the % */
    int digits; /* at least so many        */
    const char *after;
} pattern;

typedef struct pictures {
    lv_media base;
    FILE *file; /* of the first picture, made at opening to find out whether it can be */
    int count;  /* of pictures written                                                 */
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

static void pictures_free(lv_media *media)
{
    pictures *w = (pictures *)media;
    lv_free(w->name);
    lv_free(w->path);
    lv_free(w);
}

/* The file of the first picture while no frame has come. */
static void drop_first(pictures *w)
{
    if (!w->file) return;
    fclose(w->file);
    w->file = NULL;
    remove(name_of(w, 0));
}

static void pictures_remove(lv_media *media)
{
    pictures *w = (pictures *)media;
    drop_first(w);
    while (w->count > 0) remove(name_of(w, --w->count));
}

static lvsa_status pictures_open(lv_media **out, const char *path, const lv_media_format *format)
{
    enum { NUMBER = 16 /* bytes */ };
    pattern p;
    (void)format;
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
        s = lv_media_create_file(&w->file, name_of(w, 0));
    }
    if (s != LVSA_OK) pictures_free(&w->base);
    else *out = &w->base;
    return s;
}

static lvsa_status pictures_write(lv_media *media, const uint8_t *rgb)
{
    pictures *w = (pictures *)media;
    FILE *file = w->file;
    const char *name = name_of(w, w->count);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)media->format.width,
                       .height = (png_uint_32)media->format.height,
                       .format = PNG_FORMAT_RGB};
    w->file = NULL;
    if (!file) LV_TRY(lv_media_create_file(&file, name));
    w->count++;
    errno = 0;
    if (!png_image_write_to_stdio(&image, file, 0, rgb, 0, NULL)) {
        lvsa_status s =
            lv_fail(LVSA_ERR_IO, "%s: %s", name, errno ? strerror(errno) : image.message);
        fclose(file);
        return s;
    }
    return lv_media_close_file(&file, name);
}

static lvsa_status pictures_finish(lv_media *media)
{
    drop_first((pictures *)media);
    return LVSA_OK;
}

const lv_media_writer lv_media_png = {
    .extension = ".png",
    .example = "out_%04d.png",
    .open = pictures_open,
    .write = pictures_write,
    .finish = pictures_finish,
    .remove = pictures_remove,
    .free = pictures_free,
};

#else

static lvsa_status pictures_open(lv_media **out, const char *path, const lv_media_format *format)
{
    (void)out, (void)format;
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s: this build has no libpng; write a .y4m, or build where libpng-dev is",
                   path);
}

const lv_media_writer lv_media_png = {
    .extension = ".png", .example = "out_%04d.png", .open = pictures_open};

#endif
