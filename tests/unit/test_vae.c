/* test_vae.c: how decoding goes: memory that doesn't grow with the video, frames as they come,
 * files that aren't right. What is decoded is compared in golden/test_vae_golden.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "base/mem.h"
#include "engine/weights/safetensors.h"
#include "flow/vae/vae.h"
#include "scratch.h"

#define TINY GOLDEN_DIR "/wan/tiny-a/vae"
#define WEIGHTS "diffusion_pytorch_model.safetensors"

enum { C = 16, Y = 3, X = 4, FRAME = 8 * Y * 8 * X * 3, MOST_T = 81 };

static lv_device *device;
static float latents[C * MOST_T * Y * X];

/* The first T frames of one long sequence, [C, T, Y, X]. */
static lv_tensor make_latents(int64_t T)
{
    for (int64_t i = 0; i < C * T * Y * X; i++) {
        const int64_t c = i / (T * Y * X), rest = i % (T * Y * X);
        uint32_t bits = (uint32_t)(c * MOST_T * Y * X + rest + 1) * 2654435761u;
        bits = (bits ^ bits >> 15) * 2246822519u;
        latents[i] = (float)(bits >> 8) / (float)(1 << 23) - 1.0f;
    }
    return lv_tensor_view(latents, LVSA_F32, 4, LV_SHAPE(C, T, Y, X));
}

/* ---- a sink ---------------------------------------------------------------------------------- */

static int64_t frames, wanted_frames; /* seen, and after how many to stop */
static size_t allocations, allocated; /* while the hook counts            */
static size_t later;                  /* allocations after the first frame */
static uint8_t *kept;                 /* frames' bytes, where not NULL    */

static lvsa_status on_frame(void *user, const lv_frame *frame)
{
    assert_ptr_equal(user, &frames);
    assert_int_equal(frame->index, frames);
    assert_int_equal(frame->height, 8 * Y);
    assert_int_equal(frame->width, 8 * X);
    if (kept) memcpy(kept + frames * FRAME, frame->rgb, FRAME);
    if (frames++ == 0) later = allocations;
    return frames == wanted_frames ? lv_fail(LVSA_ERR_CANCELLED, "enough") : LVSA_OK;
}

static lvsa_status decode(lv_vae *vae, int64_t T, const lv_vae_tiling *tiling)
{
    frames = 0;
    lvsa_status s =
        lv_vae_decode(vae, make_latents(T), tiling,
                      &(lv_frame_sink){.call = on_frame, .user = &frames, .values = true});
    later = allocations - later;
    return s;
}

static bool count(size_t bytes)
{
    allocations++;
    allocated += bytes;
    return true;
}

static const lv_vae_tiling tilings[] = {{.size = 0}, {.size = 3, .stride = 2}};

/* ---- memory ---------------------------------------------------------------------------------- */

static void memory_is_the_same_for_any_length(void **state)
{
    (void)state;
    lv_vae *vae;
    CHECK_OK(lv_vae_open(&vae, device, TINY));
    static const int64_t T[2][2] = {{21, 81}, {5, 21}};
    for (int i = 0; i < 2; i++) {
        size_t bytes, taken[2];
        CHECK_OK(lv_vae_measure(&bytes, vae, Y, X, &tilings[i])); /* and oneDNN gets ready */
        for (int j = 0; j < 2; j++) {
            allocated = allocations = 0;
            lv_mem_set_hook(count);
            lvsa_status s = decode(vae, T[i][j], &tilings[i]);
            lv_mem_set_hook(NULL);
            CHECK_OK(s);
            assert_int_equal(frames, 4 * T[i][j] - 3);
            assert_int_equal(later, 0);
            taken[j] = allocated;
        }
        assert_int_equal(taken[0], taken[1]);
        const size_t host = taken[1] - bytes; /* one frame as numbers and as bytes, and the tiles */
        assert_true(taken[1] > bytes && host >= FRAME * 5 && host < FRAME * 5 + 8192);
        print_message("tiles of %d: %zu bytes on the device, %zu in all, in %zu allocations\n",
                      (int)tilings[i].size, bytes, taken[1], allocations);
    }
    lv_vae_close(&vae);
}

static lvsa_status open_and_decode(void *user)
{
    (void)user;
    lv_device *other;
    lv_vae *vae = (lv_vae *)&other;
    LV_TRY(lv_device_open(&other, LVSA_DEVICE_CPU, 1));
    lvsa_status s = lv_vae_open(&vae, other, TINY);
    assert_true((s == LVSA_OK) == (vae != NULL));
    if (s == LVSA_OK) s = decode(vae, 2, &tilings[1]);
    lv_vae_close(&vae);
    assert_null(vae);
    lv_device_close(&other);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    print_message("%d allocations, each failed once\n",
                  fail_each_allocation(open_and_decode, NULL));
    assert_int_equal(frames, 5);
}

/* ---- frames as they come --------------------------------------------------------------------- */

static void the_beginning_stays(void **state)
{
    (void)state;
    enum { LONG = 1 + 4 * 6, SHORT = 1 + 4 * 2 };
    static uint8_t whole[LONG * FRAME], part[SHORT * FRAME];
    lv_vae *vae;
    CHECK_OK(lv_vae_open(&vae, device, TINY));
    for (int i = 0; i < 2; i++) {
        kept = whole;
        CHECK_OK(decode(vae, 7, &tilings[i]));
        kept = part;
        CHECK_OK(decode(vae, 3, &tilings[i]));
        assert_int_equal(frames, SHORT);
        assert_memory_equal(whole, part, SHORT * FRAME);
        assert_memory_not_equal(whole, whole + FRAME, FRAME);
    }
    kept = NULL;
    lv_vae_close(&vae);
}

static void a_sink_may_stop(void **state)
{
    (void)state;
    lv_vae *vae;
    CHECK_OK(lv_vae_open(&vae, device, TINY));
    wanted_frames = 3;
    CHECK_FAILS(decode(vae, 2, NULL), LVSA_ERR_CANCELLED, "enough");
    assert_int_equal(frames, 3);
    wanted_frames = 0;
    lv_vae_close(&vae);
}

static void misfits_are_refused(void **state)
{
    (void)state;
    static const lv_vae_tiling bad[] = {{4, 0, NULL}, {4, 5, NULL}, {4, -1, NULL}, {-4, 2, NULL}};
    const lv_frame_sink sink = {.call = on_frame, .user = &frames, .values = true};
    lv_vae *vae;
    size_t bytes;
    CHECK_OK(lv_vae_open(&vae, device, TINY));
    CHECK_FAILS(lv_vae_decode(vae, lv_tensor_view(latents, LVSA_F32, 4, LV_SHAPE(48, 2, 3, 4)),
                              NULL, &sink),
                LVSA_ERR_SHAPE, "[48, 2, 3, 4]: this VAE decodes [16, T, Y, X]");
    CHECK_FAILS(
        lv_vae_decode(vae, lv_tensor_view(latents, LVSA_F32, 3, LV_SHAPE(16, 2, 3)), NULL, &sink),
        LVSA_ERR_SHAPE, "this VAE decodes");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_FAILS(decode(vae, 1, &bad[i]), LVSA_ERR_ARGUMENT, "VAE tiles of");
        CHECK_FAILS(lv_vae_measure(&bytes, vae, Y, X, &bad[i]), LVSA_ERR_ARGUMENT, "VAE tiles of");
    }
    lv_vae_close(&vae);
}

/* A NaN is no black frame. Those before it are handed on. */
static void nans_are_told(void **state)
{
    (void)state;
    const lv_frame_sink sink = {.call = on_frame, .user = &frames, .values = true};
    lv_vae *vae;
    CHECK_OK(lv_vae_open(&vae, device, TINY));
    lv_tensor z = make_latents(2);
    latents[Y * X + 5] = NAN; /* channel 0, latent frame 1 */
    frames = 0;
    CHECK_FAILS(lv_vae_decode(vae, z, NULL, &sink), LVSA_ERR_NUMBER,
                "frame 1 or one of the next: the VAE gave a NaN");
    assert_int_equal(frames, 1);
    lv_vae_close(&vae);
}

/* ---- files that aren't right ----------------------------------------------------------------- */

/* A copy of the tiny VAE with another config.json. */
static const char *with_config(const char *config)
{
    static char directory[512];
    snprintf(directory, sizeof directory, "%s", scratch_path("vae"));
    scratch_write("vae/config.json", config, strlen(config));
    scratch_copy("vae/" WEIGHTS, TINY "/" WEIGHTS);
    return directory;
}

#define WAN "{\"_class_name\": \"AutoencoderKLWan\""
#define SMALL WAN ", \"base_dim\": 4, \"num_res_blocks\": 1"

static void configurations(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        lvsa_status status;
        const char *words;
    } cases[] = {
        {"{}", LVSA_ERR_UNSUPPORTED, "\"_class_name\" is \"\"; AutoencoderKLWan is wanted"},
        {"{\"_class_name\": \"AutoencoderKL\"}", LVSA_ERR_UNSUPPORTED, "is \"AutoencoderKL\""},
        {"{\"_class_name\": 1}", LVSA_ERR_FORMAT, "_class_name"},
        {"[]", LVSA_ERR_FORMAT, "an array"},
        {SMALL ", \"is_residual\": true}", LVSA_ERR_UNSUPPORTED, "TI2V-5B"},
        {SMALL ", \"patch_size\": 2}", LVSA_ERR_UNSUPPORTED, "\"patch_size\" is set"},
        {SMALL ", \"out_channels\": 12}", LVSA_ERR_UNSUPPORTED, "\"out_channels\" is 12"},
        {SMALL ", \"z_dim\": 0}", LVSA_ERR_FORMAT, "z_dim"},
        {SMALL ", \"z_dim\": 5}", LVSA_ERR_FORMAT, "\"latents_mean\": a list of 5 numbers"},
        {SMALL ", \"latents_std\": [1, 2]}", LVSA_ERR_FORMAT, "a list of 16 numbers is wanted"},
        {SMALL ", \"latents_std\": \"1\"}", LVSA_ERR_FORMAT, "a list of 16 numbers is wanted"},
        {SMALL ", \"dim_mult\": []}", LVSA_ERR_FORMAT, "dim_mult"},
        {SMALL ", \"dim_mult\": [1, 2, 0, 4]}", LVSA_ERR_FORMAT, "4 integers above 0"},
        {SMALL ", \"dim_mult\": [1,1,1,1,1,1,1,1,1]}", LVSA_ERR_FORMAT, "1 to 8 integers"},
        {SMALL ", \"dim_mult\": [1, 2]}", LVSA_ERR_FORMAT, "a list of 1 booleans"},
        {SMALL ", \"temperal_downsample\": [1, 2, 3]}", LVSA_ERR_FORMAT, "a list of 3 booleans"},
        {WAN ", \"base_dim\": 4, \"num_res_blocks\": 2}", LVSA_ERR_FORMAT, "resnets.2"},
        {WAN "}", LVSA_ERR_SHAPE, "decoder.conv_in.weight"},
        {SMALL ", \"temperal_downsample\": [true, true, true]}", LVSA_ERR_FORMAT, "time_conv"},
    };
    lv_vae *vae;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vae = (lv_vae *)&vae;
        CHECK_FAILS(lv_vae_open(&vae, device, with_config(cases[i].config)), cases[i].status,
                    cases[i].words);
        assert_null(vae);
    }
    CHECK_FAILS(lv_vae_open(&vae, device, "/nowhere"), LVSA_ERR_IO, "/nowhere/config.json");
    /* What is left out is the published VAE's. */
    CHECK_OK(lv_vae_open(&vae, device, with_config(SMALL "}")));
    CHECK_OK(decode(vae, 1, NULL));
    lv_vae_close(&vae);
}

/* The tiny VAE's weights with one tensor's name changed. */
static const char *with_renamed(const char *from, const char *to)
{
    enum { MOST = 256 };
    static char directory[512];
    lv_tensor_out tensors[MOST];
    lv_safetensors *f;
    CHECK_OK(lv_safetensors_open(&f, TINY "/" WEIGHTS));
    const size_t tensor_count = lv_safetensors_count(f);
    assert_true(tensor_count <= MOST);
    for (size_t i = 0; i < tensor_count; i++) {
        const lv_tensor_entry *t = lv_safetensors_get(f, i);
        tensors[i] = (lv_tensor_out){.name = strcmp(t->name, from) == 0 ? to : t->name,
                                     .dtype = t->dtype,
                                     .rank = t->rank,
                                     .data = t->data};
        memcpy(tensors[i].shape, t->shape, sizeof t->shape);
    }
    scratch_copy("renamed/config.json", TINY "/config.json");
    CHECK_OK(
        lv_safetensors_write(scratch_path("renamed/" WEIGHTS), tensors, tensor_count, NULL, 0));
    lv_safetensors_close(&f);
    snprintf(directory, sizeof directory, "%s", scratch_path("renamed"));
    return directory;
}

static void tensors_that_are_missing_or_not_known(void **state)
{
    (void)state;
    lv_vae *vae;
    CHECK_FAILS(
        lv_vae_open(&vae, device, with_renamed("decoder.mid_block.attentions.0.proj.bias", "x")),
        LVSA_ERR_FORMAT, "decoder.mid_block.attentions.0.proj.bias");
    CHECK_OK(lv_vae_open(&vae, device, with_renamed("quant_conv.bias", "decoder.more")));
    assert_int_equal(vae->unknown, 1);
    assert_string_equal(vae->unknown_name, "decoder.more");
    lv_vae_close(&vae);
    lv_vae_close(&vae);
    lv_vae_close(NULL);
}

int main(void)
{
    CHECK_OK(lv_device_open(&device, LVSA_DEVICE_CPU, 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_the_same_for_any_length),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(the_beginning_stays),
        cmocka_unit_test(a_sink_may_stop),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(nans_are_told),
        cmocka_unit_test(configurations),
        cmocka_unit_test(tensors_that_are_missing_or_not_known),
    };
    int failed = cmocka_run_group_tests(tests, scratch_make, scratch_remove);
    lv_device_close(&device);
    return failed;
}
