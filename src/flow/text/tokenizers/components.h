/* components.h: the parts of a tokenizer.json: objects with a "type". */
#ifndef LV_FLOW_TEXT_COMPONENTS_H
#define LV_FLOW_TEXT_COMPONENTS_H

#include <jansson.h>

#include "base/error.h"

/* Calls `add` for a component, or for each one of a "Sequence" (whose list is its member
 * `list`), nested ones too; NULL and null call nothing. `role` is the member's name, as
 * "normalizer": it goes into sentences with the file's name. LVSA_ERR_FORMAT for anything
 * without a type. */
typedef lvsa_status lv_component_add(void *out, const json_t *component, const char *type,
                                     const char *name);
lvsa_status lv_components_walk(const json_t *value, const char *role, const char *list,
                               lv_component_add *add, void *out, const char *name);

/* LVSA_ERR_FORMAT: "FILE: ROLE "TYPE" isn't supported; DETAIL". */
lvsa_status lv_component_unknown(const char *role, const char *type, const char *detail,
                                 const char *name);

#endif
