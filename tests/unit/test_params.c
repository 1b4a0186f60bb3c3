/* test_params.c: weights in a device's memory, all at once and in turns. */
#include <stdio.h>
#include <string.h>

#include "testing.h"

#include "allocations.h"
#include "base/half.h"
#include "engine/runtime/params.h"

enum { BLOCKS = 12 };

/* The golden files' model: norm[i] = (i - 5) / 4 + block, q[i] = (i - 5) / 4, in mixed types. */
typedef struct block {
    lv_param norm; /* [E]    */
    lv_param q;    /* [E, E] */
} block;

static const lv_weight_spec specs[] = {
    {"norm.weight", "[E]", LV_PARAM(block, norm), NULL},
    {"to_q.weight", "[E, E]", LV_PARAM(block, q), NULL},
};
static const lv_dims dims = {.of = {['E'] = 8}};

typedef lvsa_status loader(lv_params *, lv_weights *, const lv_weight_group *, lvsa_dtype);

typedef struct store {
    lv_weights *weights;
    lv_params *params;
    block blocks[BLOCKS];
} store;

static void close_store(store *s)
{
    lv_params_free(&s->params);
    lv_weights_close(&s->weights);
}

static lvsa_status open_store(store *s, lv_device *device, loader *load)
{
    *s = (store){0};
    const lv_weight_group group = {specs, 2, &dims, "blocks.%d.", BLOCKS, s->blocks, sizeof(block)};
    lvsa_status status = lv_weights_open(&s->weights, GOLDEN_DIR "/safetensors/sharded", NULL);
    if (status == LVSA_OK) status = lv_params_create(&s->params, device);
    if (status == LVSA_OK) status = load(s->params, s->weights, &group, device->dtype);
    if (status != LVSA_OK) close_store(s);
    return status;
}

static void check_block(const store *s, int index)
{
    const block *b = &s->blocks[index];
    assert_int_equal(b->q.t.rank, 2);
    for (int i = 0; i < 64; i++)
        assert_true(((const float *)b->q.t.data)[i] == (float)(i - 5) / 4.0f);
    for (int i = 0; i < 8; i++)
        assert_true(((const float *)b->norm.t.data)[i] == (float)(i - 5) / 4.0f + (float)index);
}

static void all_at_once(void **state)
{
    (void)state;
    lv_device *cpu;
    store s;
    CHECK_OK(lv_device_open(&cpu, LVSA_DEVICE_CPU, 1));
    CHECK_OK(open_store(&s, cpu, lv_params_load));
    for (int i = 0; i < BLOCKS; i++) {
        CHECK_OK(lv_params_enter(s.params, i)); /* nothing has to come */
        check_block(&s, i);
        CHECK_OK(lv_params_leave(s.params, i));
    }
    close_store(&s);
    lv_device_close(&cpu);
}

/* A device that has only room for two has each block when it is entered, in any order. */
static void in_turns(void **state)
{
    (void)state;
    static const int order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 7, 7, 5, 11, 0, 2};
    lv_device *cpu;
    store s;
    CHECK_OK(lv_device_open(&cpu, LVSA_DEVICE_CPU, 1));
    CHECK_OK(open_store(&s, cpu, lv_params_load_in_turns));
    assert_true(s.blocks[0].q.t.data == s.blocks[2].q.t.data);
    assert_true(s.blocks[0].q.t.data != s.blocks[1].q.t.data);
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        CHECK_OK(lv_params_enter(s.params, order[i]));
        check_block(&s, order[i]);
        CHECK_OK(lv_params_leave(s.params, order[i]));
    }
    close_store(&s);
    lv_device_close(&cpu);
}

/* ---- two sides ------------------------------------------------------------------------------- */

static char said[1024]; /* u: a copy aside; m, w: the side aside marks and waits; M, W: the work */

static void say(char what, int slot)
{
    const size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, slot < 0 ? "%c" : "%c%d ", what, slot);
}

static lvsa_status upload_aside(lv_device *device, lv_tensor to, const void *from, lvsa_dtype type)
{
    (void)device;
    say('u', -1);
    for (int64_t i = 0; i < lv_tensor_count(to); i++) {
        float x;
        uint16_t half;
        memcpy(&x, (const char *)from + i * (type == LVSA_F32 ? 4 : 0), sizeof x);
        memcpy(&half, (const char *)from + i * (type == LVSA_F32 ? 0 : 2), sizeof half);
        if (type == LVSA_BF16) x = lv_bf16_to_f32(half);
        if (type == LVSA_F16) x = lv_f16_to_f32(half);
        ((float *)to.data)[i] = x;
    }
    return LVSA_OK;
}

static lvsa_status mark(lv_device *device, bool aside, int slot)
{
    (void)device;
    say(aside ? 'm' : 'M', slot);
    return LVSA_OK;
}

static lvsa_status wait(lv_device *device, bool aside, int slot)
{
    (void)device;
    say(aside ? 'w' : 'W', slot);
    return LVSA_OK;
}

/* A slot is filled behind the work that was left with it, and read behind its filling; the next
 * block begins to come as soon as one is left. */
static void the_sides_wait_for_each_other(void **state)
{
    (void)state;
    lv_device *cpu;
    store s;
    CHECK_OK(lv_device_open(&cpu, LVSA_DEVICE_CPU, 1));
    cpu->upload_aside = upload_aside, cpu->mark = mark, cpu->wait = wait;
    CHECK_OK(open_store(&s, cpu, lv_params_load_in_turns));
    said[0] = '\0';
    for (int i = 0; i < 3; i++) {
        CHECK_OK(lv_params_enter(s.params, i));
        check_block(&s, i);
        say('.', -1);
        CHECK_OK(lv_params_leave(s.params, i));
    }
    assert_string_equal(said, "w0 uum0 W0 .M0 w1 uum1 W1 .M1 w0 uum0 W0 .M0 w1 uum1 ");
    close_store(&s);
    lv_device_close(&cpu);
}

static lvsa_status open_and_use(void *user)
{
    store s;
    LV_TRY(open_store(&s, user, lv_params_load_in_turns));
    lvsa_status status = LVSA_OK;
    for (int i = 0; i < BLOCKS && status == LVSA_OK; i++) {
        status = lv_params_enter(s.params, i);
        if (status == LVSA_OK) check_block(&s, i);
        if (status == LVSA_OK) status = lv_params_leave(s.params, i);
    }
    close_store(&s);
    return status;
}

static void allocations_fail(void **state)
{
    (void)state;
    lv_device *cpu;
    CHECK_OK(lv_device_open(&cpu, LVSA_DEVICE_CPU, 1));
    assert_true(fail_each_allocation(open_and_use, cpu) > 3);
    lv_device_close(&cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
        cmocka_unit_test(in_turns),
        cmocka_unit_test(the_sides_wait_for_each_other),
        cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
