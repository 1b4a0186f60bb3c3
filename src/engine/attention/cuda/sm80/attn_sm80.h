/* attn_sm80.h: the launchers of attention for any card from sm_80 on, of the CUDA module. */
#ifndef LV_ENGINE_ATTENTION_CUDA_SM80_ATTN_SM80_H
#define LV_ENGINE_ATTENTION_CUDA_SM80_ATTN_SM80_H

#include <lvsa/lvsa_attention.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LV_ATTN_SM80_HEAD_DIM = 256 }; /* the largest */

/* As lv_attn_bf16_sm90() of sm90/attn_sm90.h. */
const char *lv_attn_bf16_sm80(const lvsa_attention *call, const void *tiles);
const char *lv_attn_f16_sm80(const lvsa_attention *call, const void *tiles);

#ifdef __cplusplus
}
#endif
#endif
