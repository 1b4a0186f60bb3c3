/* yuv.c: the colours that the video files have in common.
 *
 *     Y  = 16 + 219 (kr R + kg G + kb B)                                       R, G, B 0 .. 1
 *     Cb = 128 + 224 (B - luma) / (2 - 2 kb)      of the mean of the pixels around the sample
 *     Cr = 128 + 224 (R - luma) / (2 - 2 kr)
 *
 * kr and kb are BT.709's from 720 rows on and BT.601's below: what players take where a file
 * doesn't say. The range is the limited one, 16 .. 235. */
#include "flow/media/yuv.h"

lv_yuv lv_yuv_make(int width, int height, lv_yuv_site site)
{
    const bool bt709 = height >= 720;
    const float kr = bt709 ? 0.2126f : 0.299f, kb = bt709 ? 0.0722f : 0.114f;
    const float k[] = {kr, 1.0f - kr - kb, kb};
    const size_t chroma = (size_t)((width + 1) / 2) * (size_t)((height + 1) / 2);
    lv_yuv yuv = {.width = width, .height = height, .site = site, .bt709 = bt709};
    yuv.size = (size_t)width * (size_t)height + 2 * chroma;
    for (int c = 0; c < 3; c++) {
        yuv.y[c] = 219.0f / 255.0f * k[c];
        yuv.cb[c] = 224.0f / 255.0f * ((c == 2 ? 1.0f : 0.0f) - k[c]) / (2.0f - 2.0f * kb);
        yuv.cr[c] = 224.0f / 255.0f * ((c == 0 ? 1.0f : 0.0f) - k[c]) / (2.0f - 2.0f * kr);
    }
    return yuv;
}

static uint8_t sample(const float weight[3], const float rgb[3], float offset)
{
    return (uint8_t)(weight[0] * rgb[0] + weight[1] * rgb[1] + weight[2] * rgb[2] + offset + 0.5f);
}

static void fill_luma(uint8_t *to, const uint8_t *rgb, size_t pixels, const lv_yuv *yuv)
{
    for (size_t i = 0; i < pixels; i++) {
        const float pixel[] = {rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]};
        to[i] = sample(yuv->y, pixel, 16.0f);
    }
}

/* The mean of two rows, and of columns x and x + 1 twice each (centre), or x - 1, x twice and x + 1
 * (left). What is past an edge is the edge. */
static void fill_chroma(uint8_t *cb, uint8_t *cr, const uint8_t *rgb, const lv_yuv *yuv)
{
    const int width = yuv->width, height = yuv->height;
    for (int y = 0; y < height; y += 2)
        for (int x = 0; x < width; x += 2) {
            const uint8_t *top = rgb + 3 * ((size_t)y * (size_t)width + (size_t)x);
            const uint8_t *bottom = y + 1 < height ? top + 3 * (size_t)width : top;
            const int right = x + 1 < width ? 3 : 0, left = x > 0 ? -3 : 0;
            const int aside = yuv->site == LV_YUV_LEFT ? left : right;
            float mean[3];
            for (int c = 0; c < 3; c++)
                mean[c] = 0.125f * (float)(2 * top[c] + top[c + right] + top[c + aside] +
                                           2 * bottom[c] + bottom[c + right] + bottom[c + aside]);
            *cb++ = sample(yuv->cb, mean, 128.0f);
            *cr++ = sample(yuv->cr, mean, 128.0f);
        }
}

void lv_yuv_convert(uint8_t *planes, const uint8_t *rgb, const lv_yuv *yuv)
{
    const size_t pixels = (size_t)yuv->width * (size_t)yuv->height;
    const size_t chroma = (yuv->size - pixels) / 2;
    fill_luma(planes, rgb, pixels, yuv);
    fill_chroma(planes + pixels, planes + pixels + chroma, rgb, yuv);
}
