/* fuzz_tokenizer.c: any bytes as a tokenizer.json or spiece.model: a sentence, or a tokenizer
 * whose ids are in its vocabulary. The input is the file; it is a tokenizer.json if it begins
 * with "{". A file that opens encodes a text of its own, the input, and one that touches what
 * files may hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flow/text/tokenizers/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IDS_MAX = 600 };

static void encode(const lv_tokenizer *t, const char *text, size_t length)
{
    int32_t ids[IDS_MAX];
    size_t count;
    lv_tokenizer_info info;
    lv_tokenizer_get_info(&info, t);
    for (size_t max = 5; max <= IDS_MAX; max += IDS_MAX - 5) {
        lvsa_status s = lv_tokenizer_encode(ids, &count, max, t, text, length);
        if (s != LVSA_OK) {
            if (!*lvsa_last_error() || count != 0) abort();
            continue;
        }
        if (count > max || count < info.special_ids) abort();
        for (size_t i = 0; i < max; i++)
            if (ids[i] < 0 || (size_t)ids[i] >= info.tokens) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        " the  \xe2\x96\x81 <sep>\xe2\x91\xa0\xcc\x81\xef\xbd\xb6\xef\xbe\x9e "
        "\xe1\x84\x80\xe1\x85\xa1 a\x01"
        "b </s><extra_id_0>\xf0\x9f\x91\xa8"
        "\xe2\x80\x8d\xf0\x9f\x91\xa9  \xe2\x98\x83\xe2\x98\x83\xc2\xbdtok @@@ ";
    lv_tokenizer *t;
    lvsa_status s = size && data[0] == '{' ? lv_tokenizer_load_json(&t, data, size, "fuzz.json")
                                           : lv_tokenizer_load_spiece(&t, data, size, "fuzz.model");
    if ((s == LVSA_OK) != (t != NULL)) abort();
    if (s != LVSA_OK) return *lvsa_last_error() ? 0 : (abort(), 0);
    encode(t, text, sizeof text - 1);
    encode(t, (const char *)data, size);
    encode(t, NULL, 0);
    lv_tokenizer_close(&t);
    return 0;
}
