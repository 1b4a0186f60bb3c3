/* sentencepiece.c: SentencePiece's normalizer in front of the unigram model. */
#include "flow/text/tokenizers/sentencepiece.h"

#include <string.h>

#include "base/mem.h"
#include "flow/text/tokenizers/charsmap.h"
#include "flow/text/tokenizers/spiece_file.h"
#include "flow/text/tokenizers/trie.h"

struct lv_sentencepiece {
    lv_unigram *unigram;
    lv_charsmap charsmap;
    lv_trie verbatim; /* user-defined pieces, which are not normalised */
    bool add_dummy_prefix;
    bool remove_extra_whitespaces;
    bool whitespace_is_suffix;
    const char *space; /* what a space becomes: U+2581 or itself */
    size_t space_length;
    lv_sentencepiece_info info;
};

static lvsa_status index_verbatim(lv_sentencepiece *m, const lv_spiece_file *file, const char *name)
{
    lv_trie_key *keys = lv_zalloc_array(file->count, sizeof *keys);
    if (!keys) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu pieces", name, file->count);
    size_t count = 0;
    for (size_t i = 0; i < file->count; i++)
        if (file->pieces[i].kind == LV_PIECE_USER_DEFINED)
            keys[count++] =
                (lv_trie_key){file->pieces[i].bytes, file->pieces[i].length, (int32_t)i};
    lvsa_status s = count ? lv_trie_build(&m->verbatim, keys, count, name) : LVSA_OK;
    lv_free(keys);
    return s;
}

static lvsa_status fill_model(lv_sentencepiece *m, const lv_spiece_file *file, const char *name)
{
    m->add_dummy_prefix = file->add_dummy_prefix;
    m->remove_extra_whitespaces = file->remove_extra_whitespaces;
    m->whitespace_is_suffix = file->whitespace_is_suffix;
    m->space = file->escape_whitespaces ? "\xe2\x96\x81" : " ";
    m->space_length = strlen(m->space);
    m->info = (lv_sentencepiece_info){file->count, file->unk_id, file->eos_id, file->pad_id};
    if (file->charsmap.length)
        LV_TRY(lv_charsmap_load(&m->charsmap, file->charsmap.bytes, file->charsmap.length, name));
    LV_TRY(index_verbatim(m, file, name));
    lv_unigram_options o = {.rules = LV_RULES_SENTENCEPIECE,
                            .pieces = file->pieces,
                            .count = file->count,
                            .unk_id = file->unk_id,
                            .byte_fallback = file->byte_fallback,
                            .name = name};
    return lv_unigram_create(&m->unigram, &o);
}

lvsa_status lv_sentencepiece_create(lv_sentencepiece **out, const void *bytes, size_t size,
                                    const char *name)
{
    lv_spiece_file file;
    *out = NULL;
    LV_TRY(lv_spiece_file_read(&file, bytes, size, name));
    lv_sentencepiece *m = lv_zalloc(sizeof *m);
    lvsa_status s = m ? fill_model(m, &file, name)
                      : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the model", name);
    lv_spiece_file_free(&file);
    if (s != LVSA_OK) lv_sentencepiece_free(&m);
    *out = m;
    return s;
}

void lv_sentencepiece_free(lv_sentencepiece **model)
{
    if (!model || !*model) return;
    lv_unigram_free(&(*model)->unigram);
    lv_charsmap_free(&(*model)->charsmap);
    lv_trie_free(&(*model)->verbatim);
    lv_free(*model);
    *model = NULL;
}

void lv_sentencepiece_get_info(lv_sentencepiece_info *out, const lv_sentencepiece *model)
{
    *out = model->info;
}

/* ---- the normalizer -------------------------------------------------------------------------- */

/* What the text's beginning becomes, and how many of its bytes that takes (>= 1). */
static lv_view normalize_prefix(size_t *taken, const lv_sentencepiece *m, const char *text,
                                size_t length)
{
    uint32_t code;
    if (lv_trie_find_longest(taken, &m->verbatim, text, length) >= 0)
        return (lv_view){text, *taken};
    const char *rule = lv_charsmap_find_longest(taken, &m->charsmap, text, length);
    if (rule) return (lv_view){rule, strlen(rule)};
    *taken = lv_utf8_decode(&code, text, length);
    if (*taken) return (lv_view){text, *taken};
    *taken = 1;
    return (lv_view){"\xef\xbf\xbd", 3};
}

static lvsa_status append_escaped(lv_text *out, const lv_sentencepiece *m, lv_view piece)
{
    for (size_t i = 0; i < piece.length; i++) {
        bool space = piece.bytes[i] == ' ';
        LV_TRY(
            lv_text_append(out, space ? m->space : piece.bytes + i, space ? m->space_length : 1));
    }
    return LVSA_OK;
}

static size_t skip_spaces(const lv_sentencepiece *m, const char *text, size_t length)
{
    size_t at = 0, taken;
    while (at < length) {
        lv_view piece = normalize_prefix(&taken, m, text + at, length - at);
        if (piece.length != 1 || piece.bytes[0] != ' ') break;
        at += taken;
    }
    return at;
}

static bool ends_with_space(const lv_text *text, size_t begin, const lv_sentencepiece *m)
{
    return text->length - begin >= m->space_length &&
           memcmp(text->bytes + text->length - m->space_length, m->space, m->space_length) == 0;
}

lvsa_status lv_sentencepiece_normalize(lv_text *out, const lv_sentencepiece *m, const char *text,
                                       size_t length)
{
    bool tidy = m->remove_extra_whitespaces;
    size_t begin = out->length, at = tidy ? skip_spaces(m, text, length) : 0, taken;
    if (at == length) return LVSA_OK;
    if (m->add_dummy_prefix && !m->whitespace_is_suffix)
        LV_TRY(lv_text_append(out, m->space, m->space_length));

    bool after_space = tidy;
    for (; at < length; at += taken) {
        lv_view piece = normalize_prefix(&taken, m, text + at, length - at);
        while (after_space && piece.length > 0 && piece.bytes[0] == ' ') {
            piece.bytes++;
            piece.length--;
        }
        LV_TRY(append_escaped(out, m, piece));
        if (piece.length > 0) after_space = piece.bytes[piece.length - 1] == ' ';
        after_space = after_space && tidy;
    }
    while (tidy && ends_with_space(out, begin, m)) out->length -= m->space_length;
    if (m->add_dummy_prefix && m->whitespace_is_suffix)
        LV_TRY(lv_text_append(out, m->space, m->space_length));
    return LVSA_OK;
}

lvsa_status lv_sentencepiece_encode(lv_unigram_work *work, const lv_sentencepiece *m,
                                    const char *text, size_t length)
{
    lv_text normal = {0};
    lvsa_status s = lv_sentencepiece_normalize(&normal, m, text, length);
    if (s == LVSA_OK) s = lv_unigram_encode(work, m->unigram, normal.bytes, normal.length);
    lv_text_free(&normal);
    return s;
}
