/* e4m3.c: see e4m3.h. */
#include "e4m3.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "engine/runtime/cpu/math.h"

float e4m3_to_f32(uint8_t bits)
{
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const float size = (bits & 0x7f) == 0x7f ? NAN
                       : exponent > 0        ? ldexpf((float)(8 + fraction), exponent - 10)
                                             : ldexpf((float)fraction, -9);
    return bits & 0x80 ? -size : size;
}

/* Looks for it among all: there are few. */
uint8_t e4m3_from_f32(float value)
{
    const uint8_t sign = signbit(value) ? 0x80 : 0;
    const float size = fabsf(value);
    int below = 0; /* the largest that isn't above */
    if (isnan(value)) return sign | 0x7f;
    if (size >= 448.0f) return sign | 0x7e;
    while (e4m3_to_f32((uint8_t)(below + 1)) <= size) below++;
    const float down = size - e4m3_to_f32((uint8_t)below),
                up = e4m3_to_f32((uint8_t)(below + 1)) - size;
    return (uint8_t)(sign | (below + (up < down || (up == down && below % 2 == 1))));
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

/* out[n,o] = gate[o] * f(x[n] . w[o] + b[o]), then + add[n,o]; add may be NULL. */
static float *multiply(lv_tensor x, lv_tensor w, lv_tensor b, lv_tensor gate, lv_activation f,
                       const float *add)
{
    const int64_t rows = x.shape[0], columns = w.shape[0], inner = w.shape[1];
    float *a = widen(x), *m = widen(w), *out = malloc((size_t)(rows * columns) * sizeof *out);
    for (int64_t i = 0; a && m && out && i < rows * columns; i++) {
        const int64_t column = i % columns;
        double sum = b.data ? (double)((float *)b.data)[column] : 0.0;
        for (int64_t j = 0; j < inner; j++)
            sum += (double)a[i / columns * inner + j] * m[column * inner + j];
        float y = (float)sum;
        if (f == LV_SILU) y = lv_silu(y);
        if (f == LV_GELU_TANH) y = lv_gelu_tanh(y);
        if (gate.data) y *= ((float *)gate.data)[column];
        out[i] = add ? add[i] + y : y;
    }
    free(a);
    free(m);
    return out;
}

static lvsa_status linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                          lv_activation f)
{
    const lv_tensor none = {0};
    if (w.dtype != LV_E4M3) return cpu->linear(e, out, x, w, b, f);
    return e->arena.measuring ? LVSA_OK : give(out, multiply(x, w, b, none, f, NULL));
}

static lvsa_status linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                              lv_tensor gate)
{
    if (w.dtype != LV_E4M3) return cpu->linear_add(e, x, y, w, b, gate);
    return e->arena.measuring ? LVSA_OK : give(x, multiply(y, w, b, gate, LV_LINEAR, x.data));
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

lvsa_status e4m3_device_open(lv_device **out)
{
    static lv_ops ops;
    LV_TRY(lv_device_open(out, LVSA_DEVICE_CPU, 1));
    cpu = (*out)->ops, ops = *cpu;
    ops.linear = linear, ops.linear_add = linear_add;
    ops.layer_norm = layer_norm, ops.copy = copy;
    (*out)->ops = &ops, (*out)->upload_as = upload_as;
    (*out)->takes_e4m3 = (*out)->fp8 = true;
    return LVSA_OK;
}
