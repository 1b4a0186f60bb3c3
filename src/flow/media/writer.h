/* writer.h: what a file format provides. */
#ifndef LV_FLOW_MEDIA_WRITER_H
#define LV_FLOW_MEDIA_WRITER_H

#include <stdbool.h>
#include <stdio.h>

#include "flow/media/media.h"

typedef struct lv_media_writer {
    const char *extension; /* with its dot, in small letters                               */
    const char *example;   /* of a path                                                    */
    /* Makes the writer; the path's end is known to be right. */
    lvsa_status (*open)(lv_media **out, const char *path, const lv_media_format *format);
    lvsa_status (*write)(lv_media *media, const uint8_t *rgb);
    lvsa_status (*finish)(lv_media *media); /* closes files, frees nothing               */
    void (*remove)(lv_media *media);        /* closes files and removes them             */
    void (*free)(lv_media *media);
} lv_media_writer;

/* A writer's own members follow in its file. */
struct lv_media {
    const lv_media_writer *writer;
    lv_media_format format;
};

extern const lv_media_writer lv_media_y4m; /* y4m.c */
extern const lv_media_writer lv_media_png; /* png.c */

/* A file for writing, or LVSA_ERR_IO with its name. */
lvsa_status lv_media_create_file(FILE **out, const char *path);

/* fclose(); NULL is closed already. */
lvsa_status lv_media_close_file(FILE **file, const char *path);

#endif
