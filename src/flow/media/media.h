/* media.h: frames to files, which the end of the name chooses:
 *
 *     clip.y4m        YUV4MPEG2, uncompressed 4:2:0; every player and encoder reads it
 *     out_%04d.png    one picture a frame, numbered from 0
 *
 * Frames are [height, width, 3] bytes, red first, gamma as on a screen (sRGB). */
#ifndef LV_FLOW_MEDIA_MEDIA_H
#define LV_FLOW_MEDIA_MEDIA_H

#include <stdint.h>

#include "base/error.h"

typedef struct lv_media lv_media;

/* fps is a fraction, rate / scale: 16 / 1, 30000 / 1001. */
typedef struct lv_media_format {
    int width, height;
    int rate, scale;
} lv_media_format;

/* Opens a writer; a file of that name is lost. Fails with LVSA_ERR_ARGUMENT (no known end of name,
 * a pattern without a single number, a size or rate below 1), LVSA_ERR_UNSUPPORTED (.png in a build
 * without libpng), LVSA_ERR_IO (the place can't be written to) or LVSA_ERR_MEMORY; *out is then
 * NULL. */
lvsa_status lv_media_open(lv_media **out, const char *path, const lv_media_format *format);

/* Writes the next frame. Fails with LVSA_ERR_IO (the disk is full, ...). */
lvsa_status lv_media_write(lv_media *media, const uint8_t *rgb);

/* Ends the file and closes the writer. Fails with LVSA_ERR_IO; what was written stays then too. */
lvsa_status lv_media_finish(lv_media **media);

/* Closes the writer and removes what it has written. */
void lv_media_abort(lv_media **media);

#endif
