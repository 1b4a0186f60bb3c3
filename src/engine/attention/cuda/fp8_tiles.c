/* fp8_tiles.c: the call's runs in units, and the table made from them; see fp8_tiles.h. */
#include "engine/attention/cuda/fp8_tiles.h"

#include "base/error.h"
#include "base/mem.h"
#include "engine/attention/cuda/fp8_layout.h"

lvsa_status lv_fp8_check_runs(const lvsa_attention *call)
{
    for (int i = 0; i < call->sources; i++) {
        const lvsa_runs *r = call->source[i].runs;
        if (!r) continue;
        const int32_t p = r->patches_per_frame;
        for (int32_t j = 0; j < r->offsets[r->frames]; j++)
            if (r->list[j].start % p != 0 || r->list[j].count % p != 0)
                return lv_fail(LVSA_ERR_UNSUPPORTED,
                               "source %d: a run of %d rows from row %d on: attention in fp8 takes "
                               "whole frames of %d rows; compute it in bf16",
                               i, r->list[j].count, r->list[j].start, p);
    }
    return LVSA_OK;
}

/* All sources' runs in units, one array after another. */
static lvsa_status to_units(lvsa_run *list, lvsa_runs *runs, lvsa_attention *call,
                            const lv_fp8_layout *layout)
{
    for (int i = 0; i < call->sources; i++) {
        lvsa_source *s = &call->source[i];
        const lv_fp8_keys *keys = &layout->keys[i];
        if (keys->units > INT32_MAX)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "source %d: %lld rows are too many for attention in fp8", i,
                           (long long)s->tokens);
        s->tokens = keys->units;
        if (!s->runs) continue;
        const lvsa_runs *from = s->runs;
        const int32_t p = from->patches_per_frame, units = (int32_t)keys->group_units;
        for (int32_t j = 0; j < from->offsets[from->frames]; j++)
            list[j] = (lvsa_run){from->list[j].start / p * units, from->list[j].count / p * units};
        runs[i] = *from;
        runs[i].list = list;
        s->runs = &runs[i];
        list += from->offsets[from->frames];
    }
    return LVSA_OK;
}

lvsa_status lv_fp8_table_make(lv_tile_table *out, const lvsa_attention *call)
{
    lvsa_attention units = *call;
    lvsa_runs runs[LVSA_MAX_SOURCES];
    lv_fp8_layout layout;
    size_t count = 1;
    *out = (lv_tile_table){0};
    lv_fp8_lay_out(&layout, call);
    for (int i = 0; i < call->sources; i++) {
        const lvsa_runs *r = call->source[i].runs;
        if (r) count += (size_t)r->offsets[r->frames];
    }
    lvsa_run *list = lv_zalloc_array(count, sizeof *list);
    if (!list) return lv_fail(LVSA_ERR_MEMORY, "a table of %zu runs doesn't fit in memory", count);
    lvsa_status s = to_units(list, runs, &units, &layout);
    if (s == LVSA_OK) s = lv_tile_table_make(out, &units);
    lv_free(list);
    return s;
}
