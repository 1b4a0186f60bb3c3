/* wan_config.h: what the config.json of an AutoencoderKLWan says. */
#ifndef LV_FLOW_VAE_WAN_CONFIG_H
#define LV_FLOW_VAE_WAN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { LV_VAE_LEVELS = 8, LV_VAE_CHANNELS = 1024 /* at most */ };

/* Levels are counted from the picture to the latents, as the encoder goes. */
typedef struct lv_vae_wan_config {
    int64_t base;                    /* width                                   */
    int64_t channels;                /* of the latents                          */
    int64_t res_blocks;              /* of a level; the decoder has one more    */
    int64_t levels;                  /* 1 .. LV_VAE_LEVELS                      */
    int64_t multiple[LV_VAE_LEVELS]; /* of the base width                       */
    bool halves[LV_VAE_LEVELS];      /* the number of frames, after the level   */
    double mean[LV_VAE_CHANNELS];    /* of the latents                          */
    double deviation[LV_VAE_CHANNELS];
} lv_vae_wan_config;

/* What the file leaves out is as AutoencoderKLWan has it. Fails with LVSA_ERR_IO, LVSA_ERR_FORMAT
 * or LVSA_ERR_UNSUPPORTED (the VAE of Wan 2.2's TI2V-5B). */
lvsa_status lv_vae_wan_config_read(lv_vae_wan_config *out, const char *directory);

#endif
