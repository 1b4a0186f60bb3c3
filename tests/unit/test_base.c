/* test_base.c: errors, memory, half types. */
#include <math.h>
#include <string.h>

#include "testing.h"

#include "base/error.h"
#include "base/half.h"
#include "base/mem.h"

static void a_failure_leaves_its_sentence(void **state)
{
    (void)state;
    assert_int_equal(lv_fail(LVSA_ERR_SHAPE, "head size %d", 7), LVSA_ERR_SHAPE);
    assert_string_equal(lvsa_last_error(), "head size 7");
    lv_fail_in(LVSA_ERR_SHAPE, "block %d", 3);
    assert_string_equal(lvsa_last_error(), "block 3: head size 7");
    lv_fail(LVSA_ERR_SHAPE, "a model's %s; another", lvsa_last_error());
    assert_string_equal(lvsa_last_error(), "a model's block 3: head size 7; another");
    assert_string_equal(lvsa_status_name(LVSA_ERR_SHAPE), "LVSA_ERR_SHAPE");
    assert_string_equal(lvsa_status_name((lvsa_status)999), "LVSA_ERR_UNKNOWN");
}

static void a_long_sentence_is_cut(void **state)
{
    (void)state;
    lv_fail(LVSA_ERR_IO, "%02000d", 1);
    assert_int_equal(strlen(lvsa_last_error()), 1023);
    lv_fail_in(LVSA_ERR_IO, "%02000d", 1);
    assert_int_equal(strlen(lvsa_last_error()), 1023);
}

static void products_do_not_wrap(void **state)
{
    (void)state;
    size_t product;
    assert_true(lv_mul(&product, 1 << 20, 1 << 10));
    assert_int_equal(product, 1 << 30);
    assert_true(lv_mul(&product, 0, SIZE_MAX));
    assert_false(lv_mul(&product, SIZE_MAX / 2 + 1, 2));
    assert_null(lv_zalloc_array(SIZE_MAX / 2 + 1, 2));
}

static void every_half_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        float f16 = lv_f16_to_f32((uint16_t)bits), bf16 = lv_bf16_to_f32((uint16_t)bits);
        if (isnan(f16)) assert_true(isnan(lv_f16_to_f32(lv_f32_to_f16(f16))));
        else assert_int_equal(lv_f32_to_f16(f16), bits);
        if (isnan(bf16)) assert_true(isnan(lv_bf16_to_f32(lv_f32_to_bf16(bf16))));
        else assert_int_equal(lv_f32_to_bf16(bf16), bits);
    }
    assert_true(lv_f16_to_f32(0x3c00) == 1.0f && lv_f16_to_f32(0x0001) == 0x1p-24f);
    assert_true(lv_f16_to_f32(0x7bff) == 65504.0f && isinf(lv_f16_to_f32(0xfc00)));
}

static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(lv_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80); /* a tie, to the even one   */
    assert_int_equal(lv_f32_to_bf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);
    assert_int_equal(lv_f32_to_bf16(1.0f + 0x3p-8f), 0x3f82);
    assert_int_equal(lv_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(lv_f32_to_f16(1.0f + 0x3p-11f), 0x3c02);
    assert_int_equal(lv_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(lv_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(lv_f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(lv_f32_to_f16(0x3p-25f), 0x0002);
    assert_int_equal(lv_f32_to_f16(-0x1p-24f), 0x8001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_leaves_its_sentence),
        cmocka_unit_test(a_long_sentence_is_cut),
        cmocka_unit_test(products_do_not_wrap),
        cmocka_unit_test(every_half_survives_a_round_trip),
        cmocka_unit_test(halves_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
