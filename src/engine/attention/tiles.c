/* tiles.c: the public object around a table of tiles in device memory. */
#include "engine/attention/tiles.h"

#include "base/mem.h"
#include "engine/attention/cuda/fp8_tiles.h"

struct lvsa_tiles {
    lvsa_device device;
    uint64_t pattern; /* what they were made from */
    void *table;      /* device memory; NULL on the CPU, whose kernels walk the runs */
};

/* Runs are hashed as they lie: some 2 us for 81 frames. */
uint64_t lv_tiles_fingerprint(const lvsa_attention *c)
{
    const uint64_t prime = 0x9e3779b97f4a7c15u;
    uint64_t h = (uint64_t)c->queries ^ (uint64_t)lv_tile_block_rows(c->head_dim) << 32;
    const int64_t frames = c->queries / lv_attn_frame_rows(c);
    h = (h ^ (uint64_t)frames ^ (c->fp8 ? 1ull << 32 : 0)) * prime;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        h = (h ^ (h >> 29) ^ (uint64_t)s->tokens) * prime;
        const unsigned counts = lv_attn_last_row_count(s) > 1 ? 4 : 0; /* not how often */
        h = (h ^ (h >> 29) ^ ((s->runs ? 1u : 2u) | counts)) * prime;
        for (int64_t f = 0; s->runs && f < frames; f++) {
            h = (h ^ (h >> 29) ^ (uint64_t)s->runs->offsets[f + 1]) * prime;
            for (int32_t r = s->runs->offsets[f]; r < s->runs->offsets[f + 1]; r++) {
                const lvsa_run run = s->runs->list[r];
                h = (h ^ (h >> 29) ^ ((uint64_t)run.start << 32 | (uint32_t)run.count)) * prime;
            }
        }
    }
    return h;
}

/* Blocks and right behind them runs, see lv_cuda_table. */
static lvsa_status upload(lvsa_tiles *t, const lv_tile_table *table)
{
    const size_t blocks = table->blocks * sizeof *table->block,
                 runs = table->runs * sizeof *table->run;
    LV_TRY(lvsa_device_alloc(&t->table, t->device, blocks + runs));
    LV_TRY(lvsa_device_copy(t->table, table->block, blocks, t->device));
    return lvsa_device_copy((char *)t->table + blocks, table->run, runs, t->device);
}

lvsa_status lvsa_tiles_create(lvsa_tiles **out, const lvsa_attention *call)
{
    const lv_attn_kernel *kernel;
    lv_tile_table table = {0};
    *out = NULL;
    LV_TRY(lv_attn_choose(&kernel, call));
    lvsa_tiles *t = lv_zalloc(sizeof *t);
    if (!t) return lv_fail(LVSA_ERR_MEMORY, "tiles: %zu bytes don't fit in memory", sizeof *t);
    t->device = call->device;
    t->pattern = lv_tiles_fingerprint(call);
    lvsa_status s = LVSA_OK;
    if (kernel->needs_tiles)
        s = call->fp8 ? lv_fp8_table_make(&table, call) : lv_tile_table_make(&table, call);
    if (s == LVSA_OK && kernel->needs_tiles) s = upload(t, &table);
    lv_tile_table_free(&table);
    if (s != LVSA_OK) lvsa_tiles_free(&t);
    *out = t;
    return s;
}

void lvsa_tiles_free(lvsa_tiles **tiles)
{
    if (!tiles || !*tiles) return;
    lvsa_device_free(&(*tiles)->table, (*tiles)->device);
    lv_free(*tiles);
    *tiles = NULL;
}

lvsa_status lv_tiles_check(const lvsa_attention *call, const lv_attn_kernel *kernel)
{
    const lvsa_tiles *t = call->tiles;
    if (!t && !kernel->needs_tiles) return LVSA_OK;
    if (!t)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "tiles is NULL: %s needs them, made with lvsa_tiles_create()", kernel->name);
    if (t->device != call->device)
        return lv_fail(LVSA_ERR_ARGUMENT, "the tiles are of another device than the call");
    if (kernel->needs_tiles && !t->table)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "the tiles were made for a back end that needs none, %s does: make some for "
                       "each back end",
                       kernel->name);
    if (t->pattern != lv_tiles_fingerprint(call))
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "the tiles were made for other runs, rows, queries or products than the "
                       "call has: make some for each rotation of a plan");
    return LVSA_OK;
}

const void *lv_tiles_get_table(const lvsa_tiles *tiles) { return tiles->table; }
