/* safetensors_write.c: writes a file of tensors, whole or not at all. */
#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "engine/weights/safetensors.h"

enum { DATA_ALIGN = 64, LENGTH_BYTES = 8 };

/* ---- the header ------------------------------------------------------------------------------ */

static const char *type_name(lvsa_dtype dtype)
{
    return dtype == LVSA_F32 ? "F32" : dtype == LVSA_F16 ? "F16" : "BF16";
}

static lvsa_status measure(size_t *bytes, const lv_tensor_out *t, const char *path)
{
    *bytes = lv_dtype_bytes(t->dtype);
    if (*bytes == 0 || t->rank < 0 || t->rank > LV_TENSOR_MAX_RANK)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s: tensor %s of type %d and rank %d can't be written",
                       path, t->name, (int)t->dtype, t->rank);
    for (int i = 0; i < t->rank; i++)
        if (!lv_mul(bytes, *bytes, t->shape[i]) || *bytes > INT64_MAX)
            return lv_fail(LVSA_ERR_ARGUMENT, "%s: tensor %s is too large to be written", path,
                           t->name);
    return LVSA_OK;
}

/* One tensor's line; *end moves past its bytes. */
static lvsa_status describe(json_t *header, size_t *end, const lv_tensor_out *t, const char *path)
{
    size_t bytes;
    LV_TRY(measure(&bytes, t, path));
    if (bytes > INT64_MAX - *end)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s: the tensors are too large to be written", path);
    if (strlen(t->name) > LV_TENSOR_MAX_NAME || json_object_get(header, t->name) ||
        strcmp(t->name, "__metadata__") == 0)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "%s: tensor %s: the name is taken or longer than %d bytes; give each its own", path,
            t->name, LV_TENSOR_MAX_NAME);
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    bool whole = shape && json_array_size(shape) == (size_t)t->rank;
    json_t *info = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(t->dtype), "shape", shape,
                             "data_offsets", (json_int_t)*end, (json_int_t)(*end + bytes));
    if (json_object_set_new(header, t->name, info) != 0 || !whole)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "%s: tensor %s can't be described: no UTF-8, or out of memory", path,
                       t->name);
    *end += bytes;
    return LVSA_OK;
}

/* The header as an object, and the order in which the data follows: 4-byte types first, so that
 * nothing is ever out of line. */
static lvsa_status build_header(json_t *header, size_t *order, const lv_tensor_out *tensors,
                                size_t count, const lv_note *notes, size_t note_count,
                                const char *path)
{
    if (note_count > 0) {
        json_t *metadata = json_object();
        json_object_set_new(header, "__metadata__", metadata);
        for (size_t i = 0; i < note_count; i++)
            if (json_object_set_new(metadata, notes[i].key, json_string(notes[i].value)) != 0)
                return lv_fail(LVSA_ERR_ARGUMENT,
                               "%s: note %s can't be written: no UTF-8, or out of memory", path,
                               notes[i].key);
    }
    size_t end = 0, used = 0;
    for (int wide = 1; wide >= 0; wide--)
        for (size_t i = 0; i < count; i++) {
            if ((tensors[i].dtype == LVSA_F32) != wide) continue;
            LV_TRY(describe(header, &end, &tensors[i], path));
            order[used++] = i;
        }
    return LVSA_OK;
}

/* Length and text, filled up with spaces to a multiple of DATA_ALIGN. */
static lvsa_status dump_header(char **out, size_t *size, const json_t *header, const char *path)
{
    size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    *size = lv_round_up(LENGTH_BYTES + length, DATA_ALIGN);
    char *text = length > 0 ? lv_zalloc(*size) : NULL;
    if (!text)
        return lv_fail(LVSA_ERR_MEMORY, "%s: a header of %zu bytes doesn't fit in memory", path,
                       length);
    memset(text, ' ', *size);
    uint64_t rest = *size - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++, rest >>= 8) text[i] = (char)(rest & 0xff);
    json_dumpb(header, text + LENGTH_BYTES, length, JSON_COMPACT);
    *out = text;
    return LVSA_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

static lvsa_status write_parts(lv_file *file, const char *header, size_t header_size,
                               const lv_tensor_out *tensors, const size_t *order, size_t count)
{
    LV_TRY(lv_file_write(file, header, header_size));
    for (size_t i = 0; i < count; i++) {
        const lv_tensor_out *t = &tensors[order[i]];
        size_t bytes = lv_dtype_bytes(t->dtype);
        for (int d = 0; d < t->rank; d++) bytes *= t->shape[d]; /* measured before: it fits */
        LV_TRY(lv_file_write(file, t->data, bytes));
    }
    return LVSA_OK;
}

static lvsa_status write_file(const char *path, const char *header, size_t header_size,
                              const lv_tensor_out *tensors, const size_t *order, size_t count)
{
    lv_file *file;
    LV_TRY(lv_file_create(&file, path));
    lvsa_status s = write_parts(file, header, header_size, tensors, order, count);
    if (s == LVSA_OK) return lv_file_finish(&file);
    lv_file_abort(&file);
    return s;
}

lvsa_status lv_safetensors_write(const char *path, const lv_tensor_out *tensors, size_t count,
                                 const lv_note *notes, size_t note_count)
{
    char *text = NULL;
    size_t size = 0;
    size_t *order = lv_zalloc_array(count, sizeof *order);
    json_t *header = json_object();
    lvsa_status s = order && header ? LVSA_OK
                                    : lv_fail(LVSA_ERR_MEMORY,
                                              "%s: %zu tensors don't fit in memory", path, count);
    if (s == LVSA_OK) s = build_header(header, order, tensors, count, notes, note_count, path);
    if (s == LVSA_OK) s = dump_header(&text, &size, header, path);
    if (s == LVSA_OK) s = write_file(path, text, size, tensors, order, count);
    lv_free(text);
    json_decref(header);
    lv_free(order);
    return s;
}
