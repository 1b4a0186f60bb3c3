/* json.c: typed members of JSON objects. */
#include "base/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

lvsa_status lv_json_load(json_t **out, const char *path)
{
    *out = NULL;
    struct stat status; /* a pipe would be waited for */
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return lv_fail(LVSA_ERR_IO, "%s: not a plain file", path);
    FILE *file = fopen(path, "rb");
    if (!file) return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(errno));

    json_error_t error;
    json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    fclose(file);
    if (!root)
        return lv_fail(LVSA_ERR_FORMAT, "%s: line %d, column %d: %s", path, error.line,
                       error.column, error.text);
    if (!json_is_object(root)) {
        lvsa_status s = lv_fail(LVSA_ERR_FORMAT, "%s: holds %s; a JSON object is wanted", path,
                                type_name(root));
        json_decref(root);
        return s;
    }
    *out = root;
    return LVSA_OK;
}

lvsa_status lv_json_load_in(json_t **out, char *path, size_t size, const char *directory,
                            const char *file)
{
    *out = NULL;
    LV_TRY(lv_path_join(path, size, directory, file));
    return lv_json_load(out, path);
}

/* The member, or NULL when it is missing or null. */
static const json_t *find(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

static lvsa_status wrong_type(const json_t *value, const char *key, const char *path,
                              const char *wanted)
{
    return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is %s; %s is wanted", path, key, type_name(value),
                   wanted);
}

lvsa_status lv_json_get_int(int64_t *out, const json_t *object, const char *key, int64_t lo,
                            int64_t hi, const char *path)
{
    const json_t *value = find(object, key);
    if (!value) return LVSA_OK;
    if (!json_is_integer(value)) return wrong_type(value, key, path, "an integer");
    int64_t number = json_integer_value(value);
    if (number < lo || number > hi)
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"%s\" is %lld; %lld to %lld is wanted", path, key,
                       (long long)number, (long long)lo, (long long)hi);
    *out = number;
    return LVSA_OK;
}

lvsa_status lv_json_get_double(double *out, const json_t *object, const char *key, const char *path)
{
    const json_t *value = find(object, key);
    if (!value) return LVSA_OK;
    if (!json_is_number(value)) return wrong_type(value, key, path, "a number");
    *out = json_number_value(value);
    return LVSA_OK;
}

lvsa_status lv_json_get_bool(bool *out, const json_t *object, const char *key, const char *path)
{
    const json_t *value = find(object, key);
    if (!value) return LVSA_OK;
    if (!json_is_boolean(value)) return wrong_type(value, key, path, "true or false");
    *out = json_is_true(value);
    return LVSA_OK;
}

lvsa_status lv_json_get_string(const char **out, const json_t *object, const char *key,
                               const char *path)
{
    const json_t *value = find(object, key);
    if (!value) return LVSA_OK;
    if (!json_is_string(value)) return wrong_type(value, key, path, "a string");
    *out = json_string_value(value);
    return LVSA_OK;
}
