/* tokenizer.c: one interface to both formats. */
#include "flow/text/tokenizers/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/text/tokenizers/sentencepiece.h"
#include "flow/text/tokenizers/tokenizer_json.h"

struct lv_tokenizer {
    lv_tokenizer_json *json; /* one of the two */
    lv_sentencepiece *sentencepiece;
    lv_tokenizer_info info;
    const int32_t *before, *behind; /* [before_count], [behind_count] ids round a text's own */
    size_t before_count, behind_count;
};

/* ---- opening --------------------------------------------------------------------------------- */

/* A model of 256 k pieces has 4 MB as spiece.model and 16 MB as tokenizer.json. */
enum { FILE_MAX = 1 << 30 };

static lvsa_status read_stream(char **out, size_t *size, FILE *file, const char *path)
{
    size_t room = 0, step;
    do {
        if (*size == room) {
            size_t more = room ? 2 * room : 1 << 16;
            char *grown = more <= FILE_MAX ? lv_grow_array(*out, room, more, 1) : NULL;
            if (!grown)
                return more <= FILE_MAX
                           ? lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu bytes", path, more)
                           : lv_fail(LVSA_ERR_FORMAT, "%s: more than %d bytes", path, FILE_MAX);
            *out = grown;
            room = more;
        }
        step = fread(*out + *size, 1, room - *size, file);
        *size += step;
    } while (step > 0);
    return ferror(file) ? lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(errno)) : LVSA_OK;
}

/* The whole file into *out, to be freed with lv_free() whatever the status. */
static lvsa_status read_file(char **out, size_t *size, const char *path)
{
    *out = NULL;
    *size = 0;
    FILE *file = fopen(path, "rb");
    if (!file) return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(errno));
    lvsa_status s = read_stream(out, size, file, path);
    fclose(file);
    return s;
}

static lvsa_status make_json(lv_tokenizer **out, char *text, size_t size, const char *name)
{
    *out = NULL;
    lv_tokenizer *t = lv_zalloc(sizeof *t);
    if (!t) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the tokenizer", name);
    lvsa_status s = lv_tokenizer_json_create(&t->json, text, size, name);
    if (s != LVSA_OK) {
        lv_tokenizer_close(&t);
        return s;
    }
    lv_tokenizer_json_info info;
    lv_tokenizer_json_get_info(&info, t->json);
    t->before = info.before;
    t->behind = info.behind;
    t->before_count = info.before_count;
    t->behind_count = info.behind_count;
    t->info =
        (lv_tokenizer_info){.tokens = info.tokens,
                            .pad_id = info.pad_id,
                            .eos_id = info.behind_count ? info.behind[info.behind_count - 1] : -1,
                            .unk_id = info.unk_id,
                            .special_ids = info.before_count + info.behind_count};
    *out = t;
    return LVSA_OK;
}

lvsa_status lv_tokenizer_load_spiece(lv_tokenizer **out, const void *bytes, size_t size,
                                     const char *name)
{
    *out = NULL;
    lv_tokenizer *t = lv_zalloc(sizeof *t);
    if (!t) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for the tokenizer", name);
    lvsa_status s = lv_sentencepiece_create(&t->sentencepiece, bytes, size, name);
    if (s != LVSA_OK) {
        lv_tokenizer_close(&t);
        return s;
    }
    lv_sentencepiece_info info;
    lv_sentencepiece_get_info(&info, t->sentencepiece);
    t->behind = &t->info.eos_id;
    t->behind_count = info.eos_id >= 0;
    t->info = (lv_tokenizer_info){.tokens = info.pieces,
                                  .pad_id = info.pad_id,
                                  .eos_id = info.eos_id,
                                  .unk_id = info.unk_id,
                                  .special_ids = t->behind_count};
    *out = t;
    return LVSA_OK;
}

lvsa_status lv_tokenizer_load_json(lv_tokenizer **out, const void *bytes, size_t size,
                                   const char *name)
{
    *out = NULL;
    char *copy = lv_strndup(size ? bytes : "", size);
    if (!copy) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %zu bytes", name, size);
    lvsa_status s = make_json(out, copy, size, name);
    lv_free(copy);
    return s;
}

lvsa_status lv_tokenizer_open_json(lv_tokenizer **out, const char *path)
{
    char *bytes;
    size_t size;
    *out = NULL;
    lvsa_status s = read_file(&bytes, &size, path);
    if (s == LVSA_OK) s = make_json(out, bytes, size, path);
    lv_free(bytes);
    return s;
}

lvsa_status lv_tokenizer_open_spiece(lv_tokenizer **out, const char *path)
{
    char *bytes;
    size_t size;
    *out = NULL;
    lvsa_status s = read_file(&bytes, &size, path);
    if (s == LVSA_OK) s = lv_tokenizer_load_spiece(out, bytes, size, path);
    lv_free(bytes);
    return s;
}

static bool exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL || errno != ENOENT;
}

lvsa_status lv_tokenizer_open(lv_tokenizer **out, const char *directory)
{
    size_t room = strlen(directory) + sizeof "/tokenizer.json";
    char *path = lv_zalloc(room);
    *out = NULL;
    if (!path) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a path", directory);
    lvsa_status s;
    snprintf(path, room, "%s/tokenizer.json", directory);
    if (exists(path)) {
        s = lv_tokenizer_open_json(out, path);
    } else {
        snprintf(path, room, "%s/spiece.model", directory);
        s = exists(path) ? lv_tokenizer_open_spiece(out, path)
                         : lv_fail(LVSA_ERR_IO, "%s: holds no tokenizer.json and no spiece.model",
                                   directory);
    }
    lv_free(path);
    return s;
}

void lv_tokenizer_close(lv_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer) return;
    lv_tokenizer_json_free(&(*tokenizer)->json);
    lv_sentencepiece_free(&(*tokenizer)->sentencepiece);
    lv_free(*tokenizer);
    *tokenizer = NULL;
}

/* ---- encoding -------------------------------------------------------------------------------- */

void lv_tokenizer_get_info(lv_tokenizer_info *out, const lv_tokenizer *tokenizer)
{
    *out = tokenizer->info;
}

static size_t put(int32_t *ids, size_t at, const int32_t *from, size_t count)
{
    if (count) memcpy(ids + at, from, count * sizeof *ids);
    return at + count;
}

lvsa_status lv_tokenizer_encode(int32_t *ids, size_t *count, size_t max, const lv_tokenizer *t,
                                const char *text, size_t length)
{
    *count = 0;
    if (max < t->info.special_ids)
        return lv_fail(LVSA_ERR_ARGUMENT, "room for %zu ids; the %zu special ones have to fit", max,
                       t->info.special_ids);
    lv_unigram_work work = {0};
    lvsa_status s = t->json ? lv_tokenizer_json_encode(&work, t->json, text, length)
                            : lv_sentencepiece_encode(&work, t->sentencepiece, text, length);
    if (s == LVSA_OK) {
        size_t own = max - t->info.special_ids, at = 0;
        at = put(ids, at, t->before, t->before_count);
        at = put(ids, at, work.ids, work.count < own ? work.count : own);
        at = put(ids, at, t->behind, t->behind_count);
        *count = at;
        while (at < max) ids[at++] = t->info.pad_id >= 0 ? t->info.pad_id : 0;
    }
    lv_unigram_work_free(&work);
    return s;
}
