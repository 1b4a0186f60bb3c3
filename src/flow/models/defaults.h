/* defaults.h: what a job is when nobody says otherwise: the family's table, and before it the
 * lvsa.json that a model directory may hold.
 *
 *     {"frames": 161, "height": 480, "width": 832, "fps": 16, "steps": 40, "guidance": 5,
 *      "flow_shift": 3, "negative_prompt": "...", "reference_latent_frames": 21,
 *      "pattern": {"window_size": 12, "n_first_frames": 4, "key_frame_interval": 16,
 *                  "sparsity_scale": 1, "expand_window": true, "rotate_keyframes": true}}
 *
 * Every key may be left out; null is as good. The pattern's three lengths are frames of the video;
 * a key_frame_interval of "auto" keeps the training horizon's budget. */
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

#endif
