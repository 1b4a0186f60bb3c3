/* mem.c: allocation behind one door. */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static lv_mem_hook *mem_hook;

void lv_mem_set_hook(lv_mem_hook *hook) { mem_hook = hook; }

static bool may_allocate(size_t bytes) { return mem_hook == NULL || mem_hook(bytes); }

bool lv_mul(size_t *out, size_t a, size_t b)
{
    if (a != 0 && b > SIZE_MAX / a) return false;
    *out = a * b;
    return true;
}

void *lv_zalloc(size_t bytes) { return may_allocate(bytes) ? calloc(1, bytes ? bytes : 1) : NULL; }

void *lv_zalloc_array(size_t count, size_t bytes)
{
    size_t total;
    return lv_mul(&total, count, bytes) ? lv_zalloc(total) : NULL;
}

void *lv_zalloc_aligned(size_t bytes)
{
    if (bytes > SIZE_MAX - LV_CACHE_LINE || !may_allocate(bytes)) return NULL;
    size_t rounded = lv_round_up(bytes ? bytes : 1, LV_CACHE_LINE);
    void *memory = aligned_alloc(LV_CACHE_LINE, rounded);
    if (memory) memset(memory, 0, rounded);
    return memory;
}

void *lv_grow_array(void *array, size_t old_count, size_t count, size_t bytes)
{
    size_t total;
    if (!lv_mul(&total, count, bytes) || !may_allocate(total)) return NULL;
    char *grown = realloc(array, total ? total : 1);
    if (grown && count > old_count)
        memset(grown + old_count * bytes, 0, (count - old_count) * bytes);
    return grown;
}

char *lv_strndup(const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? lv_zalloc(length + 1) : NULL;
    if (copy) memcpy(copy, text, length);
    return copy;
}

void lv_free(void *memory) { free(memory); }
