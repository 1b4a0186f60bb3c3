/* writer.h: what a file format provides, for lvsa_video_open() and its sisters in lvsa.h. */
#ifndef LV_FLOW_MEDIA_WRITER_H
#define LV_FLOW_MEDIA_WRITER_H

#include <stdbool.h>

#include <lvsa/lvsa.h>

#include "base/error.h"
#include "base/file.h"

typedef struct lv_video_writer {
    const char *extension; /* with its dot, in small letters */
    const char *example;   /* of a path                      */
    /* Makes the writer; the path's end is known to be right. */
    lvsa_status (*open)(lvsa_video **out, const char *path, const lvsa_video_format *format);
    lvsa_status (*write)(lvsa_video *video, const uint8_t *rgb);
    lvsa_status (*finish)(lvsa_video *video); /* moves files to their places, frees nothing    */
    void (*remove)(lvsa_video *video);        /* leaves nothing of what isn't in its place yet */
    void (*free)(lvsa_video *video);
    /* *out is NULL and stays so where the file has none. The format has none: NULL. */
    lvsa_status (*read_comment)(char **out, const char *path);
} lv_video_writer;

/* A writer's own members follow in its file. */
struct lvsa_video {
    const lv_video_writer *writer;
    lvsa_video_format format;
};

extern const lv_video_writer lv_video_y4m;  /* y4m.c       */
extern const lv_video_writer lv_video_png;  /* png.c       */
extern const lv_video_writer lv_video_mp4;  /* av/writer.c */
extern const lv_video_writer lv_video_webm; /* av/writer.c */

/* LVSA_ERR_IO where a file of that name would be lost and may not be. Pipes and devices may. */
lvsa_status lv_video_check_free(const char *path, int replace);

/* Puts a whole file into its place, unless somebody else's has come there meanwhile. */
lvsa_status lv_video_place(lv_file **file, const char *path, int replace);

#endif
