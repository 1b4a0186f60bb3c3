/* e4m3.c: see e4m3.h. */
#include "e4m3.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

static float number_of(int bits)
{
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const float size = (bits & 0x7f) == 0x7f ? NAN
                       : exponent > 0        ? ldexpf((float)(8 + fraction), exponent - 10)
                                             : ldexpf((float)fraction, -9);
    return bits & 0x80 ? -size : size;
}

float e4m3_to_f32(uint8_t bits)
{
    static float number[256]; /* made from the end on: the first of them, 0, is there */
    for (int i = 255; number[1] == 0.0f && i > 0; i--) number[i] = number_of(i);
    return number[bits];
}

/* Looks for it among all 127 that there are, by halves. */
uint8_t e4m3_from_f32(float value)
{
    const uint8_t sign = signbit(value) ? 0x80 : 0;
    const float size = fabsf(value);
    int below = 0, above = 0x7e; /* the largest that isn't above size lies between */
    if (isnan(value)) return sign | 0x7f;
    if (size >= LV_E4M3_MOST) return sign | 0x7e;
    while (above - below > 1) {
        const int middle = (below + above) / 2;
        if (e4m3_to_f32((uint8_t)middle) <= size) below = middle;
        else above = middle;
    }
    const float down = size - e4m3_to_f32((uint8_t)below), up = e4m3_to_f32((uint8_t)above) - size;
    return (uint8_t)(sign | (up < down || (up == down && below % 2 == 1) ? above : below));
}

void e4m3_quantise(uint8_t *out, float *scale, const float *x, int64_t rows, int64_t width)
{
    for (int64_t row = 0; row < rows; row++, x += width, out += width) {
        float most = 0.0f;
        for (int64_t i = 0; i < width; i++) most = fmaxf(most, fabsf(x[i]));
        const float factor = most > 0.0f ? LV_E4M3_MOST / most : 1.0f;
        for (int64_t i = 0; i < width; i++) out[i] = e4m3_from_f32(x[i] * factor);
        scale[row] = 1.0f / factor;
    }
}

/* ---- the device ------------------------------------------------------------------------------ */

static const lv_ops *cpu;

/* Numbers of any matrix as f32; the caller frees them. */
static float *widen(lv_tensor t)
{
    const int64_t count = lv_tensor_count(t), width = t.shape[1];
    float *out = malloc((size_t)count * sizeof *out);
    for (int64_t i = 0; out && i < count; i++)
        out[i] = t.dtype == LV_E4M3 ? e4m3_to_f32(((uint8_t *)t.data)[i]) * t.scale[i / width]
                                    : ((float *)t.data)[i];
    return out;
}

/* Frees x; t is f32 or e4m3. */
static lvsa_status give(lv_tensor t, float *x)
{
    const int64_t count = lv_tensor_count(t);
    if (!x) return lv_fail(LVSA_ERR_MEMORY, "e4m3: no memory");
    if (t.dtype == LV_E4M3) e4m3_quantise(t.data, t.scale, x, t.shape[0], t.shape[1]);
    else memcpy(t.data, x, (size_t)count * sizeof *x);
    free(x);
    return LVSA_OK;
}

/* `t`'s numbers, f32: its own, or a copy that the caller frees. No numbers while measuring. */
static lv_tensor view(const lv_exec *e, lv_tensor t)
{
    lv_tensor wide = t;
    wide.dtype = LVSA_F32, wide.scale = NULL;
    if (t.dtype == LV_E4M3 && !e->arena.measuring) wide.data = widen(t);
    return wide;
}

static void forget(lv_tensor wide, lv_tensor t)
{
    if (wide.data != t.data) free(wide.data);
}

static lvsa_status linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                          lv_activation f)
{
    const lv_tensor wide = view(e, out), a = view(e, x), m = view(e, w);
    lvsa_status s = cpu->linear(e, wide, a, m, b, f);
    if (s == LVSA_OK && out.dtype == LV_E4M3 && !e->arena.measuring)
        e4m3_quantise(out.data, out.scale, wide.data, out.shape[0], out.shape[1]);
    forget(wide, out);
    forget(a, x);
    forget(m, w);
    return s;
}

static lvsa_status linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                              lv_tensor gate)
{
    const lv_tensor a = view(e, y), m = view(e, w);
    lvsa_status s = cpu->linear_add(e, x, a, m, b, gate);
    forget(a, y);
    forget(m, w);
    return s;
}

static lvsa_status layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm)
{
    lv_tensor wide = out;
    if (out.dtype != LV_E4M3) return cpu->layer_norm(e, out, x, norm);
    wide.dtype = LVSA_F32;
    wide.data = malloc((size_t)lv_tensor_count(out) * sizeof(float));
    lvsa_status s = wide.data ? cpu->layer_norm(e, wide, x, norm) : LVSA_OK;
    return s == LVSA_OK ? give(out, wide.data) : s;
}

static lvsa_status copy(lv_exec *e, lv_tensor out, lv_tensor x)
{
    return out.dtype == LV_E4M3 ? give(out, widen(x)) : cpu->copy(e, out, x);
}

/* Weights of files. */
static lvsa_status upload_as(lv_device *device, lv_tensor to, const void *from, lvsa_dtype type)
{
    const int64_t count = lv_tensor_count(to);
    float *wide = malloc((size_t)count * sizeof *wide);
    (void)device;
    for (int64_t i = 0; wide && i < count; i++) {
        uint16_t half = 0;
        if (type == LVSA_F32) memcpy(&wide[i], (const char *)from + i * 4, sizeof *wide);
        else memcpy(&half, (const char *)from + i * 2, sizeof half);
        if (type == LVSA_BF16) wide[i] = lv_bf16_to_f32(half);
        if (type == LVSA_F16) wide[i] = lv_f16_to_f32(half);
    }
    return give(to, wide);
}

void e4m3_install(lv_device *device)
{
    static lv_ops ops;
    cpu = device->ops, ops = *cpu;
    ops.linear = linear, ops.linear_add = linear_add;
    ops.layer_norm = layer_norm, ops.copy = copy;
    device->ops = &ops, device->upload_as = upload_as;
    device->takes_e4m3 = device->fp8 = true;
}
