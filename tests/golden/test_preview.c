/* test_preview.c: the linear guess at a decoder: exact where the decoder is linear, and how near to
 * diffusers' frames where it isn't. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "flow/vae/preview.h"
#include "golden/wan/golden.h"

static lv_device *device;

/* ---- a decoder that is linear ---------------------------------------------------------------- */

enum { CHANNELS = 5, MANY_CHANNELS = 200, SPATIAL = 4, POINTS = 3 * 2 * 7 };

/* Of a latent's 16 pixels; their mean is what counts. In 0 .. 1. */
static float colour_of(const float z[CHANNELS], int64_t k, int64_t pixel)
{
    static const float weight[3][CHANNELS] = {{0.04f, -0.02f, 0.01f, 0.0f, 0.03f},
                                              {-0.01f, 0.05f, 0.0f, 0.02f, 0.01f},
                                              {0.02f, 0.02f, -0.03f, 0.04f, 0.0f}};
    float sum = 0.3f + 0.2f * (float)k + 0.02f * ((float)pixel - 7.5f) / 7.5f;
    for (int c = 0; c < CHANNELS; c++) sum += weight[k][c] * z[c];
    return sum;
}

static lvsa_status step_status;

static lvsa_status linear_step(lv_vae *vae, lv_exec *e, const lv_vae_step *step)
{
    if (e->arena.measuring) return LVSA_OK;
    const float *z = step->latent.data;
    float *to = step->frames.data;
    const int64_t width = step->frames.shape[2];
    for (int64_t i = 0; i < step->frames.shape[1] * width; i++) {
        const int64_t y = i / width, x = i % width;
        const float *at = z + (y / SPATIAL * (width / SPATIAL) + x / SPATIAL) * vae->channels;
        for (int64_t k = 0; k < 3; k++)
            to[3 * i + k] = 2.0f * colour_of(at, k, y % SPATIAL * SPATIAL + x % SPATIAL) - 1.0f;
    }
    return step_status;
}

static int64_t no_past(const lv_vae *vae, int64_t height, int64_t width, int64_t beyond)
{
    (void)vae, (void)height, (void)width, (void)beyond;
    return 1;
}

/* Colours depend on the first CHANNELS. */
static lv_vae linear_vae_of(int64_t channels)
{
    static const lv_vae_class class = {.name = "linear", .past = no_past, .step = linear_step};
    static float ones[MANY_CHANNELS], zeros[MANY_CHANNELS];
    const int64_t shape[] = {channels};
    for (int i = 0; i < MANY_CHANNELS; i++) ones[i] = 1.0f;
    return (lv_vae){.class = &class,
                    .device = device,
                    .channels = channels,
                    .spatial = SPATIAL,
                    .temporal = 1,
                    .scale = lv_tensor_view(ones, LVSA_F32, 1, shape),
                    .shift = lv_tensor_view(zeros, LVSA_F32, 1, shape)};
}

static lv_vae linear_vae(void) { return linear_vae_of(CHANNELS); }

static void a_linear_decoder_is_met(void **state)
{
    (void)state;
    const int64_t shape[] = {CHANNELS, 3, 2, 7};
    float z[CHANNELS * POINTS], v[CHANNELS * POINTS];
    uint8_t rgb[POINTS * 3 + 1];
    lv_vae vae = linear_vae();
    lv_preview *p;
    CHECK_OK(lv_preview_fit(&p, &vae));
    for (int i = 0; i < CHANNELS * POINTS; i++)
        z[i] = 1.5f * sinf((float)i), v[i] = 0.5f * cosf(3.0f * (float)i);
    rgb[POINTS * 3] = 77;
    lv_preview_draw(rgb, p, z, v, -0.7f, shape);
    int worst = 0;
    for (int i = 0; i < POINTS; i++) {
        float clean[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) clean[c] = z[c * POINTS + i] - 0.7f * v[c * POINTS + i];
        for (int k = 0; k < 3; k++) {
            float mean = 0.0f;
            for (int j = 0; j < SPATIAL * SPATIAL; j++)
                mean += colour_of(clean, k, j) / (SPATIAL * SPATIAL);
            const int off = abs((int)(255.0f * mean + 0.5f) - rgb[3 * i + k]);
            if (off > worst) worst = off;
        }
    }
    print_message("worst of %d colours: %d/255\n", POINTS * 3, worst);
    assert_true(worst <= 1);
    assert_int_equal(rgb[POINTS * 3], 77);
    lv_preview_free(&p);
    assert_null(p);
    lv_preview_free(&p);
    lv_preview_free(NULL);
}

static void what_is_no_number_is_black(void **state)
{
    (void)state;
    const int64_t shape[] = {CHANNELS, 1, 1, 3};
    float z[CHANNELS * 3] = {0}, v[CHANNELS * 3] = {0};
    uint8_t rgb[9];
    lv_vae vae = linear_vae();
    lv_preview *p;
    CHECK_OK(lv_preview_fit(&p, &vae));
    z[0] = NAN, z[1] = INFINITY, z[2] = 1e30f;
    lv_preview_draw(rgb, p, z, v, -1.0f, shape);
    const uint8_t wanted[] = {0, 0, 0, 255, 0, 255, 255, 0, 255};
    assert_memory_equal(rgb, wanted, sizeof wanted);
    lv_preview_free(&p);
}

/* More channels than the pictures have values leave their weights open, not the colours' mean. */
static void many_channels_are_fitted(void **state)
{
    (void)state;
    const int64_t shape[] = {MANY_CHANNELS, 1, 1, 1};
    float z[MANY_CHANNELS] = {0};
    uint8_t rgb[3];
    lv_vae vae = linear_vae_of(MANY_CHANNELS);
    lv_preview *p;
    CHECK_OK(lv_preview_fit(&p, &vae));
    lv_preview_draw(rgb, p, z, z, 0.0f, shape);
    for (int k = 0; k < 3; k++)
        assert_in_range(rgb[k], 255 * (3 + 2 * k) / 10 - 8, 255 * (3 + 2 * k) / 10 + 8);
    lv_preview_free(&p);
}

static void a_decoder_may_fail(void **state)
{
    (void)state;
    lv_vae vae = linear_vae();
    lv_preview *p = (lv_preview *)&vae;
    step_status = LVSA_ERR_DEVICE;
    assert_int_equal(lv_preview_fit(&p, &vae), LVSA_ERR_DEVICE);
    step_status = LVSA_OK;
    assert_null(p);
}

static lvsa_status fit(void *user)
{
    lv_preview *p;
    lvsa_status s = lv_preview_fit(&p, user);
    assert_true((s == LVSA_OK) == (p != NULL));
    lv_preview_free(&p);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    lv_vae vae = linear_vae();
    assert_true(fail_each_allocation(fit, &vae) >= 8);
}

/* ---- a decoder of diffusers ------------------------------------------------------------------ */

/* The mean of a latent's pixels and frames, of frames [3, F, r*Y, r*X] in -1 .. 1. */
static double mean_of(const float *frames, const int64_t z[4], int64_t k, int64_t point)
{
    const int64_t r = 8, Y = z[2], X = z[3], F = 1 + 4 * (z[1] - 1);
    const int64_t t = point / (Y * X), y = point / X % Y, x = point % X;
    const int64_t first = t ? 4 * t - 3 : 0, last = 4 * t;
    double sum = 0.0;
    for (int64_t f = first; f <= last; f++)
        for (int64_t i = 0; i < r * r; i++)
            sum += (double)frames[((k * F + f) * r * Y + r * y + i / r) * r * X + r * x + i % r];
    return sum / (double)((last - first + 1) * r * r);
}

/* How the preview of a golden's latents goes with diffusers' frames of them, over all colours. */
static double correlate(const lv_preview *p, const lv_safetensors *golden, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "%s.z", part);
    const lv_tensor_entry *entry = lv_safetensors_find(golden, name);
    assert_non_null(entry);
    const int64_t shape[] = {(int64_t)entry->shape[0], (int64_t)entry->shape[1],
                             (int64_t)entry->shape[2], (int64_t)entry->shape[3]};
    const size_t points = entry->count / entry->shape[0];
    const float *z = golden_get(golden, name, entry->count);
    snprintf(name, sizeof name, "%s.frames", part);
    const float *frames = golden_get(golden, name, lv_safetensors_find(golden, name)->count);
    uint8_t *rgb = malloc(3 * points);
    assert_non_null(rgb);
    lv_preview_draw(rgb, p, z, z, 0.0f, shape);
    double products = 0.0, ours = 0.0, theirs = 0.0;
    for (int64_t k = 0; k < 3; k++) { /* colour by colour: a cast alone is no likeness */
        double sum[5] = {0};
        for (size_t i = 0; i < points; i++) {
            const double a = rgb[3 * i + (size_t)k], b = mean_of(frames, shape, k, (int64_t)i);
            sum[0] += a, sum[1] += b, sum[2] += a * a, sum[3] += b * b, sum[4] += a * b;
        }
        products += sum[4] - sum[0] * sum[1] / (double)points;
        ours += sum[2] - sum[0] * sum[0] / (double)points;
        theirs += sum[3] - sum[1] * sum[1] / (double)points;
    }
    free(rgb);
    return products / sqrt(ours * theirs);
}

/* The correlation for a checkpoint's VAE and the part `part` of a golden. */
static double likeness_of(const char *directory, const char *file, const char *part)
{
    lv_vae *vae;
    lv_preview *p;
    lv_safetensors *golden = golden_open(file);
    CHECK_OK(lv_vae_open(&vae, device, directory));
    CHECK_OK(lv_preview_fit(&p, vae));
    const double likeness = correlate(p, golden, part);
    print_message("%s: correlation %.3f\n", file, likeness);
    lv_preview_free(&p);
    lv_vae_close(&vae);
    lv_safetensors_close(&golden);
    return likeness;
}

/* Weights of no training mix latents with their neighbours: a correlation of 0 is what chance
 * gives, and 0.1 its deviation. */
static void a_preview_is_like_the_frames(void **state)
{
    (void)state;
    assert_true(likeness_of(GOLDEN_DIR "/wan/tiny-a/vae", "wan/vae-a.safetensors", "t1") > 0.2);
}

/* This VAE's latents of what moves hold their place in time, which no linear guess can follow. */
static void a_preview_of_trained_weights_is_more_so(void **state)
{
    (void)state;
    assert_true(likeness_of(GOLDEN_DIR "/../../models/tiny-wan/vae", "tiny-wan/preview.safetensors",
                            "clip") > 0.35);
}

static int open_device(void **state)
{
    (void)state;
    return lv_device_open(&device, LVSA_DEVICE_CPU, 2) == LVSA_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    lv_device_close(&device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_decoder_is_met),
        cmocka_unit_test(what_is_no_number_is_black),
        cmocka_unit_test(many_channels_are_fitted),
        cmocka_unit_test(a_decoder_may_fail),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_preview_is_like_the_frames),
        cmocka_unit_test(a_preview_of_trained_weights_is_more_so),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
