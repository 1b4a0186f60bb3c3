/* shuffle.c: operations that move numbers to other places. */
#include <string.h>

#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cpu/rows.h"

static float *f32(lv_tensor t) { return t.data; }

/* The order of z f32 [C,T,Y,X] against that of its tokens [T*Y/py*X/px, py*px*C]. */
typedef struct patches {
    int64_t channels, frames, height, width, py, px;
} patches;

static patches patches_of(lv_tensor z, int64_t py, int64_t px)
{
    return (patches){z.shape[0], z.shape[1], z.shape[2], z.shape[3], py, px};
}

/* Where latent (c, t, y, x) stands among the tokens. */
static int64_t place_of(const patches *p, int64_t c, int64_t t, int64_t y, int64_t x)
{
    int64_t token = (t * (p->height / p->py) + y / p->py) * (p->width / p->px) + x / p->px;
    int64_t column = ((y % p->py) * p->px + x % p->px) * p->channels + c;
    return token * p->channels * p->py * p->px + column;
}

#define FOR_LATENTS(p)                                                                             \
    for (int64_t c = 0; c < (p).channels; c++)                                                     \
        for (int64_t t = 0; t < (p).frames; t++)                                                   \
            for (int64_t y = 0; y < (p).height; y++)                                               \
                for (int64_t x = 0; x < (p).width; x++)

lvsa_status lv_cpu_patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    (void)e;
    const patches p = patches_of(z, py, px);
    const float *from = f32(z);
    FOR_LATENTS(p) f32(out)[place_of(&p, c, t, y, x)] = *from++;
    return LVSA_OK;
}

lvsa_status lv_cpu_unpatchify(lv_exec *e, lv_tensor z, lv_tensor tokens, int64_t py, int64_t px)
{
    (void)e;
    const patches p = patches_of(z, py, px);
    float *to = f32(z);
    FOR_LATENTS(p) *to++ = f32(tokens)[place_of(&p, c, t, y, x)];
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

/* One row of the rectangle; s grows by `step` from point to point. */
static void blend_row(float *to, const float *from, int64_t points, int64_t channels, float s,
                      float step)
{
    for (int64_t i = 0; i < points; i++) {
        const float keep = s + step * (float)i;
        for (int64_t c = i * channels; c < (i + 1) * channels; c++)
            to[c] = from[c] * (1.0f - keep) + to[c] * keep;
    }
}

lvsa_status lv_cpu_blend(lv_exec *e, lv_tensor to, lv_tensor from, const lv_blend *blend)
{
    (void)e;
    const lv_blend b = *blend;
    const int64_t channels = to.shape[3];
    for (int64_t f = 0; f < to.shape[0]; f++)
        for (int64_t i = 0; i < b.height; i++) {
            float *row =
                f32(to) + ((f * to.shape[1] + b.to_y + i) * to.shape[2] + b.to_x) * channels;
            const float *source =
                f32(from) +
                ((f * from.shape[1] + b.from_y + i) * from.shape[2] + b.from_x) * channels;
            if (b.ramp == LV_RAMP_NONE)
                memcpy(row, source, (size_t)(b.width * channels) * sizeof *row);
            else if (b.ramp == LV_RAMP_Y)
                blend_row(row, source, b.width, channels, (float)i / (float)b.height, 0.0f);
            else blend_row(row, source, b.width, channels, 0.0f, 1.0f / (float)b.width);
        }
    return LVSA_OK;
}
