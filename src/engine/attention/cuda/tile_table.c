/* tile_table.c: cuts query rows into blocks and lists the runs of keys of each. */
#include "engine/attention/cuda/tile_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/attention/attention.h"

/* Where a frame's run begins (+1) or ends (-1). */
typedef struct edge {
    int32_t token, frame, step;
} edge;

typedef struct builder {
    const lvsa_attention *call;
    lv_tile_table *table;
    int64_t rows, frame_rows, frames; /* of queries; P; T */
    int block;                        /* rows of a block  */
    edge *edges;
    size_t edges_capacity;
} builder;

/* Frames that share a block, and the block's first row. */
typedef struct span {
    int64_t row, first, last;
} span;

/* ---- single runs ---------------------------------------------------------------------------- */

static lvsa_status add_run(builder *b, int64_t start, int64_t end, int first_row, int end_row,
                           int source)
{
    lv_tile_table *t = b->table;
    if (t->runs == t->capacity) {
        size_t more = t->capacity ? 2 * t->capacity : 256;
        lv_tile_run *grown =
            more <= INT32_MAX ? lv_grow_array(t->run, t->capacity, more, sizeof *grown) : NULL;
        if (!grown)
            return lv_fail(LVSA_ERR_MEMORY, "a table of %zu runs doesn't fit in memory", more);
        t->run = grown, t->capacity = more;
    }
    t->run[t->runs++] = (lv_tile_run){.start = (int32_t)start,
                                      .count = (int32_t)(end - start),
                                      .first_row = (unsigned)first_row & 511u,
                                      .last_row = (unsigned)(end_row - 1) & 511u,
                                      .source = (unsigned)source & 3u};
    return LVSA_OK;
}

static bool same_rows(const lv_tile_run *a, const lv_tile_run *b)
{
    return a->first_row == b->first_row && a->last_row == b->last_row;
}

static bool goes_on(const lv_tile_run *a, const lv_tile_run *b)
{
    return same_rows(a, b) && a->source == b->source && a->start + a->count == b->start;
}

/* By rows, so that groups come together, those of all rows first; then in order of the keys. */
static int compare_runs(const void *a, const void *b)
{
    const lv_tile_run *x = a, *y = b;
    if (x->first_row != y->first_row) return (int)x->first_row - (int)y->first_row;
    if (x->last_row != y->last_row) return (int)y->last_row - (int)x->last_row;
    if (x->source != y->source) return (int)x->source - (int)y->source;
    return (x->start > y->start) - (x->start < y->start);
}

/* 1 + the source, if the run ends with a row that counts several times. */
static unsigned find_counted(const builder *b, const lv_tile_run *r)
{
    const lvsa_source *s = &b->call->source[r->source];
    const bool at_end = (int64_t)r->start + r->count == s->tokens;
    return at_end && lv_attn_last_row_count(s) > 1 ? r->source + 1u : 0u;
}

/* A list begins at `first`: sorts it, joins runs that touch, and closes the groups. */
static void finish_list(builder *b, size_t first)
{
    lv_tile_table *t = b->table;
    lv_tile_run *run = t->run + first;
    size_t count = t->runs - first, kept = 1;
    qsort(run, count, sizeof *run, compare_runs);
    for (size_t i = 1; i < count; i++)
        if (goes_on(&run[kept - 1], &run[i])) run[kept - 1].count += run[i].count;
        else run[kept++] = run[i];
    t->runs = first + kept;

    for (size_t i = kept; i-- > 0;) {
        unsigned counted = find_counted(b, &run[i]);
        bool in_group = i + 1 < kept && same_rows(&run[i], &run[i + 1]) && !counted;
        run[i].rest = run[i].count + (in_group ? run[i + 1].rest : 0);
        run[i].last = i + 1 == kept || (in_group && run[i + 1].last);
        if (in_group) counted = run[i + 1].counted;
        run[i].counted = counted & 3u;
    }
}

/* ---- blocks of one frame, and of several ---------------------------------------------------- */

/* Where a frame begins, as a row of the block. Past the last query all rows belong to the last
 * frame: nobody reads them, and the kernel is quickest where a tile is for all rows. */
static int frame_start(const builder *b, const span *s, int64_t frame)
{
    int64_t row = frame * b->frame_rows - s->row;
    if (row < 0) return 0;
    return row > b->block || frame >= b->frames ? b->block : (int)row;
}

static lvsa_status add_frame(builder *b, int64_t frame, int source)
{
    lvsa_run all;
    const lvsa_run *run;
    int runs = lv_attn_get_runs(&run, &all, &b->call->source[source], frame);
    for (int i = 0; i < runs; i++)
        LV_TRY(add_run(b, run[i].start, (int64_t)run[i].start + run[i].count, 0, b->block,
                       source));
    return LVSA_OK;
}

static int compare_edges(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    return (x->token > y->token) - (x->token < y->token);
}

/* The edges of the span's frames in one source, by token. */
static lvsa_status list_edges(size_t *count, builder *b, const span *s, int source)
{
    *count = 0;
    for (int64_t f = s->first; f <= s->last; f++) {
        lvsa_run all;
        const lvsa_run *run;
        int runs = lv_attn_get_runs(&run, &all, &b->call->source[source], f);
        size_t wanted = *count + 2 * (size_t)runs;
        if (wanted > b->edges_capacity) {
            edge *grown = lv_grow_array(b->edges, b->edges_capacity, 2 * wanted, sizeof *grown);
            if (!grown)
                return lv_fail(LVSA_ERR_MEMORY, "a table of tiles: %zu edges don't fit in memory",
                               2 * wanted);
            b->edges = grown, b->edges_capacity = 2 * wanted;
        }
        for (int i = 0; i < runs; i++) {
            int32_t frame = (int32_t)(f - s->first), end = run[i].start + run[i].count;
            b->edges[(*count)++] = (edge){run[i].start, frame, 1};
            b->edges[(*count)++] = (edge){end, frame, -1};
        }
    }
    if (*count > 0) qsort(b->edges, *count, sizeof *b->edges, compare_edges);
    return LVSA_OK;
}

/* Between two edges the set of attending frames is fixed: each of its groups of neighbours is a
 * run, which finish_list() joins with the next where the group stays. */
static lvsa_status add_frames(builder *b, const span *s, int source)
{
    int on[LV_TILE_BLOCK_64] = {0}; /* a block has that many frames at most: P = 1 */
    const int64_t frames = s->last - s->first + 1;
    size_t count;
    LV_TRY(list_edges(&count, b, s, source));
    for (size_t i = 0; i < count;) {
        int32_t at = b->edges[i].token;
        for (; i < count && b->edges[i].token == at; i++) on[b->edges[i].frame] += b->edges[i].step;
        if (i == count) break;
        for (int64_t f = 0; f < frames; f++) {
            if (!on[f]) continue;
            int64_t g = f;
            while (f + 1 < frames && on[f + 1]) f++;
            LV_TRY(add_run(b, at, b->edges[i].token, frame_start(b, s, s->first + g),
                           frame_start(b, s, s->first + f + 1), source));
        }
    }
    return LVSA_OK;
}

/* A list may not be empty: one row of keys that no query row attends to. */
static lvsa_status add_nothing(builder *b)
{
    for (int i = 0; i < b->call->sources; i++)
        if (b->call->source[i].tokens > 0) return add_run(b, 0, 1, b->block - 1, 1, i);
    return lv_fail(LVSA_ERR_SHAPE, "no source has any rows of keys: one at least is wanted");
}

static lvsa_status add_list(builder *b, const span *s)
{
    const size_t first = b->table->runs;
    for (int i = 0; i < b->call->sources; i++)
        LV_TRY(s->first == s->last ? add_frame(b, s->first, i) : add_frames(b, s, i));
    if (b->table->runs == first) LV_TRY(add_nothing(b));
    finish_list(b, first);
    return LVSA_OK;
}

/* ---- the table ------------------------------------------------------------------------------ */

static lvsa_status add_blocks(builder *b)
{
    lv_tile_table *t = b->table;
    lv_tile_block block = {0, 0, 0, 0};
    int64_t shared = -1; /* the frame whose list the last block had to itself */
    for (size_t i = 0; i < t->blocks; i++) {
        int64_t row = (int64_t)i * b->block, end = row + b->block;
        if (end > b->rows) end = b->rows;
        const span s = {row, row / b->frame_rows, (end - 1) / b->frame_rows};
        if (s.first != s.last || s.first != shared) {
            block.run = (int32_t)t->runs;
            LV_TRY(add_list(b, &s));
            block.runs = (int32_t)t->runs - block.run;
            shared = s.first == s.last ? s.first : -1;
        }
        block.row = (int32_t)row;
        t->block[i] = block;
    }
    return LVSA_OK;
}

lvsa_status lv_tile_table_make(lv_tile_table *out, const lvsa_attention *call)
{
    const int block = lv_tile_block_rows(call->head_dim);
    *out = (lv_tile_table){.blocks = (size_t)((call->queries + block - 1) / block)};
    builder b = {.call = call,
                 .table = out,
                 .rows = call->queries,
                 .frame_rows = lv_attn_frame_rows(call),
                 .block = block};
    b.frames = b.rows / b.frame_rows;
    out->block = lv_zalloc_array(out->blocks, sizeof *out->block);
    lvsa_status s = out->block ? add_blocks(&b)
                               : lv_fail(LVSA_ERR_MEMORY,
                                         "a table of %zu blocks of tiles doesn't "
                                         "fit in memory",
                                         out->blocks);
    lv_free(b.edges);
    if (s != LVSA_OK) lv_tile_table_free(out);
    return s;
}

void lv_tile_table_free(lv_tile_table *table)
{
    lv_free(table->run);
    lv_free(table->block);
    *table = (lv_tile_table){0};
}
