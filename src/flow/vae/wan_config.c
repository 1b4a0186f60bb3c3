/* wan_config.c: reads and checks config.json. */
#include "flow/vae/wan_config.h"


#include "base/json.h"

enum { MOST_WIDTH = 1 << 16 };

/* Source: diffusers, models/autoencoders/autoencoder_kl_wan.py. */
static const lv_vae_wan_config defaults = {
    .base = 96,
    .channels = 16,
    .res_blocks = 2,
    .levels = 4,
    .multiple = {1, 2, 4, 4},
    .halves = {false, true, true},
    .mean = {-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715,
             0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921},
    .deviation = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526,
                  2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160},
};

static lvsa_status wrong_list(const char *path, const char *key, const char *wanted, int64_t count)
{
    return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\": a list of %lld %s is wanted", path, key,
                   (long long)count, wanted);
}

static lvsa_status read_levels(lv_vae_wan_config *c, const json_t *root, const char *path)
{
    const json_t *list = json_object_get(root, "dim_mult");
    if (list) {
        c->levels = (int64_t)json_array_size(list);
        if (c->levels < 1 || c->levels > LV_VAE_LEVELS)
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: \"dim_mult\": a list of 1 to %d integers is wanted", path,
                           LV_VAE_LEVELS);
        for (int64_t i = 0; i < c->levels; i++) {
            c->multiple[i] = json_integer_value(json_array_get(list, (size_t)i));
            if (c->multiple[i] < 1 || c->multiple[i] > MOST_WIDTH)
                return wrong_list(path, "dim_mult", "integers above 0", c->levels);
        }
    }
    list = json_object_get(root, "temperal_downsample"); /* sic */
    if (!list && c->levels == defaults.levels) return LVSA_OK;
    if ((int64_t)json_array_size(list) != c->levels - 1)
        return wrong_list(path, "temperal_downsample", "booleans", c->levels - 1);
    for (int64_t i = 0; i < c->levels - 1; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        if (!json_is_boolean(value))
            return wrong_list(path, "temperal_downsample", "booleans", c->levels - 1);
        c->halves[i] = json_is_true(value);
    }
    return LVSA_OK;
}

static lvsa_status read_statistics(double *to, const lv_vae_wan_config *c, const json_t *root,
                                   const char *key, const char *path)
{
    const json_t *list = json_object_get(root, key);
    if (!list && c->channels == defaults.channels) return LVSA_OK;
    if ((int64_t)json_array_size(list) != c->channels)
        return wrong_list(path, key, "numbers", c->channels);
    for (int64_t i = 0; i < c->channels; i++) {
        const json_t *value = json_array_get(list, (size_t)i);
        if (!json_is_number(value)) return wrong_list(path, key, "numbers", c->channels);
        to[i] = json_number_value(value);
    }
    return LVSA_OK;
}

static lvsa_status read_members(lv_vae_wan_config *c, const json_t *root, const char *path)
{
    int64_t out_channels = 3, patch = 1;
    bool residual = false;
    LV_TRY(lv_json_get_int(&c->base, root, "base_dim", 1, MOST_WIDTH, path));
    LV_TRY(lv_json_get_int(&c->base, root, "decoder_base_dim", 1, MOST_WIDTH, path));
    LV_TRY(lv_json_get_int(&c->channels, root, "z_dim", 1, LV_VAE_CHANNELS, path));
    LV_TRY(lv_json_get_int(&c->res_blocks, root, "num_res_blocks", 0, 100, path));
    LV_TRY(lv_json_get_int(&out_channels, root, "out_channels", 1, MOST_WIDTH, path));
    LV_TRY(lv_json_get_int(&patch, root, "patch_size", 1, MOST_WIDTH, path));
    LV_TRY(lv_json_get_bool(&residual, root, "is_residual", path));
    if (residual || patch != 1)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s: \"%s\" is set, as Wan 2.2's TI2V-5B has it; this version decodes Wan "
                       "2.1's VAE, which the other Wan models have",
                       path, residual ? "is_residual" : "patch_size");
    if (out_channels != 3)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"out_channels\" is %lld; 3 is wanted", path,
                       (long long)out_channels);
    LV_TRY(read_levels(c, root, path));
    LV_TRY(read_statistics(c->mean, c, root, "latents_mean", path));
    return read_statistics(c->deviation, c, root, "latents_std", path);
}

lvsa_status lv_vae_wan_config_read(lv_vae_wan_config *out, const char *directory)
{
    char path[4096];
    json_t *root;
    LV_TRY(lv_json_load_in(&root, path, sizeof path, directory, "config.json"));
    *out = defaults;
    lvsa_status s = read_members(out, root, path);
    json_decref(root);
    return s;
}
