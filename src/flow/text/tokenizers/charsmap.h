/* charsmap.h: a "precompiled_charsmap", the rules by which a tokenizer rewrites characters.
 *
 * The blob, little-endian: bytes of the trie (u32), the trie, the replacements, each ended by a
 * 0. The trie is a double array of Darts-clone: u32 units; from unit i with offset o, byte c
 * leads to unit i ^ o ^ c if that one's label is c; where a rule ends, unit i ^ o (label past
 * 255) holds the offset of its replacement.
 *
 * SentencePiece takes the longest rule; tokenizers (its crate spm_precompiled) takes the
 * shortest. */
#ifndef LV_FLOW_TEXT_CHARSMAP_H
#define LV_FLOW_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct lv_charsmap {
    uint32_t *units; /* [count], NULL: no rules at all */
    size_t count;
    char *strings; /* [strings_length], the last byte is 0 */
    size_t strings_length;
} lv_charsmap;

/* Copies a blob and checks all of it, so that a look-up never leaves it. *out is to be freed
 * with lv_charsmap_free(). Fails with LVSA_ERR_FORMAT or LVSA_ERR_MEMORY, with `name` in the
 * sentence. */
lvsa_status lv_charsmap_load(lv_charsmap *out, const void *blob, size_t size, const char *name);

/* Fails with LVSA_ERR_FORMAT unless every replacement is UTF-8. */
lvsa_status lv_charsmap_check_utf8(const lv_charsmap *map, const char *name);

void lv_charsmap_free(lv_charsmap *map);

/* The replacement, ended by a 0, of the longest or shortest rule that the text begins with, and
 * the bytes it replaces; NULL when there is none. Borrowed. */
const char *lv_charsmap_find_longest(size_t *matched, const lv_charsmap *map, const char *text,
                                     size_t length);
const char *lv_charsmap_find_shortest(size_t *matched, const lv_charsmap *map, const char *text,
                                      size_t length);

#endif
