/* profile.h: how long operations take, kind by kind, and what they multiply and move. */
#ifndef LV_ENGINE_RUNTIME_PROFILE_H
#define LV_ENGINE_RUNTIME_PROFILE_H

#include "engine/runtime/device.h"

typedef enum lv_kind {
    LV_KIND_LINEAR,
    LV_KIND_ATTENTION,
    LV_KIND_CONV,
    LV_KIND_NORM,
    LV_KIND_OTHER,
    LV_KIND_EXCHANGE, /* waiting for other ranks, where nothing else was to be done */
    LV_KINDS
} lv_kind;

enum { LV_PROFILE_STAGES = 4, LV_PROFILE_PENDING = LV_DEVICE_STAMPS / 2 };

/* Operations of one kind in one stage. Bytes are those of the tensors, each read or written once.
 */
typedef struct lv_profile_row {
    int64_t calls;
    double seconds, flops, bytes;
    double least_seconds; /* that its products take at their types' peaks; 0: unknown */
} lv_profile_row;

/* An operation whose time isn't known yet. */
typedef struct lv_profile_mark {
    int stage;
    lv_kind kind;
    double flops, bytes, least_seconds;
} lv_profile_mark;

struct lv_profile {
    lv_device *device;
    int stage;
    double stage_began, stage_seconds[LV_PROFILE_STAGES]; /* of the clock on the wall */
    lv_profile_row row[LV_PROFILE_STAGES][LV_KINDS];
    int pending;
    lv_profile_mark mark[LV_PROFILE_PENDING];
    double clock[LV_DEVICE_STAMPS]; /* the stamps of a device that has none of its own */
};

/* From now on the device's operations are timed, into stage 0. Once a device; closing it or
 * lv_profile_free() ends it. */
lvsa_status lv_profile_create(lv_device *device);
void lv_profile_free(lv_device *device);

/* What comes next belongs to the stage. Nothing happens where nothing is timed. */
void lv_profile_set_stage(lv_device *device, int stage);

/* Waits for what is under way, and brings all rows and stages up to now. */
lvsa_status lv_profile_collect(lv_profile *p);

/* All numbers back to 0. */
lvsa_status lv_profile_reset(lv_profile *p);

/* Round one operation, which multiplies numbers of the type `factors`. */
lvsa_status lv_profile_begin(lv_profile *p);
lvsa_status lv_profile_end(lv_profile *p, lv_kind kind, lvsa_dtype factors, double flops,
                           double bytes);

#endif
