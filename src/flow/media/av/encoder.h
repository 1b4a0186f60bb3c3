/* encoder.h: what the files of the module share. */
#ifndef LV_FLOW_MEDIA_AV_ENCODER_H
#define LV_FLOW_MEDIA_AV_ENCODER_H

#include "flow/media/av/module.h"

lvsa_status lv_av_open(lv_av_encoder **out, const lv_av_video *video, lv_av_why *why);
lvsa_status lv_av_start(lv_av_encoder *encoder, const char *path, lv_av_why *why);
lvsa_status lv_av_write(lv_av_encoder *encoder, const uint8_t *planes, lv_av_why *why);
lvsa_status lv_av_finish(lv_av_encoder *encoder, lv_av_why *why);
void lv_av_close(lv_av_encoder **encoder);

lvsa_status lv_av_read_comment(const char *path, void (*take)(void *user, const char *text),
                               void *user, lv_av_why *why);

/* Names of the codecs for a container that this libavcodec has, the one that is taken first;
 * NULL past the last. Static. */
const char *lv_av_codec_name(lv_av_container container, int index);

/* "file:" and the path, so that no name is taken for another protocol; av_free() it. NULL: no
 * memory. */
char *lv_av_make_url(const char *path);

/* Keeps the words of a libav error code, and gives its status. */
lvsa_status lv_av_fail(lv_av_why *why, const char *what, int code);

#endif
