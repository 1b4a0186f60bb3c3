/* attention.h: what a back end is. The call itself is lvsa_attention
 * (include/lvsa/lvsa_attention.h). */
#ifndef LV_ENGINE_ATTENTION_ATTENTION_H
#define LV_ENGINE_ATTENTION_ATTENTION_H

#include <stdbool.h>

#include <lvsa/lvsa_attention.h>

#include "base/error.h"

/* One kernel. A call that reaches it has been checked by lv_attn_choose(). */
typedef struct lv_attn_kernel {
    const char *name;
    bool needs_tiles; /* see lvsa_tiles_create() */
    /* Bytes of scratch for this call. */
    lvsa_status (*workspace)(size_t *bytes, const lvsa_attention *call);
    lvsa_status (*run)(const lvsa_attention *call);
} lv_attn_kernel;

/* Can this call be computed, and by what? The only place where that is decided: checks the sizes,
 * strides and runs, then the device, the back end (or LVSA_BACKEND) and the processor. */
lvsa_status lv_attn_choose(const lv_attn_kernel **out, const lvsa_attention *call);

/* cuda/: the same for device cuda, once the call makes sense. Fails with LVSA_ERR_UNSUPPORTED. */
lvsa_status lv_attn_choose_cuda(const lv_attn_kernel **out, const lvsa_attention *call);

/* cuda/: whether Hopper's own kernels are for this GPU and wanted: not where the environment's
 * LVSA_CUDA_KERNELS says sm80. */
lvsa_status lv_attn_want_sm90(bool *out);

/* cuda/: whether all tensors begin at whole 16 bytes and have strides of whole 16 bytes. */
bool lv_attn_has_vectors(const lvsa_attention *call);

/* flashinfer/ and sdpa/: the same for their back ends. */
lvsa_status lv_attn_choose_flashinfer(const lv_attn_kernel **out, const lvsa_attention *call);
lvsa_status lv_attn_choose_sdpa(const lv_attn_kernel **out, const lvsa_attention *call);

/* Query rows that attend to the same keys: P where some source has runs, otherwise all of them. */
int64_t lv_attn_frame_rows(const lvsa_attention *call);

/* The rows of `source` that the queries of `frame` attend to: runs (*first)[0 .. count - 1]. A
 * source without runs has one, *all, which the caller provides. */
int lv_attn_get_runs(const lvsa_run **first, lvsa_run *all, const lvsa_source *source,
                     int64_t frame);

/* The softmax scale in force. */
double lv_attn_scale(const lvsa_attention *call);

/* How often the source's last row counts, 1 or more: log of it is added to the row's score. */
int64_t lv_attn_last_row_count(const lvsa_source *source);

extern const lv_attn_kernel lv_attn_ref;         /* ref.c: any type, any size       */
extern const lv_attn_kernel lv_attn_f32_generic; /* cpu/: any type, computes in f32 */
extern const lv_attn_kernel lv_attn_f32_avx2;
extern const lv_attn_kernel lv_attn_f32_avx512;

#endif
