/* test_shard.c: what ranks have of a plan, compared with its block CSR by brute force: every frame
 * has one owner, a rank is sent what its queries need and nothing else, messages match and bring
 * the right rows, and the runs over own and received rows are the CSR's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include <lvsa/lvsa_attention.h>

#include "allocations.h"
#include "base/mem.h"

enum { MOST_FRAMES = 48, P = 2 };

static lvsa_plan_options options(int frames, int window, int first, int interval, int rotation,
                                 int expand)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = frames, o.patches_per_frame = P, o.window = window, o.first_anchors = first;
    o.keyframe_interval = interval, o.reference_latent_frames = 6, o.rotation = rotation;
    o.expand_window = expand;
    return o;
}

/* attends[f][g], from the CSR. */
typedef struct truth {
    int frames;
    uint8_t attends[MOST_FRAMES][MOST_FRAMES];
} truth;

static void find_truth(truth *t, const lvsa_plan *plan)
{
    static int32_t indptr[MOST_FRAMES + 1], indices[MOST_FRAMES * MOST_FRAMES];
    lvsa_plan_info info = {.size = sizeof info};
    CHECK_OK(lvsa_plan_get_info(&info, plan));
    CHECK_OK(lvsa_plan_write_csr(plan, indptr, indices));
    memset(t, 0, sizeof *t);
    t->frames = info.latent_frames;
    for (int f = 0; f < t->frames; f++)
        for (int32_t i = indptr[f]; i < indptr[f + 1]; i++) t->attends[f][indices[i]] = 1;
}

static lvsa_shard_info info_of(const lvsa_shard *shard)
{
    lvsa_shard_info info = {.size = sizeof info};
    CHECK_OK(lvsa_shard_get_info(&info, shard));
    return info;
}

static int is_own(const lvsa_shard_info *i, int frame)
{
    return frame >= i->first_frame && frame < i->first_frame + i->frames;
}

static void check_received(const lvsa_shard *shard, const truth *t)
{
    const lvsa_shard_info info = info_of(shard);
    const int32_t *received = lvsa_shard_get_received(shard);
    int count = 0;
    for (int g = 0; g < t->frames; g++) {
        int needed = 0;
        for (int f = info.first_frame; f < info.first_frame + info.frames; f++)
            needed |= t->attends[f][g];
        if (!needed || is_own(&info, g)) continue;
        assert_true(count < info.received_frames);
        assert_int_equal(received[count], g);
        count++;
    }
    assert_int_equal(count, info.received_frames);
}

/* Counts in seen[g] how often own frame `f` attends to frame g by these runs, where row r of the
 * source is row r % P of frame frame_of[r / P]. */
static void follow_runs(uint8_t *seen, const lvsa_runs *runs, int f, const int32_t *frame_of,
                        int rows)
{
    int end = -1;
    for (int32_t i = runs->offsets[f]; i < runs->offsets[f + 1]; i++) {
        const lvsa_run r = runs->list[i];
        assert_true(r.start > end && r.count > 0); /* > : runs that touch are one */
        assert_true(r.start % P == 0 && r.count % P == 0);
        end = r.start + r.count;
        for (int32_t row = r.start; row < end && row < rows; row += P) seen[frame_of[row / P]]++;
    }
    assert_true(end <= rows);
}

static void check_shard_runs(const lvsa_shard *shard, const truth *t)
{
    const lvsa_shard_info info = info_of(shard);
    const lvsa_runs *local = lvsa_shard_get_local_runs(shard);
    const lvsa_runs *received = lvsa_shard_get_received_runs(shard);
    int32_t own[MOST_FRAMES];
    int64_t sum = 0;
    for (int i = 0; i < info.frames; i++) own[i] = info.first_frame + i;
    assert_int_equal(local->frames, info.frames);
    assert_int_equal(received->frames, info.frames);
    assert_int_equal(local->patches_per_frame, P);
    assert_int_equal(received->patches_per_frame, P);
    for (int f = 0; f < info.frames; f++) {
        uint8_t seen[MOST_FRAMES] = {0};
        follow_runs(seen, local, f, own, info.frames * P);
        follow_runs(seen, received, f, lvsa_shard_get_received(shard), info.received_frames * P);
        assert_memory_equal(seen, t->attends[info.first_frame + f], (size_t)t->frames);
        for (int g = 0; g < t->frames; g++) sum += seen[g];
    }
    assert_int_equal(sum, info.attended_sum);
}

/* Messages that `list` has with a peer, from *at on: the next one, or NULL. */
static const lvsa_transfer *next_with(const lvsa_transfer *list, int count, int peer, int *at)
{
    while (*at < count && list[*at].peer != peer) ++*at;
    return *at < count ? &list[(*at)++] : NULL;
}

static void check_transfers(lvsa_shard *const *shards, int ranks)
{
    for (int to = 0; to < ranks; to++) {
        const lvsa_shard_info receiver = info_of(shards[to]);
        const int32_t *wanted = lvsa_shard_get_received(shards[to]);
        int receives, brought = 0;
        const lvsa_transfer *receive = lvsa_shard_get_receives(&receives, shards[to]);
        for (int i = 1; i < receives; i++)
            assert_true(receive[i].peer > receive[i - 1].peer ||
                        (receive[i].peer == receive[i - 1].peer &&
                         receive[i].rows.start > receive[i - 1].rows.start));
        for (int from = 0; from < ranks; from++) {
            const lvsa_shard_info sender = info_of(shards[from]);
            int sends, s = 0, r = 0;
            const lvsa_transfer *send = lvsa_shard_get_sends(&sends, shards[from]), *out, *in;
            do {
                out = next_with(send, sends, to, &s);
                in = next_with(receive, receives, from, &r);
                assert_true(!out == !in);
                if (!out) break;
                assert_true(from != to);
                assert_int_equal(out->rows.count, in->rows.count);
                for (int row = 0; row < out->rows.count; row += P) {
                    assert_true(out->rows.start + row < sender.frames * P);
                    assert_int_equal(sender.first_frame + (out->rows.start + row) / P,
                                     wanted[(in->rows.start + row) / P]);
                    brought++;
                }
            } while (1);
        }
        assert_int_equal(brought, receiver.received_frames);
    }
}

static void check_all(lvsa_shard *const *shards, int ranks, const lvsa_plan *plan)
{
    lvsa_plan_info whole = {.size = sizeof whole};
    truth t;
    int64_t pairs = 0;
    int next = 0, sent = 0, received = 0, most = 0, least = MOST_FRAMES;
    CHECK_OK(lvsa_plan_get_info(&whole, plan));
    find_truth(&t, plan);
    for (int r = 0; r < ranks; r++) {
        const lvsa_shard_info i = info_of(shards[r]);
        assert_true(i.rank == r && i.ranks == ranks);
        assert_int_equal(i.first_frame, next);
        next += i.frames;
        most = i.frames > most ? i.frames : most;
        least = i.frames < least ? i.frames : least;
        pairs += i.attended_sum, sent += i.sent_frames, received += i.received_frames;
        check_received(shards[r], &t);
        check_shard_runs(shards[r], &t);
    }
    check_transfers(shards, ranks);
    assert_int_equal(next, t.frames);
    assert_true(least >= 1 && most - least <= 1);
    assert_int_equal(pairs, whole.attended_sum);
    assert_int_equal(sent, received);
}

static void deal(lvsa_shard **shards, int ranks, const lvsa_plan *plan)
{
    for (int r = 0; r < ranks; r++) CHECK_OK(lvsa_shard_create(&shards[r], plan, r, ranks));
}

static void take_back(lvsa_shard **shards, int ranks)
{
    for (int r = 0; r < ranks; r++) lvsa_shard_free(&shards[r]);
}

static int check_every_number_of_ranks(const lvsa_plan_options *o)
{
    lvsa_shard *shards[MOST_FRAMES];
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, o));
    for (int ranks = 1; ranks <= o->latent_frames; ranks++) {
        deal(shards, ranks, plan);
        check_all(shards, ranks, plan);
        take_back(shards, ranks);
    }
    lvsa_plan_free(&plan);
    return o->latent_frames;
}

static void every_rank_has_what_it_needs(void **state)
{
    (void)state;
    int dealings = 0;
    static const int frames[] = {1, 2, 3, 5, 8, 13}, intervals[] = {-1, 0, 1, 2, 3, 5, 9};
    for (size_t t = 0; t < sizeof frames / sizeof frames[0]; t++)
        for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++)
            for (int window = 0; window <= 3; window++)
                for (int first = 0; first <= 2; first++)
                    for (int rotation = 0; rotation <= 11; rotation += 4)
                        for (int flags = 0; flags < 4; flags++) {
                            if (intervals[i] == 0 && window == 0 && first == 0) continue;
                            lvsa_plan_options o = options(frames[t], window, first, intervals[i],
                                                          rotation, flags & 1);
                            o.trained_opening = flags >> 1;
                            dealings += check_every_number_of_ranks(&o);
                        }
    static const int larger[] = {31, 48};
    for (size_t t = 0; t < sizeof larger / sizeof larger[0]; t++)
        for (int interval = -1; interval <= 7; interval += 2) {
            lvsa_plan_options o = options(larger[t], 3, 1, interval, 5, 1);
            o.trained_opening = interval > 2;
            dealings += check_every_number_of_ranks(&o);
        }
    print_message("%d dealings\n", dealings);
}

static int allocations;

static bool count_allocation(size_t bytes)
{
    (void)bytes;
    allocations++;
    return true;
}

static void moving_is_in_place_and_allocates_nothing(void **state)
{
    (void)state;
    lvsa_shard *shards[MOST_FRAMES];
    static const int all_ranks[] = {1, 2, 3, 7, 41};
    for (size_t n = 0; n < sizeof all_ranks / sizeof all_ranks[0]; n++) {
        const int ranks = all_ranks[n];
        lvsa_plan_options o = options(41, 2, 1, LVSA_INTERVAL_AUTO, 0, 1);
        lvsa_plan *plan;
        CHECK_OK(lvsa_plan_create(&plan, &o));
        deal(shards, ranks, plan);
        for (int rotation = 43; rotation >= 0; rotation--) {
            allocations = 0;
            lv_mem_set_hook(count_allocation);
            CHECK_OK(lvsa_plan_set_rotation(plan, rotation));
            for (int r = 0; r < ranks; r++) lvsa_shard_update(shards[r]);
            lv_mem_set_hook(NULL);
            assert_int_equal(allocations, 0);
            check_all(shards, ranks, plan);
        }
        take_back(shards, ranks);
        lvsa_plan_free(&plan);
    }
}

/* ---- the attention call over the two sources ------------------------------------------------- */

enum { D = 5, H = 2, ROW = H * D };

static lvsa_source source(const float *k, const float *v, int64_t tokens, const lvsa_runs *runs)
{
    const lvsa_strides s = {.batch = 0, .token = ROW, .head = D};
    return (lvsa_source){
        .k = k, .v = v, .k_strides = s, .v_strides = s, .tokens = tokens, .runs = runs};
}

static lvsa_attention call_for(const float *q, float *out, int64_t queries)
{
    const lvsa_strides s = {.batch = 0, .token = ROW, .head = D};
    return (lvsa_attention){.size = sizeof(lvsa_attention),
                            .dtype = LVSA_F32,
                            .batch = 1,
                            .queries = queries,
                            .heads = H,
                            .kv_heads = H,
                            .head_dim = D,
                            .q = q,
                            .q_strides = s,
                            .out = out,
                            .out_strides = s,
                            .backend = LVSA_BACKEND_REF};
}

static void run(lvsa_attention *call)
{
    CHECK_OK(lvsa_attention_workspace(&call->workspace_size, call));
    call->workspace = aligned_alloc(64, lv_round_up(call->workspace_size + 1, 64));
    assert_non_null(call->workspace);
    CHECK_OK(lvsa_attention_run(call));
    free(call->workspace);
}

static void gather(float *to, const float *video, const lvsa_shard *shard)
{
    const lvsa_shard_info info = info_of(shard);
    for (int i = 0; i < info.received_frames; i++)
        memcpy(to + i * P * ROW, video + lvsa_shard_get_received(shard)[i] * P * ROW,
               sizeof(float) * P * ROW);
}

static void ranks_attend_as_one(void **state)
{
    (void)state;
    enum { T = 17, COUNT = T * P * ROW };
    static float q[COUNT], k[COUNT], v[COUNT], alone[COUNT], together[COUNT], rk[COUNT], rv[COUNT];
    uint32_t random = 1;
    float *const all[] = {q, k, v};
    for (int a = 0; a < 3; a++)
        for (int i = 0; i < COUNT; i++) {
            random = random * 1664525u + 1013904223u;
            all[a][i] = (float)(random >> 8) / 8388608.0f - 1.0f;
        }
    lvsa_plan_options o = options(T, 1, 1, 5, 2, 1);
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    lvsa_attention call = call_for(q, alone, T * P);
    call.sources = 1;
    call.source[0] = source(k, v, T * P, lvsa_plan_get_runs(plan));
    run(&call);
    for (int ranks = 1; ranks <= T; ranks++) {
        lvsa_shard *shards[T];
        deal(shards, ranks, plan);
        memset(together, 0, sizeof together);
        for (int r = 0; r < ranks; r++) {
            const lvsa_shard_info info = info_of(shards[r]);
            const int at = info.first_frame * P * ROW;
            gather(rk, k, shards[r]);
            gather(rv, v, shards[r]);
            call = call_for(q + at, together + at, info.frames * P);
            call.sources = 2;
            call.source[0] =
                source(k + at, v + at, info.frames * P, lvsa_shard_get_local_runs(shards[r]));
            call.source[1] =
                source(rk, rv, info.received_frames * P, lvsa_shard_get_received_runs(shards[r]));
            run(&call);
        }
        for (int i = 0; i < COUNT; i++) assert_true(fabsf(together[i] - alone[i]) <= 1e-6f);
        take_back(shards, ranks);
    }
    lvsa_plan_free(&plan);
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* Every byte that one sends another gets; by heads, N - 1 of N parts of q, k, v and out move. */
static void bytes_add_up(void **state)
{
    (void)state;
    lvsa_plan_options o = options(11, 1, 1, 3, 0, 1);
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    const int64_t frame = o.patches_per_frame * 12 * 8 * 2;
    for (int ranks = 1; ranks <= 11; ranks++) {
        const lvsa_shared_layer layer = {ranks, 12, 8, 2};
        lvsa_sequence_choice choice = {.size = sizeof choice};
        int64_t halo = 0, heads = 0, sent = 0, busiest = 0;
        CHECK_OK(lvsa_sequence_choose(&choice, plan, &layer));
        for (int r = 0; r < ranks; r++) {
            lvsa_share s = {.size = sizeof s};
            CHECK_OK(lvsa_share_find(&s, plan, &layer, r));
            halo += s.halo_sent - s.halo_received;
            heads += s.ulysses_sent - s.ulysses_received, sent += s.ulysses_sent;
            if (s.halo_sent > busiest) busiest = s.halo_sent;
            if (s.halo_received > busiest) busiest = s.halo_received;
            assert_int_equal(s.ulysses_sent < 0, 12 % ranks != 0);
        }
        assert_int_equal(halo, 0);
        assert_int_equal(heads, 0);
        assert_int_equal(choice.halo, busiest);
        if (12 % ranks == 0) assert_int_equal(sent, 4 * 11 * frame / ranks * (ranks - 1));
        else assert_int_equal(choice.sequence, LVSA_SEQUENCE_HALO);
        assert_true(choice.halo_balance >= 1.0);
    }
    lvsa_plan_free(&plan);
}

/* Few frames are sent at a long video's budget, all of a dense one; and where some ranks have much
 * more to attend to, heads are better though more bytes move. */
static void the_cheaper_way_is_chosen(void **state)
{
    (void)state;
    static const struct {
        int T, W, interval, P, ranks, expand;
        lvsa_sequence want;
    } cases[] = {{81, 3, 6, 1560, 4, 1, LVSA_SEQUENCE_HALO},
                 {21, 3, 1, 1560, 4, 1, LVSA_SEQUENCE_ULYSSES},
                 {9, 2, 9, 65536, 4, 1, LVSA_SEQUENCE_ULYSSES},
                 {81, 3, 6, 1560, 1, 1, LVSA_SEQUENCE_HALO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lvsa_plan_options o =
            options(cases[i].T, cases[i].W, 1, cases[i].interval, 0, cases[i].expand);
        const lvsa_shared_layer layer = {cases[i].ranks, 12, 128, 2};
        lvsa_sequence_choice choice = {.size = sizeof choice};
        lvsa_plan *plan;
        o.patches_per_frame = cases[i].P;
        CHECK_OK(lvsa_plan_create(&plan, &o));
        CHECK_OK(lvsa_sequence_choose(&choice, plan, &layer));
        assert_int_equal(choice.sequence, cases[i].want);
        lvsa_plan_free(&plan);
    }
    assert_string_equal(lvsa_sequence_name(LVSA_SEQUENCE_ULYSSES), "ulysses");
    assert_null(lvsa_sequence_name((lvsa_sequence)3));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void bad_layers_are_refused(void **state)
{
    (void)state;
    lvsa_plan_options o = options(5, 1, 1, 2, 0, 1);
    lvsa_share share = {.size = 1};
    lvsa_sequence_choice choice = {.size = 1};
    lvsa_shared_layer layer = {2, 12, 8, 2};
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    CHECK_FAILS(lvsa_share_find(&share, plan, &layer, 0), LVSA_ERR_ARGUMENT, "1 bytes");
    CHECK_FAILS(lvsa_sequence_choose(&choice, plan, &layer), LVSA_ERR_ARGUMENT, "1 bytes");
    share.size = sizeof share, choice.size = sizeof choice;
    CHECK_FAILS(lvsa_share_find(&share, plan, &layer, 2), LVSA_ERR_ARGUMENT, "rank 2 of 2");
    layer.ranks = 6;
    CHECK_FAILS(lvsa_sequence_choose(&choice, plan, &layer), LVSA_ERR_ARGUMENT, "6 ranks for 5");
    layer.ranks = 0;
    CHECK_FAILS(lvsa_share_find(&share, plan, &layer, 0), LVSA_ERR_ARGUMENT, "for 0 ranks");
    lvsa_plan_free(&plan);
}

static void bad_ranks_are_refused(void **state)
{
    (void)state;
    lvsa_plan_options o = options(5, 1, 1, 2, 0, 1);
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    lvsa_shard *shard = (lvsa_shard *)&o;
    CHECK_FAILS(lvsa_shard_create(&shard, plan, 0, 6), LVSA_ERR_ARGUMENT, "6 ranks for 5 latent");
    assert_null(shard);
    CHECK_FAILS(lvsa_shard_create(&shard, plan, 0, 0), LVSA_ERR_ARGUMENT, "0 ranks");
    CHECK_FAILS(lvsa_shard_create(&shard, plan, 3, 3), LVSA_ERR_ARGUMENT, "rank 3 of 3");
    CHECK_FAILS(lvsa_shard_create(&shard, plan, -1, 3), LVSA_ERR_ARGUMENT, "rank -1 of 3");
    CHECK_OK(lvsa_shard_create(&shard, plan, 2, 3));
    lvsa_shard_info info = {.size = 1};
    CHECK_FAILS(lvsa_shard_get_info(&info, shard), LVSA_ERR_ARGUMENT, "1 bytes");
    lvsa_shard_free(&shard);
    assert_null(shard);
    lvsa_shard_free(&shard);
    lvsa_shard_free(NULL);
    lvsa_plan_free(&plan);
}

static lvsa_status make_one(void *plan)
{
    lvsa_shard *shard;
    lvsa_status s = lvsa_shard_create(&shard, plan, 1, 3);
    assert_true((s == LVSA_OK) == (shard != NULL));
    lvsa_shard_free(&shard);
    return s;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    lvsa_plan_options o = options(20, 2, 1, LVSA_INTERVAL_AUTO, 0, 1);
    lvsa_plan *plan;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    assert_true(fail_each_allocation(make_one, plan) >= 10);
    lvsa_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_what_it_needs),
        cmocka_unit_test(moving_is_in_place_and_allocates_nothing),
        cmocka_unit_test(ranks_attend_as_one),
        cmocka_unit_test(bytes_add_up),
        cmocka_unit_test(the_cheaper_way_is_chosen),
        cmocka_unit_test(bad_layers_are_refused),
        cmocka_unit_test(bad_ranks_are_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
