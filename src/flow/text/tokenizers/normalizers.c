/* normalizers.c: reads the chain and runs it. */
#include "flow/text/tokenizers/normalizers.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/json.h"
#include "base/mem.h"
#include "flow/text/tokenizers/charsmap.h"
#include "flow/text/tokenizers/components.h"

typedef struct lv_normalizer {
    lv_split_step *step;
    lv_charsmap charsmap;    /* Precompiled                                             */
    char *pattern, *content; /* Replace                                                 */
    size_t pattern_length, content_length;
    size_t least;     /* > 0: the pattern is a character, this many times or more */
    bool left, right; /* Strip                                                   */
} normalizer;

/* The split's next character at *at, which moves behind it, and the character's mark. */
static uint32_t next_char(uint8_t *mark, size_t *at, const lv_splits *in, size_t end)
{
    uint32_t code = 0;
    size_t step = lv_utf8_decode(&code, in->text.bytes + *at, end - *at);
    *mark = in->marks[*at];
    *at += step ? step : 1; /* splits hold UTF-8 only: never 0 */
    return code;
}

/* ---- Precompiled ----------------------------------------------------------------------------- */

/* Rewritten characters, each beside the source character whose mark it gets. What the library
 * counts as beside what is its own matter (normalizers/precompiled.rs): of a rule's characters
 * each stands for one that it replaces, as long as there are any, and the rest for the last; of
 * the replaced ones that are left over, those with nothing written before them are taken for
 * what comes next. */
typedef struct rewriter {
    lv_splits *out;
    const lv_splits *in;
    const lv_split *split;
    size_t cursor; /* the next source character that nothing stands for */
    bool written;
} rewriter;

/* The next source character is passed; gives its mark. */
static uint8_t pass_char(rewriter *r)
{
    uint8_t mark = 0;
    size_t end = r->split->offset + r->split->length;
    if (r->cursor < end) next_char(&mark, &r->cursor, r->in, end);
    return mark;
}

static lvsa_status write_char(rewriter *r, uint32_t code, bool replaces)
{
    uint8_t mark = r->split->at_start;
    if (replaces) mark = pass_char(r);
    else if (r->cursor > r->split->offset) mark = r->in->marks[r->cursor - 1];
    r->written = true;
    return lv_splits_append_code(r->out, code, mark);
}

static size_t count_chars(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += (text[i] & 0xc0) != 0x80;
    return count;
}

static lvsa_status write_rule(rewriter *r, const char *rule, size_t replaced)
{
    size_t length = strlen(rule);
    for (size_t at = 0, step; at < length; at += step) {
        uint32_t code = 0;
        step = lv_utf8_decode(&code, rule + at, length - at);
        if (step == 0) break; /* checked when the file was read */
        LV_TRY(write_char(r, code, replaced > 0));
        if (replaced > 0) replaced--;
    }
    while (r->written && replaced-- > 0) pass_char(r);
    return LVSA_OK;
}

/* The library asks for the shortest rule that the bytes begin with, and replaces all of them by
 * it. */
static const char *find_rule(const normalizer *n, const char *bytes, size_t length)
{
    size_t matched;
    return *bytes ? lv_charsmap_find_shortest(&matched, &n->charsmap, bytes, length) : NULL;
}

/* One grapheme cluster. Clusters of less than 6 bytes are replaced as a whole by the rule for
 * what they begin with: "①" and an accent become "1". */
static lvsa_status rewrite_cluster(rewriter *r, const normalizer *n, size_t begin, size_t end)
{
    const char *bytes = r->in->text.bytes;
    const char *rule = end - begin < 6 ? find_rule(n, bytes + begin, end - begin) : NULL;
    if (rule) return write_rule(r, rule, count_chars(bytes + begin, end - begin));
    for (size_t at = begin; at < end;) {
        uint8_t mark;
        size_t from = at;
        uint32_t code = next_char(&mark, &at, r->in, end);
        rule = find_rule(n, bytes + from, at - from);
        LV_TRY(rule ? write_rule(r, rule, 1) : write_char(r, code, true));
    }
    return LVSA_OK;
}

static lvsa_status precompiled(lv_splits *out, const lv_splits *in, const lv_split *split,
                               const void *what)
{
    rewriter r = {.out = out, .in = in, .split = split, .cursor = split->offset};
    size_t end = split->offset + split->length, begin = split->offset, at = begin;
    uint8_t mark;
    utf8proc_int32_t state = 0;
    LV_TRY(lv_splits_begin(out, split->at_start));
    uint32_t before = next_char(&mark, &at, in, end);
    while (at < end) {
        size_t here = at;
        uint32_t code = next_char(&mark, &at, in, end);
        bool new_cluster = utf8proc_grapheme_break_stateful((utf8proc_int32_t)before,
                                                            (utf8proc_int32_t)code, &state);
        before = code;
        if (!new_cluster) continue;
        LV_TRY(rewrite_cluster(&r, what, begin, here));
        begin = here;
    }
    LV_TRY(rewrite_cluster(&r, what, begin, end));
    lv_splits_end(out);
    return LVSA_OK;
}

/* ---- the others ------------------------------------------------------------------------------ */

/* Bytes of the pattern's match at `text`, 0 without one. */
static size_t match(const normalizer *n, const char *text, size_t length)
{
    size_t matched = 0, times = 0;
    while (n->pattern_length <= length - matched &&
           memcmp(text + matched, n->pattern, n->pattern_length) == 0) {
        matched += n->pattern_length;
        times++;
        if (n->least == 0) break;
    }
    return times >= n->least ? matched : 0;
}

static lvsa_status replace(lv_splits *out, const lv_splits *in, const lv_split *split,
                           const void *what)
{
    const normalizer *n = what;
    size_t end = split->offset + split->length;
    LV_TRY(lv_splits_begin(out, split->at_start));
    for (size_t at = split->offset; at < end;) {
        size_t matched = match(n, in->text.bytes + at, end - at);
        if (matched == 0) {
            LV_TRY(lv_splits_append_range(out, in, at++, 1));
            continue;
        }
        at += matched;
        LV_TRY(lv_splits_append(out, n->content, n->content_length, in->marks[at - 1]));
    }
    lv_splits_end(out);
    return LVSA_OK;
}

static lvsa_status strip(lv_splits *out, const lv_splits *in, const lv_split *split,
                         const void *what)
{
    const normalizer *n = what;
    size_t begin = split->offset, end = begin + split->length, kept_end = begin, kept_begin = end;
    for (size_t at = begin; at < end;) {
        uint8_t mark;
        size_t from = at;
        if (lv_is_space(next_char(&mark, &at, in, end))) continue;
        if (kept_begin == end) kept_begin = from;
        kept_end = at;
    }
    /* Without a letter both are as if all were space. */
    size_t from = n->left ? kept_begin : begin, to = n->right ? kept_end : end;
    LV_TRY(lv_splits_begin(out, split->at_start));
    if (from < to) LV_TRY(lv_splits_append_range(out, in, from, to - from));
    lv_splits_end(out);
    return LVSA_OK;
}

/* tokenizers normalizers/unicode.rs, do_nmt(): control characters go, odd spaces become spaces. */
static bool nmt_drops(uint32_t c)
{
    return (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f ||
           c == 0x8f || c == 0x9f;
}

static bool nmt_makes_space(uint32_t c)
{
    return c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == 0xfffd;
}

static lvsa_status nmt(lv_splits *out, const lv_splits *in, const lv_split *split, const void *what)
{
    (void)what;
    size_t end = split->offset + split->length;
    LV_TRY(lv_splits_begin(out, split->at_start));
    for (size_t at = split->offset; at < end;) {
        uint8_t mark;
        uint32_t code = next_char(&mark, &at, in, end);
        if (nmt_drops(code)) continue;
        LV_TRY(lv_splits_append_code(out, nmt_makes_space(code) ? ' ' : code, mark));
    }
    lv_splits_end(out);
    return LVSA_OK;
}

/* Full mapping of single characters: U+0130 is the one that becomes two. */
static lvsa_status lowercase(lv_splits *out, const lv_splits *in, const lv_split *split,
                             const void *what)
{
    (void)what;
    size_t end = split->offset + split->length;
    LV_TRY(lv_splits_begin(out, split->at_start));
    for (size_t at = split->offset; at < end;) {
        uint8_t mark;
        uint32_t code = next_char(&mark, &at, in, end);
        if (code == 0x130) LV_TRY(lv_splits_append(out, "i\xcc\x87", 3, mark));
        else
            LV_TRY(lv_splits_append_code(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code),
                                         mark));
    }
    lv_splits_end(out);
    return LVSA_OK;
}

/* Composition and reordering: where the characters came from isn't followed, so no marks. */
static lvsa_status nfkc(lv_splits *out, const lv_splits *in, const lv_split *split,
                        const void *what)
{
    (void)what;
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t length = utf8proc_map(
        (const utf8proc_uint8_t *)in->text.bytes + split->offset, (utf8proc_ssize_t)split->length,
        &mapped, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
    if (length < 0)
        return lv_fail(LVSA_ERR_MEMORY, "no memory for NFKC of %zu bytes", split->length);
    lvsa_status s = lv_splits_begin(out, split->at_start);
    if (s == LVSA_OK) s = lv_splits_append(out, (char *)mapped, (size_t)length, 0);
    if (s == LVSA_OK) lv_splits_end(out);
    free(mapped);
    return s;
}

lvsa_status lv_normalizers_run(lv_splits *splits, lv_splits *spare, const lv_normalizers *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        LV_TRY(lv_splits_step(splits, spare, chain->list[i].step, &chain->list[i]));
    return LVSA_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Whole groups of four, the last one padded with "=". */
static lvsa_status decode_base64(lv_text *out, const char *text, size_t length, const char *name)
{
    bool good = length % 4 == 0;
    for (size_t i = 0; good && i < length; i += 4) {
        uint32_t group = 0;
        size_t digits = 4;
        if (i + 4 == length)
            while (digits > 2 && text[i + digits - 1] == '=') digits--;
        for (size_t d = 0; d < 4; d++) {
            int digit = d < digits ? base64_digit(text[i + d]) : 0;
            good = good && digit >= 0;
            group = group << 6 | ((uint32_t)digit & 63);
        }
        const char bytes[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
        good = good && (group & (digits == 4 ? 0 : digits == 3 ? 0xff : 0xffff)) == 0;
        if (good) LV_TRY(lv_text_append(out, bytes, digits - 1));
    }
    return good ? LVSA_OK
                : lv_fail(LVSA_ERR_FORMAT, "%s: precompiled_charsmap is no base64 text", name);
}

static lvsa_status read_precompiled(normalizer *n, const json_t *component, const char *name)
{
    const json_t *text = json_object_get(component, "precompiled_charsmap");
    lv_text blob = {0};
    if (!json_is_string(text))
        return lv_fail(LVSA_ERR_FORMAT, "%s: a Precompiled without a precompiled_charsmap", name);
    lvsa_status s = decode_base64(&blob, json_string_value(text), json_string_length(text), name);
    if (s == LVSA_OK) s = lv_charsmap_load(&n->charsmap, blob.bytes, blob.length, name);
    if (s == LVSA_OK) s = lv_charsmap_check_utf8(&n->charsmap, name);
    lv_text_free(&blob);
    n->step = precompiled;
    return s;
}

/* "c+" and "c{n,}", c one character without a meaning in patterns, or escaped. Sets n->least;
 * false for any other pattern. */
static bool parse_run(normalizer *n, const char *text, size_t length)
{
    uint32_t code;
    if (length > 1 && text[0] == '\\') {
        bool punctuation = strchr("\\.+*?()|[]{}^$/-", text[1]) != NULL;
        if (!punctuation) return false;
        text++;
        length--;
    } else if (length > 0 && strchr(".+*?()|[]{}^$\\", text[0])) {
        return false;
    }
    size_t width = lv_utf8_decode(&code, text, length);
    const char *rest = text + width;
    if (width == 0) return false;
    if (strcmp(rest, "+") == 0) {
        n->least = 1;
    } else {
        char *behind = NULL;
        if (rest[0] != '{' || rest[1] < '1' || rest[1] > '9') return false;
        n->least = strtoul(rest + 1, &behind, 10);
        if (strcmp(behind, ",}") != 0 || n->least > 1000) return false;
    }
    n->pattern = lv_strndup(text, width);
    n->pattern_length = width;
    return true;
}

static lvsa_status read_replace(normalizer *n, const json_t *component, const char *name)
{
    const json_t *pattern = json_object_get(component, "pattern");
    const json_t *content = json_object_get(component, "content");
    const json_t *string = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    if (!json_is_string(content) || json_is_string(string) == json_is_string(regex))
        return lv_fail(LVSA_ERR_FORMAT, "%s: a Replace without one pattern and a content", name);
    n->step = replace;
    n->content_length = json_string_length(content);
    n->content = lv_strndup(json_string_value(content), n->content_length);
    if (json_is_string(regex)) {
        const char *text = json_string_value(regex);
        if (!parse_run(n, text, json_string_length(regex)))
            return lv_component_unknown("the pattern of a Replace,", text,
                                        "\"c+\" and \"c{n,}\" for a character c are", name);
    } else {
        n->pattern_length = json_string_length(string);
        n->pattern = lv_strndup(json_string_value(string), n->pattern_length);
        if (n->pattern_length == 0)
            return lv_component_unknown("the pattern of a Replace,", "", "it has to be longer",
                                        name);
    }
    return n->pattern && n->content
               ? LVSA_OK
               : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a normalizer", name);
}

static lvsa_status read_strip(normalizer *n, const json_t *component, const char *name)
{
    n->step = strip;
    LV_TRY(lv_json_get_bool(&n->left, component, "strip_left", name));
    return lv_json_get_bool(&n->right, component, "strip_right", name);
}

static lvsa_status add_normalizer(void *out, const json_t *component, const char *type,
                                  const char *name)
{
    lv_normalizers *chain = out;
    normalizer *grown = lv_grow_array(chain->list, chain->count, chain->count + 1, sizeof *grown);
    if (!grown) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a normalizer", name);
    chain->list = grown;
    normalizer *n = &grown[chain->count++];
    if (strcmp(type, "Precompiled") == 0) return read_precompiled(n, component, name);
    if (strcmp(type, "Replace") == 0) return read_replace(n, component, name);
    if (strcmp(type, "Strip") == 0) return read_strip(n, component, name);
    if (strcmp(type, "NFKC") == 0) chain->loses_marks = true;
    if (strcmp(type, "Nmt") == 0) n->step = nmt;
    else if (strcmp(type, "NFKC") == 0) n->step = nfkc;
    else if (strcmp(type, "Lowercase") == 0) n->step = lowercase;
    else
        return lv_component_unknown(
            "normalizer", type,
            "Sequence, Precompiled, Replace, Strip, Nmt, NFKC and Lowercase are", name);
    return LVSA_OK;
}

lvsa_status lv_normalizers_read(lv_normalizers *out, const json_t *value, const char *name)
{
    *out = (lv_normalizers){0};
    lvsa_status s =
        lv_components_walk(value, "normalizer", "normalizers", add_normalizer, out, name);
    if (s != LVSA_OK) lv_normalizers_free(out);
    return s;
}

void lv_normalizers_free(lv_normalizers *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        lv_charsmap_free(&chain->list[i].charsmap);
        lv_free(chain->list[i].pattern);
        lv_free(chain->list[i].content);
    }
    lv_free(chain->list);
    *chain = (lv_normalizers){0};
}
