/* test_plans.c: how products are multiplied is chosen once, kept in a file, and the same again. The
 * module is a fake that counts what it is asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "testing.h"

#include "base/mem.h"
#include "engine/runtime/cuda/cuda.h"

static int timed, proposed;

static const char *use(lv_cuda *gpu)
{
    (void)gpu;
    return NULL;
}

static const char *get_identity(lv_cuda *gpu, char *name, size_t size)
{
    (void)gpu;
    snprintf(name, size, "fake-card-1");
    return NULL;
}

/* The first proposal is 7; timing finds another one each time, as it may. */
static const char *find_algorithm(lv_cuda *gpu, lv_cuda_algorithm *out, const lv_cuda_product *p,
                                  bool by_time)
{
    (void)gpu;
    memset(out, 0, sizeof *out);
    if (p->inner == 13) return "no algorithm";
    if (by_time) timed++;
    else proposed++;
    out->words[0] = by_time ? 100 + (uint64_t)timed : 7;
    out->words[7] = UINT64_MAX;
    return NULL;
}

static const lv_cuda_ops ops = {
    .use = use, .get_identity = get_identity, .find_algorithm = find_algorithm};

static lv_cuda_product product(int64_t rows)
{
    return (lv_cuda_product){
        .rows = rows, .columns = 1536, .inner = 1536, .dtype = LVSA_BF16, .out_dtype = LVSA_BF16,
        .align = 16, .bias = 1};
}

/* The first word of the plan that a device just opened finds. */
static uint64_t plan_of(lv_cuda_product p)
{
    lv_cuda_device d = {.cuda = &ops};
    const lv_cuda_algorithm *how;
    CHECK_OK(lv_cuda_find_plan(&how, &d, &p));
    const uint64_t word = how->words[0];
    assert_true(how->words[7] == UINT64_MAX);
    CHECK_OK(lv_cuda_find_plan(&how, &d, &p)); /* not asked for again */
    assert_true(how->words[0] == word);
    lv_cuda_free_plans(&d);
    return word;
}

static void use_folder(const char *name)
{
    setenv("LVSA_CACHE_DIR", scratch_path(name), 1);
    timed = proposed = 0;
}

static void chosen_once(void **state)
{
    (void)state;
    use_folder("a/b"); /* made when it isn't there */
    assert_int_equal(plan_of(product(32768)), 101);
    assert_int_equal(plan_of(product(32760)), 102);
    assert_int_equal(plan_of(product(32768)), 101);
    assert_int_equal(plan_of(product(32760)), 102);
    lv_cuda_product other = product(32768);
    other.gelu = 1;
    assert_int_equal(plan_of(other), 103);
    assert_int_equal(timed, 3);
    assert_int_equal(proposed, 0);
}

/* Products that take no time aren't timed, and not kept. */
static void small_ones_take_the_proposal(void **state)
{
    (void)state;
    use_folder("small");
    assert_int_equal(plan_of(product(3)), 7);
    assert_int_equal(plan_of(product(3)), 7);
    assert_int_equal(timed, 0);
    assert_int_equal(proposed, 2);
}

/* Where nothing can be kept nothing is timed: two runs would differ. */
static void without_a_file_the_proposal(void **state)
{
    (void)state;
    setenv("LVSA_CACHE_DIR", "/dev/null/nowhere", 1);
    timed = proposed = 0;
    assert_int_equal(plan_of(product(32768)), 7);
    assert_int_equal(timed, 0);
}

/* Of two lines the first holds; a line that was cut off is none. */
static void damaged_files(void **state)
{
    (void)state;
    char path[512];
    use_folder("damaged");
    assert_int_equal(plan_of(product(32768)), 101);
    snprintf(path, sizeof path, "%s/fake-card-1.txt", getenv("LVSA_CACHE_DIR"));
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("32768 1536 1536 3 3 16 1 0 0 99 0 0 0 0 0 0 0\n", file);
    fputs("garbage\n", file);
    fputs("4096 1536 1536 3 3 16 1 0 0 55 0 0 0 0 0 0", file);
    fclose(file);
    assert_int_equal(plan_of(product(32768)), 101);
    assert_int_equal(plan_of(product(4096)), 102); /* kept behind what was cut off: lost */
    assert_int_equal(plan_of(product(4096)), 103);
    assert_int_equal(plan_of(product(4096)), 103);
    assert_int_equal(timed, 3);
}

static void failures(void **state)
{
    (void)state;
    lv_cuda_device d = {.cuda = &ops};
    lv_cuda_product p = product(100);
    const lv_cuda_algorithm *how;
    use_folder("failures");
    p.inner = 13;
    CHECK_FAILS(lv_cuda_find_plan(&how, &d, &p), LVSA_ERR_DEVICE, "[100, 13] x [13, 1536]");
    assert_null(how);
    lv_cuda_free_plans(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_once),
        cmocka_unit_test(small_ones_take_the_proposal),
        cmocka_unit_test(without_a_file_the_proposal),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
