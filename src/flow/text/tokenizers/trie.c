/* trie.c: built from sorted keys, each level from the one above. */
#include "flow/text/tokenizers/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* The keys below a node while it is built: keys[lo] .. keys[hi - 1]. */
typedef struct range {
    uint32_t lo, hi;
} range;

static int by_bytes_then_value(const void *a, const void *b)
{
    const lv_trie_key *x = a, *y = b;
    size_t common = x->length < y->length ? x->length : y->length;
    int order = common ? memcmp(x->bytes, y->bytes, common) : 0;
    if (order != 0) return order;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

static size_t common_prefix(const lv_trie_key *a, const lv_trie_key *b)
{
    size_t n = 0;
    while (n < a->length && n < b->length && a->bytes[n] == b->bytes[n]) n++;
    return n;
}

/* Each sorted key adds a node for each byte that it doesn't share with the one before. */
static bool count_nodes(uint32_t *out, const lv_trie_key *keys, size_t count)
{
    uint64_t nodes = 1;
    for (size_t i = 0; i < count; i++) {
        nodes += keys[i].length - (i ? common_prefix(&keys[i - 1], &keys[i]) : 0);
        if (nodes >= UINT32_MAX) return false;
    }
    *out = (uint32_t)nodes;
    return count < UINT32_MAX;
}

/* Gives node `node`, which lies `depth` bytes deep, its value and its children, from node `next`
 * on. Returns the next free node. */
static uint32_t add_children(lv_trie *t, range *ranges, const lv_trie_key *keys, uint32_t node,
                             size_t depth, uint32_t next)
{
    uint32_t lo = ranges[node].lo, hi = ranges[node].hi;
    t->value[node] = -1;
    t->first[node] = next;
    for (; lo < hi && keys[lo].length == depth; lo++) t->value[node] = keys[lo].value;
    while (lo < hi) {
        char byte = keys[lo].bytes[depth];
        uint32_t end = lo + 1;
        while (end < hi && keys[end].bytes[depth] == byte) end++;
        t->label[next] = (uint8_t)byte;
        ranges[next++] = (range){lo, end};
        lo = end;
    }
    return next;
}

lvsa_status lv_trie_build(lv_trie *out, lv_trie_key *keys, size_t count, const char *name)
{
    *out = (lv_trie){0};
    if (count) qsort(keys, count, sizeof *keys, by_bytes_then_value);
    if (!count_nodes(&out->nodes, keys, count))
        return lv_fail(LVSA_ERR_FORMAT, "%s: the strings are too long; 4 GB at most", name);

    range *ranges = lv_zalloc_array(out->nodes, sizeof *ranges);
    out->first = lv_zalloc_array((size_t)out->nodes + 1, sizeof *out->first);
    out->value = lv_zalloc_array(out->nodes, sizeof *out->value);
    out->label = lv_zalloc(out->nodes);
    if (!ranges || !out->first || !out->value || !out->label) {
        lvsa_status s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a trie of %u nodes", name,
                                (unsigned)out->nodes);
        lv_free(ranges);
        lv_trie_free(out);
        return s;
    }
    ranges[LV_TRIE_ROOT] = (range){0, (uint32_t)count};
    uint32_t next = 1, level_end = 1;
    size_t depth = 0;
    for (uint32_t node = 0; node < out->nodes; node++) {
        if (node == level_end) {
            level_end = next;
            depth++;
        }
        next = add_children(out, ranges, keys, node, depth, next);
    }
    out->first[out->nodes] = out->nodes;
    lv_free(ranges);
    return LVSA_OK;
}

lvsa_status lv_trie_refuse_twins(const lv_trie_key *sorted, size_t count, const char *name)
{
    for (size_t i = 1; i < count; i++)
        if (sorted[i].length == sorted[i - 1].length &&
            memcmp(sorted[i].bytes, sorted[i - 1].bytes, sorted[i].length) == 0)
            return lv_fail(LVSA_ERR_FORMAT, "%s: pieces %d and %d are the same", name,
                           (int)sorted[i - 1].value, (int)sorted[i].value);
    return LVSA_OK;
}

void lv_trie_free(lv_trie *trie)
{
    lv_free(trie->first);
    lv_free(trie->value);
    lv_free(trie->label);
    *trie = (lv_trie){0};
}

uint32_t lv_trie_step(const lv_trie *trie, uint32_t node, uint8_t byte)
{
    if (trie->nodes == 0) return LV_TRIE_ROOT;
    uint32_t lo = trie->first[node], hi = trie->first[node + 1];
    while (lo < hi) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (trie->label[middle] == byte) return middle;
        if (trie->label[middle] < byte) lo = middle + 1;
        else hi = middle;
    }
    return LV_TRIE_ROOT;
}

int32_t lv_trie_find(const lv_trie *trie, const char *bytes, size_t length)
{
    uint32_t node = LV_TRIE_ROOT;
    for (size_t i = 0; i < length; i++)
        if ((node = lv_trie_step(trie, node, (uint8_t)bytes[i])) == LV_TRIE_ROOT) return -1;
    return trie->nodes ? trie->value[node] : -1;
}

int32_t lv_trie_find_longest(size_t *matched, const lv_trie *trie, const char *bytes, size_t length)
{
    int32_t value = -1;
    uint32_t node = LV_TRIE_ROOT;
    *matched = 0;
    for (size_t i = 0; i < length; i++) {
        if ((node = lv_trie_step(trie, node, (uint8_t)bytes[i])) == LV_TRIE_ROOT) break;
        if (trie->value[node] < 0) continue;
        value = trie->value[node];
        *matched = i + 1;
    }
    return value;
}
