/* png.h: a picture as the bytes of a .png. */
#ifndef LV_FLOW_MEDIA_PNG_H
#define LV_FLOW_MEDIA_PNG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* LVSA_ERR_UNSUPPORTED, and what to do about it, where the build has no libpng. */
lvsa_status lv_png_check(const char *path);

/* rgb [height, width, 3]. The caller lv_free()s *out; NULL on LVSA_ERR_UNSUPPORTED or
 * LVSA_ERR_MEMORY. */
lvsa_status lv_png_encode(uint8_t **out, size_t *bytes, const uint8_t *rgb, int width, int height);

#endif
