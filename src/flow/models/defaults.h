/* defaults.h: what a job is when nobody says otherwise: the family's table, and before it the
 * lvsa.json that a model directory may hold, see lvsa_pipeline_job_defaults(). */
#ifndef LV_FLOW_MODELS_DEFAULTS_H
#define LV_FLOW_MODELS_DEFAULTS_H

#include <lvsa/lvsa.h>

typedef struct lv_defaults {
    int steps;
    double guidance, flow_shift; /* flow_shift 0: the checkpoint's              */
    char *negative_prompt;       /* owned; NULL: none                           */
    lvsa_plan_options plan;      /* but for its sizes                           */
    int hold_keyframes;
    char unknown[64]; /* the first key that isn't one; "": none such */
} lv_defaults;

/* Reads directory/lvsa.json where there is one, and puts what it says of the video into the
 * geometry too, which is the family's before. A value that makes no sense is LVSA_ERR_FORMAT; the
 * sentence names file and key. *out can be released either way. */
lvsa_status lv_defaults_load(lv_defaults *out, lvsa_geometry *geometry, const char *directory);
void lv_defaults_release(lv_defaults *defaults);

/* The geometry, as lvsa_geometry_from_model() gives it, and the defaults of a checkpoint, from one
 * reading of its JSON files. *defaults can be released either way. */
lvsa_status lv_model_read(lvsa_geometry *geometry, lv_defaults *defaults, const char *directory);

#endif
