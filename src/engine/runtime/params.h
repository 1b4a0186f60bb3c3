/* params.h: a model's weights in a device's memory. */
#ifndef LV_ENGINE_RUNTIME_PARAMS_H
#define LV_ENGINE_RUNTIME_PARAMS_H

#include "engine/runtime/device.h"
#include "engine/weights/weights.h"

/* One weight: the view into the file, and the tensor a device computes with. The specs of
 * lv_weights_bind() fill the first (LV_PARAM), lv_params_load() the second. */
typedef struct lv_param {
    lv_weight file;
    lv_tensor t;
} lv_param;

#define LV_PARAM(type, member) offsetof(type, member.file)

/* Memory of all the weights of one component. */
typedef struct lv_params lv_params;

lvsa_status lv_params_create(lv_params **out, lv_device *device);
void lv_params_free(lv_params **params);

/* Binds the group (see weights.h) and brings its weights to the device:
 *   matrices [O, I]                                 as `dtype`: the device's, f32, or e4m3 where
 *                                                   the device's upload_as() makes it
 *   kernels [O, I, ky, kx] and [O, I, kt, ky, kx]   as `dtype`, laid out [O, kt, ky, kx, I]; not
 *                                                   e4m3
 *   vectors [C] and [C, 1, ...]                     as f32 [C]
 *   everything else, such as [1, 6, E]              as f32, in its own shape
 * Where nothing has to change, the CPU computes with the file's own mapping: keep `weights` open as
 * long as the parameters. Fails as lv_weights_bind() or with LVSA_ERR_MEMORY. */
lvsa_status lv_params_load(lv_params *params, lv_weights *weights, const lv_weight_group *group,
                           lvsa_dtype dtype);

/* The same for a group that repeats, of matrices and vectors, of which the device holds two repeats
 * at a time: they stay in the file, which remains open, and come one after the other, each copied
 * while the one before it is computed. Whoever asks for work with repeat `index` calls enter before
 * and leave behind; both do nothing where everything is on the device. One group of a store. */
lvsa_status lv_params_load_in_turns(lv_params *params, lv_weights *weights,
                                    const lv_weight_group *group, lvsa_dtype dtype);
lvsa_status lv_params_enter(lv_params *params, int index);
lvsa_status lv_params_leave(lv_params *params, int index);

#endif
