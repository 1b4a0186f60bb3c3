/* attn_sm90.h: the Hopper kernels' launchers, of the CUDA module. */
#ifndef LV_ENGINE_ATTENTION_CUDA_SM90_ATTN_SM90_H
#define LV_ENGINE_ATTENTION_CUDA_SM90_ATTN_SM90_H

#include <lvsa/lvsa_attention.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Enqueue the call on its stream; allocate nothing, wait for nothing, need no workspace. The call
 * has been checked by lv_attn_choose_cuda(); `tiles` are in device memory, see lv_cuda_table.
 * Return NULL, or a static text that says what failed. */
const char *lv_attn_bf16_sm90(const lvsa_attention *call, const void *tiles);
const char *lv_attn_f16_sm90(const lvsa_attention *call, const void *tiles);

/* The same with products of e4m3: several launches, the workspace as lv_fp8_lay_out() has it, tiles
 * of lv_fp8_table_make(). */
const char *lv_attn_fp8_sm90(const lvsa_attention *call, const void *tiles);

#ifdef __cplusplus
}
#endif
#endif
