/* test_decoder_cuda.c: a GPU's operations for decoders against the CPU's, at odd sizes; then a
 * whole decoder, whose bytes may differ by what bf16 leaves out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "op_check.h"
#include "scratch.h"

#include <lvsa/lvsa_synth.h>

#include "engine/runtime/cuda/cuda.h"
#include "flow/vae/vae.h"

/* ---- convolutions ---------------------------------------------------------------------------- */

typedef struct conv_options {
    int kt;
    bool add;
    int capability; /* of the kernel that is taken on the GPU, at most its own */
} conv_options;

/* t: out, kt frames, weights, bias */
static lvsa_status conv(lv_exec *e, const lv_tensor *t, const void *options)
{
    const conv_options *o = options;
    lv_cuda_device *gpu = (lv_cuda_device *)e->device;
    if (e->device->kind != LVSA_DEVICE_CUDA)
        return lv_op_conv(e, t[0], t + 1, t[1 + o->kt], t[2 + o->kt], o->add);
    const int own = gpu->capability;
    if (o->capability < own) gpu->capability = o->capability;
    const lvsa_status s = lv_op_conv(e, t[0], t + 1, t[1 + o->kt], t[2 + o->kt], o->add);
    gpu->capability = own;
    return s;
}

/* As bf16, added, as f32, and without a bias. */
static void conv_case(int64_t Y, int64_t X, int64_t C, int64_t O, int64_t kt, int64_t ky,
                      int64_t kx)
{
    const operand frame = BF16(1, Y, X, C), weight = BF16(O, kt, ky, kx, C), bias = F32(O);
    const operand as_bf16 = OUT_BF16(1, Y, X, O), as_f32 = OUT_F32(1, Y, X, O), none = {0};
    for (int i = 0; i < 8; i++) {
        const conv_options o = {(int)kt, i / 2 == 1, i % 2 ? 80 : 1000};
        operand list[6] = {i / 2 == 2 ? as_f32 : as_bf16};
        for (int64_t t = 0; t < kt; t++) list[1 + t] = frame;
        list[1 + kt] = weight, list[2 + kt] = i / 2 == 3 ? none : bias;
        /* Of f32 the order of up to 10 thousand sums is seen. */
        op_check(i % 2 ? "conv, sm_80" : "conv", conv, &o, i / 2 == 2 ? 60 : 3, (int)(3 + kt),
                 list);
    }
}

static void convolutions(void **state)
{
    (void)state;
    conv_case(16, 16, 64, 192, 1, 1, 1); /* one tile */
    conv_case(5, 7, 96, 96, 3, 3, 3);
    conv_case(33, 17, 96, 96, 3, 3, 3);
    conv_case(19, 23, 192, 192, 3, 3, 3);
    conv_case(13, 20, 192, 384, 3, 3, 3);
    conv_case(11, 9, 384, 384, 1, 3, 3);
    conv_case(9, 13, 16, 384, 3, 3, 3);
    conv_case(41, 35, 96, 3, 3, 3, 3); /* pixels */
    conv_case(13, 29, 16, 16, 1, 1, 1);
    conv_case(21, 18, 128, 256, 3, 1, 1);
    conv_case(25, 31, 8, 24, 3, 3, 3);
    conv_case(12, 19, 40, 100, 2, 3, 1);
    conv_case(3, 3, 8, 8, 1, 1, 3);
    conv_case(6, 5, 3, 5, 3, 3, 3); /* channels that the copy engine can't read */
    conv_case(4, 4, 12, 7, 1, 3, 3);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static lvsa_status channel_norm(lv_exec *e, const lv_tensor *t, const void *options)
{
    const lv_activation *f = options;
    return lv_op_channel_norm(e, t[0], t[1], t[2], *f);
}

static void channel_norms(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 6, 8, 16, 96, 128, 192, 200, 384, 512, 640, 1024, 1160};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (lv_activation f = LV_LINEAR; f <= LV_GELU_TANH; f++) {
            const int64_t c = widths[i];
            CHECK_OP("channel_norm", channel_norm, &f, 3, OUT_BF16(1, 7, 11, c), BF16(1, 7, 11, c),
                     F32(c));
        }
}

static lvsa_status attention(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_attention_picture(e, t[0], t[1], t[2], t[3]);
}

static void attention_case(int64_t points, int64_t channels)
{
    CHECK_OP("attention_picture", attention, NULL, 3, OUT_BF16(points, channels),
             BF16(points, channels), BF16(points, channels), BF16(points, channels));
}

static void picture_attention(void **state)
{
    (void)state;
    attention_case(1, 8);
    attention_case(23, 40);
    attention_case(130, 384);
    attention_case(2111, 64); /* more rows than are scored at once */
}

static lvsa_status upsample(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_upsample(e, t[0], t[1]);
}

static lvsa_status split_frames(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_split_frames(e, t[0], t[1]);
}

static lvsa_status take_frame(lv_exec *e, const lv_tensor *t, const void *options)
{
    (void)options;
    return lv_op_take_frame(e, t[0], t[1], 2, t[2], t[3]);
}

static lvsa_status blend(lv_exec *e, const lv_tensor *t, const void *options)
{
    return lv_op_blend(e, t[0], t[1], options);
}

static void movements(void **state)
{
    (void)state;
    CHECK_OP("upsample", upsample, NULL, 0, OUT_BF16(2, 6, 10, 24), BF16(2, 3, 5, 24));
    CHECK_OP("upsample", upsample, NULL, 0, OUT_BF16(1, 6, 10, 7), BF16(1, 3, 5, 7));
    CHECK_OP("upsample", upsample, NULL, 0, OUT_F32(2, 6, 10, 3), F32(2, 3, 5, 3));
    CHECK_OP("split_frames", split_frames, NULL, 0, OUT_BF16(4, 3, 5, 16), BF16(2, 3, 5, 32));
    CHECK_OP("split_frames", split_frames, NULL, 0, OUT_BF16(2, 3, 5, 9), BF16(1, 3, 5, 18));
    CHECK_OP("split_frames", split_frames, NULL, 0, OUT_F32(2, 2, 5, 9), F32(1, 2, 5, 18));
    CHECK_OP("take_frame", take_frame, NULL, 1, OUT_BF16(1, 4, 7, 16), F32(16, 3, 4, 7), F32(16),
             F32(16));
    CHECK_OP("take_frame", take_frame, NULL, 1, OUT_BF16(1, 4, 7, 5), F32(5, 4, 4, 7), {0}, {0});
    for (lv_ramp ramp = LV_RAMP_NONE; ramp <= LV_RAMP_X; ramp++) {
        const lv_blend b = {2, 3, 1, 4, 5, 3, ramp};
        CHECK_OP("blend", blend, &b, 2, OUT_F32(2, 9, 8, 3), F32(2, 7, 7, 3));
        CHECK_OP("blend", blend, &b, 2, OUT_BF16(1, 9, 8, 16), BF16(1, 7, 7, 16));
    }
}

/* ---- a decoder ------------------------------------------------------------------------------- */

enum { Y = 9, X = 13, T = 3, C = 16, FRAMES = 9, BYTES = 8 * Y * 8 * X * 3 };

typedef struct video {
    uint8_t rgb[FRAMES][BYTES];
    int frames;
} video;

static lvsa_status on_frame(void *user, const lv_frame *frame)
{
    video *v = user;
    assert_int_equal(frame->index, v->frames);
    assert_true(v->frames < FRAMES && frame->height == 8 * Y && frame->width == 8 * X);
    memcpy(v->rgb[v->frames++], frame->rgb, BYTES);
    return LVSA_OK;
}

/* `bad`: a latent of the last frame is no number. */
static lvsa_status decode(video *out, lvsa_device kind, const char *directory, bool bad)
{
    static float latents[C * T * Y * X];
    const lv_frame_sink sink = {.call = on_frame, .user = out};
    lv_tensor z = lv_tensor_view(NULL, LVSA_F32, 4, LV_SHAPE(C, T, Y, X));
    lv_device *device;
    lv_vae *vae;
    srand(5);
    for (int i = 0; i < C * T * Y * X; i++)
        latents[i] = (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
    if (bad) latents[(T - 1) * Y * X + 5] = NAN;
    out->frames = 0;
    CHECK_OK(lv_device_open(&device, kind, 0));
    CHECK_OK(lv_vae_open(&vae, device, directory));
    CHECK_OK(device->allocate(device, &z.data, sizeof latents));
    CHECK_OK(device->upload(device, z.data, latents, sizeof latents));
    const lvsa_status s = lv_vae_decode(vae, z, NULL, &sink);
    device->release(device, z.data);
    lv_vae_close(&vae);
    lv_device_close(&device);
    return s;
}

static void whole_decoder(void **state)
{
    (void)state;
    lvsa_synth_options o = LVSA_SYNTH_OPTIONS_INIT;
    static video cpu, gpu, again;
    char directory[512];
    int64_t bytes;
    o.name = "tiny", o.directory = scratch_path("model"), o.parts = LVSA_SYNTH_VAE;
    snprintf(directory, sizeof directory, "%s/vae", o.directory);
    CHECK_OK(lvsa_synth_write(&bytes, &o));
    CHECK_OK(decode(&cpu, LVSA_DEVICE_CPU, directory, false));
    CHECK_OK(decode(&gpu, LVSA_DEVICE_CUDA, directory, false));
    CHECK_OK(decode(&again, LVSA_DEVICE_CUDA, directory, false));
    assert_int_equal(cpu.frames, FRAMES);
    assert_int_equal(gpu.frames, FRAMES);
    assert_memory_equal(gpu.rgb, again.rgb, sizeof gpu.rgb);
    int most = 0;
    double sum = 0.0;
    for (int f = 0; f < FRAMES; f++)
        for (int i = 0; i < BYTES; i++) {
            const int off = abs((int)cpu.rgb[f][i] - (int)gpu.rgb[f][i]);
            most = off > most ? off : most, sum += off;
        }
    print_message("decoder: bytes %.3f off, %d at most\n", sum / (FRAMES * BYTES), most);
    assert_true(sum / (FRAMES * BYTES) < 1.5 && most < 24);
    CHECK_FAILS(decode(&gpu, LVSA_DEVICE_CUDA, directory, true), LVSA_ERR_NUMBER, "NaN");
    assert_int_equal(gpu.frames, FRAMES - 4);
}

int main(void)
{
    if (!op_check_open()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),      cmocka_unit_test(channel_norms),
        cmocka_unit_test(picture_attention), cmocka_unit_test(movements),
        cmocka_unit_test(whole_decoder),
    };
    const int failed = cmocka_run_group_tests(tests, scratch_make, scratch_remove);
    op_check_close();
    return failed;
}
