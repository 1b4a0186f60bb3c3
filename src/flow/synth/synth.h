/* synth.h: what a checkpoint of random weights consists of.
 *
 *     sizes -> list of tensors, a part -> files
 *
 * Names and shapes are those that diffusers' and transformers' modules save; a golden test compares
 * them. */
#ifndef LV_FLOW_SYNTH_SYNTH_H
#define LV_FLOW_SYNTH_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/dtype.h"

/* The sizes of a checkpoint that vary. */
typedef struct lv_synth_sizes {
    const char *name;
    int64_t heads, head_dim, layers, ff;                                 /* of the transformer  */
    int64_t text_width, text_heads, text_head_dim, text_layers, text_ff; /* of the text encoder */
    int64_t pieces;     /* of the tokenizer, without its 300 extra ids  */
    int64_t vocabulary; /* rows of the embedding: a multiple of 128     */
    int64_t vae_base, vae_blocks;
    int64_t shard; /* bytes of a file at most, but for one of a single tensor */
} lv_synth_sizes;

const lv_synth_sizes *lv_synth_find(const char *name); /* NULL: there is none */

enum { LV_SYNTH_NAME = 96, LV_SYNTH_RANK = 5, LV_SYNTH_CHANNELS = 16, LV_SYNTH_EXTRA_IDS = 300 };

/* One tensor: uniform numbers of this deviation, or, where it is 0, `constant`. */
typedef struct lv_synth_tensor {
    char name[LV_SYNTH_NAME];
    int rank;
    int64_t shape[LV_SYNTH_RANK];
    int64_t count;
    float deviation, constant;
} lv_synth_tensor;

/* The tensors of a part. Adding to a list that has failed does nothing. */
typedef struct lv_synth_list {
    lv_synth_tensor *tensor; /* [count] */
    int64_t count, capacity;
    bool failed; /* out of memory */
} lv_synth_list;

void lv_synth_list_free(lv_synth_list *list);

#define LV_SYNTH_SHAPE(...)                                                                        \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

/* `deviation` 0 is that of matrices and kernels: 1 / sqrt(numbers of a row). */
void lv_synth_add(lv_synth_list *list, float deviation, int rank, const int64_t *shape,
                  const char *format, ...) LV_PRINTF(5, 6);
void lv_synth_add_constant(lv_synth_list *list, float constant, int rank, const int64_t *shape,
                           const char *format, ...) LV_PRINTF(5, 6);

/* The lists of the parts. */
void lv_synth_list_transformer(lv_synth_list *list, const lv_synth_sizes *s);
void lv_synth_list_text_encoder(lv_synth_list *list, const lv_synth_sizes *s);
void lv_synth_list_vae(lv_synth_list *list, const lv_synth_sizes *s);

/* ---- numbers --------------------------------------------------------------------------------- */

/* Numbers first .. first + count - 1 of a tensor with this key; first is even. They depend on
 * nothing else, so threads may make them in any order. */
void lv_synth_fill(void *out, lvsa_dtype dtype, const lv_synth_tensor *t, uint64_t key,
                   int64_t first, int64_t count);

/* A tensor's key. */
uint64_t lv_synth_key(uint64_t seed, const char *part, const char *name);

/* ---- files ----------------------------------------------------------------------------------- */

/* A tensor in a file. */
typedef struct lv_synth_place {
    int file;
    int64_t offset; /* of its first byte */
} lv_synth_place;

/* The files of one part, in folder `part` of the directory: one, or shards and an index. */
typedef struct lv_synth_part {
    const char *part;
    const char *stem; /* of the files' names: "diffusion_pytorch_model" or "model" */
    lvsa_dtype dtype;
    lv_synth_list list;
    lv_synth_place *place; /* [list.count]          */
    int files;
    int64_t *file_bytes; /* [files]                 */
    int64_t total;       /* bytes of all tensors    */
} lv_synth_part;

enum { LV_SYNTH_PARTS = 3, LV_SYNTH_PATH = 4096 };

/* Gives every tensor its place. The list has been filled. */
lvsa_status lv_synth_lay_out(lv_synth_part *p, int64_t shard);
void lv_synth_part_free(lv_synth_part *p);

/* A file that isn't in its place yet, or a folder, that a job has made. */
typedef struct lv_synth_made {
    char *path;
    bool file;
} lv_synth_made;

/* A checkpoint on its way to the disk. */
typedef struct lv_synth_job {
    const char *directory;
    const lv_synth_sizes *sizes;
    lv_synth_part part[LV_SYNTH_PARTS];
    int parts;
    uint64_t seed;
    int threads;
    int64_t written;
    lv_synth_made *made; /* [mades], in the order in which they were made */
    size_t mades;
    int (*on_progress)(void *user, int64_t done, int64_t total);
    void *user;
} lv_synth_job;

/* The weight files of all parts, headers first, then numbers by all threads at once. */
lvsa_status lv_synth_write_weights(lv_synth_job *job);

/* A small file, whole. */
lvsa_status lv_synth_write_text(lv_synth_job *job, const char *name, const char *bytes,
                                size_t length);

/* model_index.json, the parts' config.json, the scheduler and the tokenizer. */
lvsa_status lv_synth_write_configs(lv_synth_job *job);
lvsa_status lv_synth_write_tokenizer(lv_synth_job *job);

/* "DIRECTORY/name" into path. */
lvsa_status lv_synth_path(char path[LV_SYNTH_PATH], const lv_synth_job *job, const char *name);

/* Notes that the job has made this file or folder. Where it can't be noted it is removed. */
lvsa_status lv_synth_note_made(lv_synth_job *job, const char *path, bool file);

/* Gives all files their names; what had these is gone, but not for those who have it open. */
lvsa_status lv_synth_place_made(lv_synth_job *job);

/* All of a checkpoint whose parts are laid out: every file is in its place, or what was there is as
 * it was. `replace`: the directory may be there. */
lvsa_status lv_synth_write(lv_synth_job *job, int replace);

/* Forgets what was made; `remove_all`: and removes it, where it isn't in its place. */
void lv_synth_forget_made(lv_synth_job *job, bool remove_all);

#endif
