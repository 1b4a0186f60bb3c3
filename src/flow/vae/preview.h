/* preview.h: what latents look like, a pixel each, without decoding them:
 *
 *     rgb[k] = bias[k] + sum over c of weight[k, c] z[c]          at every point t, y, x
 *
 * A decoder isn't linear, but colours and large shapes come through. The numbers are fitted to the
 * decoder at hand, so that none need to be known of it. */
#ifndef LV_FLOW_VAE_PREVIEW_H
#define LV_FLOW_VAE_PREVIEW_H

#include "flow/vae/vae.h"

typedef struct lv_preview lv_preview;

/* Fits one, by decoding small random pictures. LVSA_ERR_MEMORY, or as lv_vae_decode(); *out is
 * then NULL. */
lvsa_status lv_preview_fit(lv_preview **out, lv_vae *vae);
void lv_preview_free(lv_preview **preview);

/* Bytes of device memory that fitting takes besides the weights. */
lvsa_status lv_preview_measure(size_t *bytes, lv_vae *vae);

/* rgb [T, Y, X, 3] of z + step * v, both f32 [C, T, Y, X] in host memory: of the clean latents,
 * where v is the velocity at z and step the negative noise level. A NaN is black. */
void lv_preview_draw(uint8_t *rgb, const lv_preview *preview, const float *z, const float *v,
                     float step, const int64_t shape[4]);

#endif
