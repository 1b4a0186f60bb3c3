/* added_tokens.c: leftmost matches, the longest of them, as tokenizers' added_vocabulary.rs. */
#include "flow/text/tokenizers/added_tokens.h"

#include <string.h>
#include <utf8proc.h>

#include "base/json.h"
#include "base/mem.h"

typedef struct lv_added_token {
    char *content;
    char *pattern; /* the content, normalised where that is asked for; [pattern_length] */
    size_t pattern_length;
    int32_t id;
    bool single_word; /* no letter may touch it             */
    bool lstrip;      /* takes the spaces on the left along */
    bool rstrip;      /* and on the right                   */
    bool normalized;
} added_token;

/* ---- cutting --------------------------------------------------------------------------------- */

/* "\w" of the library's patterns: letters, marks, digits, connectors and the joiners. */
static bool is_word(uint32_t c)
{
    if (c == 0x200c || c == 0x200d) return true;
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
        (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189))
        return true; /* Other_Alphabetic among the symbols */
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC;
}

/* The character that ends before `at`, at > begin, and where it begins. */
static uint32_t char_before(size_t *from, const char *text, size_t begin, size_t at)
{
    uint32_t code = 0;
    *from = at - 1;
    while (*from > begin && (text[*from] & 0xc0) == 0x80) --*from;
    lv_utf8_decode(&code, text + *from, at - *from);
    return code;
}

static bool touches_word(const char *text, size_t begin, size_t start, size_t stop, size_t end)
{
    uint32_t code = 0;
    size_t from;
    if (start > begin && is_word(char_before(&from, text, begin, start))) return true;
    return stop < end && lv_utf8_decode(&code, text + stop, end - stop) && is_word(code);
}

static size_t spaces_before(const char *text, size_t begin, size_t at)
{
    size_t from;
    while (at > begin && lv_is_space(char_before(&from, text, begin, at))) at = from;
    return at;
}

static size_t spaces_behind(const char *text, size_t at, size_t end)
{
    uint32_t code = 0;
    for (size_t step; at < end; at += step) {
        step = lv_utf8_decode(&code, text + at, end - at);
        if (step == 0 || !lv_is_space(code)) break;
    }
    return at;
}

/* What a split is searched for. */
typedef struct search {
    const added_token *list;
    const lv_trie *trie;
} search;

static lvsa_status cut(lv_splits *out, const lv_splits *in, const lv_split *split, const void *what)
{
    const search *s = what;
    const char *text = in->text.bytes;
    size_t begin = split->offset, end = begin + split->length, done = begin, matched;
    for (size_t at = begin; at < end; at += matched) {
        int32_t index = lv_trie_find_longest(&matched, s->trie, text + at, end - at);
        if (index < 0) {
            matched = 1;
            continue;
        }
        const added_token *token = &s->list[index];
        size_t start = at, stop = at + matched;
        if (token->single_word && touches_word(text, begin, start, stop, end)) continue;
        if (token->lstrip) start = spaces_before(text, begin, start);
        if (token->rstrip) stop = spaces_behind(text, stop, end);
        if (done < start) LV_TRY(lv_splits_cut(out, in, done, start - done));
        LV_TRY(lv_splits_add_token(out, token->id));
        done = stop;
    }
    return done < end ? lv_splits_cut(out, in, done, end - done) : LVSA_OK;
}

lvsa_status lv_added_tokens_cut_raw(lv_splits *splits, lv_splits *spare,
                                    const lv_added_tokens *tokens)
{
    search s = {tokens->list, &tokens->raw};
    return lv_splits_step(splits, spare, cut, &s);
}

lvsa_status lv_added_tokens_cut_normalized(lv_splits *splits, lv_splits *spare,
                                           const lv_added_tokens *tokens)
{
    search s = {tokens->list, &tokens->normalized};
    return lv_splits_step(splits, spare, cut, &s);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The content as it looks in a normalised text. */
static lvsa_status make_pattern(added_token *token, const lv_normalizers *normalizers,
                                const char *name)
{
    lv_splits splits = {0}, spare = {0};
    lvsa_status s = lv_splits_set_text(&splits, token->content, strlen(token->content));
    if (s == LVSA_OK && token->normalized) s = lv_normalizers_run(&splits, &spare, normalizers);
    if (s == LVSA_OK && splits.count == 0)
        s = lv_fail(LVSA_ERR_FORMAT, "%s: nothing is left of added token \"%s\", normalised", name,
                    token->content);
    if (s == LVSA_OK) {
        token->pattern_length = splits.text.length;
        token->pattern = lv_strndup(splits.text.bytes, splits.text.length);
        if (!token->pattern) s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a token", name);
    }
    lv_splits_free(&spare);
    lv_splits_free(&splits);
    return s;
}

static lvsa_status read_token(added_token *token, const json_t *value, const char *name)
{
    const char *content = NULL;
    int64_t id = -1;
    if (!json_is_object(value))
        return lv_fail(LVSA_ERR_FORMAT, "%s: an added token is no object", name);
    LV_TRY(lv_json_get_string(&content, value, "content", name));
    LV_TRY(lv_json_get_int(&id, value, "id", 0, INT32_MAX, name));
    LV_TRY(lv_json_get_bool(&token->single_word, value, "single_word", name));
    LV_TRY(lv_json_get_bool(&token->lstrip, value, "lstrip", name));
    LV_TRY(lv_json_get_bool(&token->rstrip, value, "rstrip", name));
    LV_TRY(lv_json_get_bool(&token->normalized, value, "normalized", name));
    if (!content || !*content || id < 0)
        return lv_fail(LVSA_ERR_FORMAT, "%s: an added token without \"content\" or \"id\"", name);
    token->id = (int32_t)id;
    token->content = lv_strndup(content, strlen(content));
    return token->content ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a token", name);
}

static lvsa_status check_id(lv_added_tokens *tokens, const added_token *token,
                            const lv_unigram *model, size_t model_pieces, const char *name)
{
    int32_t id = lv_unigram_find(model, token->content, strlen(token->content));
    int64_t wanted = id >= 0 ? id : (int64_t)(model_pieces + tokens->beyond++);
    if (token->id == wanted) return LVSA_OK;
    return lv_fail(LVSA_ERR_FORMAT,
                   "%s: added token \"%s\" has id %d; by the vocabulary it is %lld", name,
                   token->content, (int)token->id, (long long)wanted);
}

static lvsa_status index_tokens(lv_trie *out, const lv_added_tokens *tokens, bool normalized,
                                const char *name)
{
    lv_trie_key *keys = lv_zalloc_array(tokens->count, sizeof *keys);
    if (!keys) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the added tokens", name);
    size_t count = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        const added_token *token = &tokens->list[i];
        if (token->normalized == normalized)
            keys[count++] = (lv_trie_key){token->pattern, token->pattern_length, (int32_t)i};
    }
    lvsa_status s = lv_trie_build(out, keys, count, name);
    if (s == LVSA_OK) s = lv_trie_refuse_twins(keys, count, name);
    if (s == LVSA_ERR_FORMAT) s = lv_fail_in(s, "added tokens");
    lv_free(keys);
    return s;
}

static lvsa_status read_tokens(lv_added_tokens *out, const json_t *value, const lv_unigram *model,
                               size_t model_pieces, const lv_normalizers *normalizers,
                               const char *name)
{
    size_t count = json_array_size(value);
    out->list = lv_zalloc_array(count, sizeof *out->list);
    if (!out->list) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for added tokens", name);
    for (size_t i = 0; i < count; i++) {
        added_token *token = &out->list[out->count++];
        LV_TRY(read_token(token, json_array_get(value, i), name));
        LV_TRY(check_id(out, token, model, model_pieces, name));
        LV_TRY(make_pattern(token, normalizers, name));
    }
    LV_TRY(index_tokens(&out->raw, out, false, name));
    return index_tokens(&out->normalized, out, true, name);
}

lvsa_status lv_added_tokens_read(lv_added_tokens *out, const json_t *value, const lv_unigram *model,
                                 size_t model_pieces, const lv_normalizers *normalizers,
                                 const char *name)
{
    *out = (lv_added_tokens){0};
    if (!value || json_is_null(value)) return LVSA_OK;
    if (!json_is_array(value))
        return lv_fail(LVSA_ERR_FORMAT, "%s: \"added_tokens\" is no list", name);
    lvsa_status s = read_tokens(out, value, model, model_pieces, normalizers, name);
    if (s != LVSA_OK) lv_added_tokens_free(out);
    return s;
}

void lv_added_tokens_free(lv_added_tokens *tokens)
{
    for (size_t i = 0; i < tokens->count; i++) {
        lv_free(tokens->list[i].content);
        lv_free(tokens->list[i].pattern);
    }
    lv_free(tokens->list);
    lv_trie_free(&tokens->raw);
    lv_trie_free(&tokens->normalized);
    *tokens = (lv_added_tokens){0};
}

int32_t lv_added_tokens_find(const lv_added_tokens *tokens, const char *content)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (strcmp(tokens->list[i].content, content) == 0) return tokens->list[i].id;
    return -1;
}
