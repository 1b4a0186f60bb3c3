/* mem.h: the only way src/ gets memory, so that a test can count it and make it fail. */
#ifndef LV_BASE_MEM_H
#define LV_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

enum { LV_CACHE_LINE = 64 };

/* All give zeroed memory aligned for any type, or NULL, without a sentence: the caller knows what
 * for. */
void *lv_zalloc(size_t bytes);
void *lv_zalloc_array(size_t count, size_t bytes); /* NULL too when the product overflows */
void *lv_zalloc_aligned(size_t bytes);             /* on a cache line                     */
char *lv_strndup(const char *text, size_t length); /* length bytes and a 0                */

/* As realloc(), what is new zeroed; on failure `array` stays as it was. */
void *lv_grow_array(void *array, size_t old_count, size_t count, size_t bytes);

void lv_free(void *memory);

/* *out = a * b; false when it doesn't fit. */
bool lv_mul(size_t *out, size_t a, size_t b);

/* a rounded up to a multiple of `unit`, a power of two. */
static inline size_t lv_round_up(size_t a, size_t unit) { return (a + unit - 1) & ~(unit - 1); }

/* Called before each allocation; false makes it fail. For tests; NULL takes it away. Not
 * thread-safe. */
typedef bool lv_mem_hook(size_t bytes);
void lv_mem_set_hook(lv_mem_hook *hook);

#endif
