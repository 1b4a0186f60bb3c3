/* trie.h: byte strings to numbers, walked a byte at a time.
 *
 * Nodes lie level by level, the children of one side by side in the order of their bytes: node
 * n's are first[n] .. first[n + 1] - 1. Nine bytes a node; 256 k pieces of a multilingual
 * vocabulary make about 700 k nodes. */
#ifndef LV_FLOW_TEXT_TRIE_H
#define LV_FLOW_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct lv_trie {
    uint32_t *first; /* [nodes + 1]                                     */
    int32_t *value;  /* [nodes]; -1: no key ends here                   */
    uint8_t *label;  /* [nodes]; the byte that leads here, 0 for node 0 */
    uint32_t nodes;
} lv_trie;

typedef struct lv_trie_key {
    const char *bytes; /* borrowed while the trie is built */
    size_t length;
    int32_t value; /* >= 0 */
} lv_trie_key;

enum { LV_TRIE_ROOT = 0 };

/* Builds a trie and gives it in *out, to be freed with lv_trie_free(); sorts `keys`. Of equal
 * keys the one with the greatest value counts. Fails with LVSA_ERR_MEMORY or, past 2^32 - 2
 * bytes of keys, LVSA_ERR_FORMAT, with `name` in the sentence; *out is then empty. */
lvsa_status lv_trie_build(lv_trie *out, lv_trie_key *keys, size_t count, const char *name);

/* Fails with LVSA_ERR_FORMAT where two of the keys that a trie has been built from are equal. */
lvsa_status lv_trie_refuse_twins(const lv_trie_key *sorted, size_t count, const char *name);

void lv_trie_free(lv_trie *trie);

/* The child of `node` that `byte` leads to; LV_TRIE_ROOT, which is nobody's child, when there is
 * none. */
uint32_t lv_trie_step(const lv_trie *trie, uint32_t node, uint8_t byte);

/* The value of this key, or -1. */
int32_t lv_trie_find(const lv_trie *trie, const char *bytes, size_t length);

/* The value of the longest key that the bytes begin with, its length in *matched; or -1. */
int32_t lv_trie_find_longest(size_t *matched, const lv_trie *trie, const char *bytes,
                             size_t length);

#endif
