/* tile_table.h: a call's runs as the kernels with tiles walk them. Integers in, integers out; no
 * device.
 *
 * The query rows of all frames lie in one row; it is cut into blocks, which may hold parts
 * of two frames, or many frames where P is small. A block lists the runs of keys that any of its
 * rows attend to, each with the rows that do. Blocks inside one frame share that frame's list.
 *
 * Also read by the kernels (CUDA C++): the two structs are what lies in device memory. */
#ifndef LV_ENGINE_ATTENTION_CUDA_TILE_TABLE_H
#define LV_ENGINE_ATTENTION_CUDA_TILE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_attention.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Query rows of a block, and the same for heads of 64. */
enum { LV_TILE_BLOCK = 256, LV_TILE_BLOCK_64 = 384 };

/* One run of keys. Neighbours in a block's list that the same rows attend to are a group, which the
 * kernel cuts into tiles as if it were one run. A row that counts several times ends its group, so
 * that it is the last key of a tile. 16 bytes, read in one load. */
typedef struct lv_tile_run {
    int32_t start, count; /* rows of K and V, count >= 1                             */
    int32_t rest;         /* rows from here to the end of the group, this run's too  */
    unsigned first_row : 9; /* of the block: those that attend are first_row .. last_row; */
    unsigned last_row : 9;  /* last_row < first_row: none                                 */
    unsigned source : 2;    /* which of the call's sources                                */
    unsigned last : 1;      /* 1 in all runs of the last group                            */
    unsigned counted : 2;   /* in all runs of a group: 0, or 1 + the source whose last row ends it
                               and counts several times                                   */
} lv_tile_run;

/* Query rows row .. row + (rows of a block) - 1 walk runs[run] .. runs[run + runs - 1], never
 * none. */
typedef struct lv_tile_block {
    int32_t row, run, runs, unused;
} lv_tile_block;

typedef struct lv_tile_table {
    lv_tile_block *block;
    lv_tile_run *run;
    size_t blocks, runs;
    size_t capacity; /* of run */
} lv_tile_table;

static inline int lv_tile_block_rows(int64_t head_dim)
{
    return head_dim == 64 ? LV_TILE_BLOCK_64 : LV_TILE_BLOCK;
}

/* Makes the table of a call, of which only queries, head size and the sources' tokens and runs are
 * read; they have been checked. The caller frees it with lv_tile_table_free(). Fails with
 * LVSA_ERR_SHAPE (no source has any rows) or LVSA_ERR_MEMORY; *out is then empty. */
lvsa_status lv_tile_table_make(lv_tile_table *out, const lvsa_attention *call);
void lv_tile_table_free(lv_tile_table *table);

#ifdef __cplusplus
}
#endif
#endif
