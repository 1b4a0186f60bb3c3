/* rows.h: the CPU's operations that aren't products; documented in ops.h. */
#ifndef LV_ENGINE_RUNTIME_CPU_ROWS_H
#define LV_ENGINE_RUNTIME_CPU_ROWS_H

#include "engine/runtime/ops.h"

/* rows.c */
lvsa_status lv_cpu_layer_norm(lv_exec *, lv_tensor out, lv_tensor x, const lv_layer_norm *norm);
lvsa_status lv_cpu_rms_norm(lv_exec *, lv_tensor out, lv_tensor x, lv_tensor weight, float eps);
lvsa_status lv_cpu_norm_rope(lv_exec *, lv_tensor x, lv_tensor weight, float eps,
                             const lv_rope *rope, int64_t first, int64_t head_dim);
lvsa_status lv_cpu_channel_norm(lv_exec *, lv_tensor out, lv_tensor x, lv_tensor weight,
                                lv_activation f);
lvsa_status lv_cpu_activate(lv_exec *, lv_tensor out, lv_tensor a, lv_activation f);
lvsa_status lv_cpu_add(lv_exec *, lv_tensor out, lv_tensor a, lv_tensor b);
lvsa_status lv_cpu_gelu_multiply(lv_exec *, lv_tensor out, lv_tensor a, lv_tensor b);
lvsa_status lv_cpu_pixels(lv_exec *e, void *rgb, lv_tensor frames);
lvsa_status lv_cpu_copy(lv_exec *, lv_tensor out, lv_tensor x);
lvsa_status lv_cpu_zero(lv_exec *, lv_tensor out);

/* shuffle.c */
lvsa_status lv_cpu_patchify(lv_exec *, lv_tensor out, lv_tensor z, int64_t py, int64_t px);
lvsa_status lv_cpu_unpatchify(lv_exec *, lv_tensor z, lv_tensor x, int64_t py, int64_t px);
lvsa_status lv_cpu_upsample(lv_exec *, lv_tensor out, lv_tensor x);
lvsa_status lv_cpu_split_frames(lv_exec *, lv_tensor out, lv_tensor x);
lvsa_status lv_cpu_take_frame(lv_exec *, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                              lv_tensor shift);
lvsa_status lv_cpu_blend(lv_exec *, lv_tensor to, lv_tensor from, const lv_blend *blend);

#endif
