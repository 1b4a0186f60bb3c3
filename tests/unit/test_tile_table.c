/* test_tile_table.c: every query row sees exactly the keys of its frame's runs, once, however
 * frames lie in blocks of 256 rows, or 384. */
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "engine/attention/attention.h"
#include "engine/attention/cuda/fp8_tiles.h"

typedef struct piece {
    int source;
    int64_t start, end;
} piece;

static int compare_pieces(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->source != y->source) return x->source - y->source;
    return (x->start > y->start) - (x->start < y->start);
}

/* Sorted, touching ones joined. What overlaps is a key seen twice. */
static int join(piece *p, int count)
{
    int kept = 0;
    if (count > 0) qsort(p, (size_t)count, sizeof *p, compare_pieces);
    for (int i = 0; i < count; i++) {
        if (kept > 0 && p[kept - 1].source == p[i].source) {
            assert_true(p[i].start >= p[kept - 1].end);
            if (p[i].start == p[kept - 1].end) {
                p[kept - 1].end = p[i].end;
                continue;
            }
        }
        p[kept++] = p[i];
    }
    return kept;
}

static void check_row(const lv_tile_table *t, const lvsa_attention *call, int64_t row)
{
    const int rows = lv_tile_block_rows(call->head_dim);
    const lv_tile_block *b = &t->block[row / rows];
    const unsigned in_block = (unsigned)(row % rows);
    piece *have = calloc((size_t)b->runs, sizeof *have), want[2048];
    int seen = 0, wanted = 0;
    assert_non_null(have);
    for (int i = 0; i < b->runs; i++) {
        const lv_tile_run *r = &t->run[b->run + i];
        if (in_block < r->first_row || in_block > r->last_row) continue;
        have[seen++] = (piece){r->source, r->start, (int64_t)r->start + r->count};
    }
    for (int s = 0; s < call->sources; s++) {
        lvsa_run all;
        const lvsa_run *run;
        int runs = lv_attn_get_runs(&run, &all, &call->source[s], row / lv_attn_frame_rows(call));
        for (int i = 0; i < runs; i++)
            want[wanted++] = (piece){s, run[i].start, (int64_t)run[i].start + run[i].count};
    }
    seen = join(have, seen);
    wanted = join(want, wanted);
    assert_int_equal(seen, wanted);
    for (int i = 0; i < seen; i++)
        assert_true(have[i].source == want[i].source && have[i].start == want[i].start &&
                    have[i].end == want[i].end);
    free(have);
}

/* Groups: `rest` counts down to their ends, and the last one, alone, is marked in all its runs. A
 * row that counts several times ends a group, whose runs all say so. */
static void check_list(const lv_tile_table *t, const lv_tile_block *b, const lvsa_attention *call)
{
    const lv_tile_run *run = t->run + b->run;
    assert_true(b->runs > 0 && (size_t)b->run + (size_t)b->runs <= t->runs);
    for (int i = 0; i < b->runs; i++) {
        const lv_tile_run *r = &run[i], *next = i + 1 < b->runs ? &run[i + 1] : NULL;
        const lvsa_source *s = &call->source[r->source];
        int counted = s->last_row_count > 1 && (int64_t)r->start + r->count == s->tokens;
        bool same =
            next && next->first_row == r->first_row && next->last_row == r->last_row && !counted;
        assert_true(r->start >= 0 && r->count > 0);
        assert_true((int64_t)r->start + r->count <= call->source[r->source].tokens);
        assert_int_equal(r->rest, r->count + (same ? next->rest : 0));
        assert_int_equal(r->last, !next || (same && next->last));
        assert_int_equal(r->counted, same ? next->counted : counted ? r->source + 1 : 0);
    }
}

static void check_table(const lvsa_attention *call)
{
    lv_tile_table t;
    CHECK_OK(lv_tile_table_make(&t, call));
    const int rows = lv_tile_block_rows(call->head_dim);
    assert_int_equal(t.blocks, (call->queries + rows - 1) / rows);
    for (size_t i = 0; i < t.blocks; i++) {
        assert_int_equal(t.block[i].row, (int64_t)i * rows);
        check_list(&t, &t.block[i], call);
    }
    /* The rows on both sides of every frame's and every block's edge, and some between. */
    const int64_t patches = lv_attn_frame_rows(call);
    for (int64_t edge = 0; edge <= call->queries; edge += patches) {
        if (edge < call->queries) check_row(&t, call, edge);
        if (edge > 0) check_row(&t, call, edge - 1);
    }
    for (int64_t edge = 0; edge < call->queries; edge += rows) {
        check_row(&t, call, edge);
        if (edge > 0) check_row(&t, call, edge - 1);
    }
    for (int64_t row = 77; row < call->queries; row += 1009) check_row(&t, call, row);
    lv_tile_table_free(&t);
}

static lvsa_plan *make_plan(int frames, int patches, int window, int interval, int rotation)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    lvsa_plan *plan;
    o.latent_frames = frames, o.patches_per_frame = patches, o.window = window;
    o.keyframe_interval = interval, o.rotation = rotation, o.reference_latent_frames = 21;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    return plan;
}

static lvsa_attention make_call(const lvsa_plan *plan, int64_t text)
{
    const lvsa_runs *runs = lvsa_plan_get_runs(plan);
    const int64_t rows = (int64_t)runs->frames * runs->patches_per_frame;
    return (lvsa_attention){.queries = rows,
                            .sources = 2,
                            .source = {{.tokens = rows, .runs = runs}, {.tokens = text}}};
}

static void plans(void **state)
{
    (void)state;
    static const int patches[] = {1, 7, 63, 65, 127, 129, 256, 880, 920, 1350, 1560, 1590, 3600};
    static const int frames[] = {1, 2, 9, 21, 41, 81, 121, 241};
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++)
        for (size_t j = 0; j < sizeof frames / sizeof frames[0]; j++)
            for (int rotation = 0; rotation < 2; rotation++) {
                lvsa_plan *plan = make_plan(frames[j], patches[i], 3, LVSA_INTERVAL_AUTO, rotation);
                lvsa_attention call = make_call(plan, rotation ? 300 : 0);
                call.source[1].last_row_count = (int64_t)j % 3;
                call.head_dim = rotation ? 64 : 128;
                check_table(&call);
                lvsa_plan_free(&plan);
            }
}

/* 9,601 frames of 480x832, ten minutes: 3.7 million rows, of 1,536 numbers 5.8e9. */
static void ten_minutes(void **state)
{
    (void)state;
    lvsa_plan *plan = make_plan(2401, 1560, 3, LVSA_INTERVAL_AUTO, 7);
    lvsa_attention call = make_call(plan, 0);
    call.head_dim = 128;
    check_table(&call);
    lvsa_plan_free(&plan);
}

static void no_window_and_dense(void **state)
{
    (void)state;
    for (int patches = 1; patches < 700; patches += 97) {
        lvsa_plan *plan = make_plan(30, patches, 0, 4, 3);
        lvsa_attention call = make_call(plan, 1);
        check_table(&call);
        call.source[0].runs = NULL;
        check_table(&call);
        call.source[0].last_row_count = call.source[1].last_row_count = 7;
        check_table(&call);
        call.queries = 333; /* cross attention: queries that are no frames of the keys' */
        check_table(&call);
        lvsa_plan_free(&plan);
    }
}

/* Frames kept at random, in two sources: some frames attend to nothing at all. */
static void random_frames(void **state)
{
    (void)state;
    enum { T = 40 };
    uint32_t random = 1;
    for (int patches = 1; patches < 400; patches = patches * 2 + 5)
        for (int keep = 0; keep < 8; keep++) {
            int32_t offsets[2][T + 1] = {{0}};
            lvsa_run list[2][T * T];
            lvsa_runs runs[2];
            lvsa_attention call = {
                .queries = (int64_t)T * patches, .sources = 2, .head_dim = keep % 2 ? 64 : 128};
            for (int s = 0; s < 2; s++) {
                int32_t used = 0;
                for (int f = 0; f < T; f++) {
                    for (int k = 0; k < T; k++) {
                        random = random * 1664525u + 1013904223u;
                        if ((int)(random >> 28) % 8 >= keep) continue;
                        list[s][used++] = (lvsa_run){k * patches, patches};
                    }
                    offsets[s][f + 1] = used;
                }
                runs[s] = (lvsa_runs){T, patches, offsets[s], list[s]};
                call.source[s].tokens = (int64_t)T * patches;
                call.source[s].runs = &runs[s];
                call.source[s].last_row_count = keep % 3 == s ? 5 : 0;
            }
            check_table(&call);
        }
}

static void no_keys(void **state)
{
    (void)state;
    lv_tile_table t;
    const lvsa_attention call = {.queries = 10, .sources = 1};
    CHECK_FAILS(lv_tile_table_make(&t, &call), LVSA_ERR_SHAPE, "no source has any rows");
    assert_null(t.block);
}

/* In fp8 a block's first row sees its frames and the text in units of 32: 65 rows are 3, 300 are
 * 10. */
static void units(void **state)
{
    (void)state;
    lvsa_plan *plan = make_plan(81, 65, 3, LVSA_INTERVAL_AUTO, 1);
    const lvsa_attention call = make_call(plan, 300);
    const int32_t *attended = lvsa_plan_get_attended(plan);
    lv_tile_table t;
    CHECK_OK(lv_fp8_table_make(&t, &call));
    for (size_t i = 0; i < t.blocks; i++) {
        int64_t seen[2] = {0, 0};
        for (int32_t j = t.block[i].run; j < t.block[i].run + t.block[i].runs; j++) {
            const lv_tile_run *r = &t.run[j];
            if (r->first_row > 0) continue;
            seen[r->source] += r->count;
            assert_int_equal(r->source == 0 ? r->start % 3 : r->start, 0);
        }
        assert_int_equal(seen[0], 3 * attended[t.block[i].row / 65]);
        assert_int_equal(seen[1], 10);
    }
    lv_tile_table_free(&t);
    lvsa_plan_free(&plan);
}

static lvsa_status make_table(void *user)
{
    lv_tile_table t;
    lvsa_status s = lv_tile_table_make(&t, user);
    assert_true(s == LVSA_OK || (!t.block && !t.run));
    lv_tile_table_free(&t);
    return s;
}

static lvsa_status make_fp8_table(void *user)
{
    lv_tile_table t;
    lvsa_status s = lv_fp8_table_make(&t, user);
    assert_true(s == LVSA_OK || (!t.block && !t.run));
    lv_tile_table_free(&t);
    return s;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    lvsa_plan *plan = make_plan(81, 65, 3, LVSA_INTERVAL_AUTO, 1);
    lvsa_attention call = make_call(plan, 300);
    assert_true(fail_each_allocation(make_table, &call) >= 3);
    assert_true(fail_each_allocation(make_fp8_table, &call) >= 4);
    lvsa_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),
        cmocka_unit_test(ten_minutes),
        cmocka_unit_test(no_window_and_dense),
        cmocka_unit_test(random_frames),
        cmocka_unit_test(no_keys),
        cmocka_unit_test(units),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
