#include "golden/wan/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

golden_error golden_measure(const float *have, const float *want, size_t count)
{
    golden_error e = {0};
    double difference = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)have[i] - (double)want[i]);
        difference += d * d;
        size += (double)want[i] * (double)want[i];
        if (d > e.largest || (isnan(d) && !isnan(e.largest))) {
            e.largest = d;
            e.worst = i;
        }
    }
    e.relative = difference == 0.0 ? 0.0 : sqrt(difference) / sqrt(size);
    return e;
}

lv_safetensors *golden_open(const char *file)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, file);
    lv_safetensors *golden;
    CHECK_OK(lv_safetensors_open(&golden, path));
    return golden;
}

static const lv_tensor_entry *find(const lv_safetensors *golden, const char *name, const char *type,
                                   size_t count)
{
    const lv_tensor_entry *t = lv_safetensors_find(golden, name);
    if (!t) fail_msg("%s: no tensor %s", lv_safetensors_path(golden), name);
    if (strcmp(t->type, type) != 0 || t->count != count)
        fail_msg("%s: %s has %zu elements of %s, ours %zu of %s", lv_safetensors_path(golden), name,
                 t->count, t->type, count, type);
    return t;
}

const float *golden_get(const lv_safetensors *golden, const char *name, size_t count)
{
    const void *data = find(golden, name, "F32", count)->data;
    assert_int_equal((uintptr_t)data % sizeof(float), 0);
    return data;
}

const uint8_t *golden_get_bytes(const lv_safetensors *golden, const char *name, size_t count)
{
    return find(golden, name, "U8", count)->data;
}

enum { INDEX_TEXT = 192 };

/* "[0, 3, 12]": where element i of a tensor is. */
static const char *to_index(char text[INDEX_TEXT], const lv_tensor_entry *t, size_t i)
{
    size_t at[LV_TENSOR_MAX_RANK], used = 0;
    for (int d = t->rank; d-- > 0; i /= t->shape[d]) at[d] = i % t->shape[d];
    text[0] = '\0';
    for (int d = 0; d < t->rank; d++)
        used += (size_t)snprintf(text + used, INDEX_TEXT - used, "%s%zu", d ? ", " : "[", at[d]);
    snprintf(text + used, INDEX_TEXT - used, t->rank ? "]" : "[]");
    return text;
}

golden_error golden_check(const lv_safetensors *golden, const char *name, const float *have,
                          size_t count, double bound)
{
    const float *want = golden_get(golden, name, count);
    golden_error e = golden_measure(have, want, count);
    print_message("%s: relative error %.2g, largest difference %.2g\n", name, e.relative,
                  e.largest);
    if (!(e.relative <= bound)) {
        char index[INDEX_TEXT];
        fail_msg("%s: relative error %.3g, at most %.3g wanted; the worst is %s: %.9g, %.9g wanted",
                 name, e.relative, bound,
                 to_index(index, lv_safetensors_find(golden, name), e.worst), (double)have[e.worst],
                 (double)want[e.worst]);
    }
    return e;
}

void golden_check_bytes(const lv_safetensors *golden, const char *name, const uint8_t *have,
                        size_t count, int bound)
{
    const uint8_t *want = golden_get_bytes(golden, name, count);
    int largest = 0;
    size_t worst = 0, different = 0;
    for (size_t i = 0; i < count; i++) {
        int d = abs(have[i] - want[i]);
        different += d > 0;
        if (d > largest) largest = d, worst = i;
    }
    print_message("%s: %zu of %zu bytes differ, by %d at most\n", name, different, count, largest);
    if (largest > bound) {
        char index[INDEX_TEXT];
        fail_msg("%s: a difference of %d, at most %d wanted; it is %s: %d, %d wanted", name,
                 largest, bound, to_index(index, lv_safetensors_find(golden, name), worst),
                 have[worst], want[worst]);
    }
}
