/* weights.h: the tensors of one model component, e.g. a checkpoint's transformer/ folder.
 *
 * A model says what it needs as a table, which reads as the list of its weights:
 *
 *     typedef struct block { lv_weight q, q_bias; } block;
 *     static const lv_weight_spec block_specs[] = {
 *         {"attn1.to_q.weight", "[E, E]", offsetof(block, q)},
 *         {"attn1.to_q.bias", "[E]", offsetof(block, q_bias)},
 *     };
 *     lv_dims dims = {.of = {['E'] = 1536}};
 *     lv_weight_group g = {.specs = block_specs, .spec_count = 2, .dims = &dims,
 *                          .prefix = "blocks.%d.", .repeat = 30,
 *                          .to = blocks, .stride = sizeof(block)};
 *     LV_TRY(lv_weights_bind(weights, &g));
 *
 * and after the last group asks which tensors of the files nobody wanted. */
#ifndef LV_ENGINE_WEIGHTS_WEIGHTS_H
#define LV_ENGINE_WEIGHTS_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/weights/safetensors.h"

/* The files of one directory, all mapped. Binding and finding note which tensors were asked for, so
 * they belong to one thread; the views may be read by any. */
typedef struct lv_weights lv_weights;

/* A view of one tensor, valid until the weights are closed. A zeroed one is no tensor. */
typedef struct lv_weight {
    lvsa_dtype dtype;
    int rank;
    size_t shape[LV_TENSOR_MAX_RANK];
    size_t count;
    const void *data; /* row-major; see lv_weight_is_aligned() */
} lv_weight;

/* Opens what a directory holds, the first of: diffusion_pytorch_model.safetensors.index.json,
 * diffusion_pytorch_model.safetensors, model.safetensors.index.json, model.safetensors. With a
 * `variant` ("fp16"), only files of that variant: diffusion_pytorch_model.fp16.safetensors, ...;
 * NULL for none. Fails with LVSA_ERR_IO (no directory, none of the files, a shard that isn't
 * there), LVSA_ERR_FORMAT (a damaged file, an index that its shards contradict) or LVSA_ERR_MEMORY;
 * *out is then NULL. */
lvsa_status lv_weights_open(lv_weights **out, const char *directory, const char *variant);
void lv_weights_close(lv_weights **weights);

/* The file that lists the tensors (the index or the only file), for sentences. Borrowed. */
const char *lv_weights_path(const lv_weights *weights);

/* What is there: the index-th tensor of all files in the order of names, index < count. */
size_t lv_weights_count(const lv_weights *weights);
const lv_tensor_entry *lv_weights_get_entry(const lv_weights *weights, size_t index);
size_t lv_weights_count_files(const lv_weights *weights);

/* Tells weights apart by their names, types and shapes and 64 bytes from the middle of each:
 * another checkpoint, or the same after more training, has another number. */
uint64_t lv_weights_fingerprint(const lv_weights *weights);

/* One tensor, whatever its shape. Fails with LVSA_ERR_FORMAT (it isn't there) or
 * LVSA_ERR_UNSUPPORTED (it is of a type other than F32, F16 and BF16). */
lvsa_status lv_weights_find(lv_weight *out, lv_weights *weights, const char *name);

/* ---- binding --------------------------------------------------------------------------------- */

/* What the letters in shapes stand for: (lv_dims){.of = {['E'] = 1536}}. 0 is not set. */
typedef struct lv_dims {
    size_t of[128];
} lv_dims;

/* One weight. A shape's terms are numbers (2), letters (E), numbers times a letter (3E) and ? for
 * any. */
typedef struct lv_weight_spec {
    const char *name;  /* after the group's prefix */
    const char *shape; /* "[6, E]"; "[]" is a scalar */
    size_t offset;     /* of the lv_weight in the structure that is filled */
    const char *tied;  /* the whole other name that it may have (without the prefix), or NULL */
} lv_weight_spec;

/* Weights under one prefix, once or once a block. */
typedef struct lv_weight_group {
    const lv_weight_spec *specs;
    size_t spec_count;
    const lv_dims *dims;
    const char *prefix; /* "", "encoder.", or with one %d for the block: "blocks.%d." */
    int repeat;         /* blocks, numbered from 0; 1 where the prefix holds no %d */
    void *to;           /* the first structure; block i's lies i * stride bytes on */
    size_t stride;
} lv_weight_group;

/* Finds every weight of the group, checks its shape and type and puts a view where the spec says.
 * Fails as lv_weights_find(), with LVSA_ERR_SHAPE on a wrong shape, and LVSA_ERR_ARGUMENT on a
 * table that makes no sense; the sentence names file and tensor. */
lvsa_status lv_weights_bind(lv_weights *weights, const lv_weight_group *group);

/* Counts the tensors that nobody has asked for and no pattern of `unused` (NULL at its end, "*"
 * stands for any text) matches; the first of them, in the order of names, goes into *first, NULL
 * for none. */
size_t lv_weights_count_unknown(const char **first, const lv_weights *weights,
                                const char *const *unused);

/* ---- reading --------------------------------------------------------------------------------- */

/* Elements first .. first + count - 1 of the weight, as f32, whatever their type and alignment. */
void lv_weight_to_f32(float *out, const lv_weight *w, size_t first, size_t count);

/* Whether `data` may be read through a pointer to its type. */
static inline bool lv_weight_is_aligned(const lv_weight *w)
{
    return (uintptr_t)w->data % lv_dtype_bytes(w->dtype) == 0;
}

/* Gives the pages of a weight back to the system: it was copied elsewhere. Reading it again is
 * allowed and reads it from disk. */
void lv_weights_drop(const lv_weights *weights, const lv_weight *w);

#endif
