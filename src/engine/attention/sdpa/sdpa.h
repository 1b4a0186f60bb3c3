/* sdpa.h: dense attention frame by frame: each frame's keys are gathered, then attended to as a
 * whole. */
#ifndef LV_ENGINE_ATTENTION_SDPA_SDPA_H
#define LV_ENGINE_ATTENTION_SDPA_SDPA_H

#include "engine/attention/attention.h"

/* Rows of `source` that frame `frame` attends to, its last row as often as it counts, or 2^31 - 1
 * times if that is more. */
int64_t lv_sdpa_count(const lvsa_source *source, int64_t frame);

/* cudnn.c: on a GPU, by NVIDIA's cuDNN. */
lvsa_status lv_attn_choose_cudnn(const lv_attn_kernel **out, const lvsa_attention *call);

#endif
