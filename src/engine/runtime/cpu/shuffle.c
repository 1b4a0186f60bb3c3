/* shuffle.c: operations that move numbers to other places. */
#include <string.h>

#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cpu/rows.h"

static float *f32(lv_tensor t) { return t.data; }

/* Calls move(latent, token's element) for all latents of z [C,T,Y,X] and the columns of their
 * tokens. */
typedef struct patches {
    int64_t channels, frames, height, width, py, px;
} patches;

static patches patches_of(lv_tensor z, int64_t py, int64_t px)
{
    return (patches){z.shape[0], z.shape[1], z.shape[2], z.shape[3], py, px};
}

/* The row of the token that holds latent (t, y, x). */
static int64_t token_of(const patches *p, int64_t t, int64_t y, int64_t x)
{
    return (t * (p->height / p->py) + y / p->py) * (p->width / p->px) + x / p->px;
}

lvsa_status lv_cpu_patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    (void)e;
    const patches p = patches_of(z, py, px);
    const int64_t columns = p.channels * py * px;
    const float *from = f32(z);
    for (int64_t c = 0; c < p.channels; c++)
        for (int64_t t = 0; t < p.frames; t++)
            for (int64_t y = 0; y < p.height; y++)
                for (int64_t x = 0; x < p.width; x++)
                    f32(out)[token_of(&p, t, y, x) * columns + (c * py + y % py) * px + x % px] =
                        *from++;
    return LVSA_OK;
}

lvsa_status lv_cpu_unpatchify(lv_exec *e, lv_tensor z, lv_tensor x, int64_t py, int64_t px)
{
    (void)e;
    const patches p = patches_of(z, py, px);
    const int64_t columns = p.channels * py * px;
    float *to = f32(z);
    for (int64_t c = 0; c < p.channels; c++)
        for (int64_t t = 0; t < p.frames; t++)
            for (int64_t y = 0; y < p.height; y++)
                for (int64_t i = 0; i < p.width; i++)
                    *to++ = f32(x)[token_of(&p, t, y, i) * columns +
                                   ((y % py) * px + i % px) * p.channels + c];
    return LVSA_OK;
}

lvsa_status lv_cpu_upsample(lv_exec *e, lv_tensor out, lv_tensor x)
{
    (void)e;
    const int64_t rows = x.shape[0] * x.shape[1], width = x.shape[2], channels = x.shape[3];
    const size_t point = (size_t)channels * sizeof(float), line = (size_t)width * 2 * point;
    for (int64_t row = 0; row < rows; row++) {
        const float *from = f32(x) + row * width * channels;
        float *to = f32(out) + row * 4 * width * channels;
        for (int64_t i = 0; i < width; i++) {
            memcpy(to + 2 * i * channels, from + i * channels, point);
            memcpy(to + (2 * i + 1) * channels, from + i * channels, point);
        }
        memcpy(to + 2 * width * channels, to, line);
    }
    return LVSA_OK;
}

lvsa_status lv_cpu_split_frames(lv_exec *e, lv_tensor out, lv_tensor x)
{
    (void)e;
    const int64_t points = x.shape[1] * x.shape[2], channels = out.shape[3];
    for (int64_t f = 0; f < x.shape[0]; f++)
        for (int64_t half = 0; half < 2; half++)
            for (int64_t i = 0; i < points; i++)
                memcpy(f32(out) + ((2 * f + half) * points + i) * channels,
                       f32(x) + ((f * points + i) * 2 + half) * channels,
                       (size_t)channels * sizeof(float));
    return LVSA_OK;
}

lvsa_status lv_cpu_take_frame(lv_exec *e, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                              lv_tensor shift)
{
    (void)e;
    const int64_t channels = z.shape[0], points = z.shape[2] * z.shape[3];
    for (int64_t c = 0; c < channels; c++) {
        const float *from = f32(z) + (c * z.shape[1] + t) * points;
        const float times = scale.data ? f32(scale)[c] : 1.0f,
                    plus = shift.data ? f32(shift)[c] : 0.0f;
        for (int64_t i = 0; i < points; i++) f32(out)[i * channels + c] = from[i] * times + plus;
    }
    return LVSA_OK;
}
