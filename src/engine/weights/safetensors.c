/* safetensors.c: maps a file of tensors and checks what its header says.
 *
 * The header comes from strangers: each number in it is checked before it is used, and the tensors
 * have to cover the data exactly, so that a file that was cut, or glued together wrongly, doesn't
 * open. */
#define _DEFAULT_SOURCE /* madvise: posix_madvise(DONTNEED) does nothing in glibc */

#include "engine/weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { LENGTH_BYTES = 8, MOST_HEADER_BYTES = 100 * 1000 * 1000 }; /* the format's own limit */

struct lv_safetensors {
    char *path;
    const unsigned char *bytes; /* [size], the whole file */
    size_t size;
    bool mapped;
    const unsigned char *data; /* [data_size], after the header */
    size_t data_size;
    json_t *header; /* owns the names */
    lv_tensor_entry *entries;
    size_t count;
};

/* ---- types and shapes ------------------------------------------------------------------------ */

static const struct type {
    const char *name;
    unsigned bits; /* an element */
    lvsa_dtype dtype;
} types[] = {
    {"F32", 32, LVSA_F32}, {"F16", 16, LVSA_F16}, {"BF16", 16, LVSA_BF16}, {"F64", 64, 0},
    {"I64", 64, 0},        {"I32", 32, 0},        {"I16", 16, 0},          {"I8", 8, 0},
    {"U64", 64, 0},        {"U32", 32, 0},        {"U16", 16, 0},          {"U8", 8, 0},
    {"BOOL", 8, 0},        {"C64", 64, 0},        {"F8_E4M3", 8, 0},       {"F8_E5M2", 8, 0},
    {"F8_E8M0", 8, 0},     {"F8_E4M3FNUZ", 8, 0}, {"F8_E5M2FNUZ", 8, 0},   {"F6_E2M3", 6, 0},
    {"F6_E3M2", 6, 0},     {"F4", 4, 0},
};

static const struct type *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0) return &types[i];
    return NULL;
}

const char *lv_shape_to_text(char text[LV_SHAPE_TEXT], const size_t *shape, int rank)
{
    size_t used = (size_t)snprintf(text, LV_SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++)
        used +=
            (size_t)snprintf(text + used, LV_SHAPE_TEXT - used, "%s%zu", i ? ", " : "", shape[i]);
    snprintf(text + used, LV_SHAPE_TEXT - used, "]");
    return text;
}

/* ---- the header ------------------------------------------------------------------------------ */

/* Names go into sentences that people read on terminals. */
static lvsa_status check_name(const lv_safetensors *f, const char *name)
{
    size_t length = strlen(name);
    if (length > LV_TENSOR_MAX_NAME)
        return lv_fail(LVSA_ERR_FORMAT, "%s: a tensor's name has %zu bytes; at most %d are wanted",
                       f->path, length, LV_TENSOR_MAX_NAME);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: a tensor's name holds the control character 0x%02x", f->path,
                           (unsigned)(unsigned char)*c);
    return LVSA_OK;
}

static bool to_size(size_t *out, const json_t *value)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    uint64_t number = (uint64_t)json_integer_value(value);
    if (number > SIZE_MAX) return false;
    *out = (size_t)number;
    return true;
}

static lvsa_status read_shape(lv_tensor_entry *e, const json_t *shape, const lv_safetensors *f)
{
    if (!json_is_array(shape))
        return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s has no \"shape\"; an array is wanted",
                       f->path, e->name);
    if (json_array_size(shape) > LV_TENSOR_MAX_RANK)
        return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s has %zu dimensions; at most %d are wanted",
                       f->path, e->name, json_array_size(shape), LV_TENSOR_MAX_RANK);
    e->rank = (int)json_array_size(shape);
    e->count = 1;
    for (int i = 0; i < e->rank; i++) {
        if (!to_size(&e->shape[i], json_array_get(shape, (size_t)i)))
            return lv_fail(
                LVSA_ERR_FORMAT,
                "%s: dimension %d of tensor %s is no size; an integer of 0 or more is wanted",
                f->path, i, e->name);
        if (!lv_mul(&e->count, e->count, e->shape[i]))
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: tensor %s has more elements than memory has addresses", f->path,
                           e->name);
    }
    return LVSA_OK;
}

static lvsa_status read_offsets(lv_tensor_entry *e, const json_t *offsets, const lv_safetensors *f)
{
    size_t begin, end;
    if (json_array_size(offsets) != 2 || !to_size(&begin, json_array_get(offsets, 0)) ||
        !to_size(&end, json_array_get(offsets, 1)) || begin > end)
        return lv_fail(
            LVSA_ERR_FORMAT,
            "%s: tensor %s has no good \"data_offsets\"; [begin, end] with 0 <= begin <= end is "
            "wanted",
            f->path, e->name);
    if (end > f->data_size)
        return lv_fail(
            LVSA_ERR_FORMAT,
            "%s: tensor %s ends at byte %zu of the data and the file has %zu: it is truncated; get "
            "it again",
            f->path, e->name, end, f->data_size);
    e->data = f->data + begin;
    e->bytes = end - begin;
    return LVSA_OK;
}

static lvsa_status read_entry(lv_tensor_entry *e, const char *name, const json_t *info,
                              const lv_safetensors *f)
{
    e->name = name;
    LV_TRY(check_name(f, name));
    if (!json_is_object(info))
        return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s isn't described by an object", f->path,
                       name);

    const char *type_name = json_string_value(json_object_get(info, "dtype"));
    const struct type *type = type_name ? find_type(type_name) : NULL;
    if (!type)
        return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s has dtype \"%.32s\", which isn't known",
                       f->path, name, type_name ? type_name : "");
    e->type = type->name;
    e->dtype = type->dtype;
    LV_TRY(read_shape(e, json_object_get(info, "shape"), f));
    LV_TRY(read_offsets(e, json_object_get(info, "data_offsets"), f));

    size_t bits;
    char shape[LV_SHAPE_TEXT];
    if (!lv_mul(&bits, e->count, type->bits) || bits % 8 != 0 || bits / 8 != e->bytes)
        return lv_fail(LVSA_ERR_FORMAT, "%s: tensor %s has %zu bytes of data, which isn't %s of %s",
                       f->path, name, e->bytes, lv_shape_to_text(shape, e->shape, e->rank),
                       e->type);
    return LVSA_OK;
}

static int compare_places(const void *a, const void *b)
{
    const lv_tensor_entry *x = a, *y = b;
    const unsigned char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int compare_names(const void *a, const void *b)
{
    const lv_tensor_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* End to end from the first byte to the last. */
static lvsa_status check_cover(lv_safetensors *f)
{
    qsort(f->entries, f->count, sizeof *f->entries, compare_places);
    size_t end = 0;
    for (size_t i = 0; i < f->count; i++) {
        const lv_tensor_entry *e = &f->entries[i];
        size_t begin = (size_t)((const unsigned char *)e->data - f->data);
        if (begin != end)
            return lv_fail(LVSA_ERR_FORMAT,
                           "%s: tensor %s begins at byte %zu of the data; %zu, where the one "
                           "before it ends, is wanted",
                           f->path, e->name, begin, end);
        end += e->bytes;
    }
    if (end != f->data_size)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: the tensors fill %zu bytes and the file has %zu: it is damaged",
                       f->path, end, f->data_size);
    return LVSA_OK;
}

static lvsa_status read_entries(lv_safetensors *f)
{
    f->entries = lv_zalloc_array(json_object_size(f->header), sizeof *f->entries);
    if (!f->entries)
        return lv_fail(LVSA_ERR_MEMORY, "%s: %zu tensors don't fit in memory", f->path,
                       json_object_size(f->header));
    const char *name;
    json_t *info;
    json_object_foreach(f->header, name, info)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        LV_TRY(read_entry(&f->entries[f->count], name, info, f));
        f->count++;
    }
    if (f->count == 0 && f->data_size == 0) return LVSA_OK;
    LV_TRY(check_cover(f));
    qsort(f->entries, f->count, sizeof *f->entries, compare_names);
    return LVSA_OK;
}

static lvsa_status read_header(lv_safetensors *f)
{
    static const char pointer[] = "version https://git-lfs";
    if (f->size >= sizeof pointer - 1 && memcmp(f->bytes, pointer, sizeof pointer - 1) == 0)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: a Git LFS pointer, not the file itself; use git lfs pull", f->path);
    if (f->size < LENGTH_BYTES)
        return lv_fail(LVSA_ERR_FORMAT, "%s: %zu bytes; a safetensors file has at least %d",
                       f->path, f->size, LENGTH_BYTES);
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | f->bytes[i];
    if (length > MOST_HEADER_BYTES)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: a header of %llu bytes; at most %d are wanted: no safetensors file",
                       f->path, (unsigned long long)length, MOST_HEADER_BYTES);
    if (length > f->size - LENGTH_BYTES)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: a header of %llu bytes in a file of %zu: it is truncated; get it "
                       "again",
                       f->path, (unsigned long long)length, f->size);

    const char *text = (const char *)f->bytes + LENGTH_BYTES;
    f->data = f->bytes + LENGTH_BYTES + length;
    f->data_size = f->size - LENGTH_BYTES - (size_t)length;

    json_error_t error;
    f->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!f->header)
        return lv_fail(LVSA_ERR_FORMAT, "%s: header, byte %d: %s", f->path, error.position,
                       error.text);
    if (!json_is_object(f->header))
        return lv_fail(LVSA_ERR_FORMAT, "%s: the header is no JSON object", f->path);
    return read_entries(f);
}

/* ---- open and close -------------------------------------------------------------------------- */

static lvsa_status map_file(lv_safetensors *f)
{
    /* A pipe's writer isn't waited for. */
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(errno));

    struct stat status;
    lvsa_status s = LVSA_OK;
    if (fstat(fd, &status) != 0) s = lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(errno));
    else if (!S_ISREG(status.st_mode)) s = lv_fail(LVSA_ERR_IO, "%s: not a plain file", f->path);
    else if ((uintmax_t)status.st_size > SIZE_MAX)
        s = lv_fail(LVSA_ERR_IO, "%s: %jd bytes can't be mapped", f->path,
                    (intmax_t)status.st_size);
    else f->size = (size_t)status.st_size;
    /* An empty file can't be mapped; the check of the header refuses it. */
    if (s == LVSA_OK && f->size > 0) {
        void *bytes = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            s = lv_fail(LVSA_ERR_IO, "%s: mapping %zu bytes: %s", f->path, f->size,
                        strerror(errno));
        else f->bytes = bytes, f->mapped = true;
    }
    close(fd);
    return s;
}

/* bytes NULL: what lies at `path`. */
static lvsa_status open_either(lv_safetensors **out, const char *path, const void *bytes,
                               size_t size)
{
    lv_safetensors *f = lv_zalloc(sizeof *f);
    if (f) f->path = lv_strndup(path, strlen(path));
    lvsa_status s = f && f->path
                        ? LVSA_OK
                        : lv_fail(LVSA_ERR_MEMORY, "%s: its path doesn't fit in memory", path);
    if (s == LVSA_OK) {
        f->bytes = bytes;
        f->size = size;
        if (!bytes) s = map_file(f);
    }
    if (s == LVSA_OK) s = read_header(f);
    if (s != LVSA_OK) lv_safetensors_close(&f);
    *out = f;
    return s;
}

lvsa_status lv_safetensors_open(lv_safetensors **out, const char *path)
{
    return open_either(out, path, NULL, 0);
}

lvsa_status lv_safetensors_open_memory(lv_safetensors **out, const void *bytes, size_t size,
                                       const char *name)
{
    return open_either(out, name, bytes ? bytes : "", bytes ? size : 0);
}

void lv_safetensors_close(lv_safetensors **file)
{
    if (!file || !*file) return;
    lv_safetensors *f = *file;
    lv_free(f->entries);
    json_decref(f->header);
    if (f->mapped) munmap((void *)(uintptr_t)f->bytes, f->size);
    lv_free(f->path);
    lv_free(f);
    *file = NULL;
}

/* ---- what an open file holds ----------------------------------------------------------------- */

const char *lv_safetensors_path(const lv_safetensors *file) { return file->path; }
size_t lv_safetensors_count(const lv_safetensors *file) { return file->count; }

const lv_tensor_entry *lv_safetensors_get(const lv_safetensors *file, size_t index)
{
    return &file->entries[index];
}

const lv_tensor_entry *lv_safetensors_find(const lv_safetensors *file, const char *name)
{
    lv_tensor_entry key = {.name = name};
    return bsearch(&key, file->entries, file->count, sizeof key, compare_names);
}

const char *lv_safetensors_get_note(const lv_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

void lv_safetensors_drop(const lv_safetensors *file, const void *data, size_t bytes)
{
    uintptr_t begin = (uintptr_t)file->bytes;
    if (!file->mapped || (uintptr_t)data < begin || (uintptr_t)data + bytes > begin + file->size)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    /* Whole pages: the bytes at the ends have neighbours. */
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + bytes) / page * page;
    if (first < end) (void)madvise((void *)first, end - first, MADV_DONTNEED);
}
