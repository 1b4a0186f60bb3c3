/* fingerprint.c: one number for the weights of a component. */
#include "engine/weights/weights.h"

#include <string.h>

/* FNV-1a */
static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *c = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ c[i]) * 1099511628211u;
    return hash;
}

uint64_t lv_weights_fingerprint(const lv_weights *weights)
{
    enum { SAMPLE = 64 /* bytes */ };
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < lv_weights_count(weights); i++) {
        const lv_tensor_entry *e = lv_weights_get_entry(weights, i);
        hash = mix(hash, e->name, strlen(e->name) + 1);
        hash = mix(hash, e->type, strlen(e->type) + 1);
        for (int d = 0; d < e->rank; d++) hash = mix(hash, &e->shape[d], sizeof e->shape[d]);
        const size_t sample = e->bytes < SAMPLE ? e->bytes : SAMPLE;
        hash = mix(hash, (const char *)e->data + (e->bytes - sample) / 2, sample);
    }
    return hash;
}
