/* html_entities.h: HTML's named character references. */
#ifndef LV_FLOW_TEXT_HTML_ENTITIES_H
#define LV_FLOW_TEXT_HTML_ENTITIES_H

#include <stdint.h>

typedef struct lv_html_entity {
    const char *name;  /* without "&"; most end in ";", some are there without it as well */
    uint32_t codes[2]; /* what it stands for; the second is 0 for most                    */
} lv_html_entity;

enum { LV_HTML_ENTITIES = 2231, LV_HTML_NAME_MAX = 32 /* bytes */ };

/* By name, in the order of bytes. */
extern const lv_html_entity lv_html_entities[LV_HTML_ENTITIES];

#endif
