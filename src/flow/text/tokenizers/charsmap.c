/* charsmap.c: reads and walks the double array. */
#include "flow/text/tokenizers/charsmap.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "flow/text/text.h"

/* SentencePiece 0.2.3 src/normalizer.h: kMaxTrieResultsSize; rules past the 32nd nested one are
 * never seen. */
enum { NESTED_MAX = 32, UNITS_BLOCK = 256 };

static uint32_t unit_label(uint32_t unit) { return unit & (1u << 31 | 0xff); }
static uint32_t unit_offset(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }
static uint32_t unit_value(uint32_t unit) { return unit & ~(1u << 31); }
static bool unit_has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
static bool is_leaf(uint32_t unit) { return unit_label(unit) > 0xff; }

static uint32_t read_u32(const uint8_t *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Every step stays inside the array, every leaf inside the strings. */
static bool is_sound(const lv_charsmap *map)
{
    uint32_t root = map->units[0];
    if (unit_label(root) != 0 || unit_has_leaf(root) || unit_offset(root) == 0) return false;
    for (size_t i = 0; i < map->count; i++) {
        uint32_t unit = map->units[i];
        if (is_leaf(unit)) {
            if (unit_value(unit) >= map->strings_length) return false;
        } else {
            size_t children = i ^ unit_offset(unit);
            if ((children | 0xff) >= map->count) return false;
            if (unit_has_leaf(unit) && !is_leaf(map->units[children])) return false;
        }
    }
    return true;
}

lvsa_status lv_charsmap_load(lv_charsmap *out, const void *blob, size_t size, const char *name)
{
    const uint8_t *bytes = blob;
    *out = (lv_charsmap){0};
    size_t trie = size > 4 ? read_u32(bytes) : 0;
    if (trie == 0 || trie % (4 * UNITS_BLOCK) != 0 || trie >= size - 4 || bytes[size - 1] != 0)
        return lv_fail(LVSA_ERR_FORMAT,
                       "%s: precompiled_charsmap of %zu bytes, %zu of them a trie: it is damaged",
                       name, size, trie);
    out->count = trie / 4;
    out->strings_length = size - 4 - trie;
    out->units = lv_zalloc_array(out->count, sizeof *out->units);
    out->strings = lv_zalloc(out->strings_length);
    lvsa_status s = LVSA_OK;
    if (!out->units || !out->strings) {
        s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu bytes of precompiled_charsmap", name,
                    size);
    } else {
        for (size_t i = 0; i < out->count; i++) out->units[i] = read_u32(bytes + 4 + 4 * i);
        memcpy(out->strings, bytes + 4 + trie, out->strings_length);
        if (!is_sound(out))
            s = lv_fail(LVSA_ERR_FORMAT, "%s: the trie of precompiled_charsmap is damaged", name);
    }
    if (s != LVSA_OK) lv_charsmap_free(out);
    return s;
}

lvsa_status lv_charsmap_check_utf8(const lv_charsmap *map, const char *name)
{
    bool good = lv_utf8_find_bad(map->strings, map->strings_length) == map->strings_length;
    for (size_t i = 0; good && i < map->count; i++)
        good = !is_leaf(map->units[i]) ||
               (map->strings[unit_value(map->units[i])] & 0xc0) != 0x80; /* begins a character */
    return good ? LVSA_OK
                : lv_fail(LVSA_ERR_FORMAT, "%s: precompiled_charsmap replaces by what isn't UTF-8",
                          name);
}

void lv_charsmap_free(lv_charsmap *map)
{
    lv_free(map->units);
    lv_free(map->strings);
    *map = (lv_charsmap){0};
}

/* Follows the text until no rule goes on, or `most` rules have ended. */
static const char *find(size_t *matched, const lv_charsmap *map, const char *text, size_t length,
                        int most)
{
    const char *found = NULL;
    *matched = 0;
    if (!map->units) return NULL;
    uint32_t node = unit_offset(map->units[0]);
    for (size_t i = 0; i < length && most > 0; i++) {
        node ^= (uint8_t)text[i];
        uint32_t unit = map->units[node];
        if (unit_label(unit) != (uint8_t)text[i]) break;
        node ^= unit_offset(unit);
        if (!unit_has_leaf(unit)) continue;
        found = map->strings + unit_value(map->units[node]);
        *matched = i + 1;
        most--;
    }
    return found;
}

const char *lv_charsmap_find_longest(size_t *matched, const lv_charsmap *map, const char *text,
                                     size_t length)
{
    return find(matched, map, text, length, NESTED_MAX);
}

const char *lv_charsmap_find_shortest(size_t *matched, const lv_charsmap *map, const char *text,
                                      size_t length)
{
    return find(matched, map, text, length, 1);
}
