/* config.c: a schedule from a checkpoint's scheduler_config.json. Defaults are those of diffusers'
 * classes: what a file leaves out was left at its default when it was written. */
#include <string.h>

#include "base/json.h"
#include "flow/schedule/schedule.h"

static lvsa_status want_bool(const json_t *root, const char *key, bool absent, bool wanted,
                             const char *path)
{
    bool value = absent;
    LV_TRY(lv_json_get_bool(&value, root, key, path));
    if (value == wanted) return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"%s\" is %s; only %s is supported", path, key,
                   value ? "true" : "false", wanted ? "true" : "false");
}

static lvsa_status want_string(const json_t *root, const char *key, const char *absent,
                               const char *wanted, const char *path)
{
    const char *value = absent;
    LV_TRY(lv_json_get_string(&value, root, key, path));
    if (strcmp(value, wanted) == 0) return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"%s\" is \"%.64s\"; only \"%s\" is supported", path,
                   key, value, wanted);
}

/* Missing, null or an empty list. */
static lvsa_status want_nothing(const json_t *root, const char *key, const char *path)
{
    const json_t *value = json_object_get(root, key);
    if (!value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0))
        return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"%s\" is set; only null is supported", path, key);
}

/* Settings that both classes have. */
static lvsa_status read_common(lv_schedule_options *o, const json_t *root, const char *path)
{
    int64_t train_steps = 1000;
    LV_TRY(lv_json_get_int(&train_steps, root, "num_train_timesteps", 2, 1 << 20, path));
    o->train_steps = (int)train_steps;
    LV_TRY(want_bool(root, "use_karras_sigmas", false, false, path));
    LV_TRY(want_bool(root, "use_exponential_sigmas", false, false, path));
    LV_TRY(want_bool(root, "use_beta_sigmas", false, false, path));
    LV_TRY(want_bool(root, "use_dynamic_shifting", false, false, path));
    return want_nothing(root, "shift_terminal", path);
}

static lvsa_status read_shift(lv_schedule_options *o, const json_t *root, const char *key,
                              const char *path)
{
    o->shift = 1.0;
    LV_TRY(lv_json_get_double(&o->shift, root, key, path));
    if (o->shift > 0.0) return LVSA_OK;
    return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is %g; a number above 0 is wanted", path, key,
                   o->shift);
}

static lvsa_status read_unipc(lv_schedule_options *o, const json_t *root, const char *path)
{
    int64_t order = 2;
    o->kind = LV_SCHEDULE_UNIPC;
    LV_TRY(want_string(root, "prediction_type", "epsilon", "flow_prediction", path));
    LV_TRY(want_bool(root, "use_flow_sigmas", false, true, path));
    LV_TRY(want_string(root, "solver_type", "bh2", "bh2", path));
    LV_TRY(want_bool(root, "predict_x0", true, true, path));
    LV_TRY(want_bool(root, "lower_order_final", true, true, path));
    LV_TRY(want_bool(root, "thresholding", false, false, path));
    LV_TRY(want_string(root, "final_sigmas_type", "zero", "zero", path));
    LV_TRY(want_nothing(root, "disable_corrector", path));
    LV_TRY(want_nothing(root, "solver_p", path));
    LV_TRY(lv_json_get_int(&order, root, "solver_order", 1, INT64_MAX, path));
    if (order > 2)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s: \"solver_order\" is %lld; only 1 and 2 are supported", path,
                       (long long)order);
    o->order = (int)order;
    LV_TRY(read_shift(o, root, "flow_shift", path));
    return read_common(o, root, path);
}

static lvsa_status read_flow_euler(lv_schedule_options *o, const json_t *root, const char *path)
{
    o->kind = LV_SCHEDULE_FLOW_EULER;
    LV_TRY(want_bool(root, "invert_sigmas", false, false, path));
    LV_TRY(want_bool(root, "stochastic_sampling", false, false, path));
    LV_TRY(read_shift(o, root, "shift", path));
    return read_common(o, root, path);
}

lvsa_status lv_schedule_options_from_json(lv_schedule_options *options, const char *path)
{
    json_t *root;
    const char *class_name = "";
    lv_schedule_options o = *options;
    LV_TRY(lv_json_load(&root, path));
    lvsa_status s = lv_json_get_string(&class_name, root, "_class_name", path);
    if (s != LVSA_OK)
        ;
    else if (strcmp(class_name, "UniPCMultistepScheduler") == 0) s = read_unipc(&o, root, path);
    else if (strcmp(class_name, "FlowMatchEulerDiscreteScheduler") == 0)
        s = read_flow_euler(&o, root, path);
    else
        s = lv_fail(LVSA_ERR_UNSUPPORTED,
                    "%s: \"_class_name\" is \"%.64s\"; UniPCMultistepScheduler or "
                    "FlowMatchEulerDiscreteScheduler is wanted",
                    path, class_name);
    if (s == LVSA_OK) *options = o;
    json_decref(root);
    return s;
}
