/* environment.c: the JSON becomes an object of texts, by the variables' names. */
#include "environment.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 64 };

static json_t *config; /* {"LVSA_WINDOW_SIZE": "24"}; NULL: none */

/* A value as a variable has it: a new text, or NULL where it can't be one. */
static json_t *as_text(const json_t *value)
{
    char number[32];
    switch (json_typeof(value)) {
    case JSON_STRING: return json_string(json_string_value(value));
    case JSON_TRUE: return json_string("1");
    case JSON_FALSE: return json_string("0");
    case JSON_NULL: return json_string("");
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return json_string(number);
    case JSON_REAL:
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
        return json_string(number);
    default: return NULL;
    }
}

/* "window_size" -> "LVSA_WINDOW_SIZE". */
static bool make_name(char name[NAME_MOST], const char *key)
{
    if (snprintf(name, NAME_MOST, "LVSA_%s", key) >= NAME_MOST) return false;
    for (char *c = name; *c; c++) *c = (char)toupper((unsigned char)*c);
    return true;
}

bool environment_read(char *sentence, size_t size)
{
    const char *text = getenv("LVSA_CONFIG"), *key;
    char name[NAME_MOST];
    json_t *value;
    json_decref(config);
    config = NULL;
    if (!text || !*text) return true;

    json_t *given = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(given)) {
        snprintf(sentence, size,
                 "LVSA_CONFIG=%.60s: a JSON object like {\"window_size\": 24} is wanted", text);
        json_decref(given);
        return false;
    }
    config = json_object();
    json_object_foreach(given, key, value)
    {
        json_t *copy = as_text(value);
        if (!copy) {
            snprintf(sentence, size,
                     "LVSA_CONFIG: \"%.60s\" is an array or an object; a text, a number, true or "
                     "false is wanted",
                     key);
            json_decref(given);
            return false;
        }
        if (make_name(name, key)) json_object_set_new(config, name, copy);
        else json_decref(copy); /* no variable has so long a name */
    }
    json_decref(given);
    return true;
}

const char *environment_find(const char *name)
{
    const char *text = json_string_value(json_object_get(config, name));
    if (!text || !*text) text = getenv(name);
    return text && *text ? text : NULL;
}

const char *environment_find_unknown(bool (*is_known)(const char *name))
{
    const char *name;
    json_t *value;
    json_object_foreach(config, name, value)
    {
        if (!is_known(name)) return name;
    }
    return NULL;
}
