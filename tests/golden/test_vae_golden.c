/* test_vae_golden.c: decoders against diffusers, stage by stage, whole and in tiles, on the tiny
 * checkpoints of tests/golden/wan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "flow/vae/vae.h"
#include "golden/wan/golden.h"

static const double STAGE = 1e-5;

static lv_device *device;

static lv_vae *open_vae(const char *checkpoint)
{
    char path[512];
    lv_vae *vae;
    snprintf(path, sizeof path, GOLDEN_DIR "/wan/%s/vae", checkpoint);
    CHECK_OK(lv_vae_open(&vae, device, path));
    assert_int_equal(vae->channels, 16);
    assert_int_equal(vae->spatial, 8);
    assert_int_equal(vae->temporal, 4);
    assert_int_equal(vae->unknown, 0);
    return vae;
}

/* ---- what a decoding hands on, in diffusers' order ------------------------------------------- */

enum { MOST_STAGES = 16 };

typedef struct stage {
    char name[32];
    int64_t channels, height, width;
    int64_t frames, room;
    float *values; /* [frames, height, width, channels] */
} stage;

typedef struct result {
    stage stages[MOST_STAGES]; /* the pixels are one of them, "frames" */
    int count;
    uint8_t *rgb;
} result;

static void append(result *r, const char *name, int64_t height, int64_t width, int64_t channels,
                   const float *values)
{
    stage *s = r->stages;
    while (s < r->stages + r->count && strcmp(s->name, name) != 0) s++;
    if (s == r->stages + r->count) {
        assert_true(r->count++ < MOST_STAGES);
        *s = (stage){.channels = channels, .height = height, .width = width};
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    assert_true(s->height == height && s->width == width && s->channels == channels);
    const size_t size = (size_t)(height * width * channels);
    s->values = realloc(s->values, (size_t)(s->frames + 1) * size * sizeof *values);
    assert_non_null(s->values);
    memcpy(s->values + (size_t)s->frames++ * size, values, size * sizeof *values);
}

static lvsa_status on_stage(void *user, const char *name, int index, lv_tensor frame)
{
    char full[32];
    const bool many = strcmp(name, "up") == 0;
    snprintf(full, sizeof full, many ? "%s.%d" : "%s", name, index);
    append(user, full, frame.shape[1], frame.shape[2], frame.shape[3], frame.data);
    return LVSA_OK;
}

static lvsa_status on_frame(void *user, const lv_frame *frame)
{
    result *r = user;
    const size_t size = (size_t)(frame->height * frame->width * 3);
    append(r, "frames", frame->height, frame->width, 3, frame->values);
    const int64_t have =
        r->stages[r->count - 1].frames; /* made last: at the end of the first step */
    assert_int_equal(frame->index, have - 1);
    r->rgb = realloc(r->rgb, (size_t)have * size);
    assert_non_null(r->rgb);
    memcpy(r->rgb + (size_t)frame->index * size, frame->rgb, size);
    return LVSA_OK;
}

static void free_result(result *r)
{
    for (int i = 0; i < r->count; i++) free(r->stages[i].values);
    free(r->rgb);
}

/* [F, Y, X, C] to [C, F, Y, X]. */
static float *channels_first(const stage *s)
{
    const int64_t points = s->frames * s->height * s->width;
    float *out = malloc((size_t)(points * s->channels) * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < points; i++)
        for (int64_t c = 0; c < s->channels; c++)
            out[c * points + i] = s->values[i * s->channels + c];
    return out;
}

static size_t count_of(const stage *s)
{
    return (size_t)(s->frames * s->height * s->width * s->channels);
}

static void check_stage(const stage *s, const lv_safetensors *golden, const char *part)
{
    char name[64];
    float *have = channels_first(s);
    snprintf(name, sizeof name, "%s.%s", part, s->name);
    golden_error e = golden_check(golden, name, have, count_of(s), STAGE);
    if (strcmp(s->name, "frames") == 0) assert_true(e.largest < 1.0 / 255.0);
    free(have);
}

static void decode(result *out, lv_vae *vae, const lv_safetensors *golden, const char *part,
                   const lv_vae_tiling *tiling)
{
    char name[64];
    snprintf(name, sizeof name, "%s.z", part);
    const lv_tensor_entry *entry = lv_safetensors_find(golden, name);
    assert_non_null(entry);
    const size_t *s = entry->shape;
    lv_tensor z = lv_tensor_view(
        NULL, LVSA_F32, 4, LV_SHAPE((int64_t)s[0], (int64_t)s[1], (int64_t)s[2], (int64_t)s[3]));
    CHECK_OK(device->allocate(device, &z.data, entry->bytes));
    CHECK_OK(device->upload(device, z.data, entry->data, entry->bytes));
    *out = (result){0};
    CHECK_OK(lv_vae_decode(vae, z, tiling,
                           &(lv_frame_sink){.call = on_frame, .user = out, .values = true}));
    device->release(device, z.data);
}

static const stage *find_stage(const result *r, const char *name)
{
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->stages[i].name, name) == 0) return &r->stages[i];
    fail_msg("no stage %s", name);
    return NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void stages_match(const char *checkpoint, const char *file, const char *part)
{
    lv_vae *vae = open_vae(checkpoint);
    lv_safetensors *golden = golden_open(file);
    char name[64];
    result r;
    vae->probe = (lv_vae_probe){.call = on_stage, .user = &r};
    decode(&r, vae, golden, part, NULL);
    assert_int_equal(r.count, 8);
    for (int i = 0; i < r.count; i++) check_stage(&r.stages[i], golden, part);
    snprintf(name, sizeof name, "%s.truncated_u8", part);
    golden_check_bytes(golden, name, r.rgb, count_of(find_stage(&r, "frames")), 1);
    free_result(&r);
    lv_safetensors_close(&golden);
    lv_vae_close(&vae);
}

static void stages_of_a(void **state)
{
    (void)state;
    stages_match("tiny-a", "wan/vae-a.safetensors", "t2");
}

static void stages_of_b(void **state)
{
    (void)state;
    stages_match("tiny-b", "wan/vae-b.safetensors", "t3");
}

static void other_lengths(void **state)
{
    (void)state;
    static const char *const parts[] = {"t1", "t5"};
    lv_vae *vae = open_vae("tiny-a");
    lv_safetensors *golden = golden_open("wan/vae-a.safetensors");
    for (int i = 0; i < 2; i++) {
        result r;
        decode(&r, vae, golden, parts[i], NULL);
        check_stage(find_stage(&r, "frames"), golden, parts[i]);
        free_result(&r);
    }
    lv_safetensors_close(&golden);
    lv_vae_close(&vae);
}

static void tiles_match(void **state)
{
    (void)state;
    static const struct {
        const char *checkpoint, *name;
        lv_vae_tiling tiling;
    } cases[] = {
        {"tiny-a", "a.4.3", {4, 3, NULL}},
        {"tiny-a", "a.5.2", {5, 2, NULL}},
        {"tiny-b", "b.3.3", {3, 3, NULL}}};
    lv_safetensors *golden = golden_open("vae/tiles.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lv_vae *vae = open_vae(cases[i].checkpoint);
        result r;
        decode(&r, vae, golden, cases[i].name, &cases[i].tiling);
        check_stage(find_stage(&r, "frames"), golden, cases[i].name);
        free_result(&r);
        lv_vae_close(&vae);
    }
    lv_safetensors_close(&golden);
}

/* A picture no larger than a tile is decoded whole, to the same bits. */
static void one_tile_is_no_tile(void **state)
{
    (void)state;
    lv_vae *vae = open_vae("tiny-a");
    lv_safetensors *golden = golden_open("wan/vae-a.safetensors");
    result whole, tiled;
    decode(&whole, vae, golden, "t2", NULL);
    decode(&tiled, vae, golden, "t2", &(lv_vae_tiling){.size = 8, .stride = 3});
    const stage *a = find_stage(&whole, "frames"), *b = find_stage(&tiled, "frames");
    assert_int_equal(count_of(a), count_of(b));
    assert_memory_equal(a->values, b->values, count_of(a) * sizeof(float));
    free_result(&whole);
    free_result(&tiled);
    lv_safetensors_close(&golden);
    lv_vae_close(&vae);
}

int main(void)
{
    CHECK_OK(lv_device_open(&device, LVSA_DEVICE_CPU, 2));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_of_a),         cmocka_unit_test(stages_of_b),
        cmocka_unit_test(other_lengths),       cmocka_unit_test(tiles_match),
        cmocka_unit_test(one_tile_is_no_tile),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lv_device_close(&device);
    return failed;
}
