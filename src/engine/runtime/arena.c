/* arena.c: a mark that moves. */
#include "engine/runtime/arena.h"

#include <stdint.h>

#include "base/mem.h"

lvsa_status lv_arena_take(void **out, lv_arena *arena, size_t bytes)
{
    *out = NULL;
    if (bytes > SIZE_MAX - LV_CACHE_LINE - arena->top)
        return lv_fail(LVSA_ERR_MEMORY, "scratch memory of %zu bytes: more than can be addressed",
                       bytes);
    size_t top = arena->top + lv_round_up(bytes, LV_CACHE_LINE);
    if (!arena->measuring && top > arena->size)
        return lv_fail(LVSA_ERR_MEMORY,
                       "scratch memory of %zu bytes is used up: %zu more are wanted", arena->size,
                       top - arena->size);
    if (!arena->measuring) *out = arena->block + arena->top;
    arena->top = top;
    if (top > arena->peak) arena->peak = top;
    return LVSA_OK;
}
