/* rope.h: the tables of rotary positions (arXiv 2104.09864) of a video's tokens, see lv_rope. */
#ifndef LV_ENGINE_RUNTIME_ROPE_H
#define LV_ENGINE_RUNTIME_ROPE_H

#include "engine/runtime/device.h"

/* Axis a has positions 0 .. length[a] - 1 and pairs[a] pairs of a head's elements; pair j turns by
 * position * theta^(-j / pairs[a]). One temporal frequency may be replaced. */
typedef struct lv_rope_spec {
    int64_t length[3], pairs[3]; /* t, y, x                     */
    double theta;
    int64_t replaced;            /* a pair of axis t, or -1     */
    double frequency;            /* what it turns by instead, 0 without one */
} lv_rope_spec;

/* All zero has no tables. */
typedef struct lv_rope_tables {
    lv_rope rope;
    lv_rope_spec spec;
    void *memory; /* of the device */
} lv_rope_tables;

/* Makes the tables, in double precision, unless these are the ones. Fails with LVSA_ERR_MEMORY. */
lvsa_status lv_rope_prepare(lv_rope_tables *tables, lv_device *device, const lv_rope_spec *spec);
void lv_rope_release(lv_rope_tables *tables, lv_device *device);

#endif
