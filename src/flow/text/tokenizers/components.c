/* components.c: walks "Sequence"s. */
#include "flow/text/tokenizers/components.h"

#include <string.h>

#include "base/json.h"

enum { DEPTH_MAX = 16 };

typedef struct walk {
    const char *role, *list, *name;
    lv_component_add *add;
    void *out;
} walk;

static lvsa_status visit(const json_t *value, const walk *w, int depth)
{
    const char *type = NULL;
    if (!json_is_object(value))
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is no object", w->name, w->role);
    LV_TRY(lv_json_get_string(&type, value, "type", w->name));
    if (!type) return lv_fail(LVSA_ERR_FORMAT, "%s: a \"%s\" has no \"type\"", w->name, w->role);
    if (strcmp(type, "Sequence") != 0) return w->add(w->out, value, type, w->name);

    const json_t *list = json_object_get(value, w->list);
    if (!json_is_array(list) || depth == DEPTH_MAX)
        return lv_fail(LVSA_ERR_FORMAT, "%s: a \"%s\" Sequence without \"%s\", or nested too deep",
                       w->name, w->role, w->list);
    for (size_t i = 0; i < json_array_size(list); i++)
        LV_TRY(visit(json_array_get(list, i), w, depth + 1));
    return LVSA_OK;
}

lvsa_status lv_components_walk(const json_t *value, const char *role, const char *list,
                               lv_component_add *add, void *out, const char *name)
{
    walk w = {role, list, name, add, out};
    return value && !json_is_null(value) ? visit(value, &w, 0) : LVSA_OK;
}

lvsa_status lv_component_unknown(const char *role, const char *type, const char *detail,
                                 const char *name)
{
    return lv_fail(LVSA_ERR_FORMAT, "%s: %s \"%s\" isn't supported; %s", name, role, type, detail);
}
