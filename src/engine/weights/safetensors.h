/* safetensors.h: one file of named tensors, mapped and checked, and the writer of such files.
 *
 * The format: 8 bytes with the header's length, little-endian; the header, a JSON object of name ->
 * {dtype, shape, data_offsets [begin, end]}; the tensors' bytes, end to end, without a hole.
 * Everything the header says is checked when a file is opened, so that a view never leaves the
 * mapping. */
#ifndef LV_ENGINE_WEIGHTS_SAFETENSORS_H
#define LV_ENGINE_WEIGHTS_SAFETENSORS_H

#include "base/error.h"
#include "engine/dtype.h"

enum { LV_TENSOR_MAX_RANK = 8, LV_TENSOR_MAX_NAME = 512 /* bytes */ };

/* A file; the data is read from disk as it is touched. A file that is cut while it is open kills
 * the process with SIGBUS, as every mapping does: replace files by renaming, as the writer below
 * does. */
typedef struct lv_safetensors lv_safetensors;

/* A tensor of an open file: a view, valid until the file is closed. */
typedef struct lv_tensor_entry {
    const char *name;
    const char *type; /* as the file says: "F32", "BF16", "F8_E4M3", ... */
    lvsa_dtype dtype; /* 0 for the types that are known but not supported */
    int rank;         /* 0 .. LV_TENSOR_MAX_RANK; 0 is a scalar */
    size_t shape[LV_TENSOR_MAX_RANK];
    size_t count; /* product of the shape */
    size_t bytes;
    const void *data; /* row-major, little-endian; not necessarily aligned for its type */
} lv_tensor_entry;

/* Maps the file and checks its header. LVSA_ERR_IO: can't be opened. LVSA_ERR_FORMAT: truncated, or
 * no safetensors file; the sentence names file and tensor. *out is then NULL. */
lvsa_status lv_safetensors_open(lv_safetensors **out, const char *path);

/* The same for a file that is in memory, borrowed until the close. `name` stands for it in
 * sentences. */
lvsa_status lv_safetensors_open_memory(lv_safetensors **out, const void *bytes, size_t size,
                                       const char *name);

void lv_safetensors_close(lv_safetensors **file);

const char *lv_safetensors_path(const lv_safetensors *file);
size_t lv_safetensors_count(const lv_safetensors *file);

/* The index-th tensor in the order of names (strcmp), index < count. */
const lv_tensor_entry *lv_safetensors_get(const lv_safetensors *file, size_t index);

/* NULL when there is none of that name. */
const lv_tensor_entry *lv_safetensors_find(const lv_safetensors *file, const char *name);

/* The value of a key of the file's own notes ("__metadata__"), NULL when it isn't there. */
const char *lv_safetensors_get_note(const lv_safetensors *file, const char *key);

/* Tells the system that these bytes of the mapping won't be needed soon. Bytes of another file, or
 * of one in memory, stay as they are. */
void lv_safetensors_drop(const lv_safetensors *file, const void *data, size_t bytes);

/* "[64, 128]" into text. Returns text. */
enum { LV_SHAPE_TEXT = 192 };
const char *lv_shape_to_text(char text[LV_SHAPE_TEXT], const size_t *shape, int rank);

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct lv_tensor_out {
    const char *name;
    lvsa_dtype dtype;
    int rank;
    size_t shape[LV_TENSOR_MAX_RANK];
    const void *data; /* row-major, borrowed for the call; may be NULL where the shape holds a 0 */
} lv_tensor_out;

typedef struct lv_note {
    const char *key, *value;
} lv_note;

/* Writes a file under a temporary name beside `path`, brings it to the disk and renames it: whoever
 * opens `path`, even after a crash, finds the old file or the new one, whole. Data begins at a
 * multiple of 64 bytes and every tensor is aligned for its type. Fails with LVSA_ERR_ARGUMENT (a
 * name given twice, ...), LVSA_ERR_MEMORY or LVSA_ERR_IO; `path` is then as it was. */
lvsa_status lv_safetensors_write(const char *path, const lv_tensor_out *tensors, size_t count,
                                 const lv_note *notes, size_t note_count);

#endif
