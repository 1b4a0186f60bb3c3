/* arena.h: scratch memory in the order of a stack.
 *
 * A forward pass runs twice: first measuring, when nothing is computed and takes only move a mark,
 * then for real, with the same code, in one block of exactly the size that was found.
 *
 *     | taken by the caller | taken by this function | free ...            |
 *     0                     mark                     top        peak = the block's size
 * */
#ifndef LV_ENGINE_RUNTIME_ARENA_H
#define LV_ENGINE_RUNTIME_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct lv_arena {
    char *block;    /* NULL while measuring              */
    size_t size;    /* of the block                      */
    size_t top;     /* bytes taken                       */
    size_t peak;    /* most bytes ever taken             */
    bool measuring; /* takes always work and give NULL   */
} lv_arena;

/* 64-byte aligned; *out is NULL while measuring. Fails with LVSA_ERR_MEMORY past the block's
 * end. */
lvsa_status lv_arena_take(void **out, lv_arena *arena, size_t bytes);

/* What was taken since the mark is free again. */
static inline size_t lv_arena_mark(const lv_arena *arena) { return arena->top; }
static inline void lv_arena_release(lv_arena *arena, size_t mark) { arena->top = mark; }

#endif
