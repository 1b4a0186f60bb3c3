/* fuzz_safetensors.c: any bytes as a file of tensors: a sentence, or views that stay inside the
 * bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weights/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing;
    lv_safetensors *f;
    if (lv_safetensors_open_memory(&f, size ? data : &nothing, size, "input") != LVSA_OK)
        return f || !*lvsa_last_error() ? (abort(), 0) : 0;

    size_t sum = 0; /* so that every byte is read */
    for (size_t i = 0; i < lv_safetensors_count(f); i++) {
        char shape[LV_SHAPE_TEXT];
        const lv_tensor_entry *e = lv_safetensors_get(f, i);
        const uint8_t *bytes = e->data;
        if (bytes < data || e->bytes > size || bytes > data + size - e->bytes) abort();
        if (e->dtype && e->bytes != e->count * lv_dtype_bytes(e->dtype)) abort();
        if (lv_safetensors_find(f, e->name) != e) abort();
        if (strlen(lv_shape_to_text(shape, e->shape, e->rank)) < 2) abort();
        for (size_t b = 0; b < e->bytes; b++) sum += bytes[b];
    }
    if (sum > 255 * size) abort(); /* no byte belongs to two tensors */
    lv_safetensors_get_note(f, "format");
    lv_safetensors_close(&f);
    return 0;
}
