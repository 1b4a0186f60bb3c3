/* test_sequence.c: what ranks compute together is what one computes: attention by halo and by
 * heads, in groups too, and a decoder's rows. Ranks are threads here; processes are in
 * tests/rank. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "engine/parallel/rows.h"
#include "engine/parallel/sequence.h"
#include "engine/runtime/device.h"
#include "flow/vae/vae.h"
#include "thread_ranks.h"

enum { T = 13, P = 3, H = 12, D = 8, E = H * D, COUNT = T * P * E };

static float q[COUNT], k[COUNT], v[COUNT], alone[COUNT], together[COUNT];

static void fill(float *x, int count)
{
    static uint32_t random = 1;
    for (int i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        x[i] = (float)(random >> 8) / 8388608.0f - 1.0f;
    }
}

static lv_tensor rows_of(float *x, int64_t first, int64_t count)
{
    return lv_tensor_view(x + first * E, LVSA_F32, 2, LV_SHAPE(count, E));
}

/* ---- attention ------------------------------------------------------------------------------- */

typedef struct job {
    const lvsa_plan *plan;
    bool dense;
    lvsa_sequence how;
    int groups; /* that each do all of it */
} job;

static lvsa_status pass(lv_sequence *s, lv_exec *e, const lv_self_attention *a)
{
    LV_TRY(lv_sequence_begin(s, e, a->k, a->v));
    return lv_sequence_attend(s, e, a);
}

/* Rows first .. first + count - 1 of the queries, which are all that are here. */
static lvsa_status attend(lv_sequence *s, const job *j, float *out, int64_t first, int64_t count)
{
    lv_device *device;
    LV_TRY(lv_device_open(&device, LVSA_DEVICE_CPU, 1));
    const lv_self_attention a = {.out = rows_of(out, first, count),
                                 .q = rows_of(q, first, count),
                                 .k = rows_of(k, first, count),
                                 .v = rows_of(v, first, count),
                                 .heads = H,
                                 .head_dim = D,
                                 .runs = j->dense ? NULL : lvsa_plan_get_runs(j->plan)};
    lv_exec e = lv_exec_measure(device);
    lvsa_status status = pass(s, &e, &a);
    if (status == LVSA_OK) status = lv_exec_begin(&e);
    if (status == LVSA_OK) status = pass(s, &e, &a);
    lv_exec_end(&e);
    lv_device_close(&device);
    return status;
}

static lvsa_status attend_in(lv_comm *comm, const job *j)
{
    lv_sequence *s;
    LV_TRY(lv_sequence_create(&s, comm, j->plan, H, j->how));
    lvsa_status status = attend(s, j, together, s->first * P, s->frames * P);
    lv_sequence_free(&s);
    return status;
}

static lvsa_status attend_together(lv_comm *comm, void *user)
{
    const job *j = user;
    lv_comm *group;
    const int size = comm->size / j->groups;
    if (j->groups == 1) return attend_in(comm, j);
    LV_TRY(lv_comm_open_group(&group, comm, comm->rank / size * size, size));
    lvsa_status s = attend_in(group, j);
    lv_comm_close(&group);
    return s;
}

static lvsa_plan *make_plan(int interval)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    lvsa_plan *plan;
    o.latent_frames = T, o.patches_per_frame = P, o.window = 1, o.first_anchors = 1;
    o.keyframe_interval = interval, o.rotation = interval > 1;
    CHECK_OK(lvsa_plan_create(&plan, &o));
    return plan;
}

static void compare(int ranks, const job *j)
{
    memset(together, 0, sizeof together);
    run_ranks(ranks, attend_together, (void *)j);
    for (int i = 0; i < COUNT; i++) assert_true(fabsf(together[i] - alone[i]) <= 1e-6f);
}

static void ranks_attend_as_one(void **state)
{
    (void)state;
    fill(q, COUNT), fill(k, COUNT), fill(v, COUNT);
    for (int dense = 0; dense <= 1; dense++) {
        lvsa_plan *plan = make_plan(dense ? 1 : 5);
        job j = {.plan = plan, .dense = dense, .groups = 1};
        CHECK_OK(attend(NULL, &j, alone, 0, T * P));
        for (int ranks = 1; ranks <= T; ranks++) {
            j.how = LVSA_SEQUENCE_HALO;
            compare(ranks, &j);
            if (H % ranks != 0) continue;
            j.how = LVSA_SEQUENCE_ULYSSES;
            compare(ranks, &j);
        }
        lvsa_plan_free(&plan);
    }
}

/* Both groups write the same numbers; each of them is a comm of its own. */
static lvsa_status attend_for_itself(lv_comm *comm, void *user)
{
    (void)user;
    lv_comm *group;
    char from[2] = {(char)comm->rank, (char)(comm->rank + 10)}, to[6];
    const size_t bytes[3] = {2, 2, 2};
    const int first = comm->rank / 3 * 3;
    LV_TRY(lv_comm_open_group(&group, comm, first, 3));
    lvsa_status s = lv_comm_all_gather(group, NULL, to, bytes, from);
    for (int r = 0; r < 3 && s == LVSA_OK; r++)
        if (to[2 * r] != first + r || to[2 * r + 1] != first + r + 10)
            s = lv_fail(LVSA_ERR_DEVICE, "another group's bytes");
    lv_comm_close(&group);
    return s;
}

static void groups_keep_to_themselves(void **state)
{
    (void)state;
    run_ranks(6, attend_for_itself, NULL);
}

/* ---- a decoder's rows ------------------------------------------------------------------------ */

enum {
    C = 16,
    FRAMES = 3,
    Y = 5,
    X = 4,
    DECODED = 1 + 4 * (FRAMES - 1),
    BYTES = 8 * Y * 8 * X * 3
};

static float latents[C * FRAMES * Y * X];
static uint8_t whole[DECODED][BYTES], shared[DECODED][BYTES];

typedef struct decoding {
    uint8_t (*to)[BYTES];
    int frames;
} decoding;

static lvsa_status take_frame(void *user, const lv_frame *f)
{
    decoding *d = user;
    if (f->index != d->frames || f->height != 8 * Y || f->width != 8 * X)
        return lv_fail(LVSA_ERR_DEVICE, "another frame");
    memcpy(d->to[d->frames++], f->rgb, BYTES);
    return LVSA_OK;
}

static lvsa_status decode(lv_comm *comm, void *user)
{
    const lv_frame_sink sink = {.call = take_frame, .user = user};
    const lv_vae_tiling rows = {.comm = comm};
    lv_device *device;
    lv_vae *vae;
    LV_TRY(lv_device_open(&device, LVSA_DEVICE_CPU, 1));
    lvsa_status s = lv_vae_open(&vae, device, GOLDEN_DIR "/wan/tiny-a/vae");
    if (s == LVSA_OK)
        s = lv_vae_decode(vae, lv_tensor_view(latents, LVSA_F32, 4, LV_SHAPE(C, FRAMES, Y, X)),
                          &rows, &sink);
    lv_vae_close(&vae);
    lv_device_close(&device);
    return s;
}

static void ranks_decode_as_one(void **state)
{
    (void)state;
    decoding one = {.to = whole};
    fill(latents, C * FRAMES * Y * X);
    CHECK_OK(decode(NULL, &one));
    assert_int_equal(one.frames, DECODED);
    for (int ranks = 1; ranks <= Y; ranks++) {
        decoding all = {.to = shared}; /* rank 0's sink alone is called */
        memset(shared, 0, sizeof shared);
        run_ranks(ranks, decode, &all);
        assert_int_equal(all.frames, DECODED);
        assert_memory_equal(shared, whole, sizeof whole);
    }
}

static lvsa_status decode_a_nan(lv_comm *comm, void *user)
{
    decoding none = {.to = shared};
    (void)user;
    if (decode(comm, &none) == LVSA_ERR_NUMBER || comm->rank != 0) return LVSA_OK;
    return lv_fail(LVSA_ERR_DEVICE, "a NaN of another rank wasn't seen");
}

static void a_nan_of_any_rank_is_told(void **state)
{
    (void)state;
    latents[FRAMES * Y * X - 1] = NAN; /* in the last frame: the others wait for no more */
    run_ranks(3, decode_a_nan, NULL);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void what_cannot_be_dealt_is_refused(void **state)
{
    (void)state;
    lv_comm five = {.rank = 1, .size = 5}, fourteen = {.size = 14};
    lvsa_plan *plan = make_plan(5);
    lv_sequence *s;
    lv_rows *rows;
    CHECK_FAILS(lv_sequence_create(&s, &five, plan, H, LVSA_SEQUENCE_ULYSSES), LVSA_ERR_ARGUMENT,
                "12 heads and 5 ranks: heads are dealt whole and evenly, to 1, 2, 3, 4, 6 or 12");
    assert_null(s);
    CHECK_FAILS(lv_sequence_create(&s, &fourteen, plan, 14, LVSA_SEQUENCE_ULYSSES),
                LVSA_ERR_ARGUMENT, "14 ranks for 13 latent frames");
    CHECK_FAILS(lv_sequence_create(&s, &fourteen, plan, 14, LVSA_SEQUENCE_HALO), LVSA_ERR_ARGUMENT,
                "14 ranks for 13 latent frames");
    CHECK_FAILS(lv_rows_create(&rows, &five, 4), LVSA_ERR_ARGUMENT, "5 ranks for 4 rows");
    assert_null(rows);
    lvsa_plan_free(&plan);
}

static lvsa_status create_all(void *plan)
{
    static lv_comm comm = {.rank = 1, .size = 3};
    lv_sequence *halo = NULL, *heads = NULL;
    lv_rows *rows = NULL;
    lv_comm *group = NULL;
    lvsa_status s = lv_sequence_create(&halo, &comm, plan, H, LVSA_SEQUENCE_HALO);
    if (s == LVSA_OK) s = lv_sequence_create(&heads, &comm, plan, H, LVSA_SEQUENCE_ULYSSES);
    if (s == LVSA_OK) s = lv_rows_create(&rows, &comm, Y);
    if (s == LVSA_OK) s = lv_comm_open_group(&group, &comm, 1, 2);
    assert_true((s == LVSA_OK) == (group != NULL));
    lv_comm_close(&group);
    lv_rows_free(&rows);
    lv_sequence_free(&heads);
    lv_sequence_free(&halo);
    return s;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    lvsa_plan *plan = make_plan(5);
    assert_true(fail_each_allocation(create_all, plan) >= 10);
    lvsa_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_attend_as_one),
        cmocka_unit_test(groups_keep_to_themselves),
        cmocka_unit_test(ranks_decode_as_one),
        cmocka_unit_test(a_nan_of_any_rank_is_told),
        cmocka_unit_test(what_cannot_be_dealt_is_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
