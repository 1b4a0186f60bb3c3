/* conv.h: convolutions of the CUDA module: a frame at a time, channels last. */
#ifndef LV_ENGINE_RUNTIME_CUDA_CONV_H
#define LV_ENGINE_RUNTIME_CUDA_CONV_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LV_CUDA_CONV_FRAMES = 3 }; /* kt at most */

/* See lv_op_conv(). */
typedef struct lv_cuda_conv {
    const void *in[LV_CUDA_CONV_FRAMES]; /* kt frames [Y, X, C], the oldest first */
    const void *weight;                  /* [O, kt, ky, kx, C]                    */
    const float *bias;                   /* [O] or NULL                           */
    void *out;                           /* [Y, X, O], bf16 or f32                */
    int height, width, channels, outputs;
    int kt, ky, kx;
    int add;        /* 1: out += */
    int f32;        /* 1: out is f32 */
    int capability; /* of the GPU, 90 is sm_90: which kernel may run */
} lv_cuda_conv;

/* Enqueue the call; allocate nothing, wait for nothing. Return NULL or a static text that says what
 * failed. All in bf16: for Hopper alone, and from sm_80 on, with channels in eights; and any shape
 * anywhere, a thread a number. */
const char *lv_conv_bf16_sm90(const lv_cuda_conv *call, void *stream);
const char *lv_conv_bf16_sm80(const lv_cuda_conv *call, void *stream);
const char *lv_conv_bf16_plain(const lv_cuda_conv *call, void *stream);

#ifdef __cplusplus
}
#endif
#endif
