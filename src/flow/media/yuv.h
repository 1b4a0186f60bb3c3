/* yuv.h: pictures of red, green and blue as planes Y, Cb, Cr of 4:2:0, one byte a sample. */
#ifndef LV_FLOW_MEDIA_YUV_H
#define LV_FLOW_MEDIA_YUV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a sample of chroma lies among its 2 x 2 pixels. */
typedef enum lv_yuv_site {
    LV_YUV_CENTRE = 0, /* in their middle: JPEG, "C420jpeg"                               */
    LV_YUV_LEFT = 1    /* between the two on the left: what H.264 and VP9 take for granted */
} lv_yuv_site;

typedef struct lv_yuv {
    int width, height;
    lv_yuv_site site;
    bool bt709;  /* whose matrix: BT.709's, or BT.601's                              */
    size_t size; /* of the planes: Y [height, width], Cb and Cr [half, half], rounded up */
    float y[3], cb[3], cr[3]; /* what one byte of red, green and blue adds to a sample            */
} lv_yuv;

lv_yuv lv_yuv_make(int width, int height, lv_yuv_site site);

/* rgb: [height, width, 3]; planes: [yuv->size], one behind the other. */
void lv_yuv_convert(uint8_t *planes, const uint8_t *rgb, const lv_yuv *yuv);

#endif
