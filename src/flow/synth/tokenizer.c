/* tokenizer.c: a Unigram vocabulary of made-up words, in both of the formats that tokenizers are
 * read from.
 *
 * Ids: 0 <pad>, 1 </s>, 2 <unk>, then the space's mark, the 94 printable ASCII characters, and
 * words of one to three syllables, each with the mark before it and without; behind the pieces 300
 * extra ids, from <extra_id_299> to <extra_id_0>, which only tokenizer.json holds. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/synth/synth.h"

enum { SPECIAL = 3, FIRST_WORD = SPECIAL + 1 + 94, PIECE = 16 /* bytes at most, its 0 included */ };
#define MARK "\xe2\x96\x81" /* U+2581 */

/* The index-th syllable of 90. */
static void syllable(char *out, int64_t index)
{
    out[0] = "bcdfghjklmnprstvwz"[index / 5 % 18];
    out[1] = "aeiou"[index % 5];
    out[2] = '\0';
}

static void make_piece(char out[PIECE], int64_t id)
{
    static const char *const special[] = {"<pad>", "</s>", "<unk>", MARK};
    if (id <= SPECIAL) {
        snprintf(out, PIECE, "%s", special[id]);
        return;
    }
    if (id < FIRST_WORD) {
        out[0] = (char)('!' + id - SPECIAL - 1), out[1] = '\0';
        return;
    }
    int64_t word = (id - FIRST_WORD) / 2, syllables = 1;
    for (int64_t most = 90; word >= most; most *= 90, syllables++) word -= most;
    char *at = out;
    if ((id - FIRST_WORD) % 2 == 0) at += snprintf(out, PIECE, MARK);
    for (; syllables > 0; syllables--, word /= 90, at += 2) syllable(at, word % 90);
}

/* Log probabilities: longer words are rarer, and characters rarer still. */
static double score_of(int64_t id)
{
    if (id < SPECIAL) return 0.0;
    return id < FIRST_WORD ? -16.0 : -5.0 - 4e-5 * (double)(id - FIRST_WORD);
}

/* ---- spiece.model: SentencePiece's protocol buffer ------------------------------------------- */

enum { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_key(uint8_t *at, unsigned field, unsigned wire)
{
    return put_varint(at, field << 3 | wire);
}

static uint8_t *put_bytes(uint8_t *at, unsigned field, const void *bytes, size_t length)
{
    at = put_varint(put_key(at, field, WIRE_BYTES), length);
    memcpy(at, bytes, length);
    return at + length;
}

static uint8_t *put_int(uint8_t *at, unsigned field, int64_t value)
{
    return put_varint(put_key(at, field, WIRE_VARINT), (uint64_t)value);
}

/* ModelProto.pieces: piece 1, score 2, type 3 (1 normal, 2 unknown, 3 control). */
static uint8_t *put_piece(uint8_t *at, int64_t id)
{
    uint8_t message[2 * PIECE + 16], *end = message;
    char piece[PIECE];
    const float score = (float)score_of(id);
    make_piece(piece, id);
    end = put_bytes(end, 1, piece, strlen(piece));
    end = put_key(end, 2, WIRE_FIXED32);
    memcpy(end, &score, sizeof score); /* little-endian, as all that runs this */
    end += sizeof score;
    if (id < SPECIAL) end = put_int(end, 3, id == 2 ? 2 : 3);
    return put_bytes(at, 1, message, (size_t)(end - message));
}

/* trainer_spec (2): Unigram, sizes and ids; normalizer_spec (3): none but for the spaces. */
static uint8_t *put_specs(uint8_t *at, int64_t pieces)
{
    uint8_t message[128], *end = message;
    end = put_int(end, 3, 1);
    end = put_int(end, 4, pieces);
    end = put_int(end, 40, 2);
    end = put_int(end, 41, -1);
    end = put_int(end, 42, 1);
    end = put_int(end, 43, 0);
    at = put_bytes(at, 2, message, (size_t)(end - message));
    end = put_bytes(message, 1, "identity", 8);
    return put_bytes(at, 3, message, (size_t)(end - message));
}

static lvsa_status write_spiece(lv_synth_job *job)
{
    const int64_t pieces = job->sizes->pieces;
    uint8_t *bytes = lv_zalloc_array((size_t)pieces + 16, 3 * PIECE), *at = bytes;
    if (!bytes) return lv_fail(LVSA_ERR_MEMORY, "%lld pieces: no memory", (long long)pieces);
    for (int64_t id = 0; id < pieces; id++) at = put_piece(at, id);
    at = put_specs(at, pieces);
    lvsa_status s = lv_synth_write_text(job, "tokenizer/spiece.model", (const char *)bytes,
                                        (size_t)(at - bytes));
    lv_free(bytes);
    return s;
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static const char before_added[] = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                                   "\"added_tokens\":[";
static const char before_vocab[] =
    "],\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},"
    "{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"always\","
    "\"split\":true}]},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\","
    "\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
    "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],"
    "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
    "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}},"
    "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],"
    "\"special_tokens\":{\"</s>\":{\"id\":\"</s>\",\"ids\":[1],\"tokens\":[\"</s>\"]}}},"
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\","
    "\"prepend_scheme\":\"always\",\"split\":true},"
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":2,\"byte_fallback\":false,\"vocab\":[";
static const char after_vocab[] = "]}}\n";

enum { ADDED_LINE = 160, VOCAB_LINE = 2 * PIECE + 24 };

static int put_added(char *at, int64_t id, const char *content)
{
    return snprintf(at, ADDED_LINE,
                    "%s{\"id\":%lld,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                    "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                    id ? "," : "", (long long)id, content);
}

static int put_vocab(char *at, int64_t id)
{
    char piece[PIECE];
    make_piece(piece, id);
    const char *escape = piece[1] == '\0' && (piece[0] == '"' || piece[0] == '\\') ? "\\" : "";
    return snprintf(at, VOCAB_LINE, "%s[\"%s%s\",%.6f]", id ? "," : "", escape, piece,
                    score_of(id));
}

static lvsa_status write_json(lv_synth_job *job)
{
    const int64_t pieces = job->sizes->pieces;
    const size_t room = sizeof before_added + sizeof before_vocab + sizeof after_vocab +
                        (SPECIAL + LV_SYNTH_EXTRA_IDS) * ADDED_LINE + (size_t)pieces * VOCAB_LINE;
    char *text = lv_zalloc(room), *at = text, piece[2 * PIECE];
    if (!text) return lv_fail(LVSA_ERR_MEMORY, "%lld pieces: no memory", (long long)pieces);
    at += snprintf(at, sizeof before_added, "%s", before_added);
    for (int64_t id = 0; id < SPECIAL; id++) {
        make_piece(piece, id);
        at += put_added(at, id, piece);
    }
    for (int i = 0; i < LV_SYNTH_EXTRA_IDS; i++) {
        snprintf(piece, sizeof piece, "<extra_id_%d>", LV_SYNTH_EXTRA_IDS - 1 - i);
        at += put_added(at, pieces + i, piece);
    }
    at += snprintf(at, sizeof before_vocab, "%s", before_vocab);
    for (int64_t id = 0; id < pieces; id++) at += put_vocab(at, id);
    at += snprintf(at, sizeof after_vocab, "%s", after_vocab);
    lvsa_status s = lv_synth_write_text(job, "tokenizer/tokenizer.json", text, (size_t)(at - text));
    lv_free(text);
    return s;
}

static const char config[] = "{\n"
                             "  \"eos_token\": \"</s>\",\n"
                             "  \"extra_ids\": 300,\n"
                             "  \"model_max_length\": 512,\n"
                             "  \"pad_token\": \"<pad>\",\n"
                             "  \"tokenizer_class\": \"T5Tokenizer\",\n"
                             "  \"unk_token\": \"<unk>\"\n"
                             "}\n";

lvsa_status lv_synth_write_tokenizer(lv_synth_job *job)
{
    LV_TRY(lv_synth_write_text(job, "tokenizer/tokenizer_config.json", config, sizeof config - 1));
    LV_TRY(write_spiece(job));
    return write_json(job);
}
