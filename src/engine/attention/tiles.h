/* tiles.h: what the inside of the library sees of lvsa_tiles. */
#ifndef LV_ENGINE_ATTENTION_TILES_H
#define LV_ENGINE_ATTENTION_TILES_H

#include "engine/attention/attention.h"

/* Fails with LVSA_ERR_ARGUMENT where a kernel that needs tiles has none, or the call's tiles are
 * not those of its runs. */
lvsa_status lv_tiles_check(const lvsa_attention *call, const lv_attn_kernel *kernel);

/* A number for all that tiles depend on: two calls of the same share tiles. */
uint64_t lv_tiles_fingerprint(const lvsa_attention *call);

/* The table in device memory. Borrowed. */
const void *lv_tiles_get_table(const lvsa_tiles *tiles);

#endif
