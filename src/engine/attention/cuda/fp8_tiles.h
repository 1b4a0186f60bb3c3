/* fp8_tiles.h: the table of tiles of a call in fp8, which counts keys in units of 32. */
#ifndef LV_ENGINE_ATTENTION_CUDA_FP8_TILES_H
#define LV_ENGINE_ATTENTION_CUDA_FP8_TILES_H

#include "engine/attention/cuda/tile_table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Does every run take whole frames, so that it is whole units as well? Fails with
 * LVSA_ERR_UNSUPPORTED. */
lvsa_status lv_fp8_check_runs(const lvsa_attention *call);

/* As lv_tile_table_make(), runs counted in units (fp8_layout.h). The call has been checked. */
lvsa_status lv_fp8_table_make(lv_tile_table *out, const lvsa_attention *call);

#ifdef __cplusplus
}
#endif
#endif
