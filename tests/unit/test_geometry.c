/* test_geometry.c: how pixels become tokens, for every family, and from a checkpoint's JSON. */
#include "testing.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <lvsa/lvsa.h>

#include "scratch.h"

static lvsa_geometry family(const char *name)
{
    lvsa_geometry g = {.size = sizeof g};
    CHECK_OK(lvsa_geometry_from_family(&g, name));
    return g;
}

/* What the published configurations say. */
static const struct expected {
    const char *family;
    int layers, heads, head_dim, reference;
    int frames, height, width; /* the usual video ...           */
    int fps;
    int latent, patches;       /* ... is T frames of P patches  */
} table[] = {
    {"wan2.1-1.3b", 30, 12, 128, 21, 81, 480, 832, 16, 21, 30 * 52},
    {"wan2.1-14b", 40, 40, 128, 21, 81, 480, 832, 16, 21, 30 * 52},
    {"wan2.2-a14b", 40, 40, 128, 21, 81, 480, 832, 16, 21, 30 * 52},
    {"wan2.2-ti2v-5b", 30, 24, 128, 31, 121, 704, 1280, 24, 31, 22 * 40},
    {"hunyuanvideo-1.5", 54, 16, 128, 33, 121, 480, 848, 24, 31, 30 * 53},
    {"cogvideox-2b", 30, 30, 64, 13, 49, 480, 720, 8, 13, 30 * 45},
    {"cogvideox-5b", 42, 48, 64, 13, 49, 480, 720, 8, 13, 30 * 45},
    {"cosmos3-nano", 36, 32, 128, 48, 189, 720, 1280, 24, 48, 23 * 40}, /* 22.5 rows, padded */
};
enum { FAMILIES = sizeof table / sizeof table[0] };

static void test_every_family(void **state)
{
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        const struct expected *e = &table[i];
        int latent, patches, used;
        assert_string_equal(lvsa_family_name(i), e->family);
        lvsa_geometry g = family(e->family);
        assert_string_equal(g.family, e->family);
        assert_int_equal(g.layers, e->layers);
        assert_int_equal(g.heads, e->heads);
        assert_int_equal(g.head_dim, e->head_dim);
        assert_int_equal(g.reference_latent_frames, e->reference);
        assert_int_equal(g.frames, e->frames);
        assert_int_equal(g.height, e->height);
        assert_int_equal(g.width, e->width);
        assert_int_equal(g.fps, e->fps);
        CHECK_OK(lvsa_geometry_latent(&latent, &patches, &used, &g, g.frames, g.height, g.width));
        assert_int_equal(latent, e->latent);
        assert_int_equal(patches, e->patches);
        assert_int_equal(used, e->frames);
    }
    assert_null(lvsa_family_name(FAMILIES));
    assert_null(lvsa_family_name(-1));
}

static void test_unknown_family(void **state)
{
    (void)state;
    lvsa_geometry g = {.size = sizeof g};
    CHECK_FAILS(lvsa_geometry_from_family(&g, "wan"), LVSA_ERR_ARGUMENT, "\"wan\"");
    for (int i = 0; i < FAMILIES; i++)
        assert_non_null(strstr(lvsa_last_error(), lvsa_family_name(i)));
    g.size--;
    CHECK_FAILS(lvsa_geometry_from_family(&g, "wan2.1-1.3b"), LVSA_ERR_ARGUMENT, "set its size");
    CHECK_FAILS(lvsa_geometry_from_model(&g, "."), LVSA_ERR_ARGUMENT, "set its size");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void test_frames_are_cut_to_the_grid(void **state)
{
    (void)state;
    const lvsa_geometry g = family("wan2.1-1.3b");
    for (int frames = 1; frames < 200; frames++) {
        int latent, patches, used;
        CHECK_OK(lvsa_geometry_latent(&latent, &patches, &used, &g, frames, 480, 832));
        assert_int_equal(used % 4, 1);
        assert_in_range(frames - used, 0, 3);
        assert_int_equal(used, 4 * latent - 3);
    }
}

static void test_sizes_off_the_grid(void **state)
{
    (void)state;
    const lvsa_geometry wan = family("wan2.1-1.3b"), cosmos = family("cosmos3-nano");
    int t, p, used;
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, 490, 832), LVSA_ERR_SHAPE, "use 496");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, 487, 832), LVSA_ERR_SHAPE, "use 480");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, 480, 840), LVSA_ERR_SHAPE,
                "width 840");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, 0, 832), LVSA_ERR_SHAPE, "use 16");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, -16, 832), LVSA_ERR_SHAPE, "use 16");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 0, 480, 832), LVSA_ERR_SHAPE, "0 frames");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, -5, 480, 832), LVSA_ERR_SHAPE,
                "-5 frames");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &cosmos, 81, 712, 1280), LVSA_ERR_SHAPE,
                "multiples of 16");
    CHECK_OK(lvsa_geometry_latent(&t, &p, &used, &cosmos, 81, 16, 48));
    assert_int_equal(p, 1 * 2);
}

static void test_sizes_at_the_end_of_int(void **state)
{
    (void)state;
    const lvsa_geometry wan = family("wan2.1-1.3b");
    const int most = INT_MAX / 16 * 16;
    int t, p, used;
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, INT_MAX, 832), LVSA_ERR_SHAPE,
                "use 2147483648");
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &wan, 81, most, most), LVSA_ERR_SHAPE,
                "too many");
    CHECK_OK(lvsa_geometry_latent(&t, &p, &used, &wan, INT_MAX, 16, 16));
    assert_int_equal(t, 536870912);
    assert_int_equal(used, 2147483645);
    lvsa_geometry short_one = wan;
    short_one.size = 0;
    CHECK_FAILS(lvsa_geometry_latent(&t, &p, &used, &short_one, 81, 480, 832), LVSA_ERR_ARGUMENT,
                "set its size");
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* A checkpoint in folder `name` of the scratch folder, without the NULL files. Returns its path. */
static const char *checkpoint(const char *name, const char *index, const char *transformer)
{
    char path[128];
    snprintf(path, sizeof path, "%s/model_index.json", name);
    if (index) scratch_write(path, index, strlen(index));
    snprintf(path, sizeof path, "%s/transformer/config.json", name);
    if (transformer) scratch_write(path, transformer, strlen(transformer));
    return scratch_path(name);
}

static lvsa_geometry read_checkpoint(const char *name, const char *index, const char *transformer)
{
    lvsa_geometry g = {.size = sizeof g};
    CHECK_OK(lvsa_geometry_from_model(&g, checkpoint(name, index, transformer)));
    return g;
}

static void test_every_family_from_its_files(void **state)
{
    (void)state;
    static const char *const files[FAMILIES][2] = {
        {"{\"_class_name\": \"WanPipeline\", \"transformer_2\": [null, null]}",
         "{\"in_channels\": 16, \"num_layers\": 30, \"num_attention_heads\": 12, "
         "\"attention_head_dim\": 128}"},
        {"{\"_class_name\": \"WanPipeline\"}",
         "{\"in_channels\": 16, \"num_layers\": 40, \"num_attention_heads\": 40, "
         "\"attention_head_dim\": 128}"},
        {"{\"_class_name\": \"WanPipeline\", \"transformer_2\": [\"diffusers\", "
         "\"WanTransformer3DModel\"]}",
         "{\"in_channels\": 16, \"num_layers\": 40, \"num_attention_heads\": 40, "
         "\"attention_head_dim\": 128}"},
        {"{\"_class_name\": \"WanPipeline\", \"transformer_2\": [null, null]}",
         "{\"in_channels\": 48, \"num_layers\": 30, \"num_attention_heads\": 24, "
         "\"attention_head_dim\": 128}"},
        {"{\"_class_name\": \"HunyuanVideo15Pipeline\"}",
         "{\"num_layers\": 54, \"num_attention_heads\": 16, \"attention_head_dim\": 128}"},
        {"{\"_class_name\": \"CogVideoXPipeline\"}",
         "{\"num_layers\": 30, \"num_attention_heads\": 30, \"attention_head_dim\": 64}"},
        {"{\"_class_name\": \"CogVideoXPipeline\"}",
         "{\"num_layers\": 42, \"num_attention_heads\": 48, \"attention_head_dim\": 64}"},
        {"{\"_class_name\": \"Cosmos3OmniPipeline\"}",
         "{\"num_hidden_layers\": 36, \"num_attention_heads\": 32, \"head_dim\": 128}"}};
    for (int i = 0; i < FAMILIES; i++) {
        char name[32];
        snprintf(name, sizeof name, "family%d", i);
        lvsa_geometry g = read_checkpoint(name, files[i][0], files[i][1]);
        assert_string_equal(g.family, table[i].family);
        assert_int_equal(g.layers, table[i].layers);
        assert_int_equal(g.heads, table[i].heads);
        assert_int_equal(g.head_dim, table[i].head_dim);
    }
}

/* A checkpoint keeps its own numbers where it has any; missing ones are the family's. */
static void test_own_sizes_count(void **state)
{
    (void)state;
    lvsa_geometry g = read_checkpoint("tiny", "{\"_class_name\": \"WanPipeline\"}",
                                      "{\"num_layers\": 2, \"num_attention_heads\": null}");
    assert_string_equal(g.family, "wan2.1-1.3b");
    assert_int_equal(g.layers, 2);
    assert_int_equal(g.heads, 12);
    assert_int_equal(g.head_dim, 128);
}

static void test_bad_checkpoints(void **state)
{
    (void)state;
    static const char wan[] = "{\"_class_name\": \"WanPipeline\"}";
    static const struct {
        const char *index, *transformer;
        lvsa_status status;
        const char *words;
    } bad[] = {
        {NULL, "{}", LVSA_ERR_IO, "model_index.json: No such file"},
        {wan, NULL, LVSA_ERR_IO, "transformer/config.json: No such file"},
        {"", "{}", LVSA_ERR_FORMAT, "model_index.json: line 1"},
        {"{\"_class_name\": \"WanPi", "{}", LVSA_ERR_FORMAT, "model_index.json: line 1"},
        {"[]", "{}", LVSA_ERR_FORMAT, "holds an array"},
        {"{\"_class_name\": 3}", "{}", LVSA_ERR_FORMAT, "\"_class_name\" is an integer"},
        {"{}", "{}", LVSA_ERR_FORMAT, "pipeline \"\" isn't known"},
        {"{\"_class_name\": \"FluxPipeline\"}", "{}", LVSA_ERR_FORMAT, "\"FluxPipeline\""},
        {"{\"_class_name\": \"a\", \"_class_name\": \"b\"}", "{}", LVSA_ERR_FORMAT, "duplicate"},
        {wan, "{\"num_layers\": ", LVSA_ERR_FORMAT, "transformer/config.json: line 1"},
        {wan, "{\"num_layers\": 0}", LVSA_ERR_FORMAT, "\"num_layers\" is 0"},
        {wan, "{\"num_layers\": 1e3}", LVSA_ERR_FORMAT, "\"num_layers\" is a real number"},
        {wan, "{\"num_layers\": \"30\"}", LVSA_ERR_FORMAT, "\"num_layers\" is a string"},
        {wan, "{\"num_attention_heads\": -1}", LVSA_ERR_FORMAT, "\"num_attention_heads\" is -1"},
        {wan, "{\"attention_head_dim\": 9999999}", LVSA_ERR_FORMAT, "\"attention_head_dim\""},
        {wan, "{\"in_channels\": 99999999999999999999}", LVSA_ERR_FORMAT, "config.json: line 1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "bad%zu", i);
        lvsa_geometry g = {.size = sizeof g};
        CHECK_FAILS(
            lvsa_geometry_from_model(&g, checkpoint(name, bad[i].index, bad[i].transformer)),
            bad[i].status, bad[i].words);
        assert_int_equal(g.size, sizeof g);
    }
}

static void test_path_too_long(void **state)
{
    (void)state;
    char path[5000];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    lvsa_geometry g = {.size = sizeof g};
    CHECK_FAILS(lvsa_geometry_from_model(&g, path), LVSA_ERR_IO, "longer than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family),
        cmocka_unit_test(test_unknown_family),
        cmocka_unit_test(test_frames_are_cut_to_the_grid),
        cmocka_unit_test(test_sizes_off_the_grid),
        cmocka_unit_test(test_sizes_at_the_end_of_int),
        cmocka_unit_test(test_every_family_from_its_files),
        cmocka_unit_test(test_own_sizes_count),
        cmocka_unit_test(test_bad_checkpoints),
        cmocka_unit_test(test_path_too_long),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
