/* module.h: the libav module, liblvsa_av.so.<major version>: all that calls libavformat and
 * libavcodec. The library links to neither; it loads the module for names in .mp4 and .webm. */
#ifndef LV_FLOW_MEDIA_AV_MODULE_H
#define LV_FLOW_MEDIA_AV_MODULE_H

#include <stdbool.h>
#include <stdint.h>

#include <lvsa/lvsa_status.h>

/* Counts the changes of lv_av_table and of what its functions take. */
enum { LV_AV_ABI = 2 };

typedef enum lv_av_container { LV_AV_MP4 = 0, LV_AV_WEBM = 1 } lv_av_container;

typedef struct lv_av_video {
    lv_av_container container;
    int width, height;   /* in pixels                          */
    int rate, scale;     /* frames a second, as a fraction     */
    bool bt709;          /* the planes' matrix: or BT.601's    */
    const char *comment; /* UTF-8, or NULL; borrowed till start */
} lv_av_video;

/* Why a call failed: a sentence that doesn't name the file. */
typedef struct lv_av_why {
    char text[256];
} lv_av_why;

typedef struct lv_av_encoder lv_av_encoder;

/* What the module gives. One encoder, one thread at a time. */
typedef struct lv_av_table {
    /* LV_AV_ABI and sizeof(lv_av_table) as the module was compiled with: both have to be the
     * library's. */
    uint32_t abi, size;

    /* An encoder; no file yet. LVSA_ERR_UNSUPPORTED: there is no codec, or it refuses the video. */
    lvsa_status (*open)(lv_av_encoder **out, const lv_av_video *video, lv_av_why *why);
    /* Begins its file. */
    lvsa_status (*start)(lv_av_encoder *encoder, const char *path, lv_av_why *why);
    /* The next frame: planes Y [height, width], Cb and Cr [half, half], rounded up. */
    lvsa_status (*write)(lv_av_encoder *encoder, const uint8_t *planes, lv_av_why *why);
    /* The frames that the encoder still has, and the file's end. */
    lvsa_status (*finish)(lv_av_encoder *encoder, lv_av_why *why);
    void (*close)(lv_av_encoder **encoder); /* finished or not */

    /* Gives the comment of a file to `take` if it has one. */
    lvsa_status (*read_comment)(const char *path, void (*take)(void *user, const char *text),
                                void *user, lv_av_why *why);
} lv_av_table;

/* What the module exports, and nothing else; the second one is for lvsa_build_info(). */
#define LV_AV_SYMBOL "lv_av_module_table"
LVSA_API const lv_av_table *lv_av_module_table(void);
LVSA_API const char *lv_av_module_about(void); /* "59.27 (libx264, libvpx-vp9)"; static */

/* Loads the module at the first call. Fails with LVSA_ERR_UNSUPPORTED: there is no module, or none
 * that loads, or it is of another build. Any thread. */
lvsa_status lv_av_get_table(const lv_av_table **out);

#endif
