/* writer.h: what a file format provides, for lvsa_video_open() and its sisters in lvsa.h. */
#ifndef LV_FLOW_MEDIA_WRITER_H
#define LV_FLOW_MEDIA_WRITER_H

#include <stdbool.h>
#include <stdio.h>

#include <lvsa/lvsa.h>

#include "base/error.h"

typedef struct lv_video_writer {
    const char *extension; /* with its dot, in small letters */
    const char *example;   /* of a path                      */
    /* Makes the writer; the path's end is known to be right. */
    lvsa_status (*open)(lvsa_video **out, const char *path, const lvsa_video_format *format);
    lvsa_status (*write)(lvsa_video *video, const uint8_t *rgb);
    lvsa_status (*finish)(lvsa_video *video); /* closes files, frees nothing   */
    void (*remove)(lvsa_video *video);        /* closes files and removes them */
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

/* A file for writing, or LVSA_ERR_IO with its name. */
lvsa_status lv_video_create_file(FILE **out, const char *path);

/* fclose(); NULL is closed already. */
lvsa_status lv_video_close_file(FILE **file, const char *path);

/* Removes a file, but no pipe, device or link, which somebody else has made. */
void lv_video_remove_file(const char *path);

#endif
