/* umt5.h: the text encoder of UMT5, T5 with a table of relative positions in every layer.
 *
 *     x [L, E] = embedding of the ids
 *     per layer:  n = rms_norm(x); x += out(attention(q n, k n, v n; bias of the layer, no scale))
 *                 n = rms_norm(x); x += wo(gelu(wi_0 n) * wi_1 n)
 *     embedding = rms_norm(x)
 *
 * Only real tokens are encoded: padding keys are masked in the original, so it is the same. Source:
 * transformers, models/umt5/modeling_umt5.py; docs/MODEL-wan.md. */
#ifndef LV_FLOW_TEXT_UMT5_H
#define LV_FLOW_TEXT_UMT5_H

#include "engine/runtime/device.h"

typedef struct lv_umt5 lv_umt5;

/* Opens a text_encoder/ directory of a diffusers-layout checkpoint and brings its layers to the
 * device; the embedding table stays in the file. Fails with LVSA_ERR_IO, LVSA_ERR_FORMAT,
 * LVSA_ERR_SHAPE or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_umt5_open(lv_umt5 **out, lv_device *device, const char *directory);
void lv_umt5_close(lv_umt5 **encoder);

int64_t lv_umt5_width(const lv_umt5 *encoder); /* E */

/* How many tensors of the files nobody asked for, and the first of them, borrowed. */
size_t lv_umt5_count_unknown(const char **first, const lv_umt5 *encoder);

/* Bytes that encoding a text of so many tokens takes besides the weights. */
lvsa_status lv_umt5_measure(size_t *bytes, lv_umt5 *encoder, int64_t length);

/* embedding [length, E] f32 in host memory, from ids [length]. Fails with LVSA_ERR_SHAPE on an id
 * past the vocabulary, or LVSA_ERR_MEMORY. */
lvsa_status lv_umt5_encode(lv_umt5 *encoder, float *embedding, const int32_t *ids, int64_t length);

#endif
