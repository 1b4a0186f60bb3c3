/* test_noise_golden.c: noise against torch.randn. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "engine/weights/safetensors.h"
#include "flow/schedule/noise.h"

static const uint64_t seeds[] = {0, 1, 42, (UINT64_C(1) << 32) + 5, (UINT64_C(1) << 63) - 1};
static const size_t sizes[] = {1, 5, 15, 16, 17, 31, 100, 16 * 9 * 16 * 16};
enum { MOST = 16 * 9 * 16 * 16, KEPT_EVERY = 97, SMALL = 1000 };

static double worst, worst_scalar;
static size_t compared, equal;

static void compare(const lv_safetensors *f, const char *name, const float *have, size_t count,
                    size_t every, double *largest)
{
    const lv_tensor_entry *e = lv_safetensors_find(f, name);
    if (!e || e->dtype != LVSA_F32 || e->count != (count + every - 1) / every)
        fail_msg("golden tensor %s isn't right", name);
    const float *want = e->data;
    for (size_t i = 0; i < e->count; i++) {
        double difference = fabs((double)have[i * every] - (double)want[i]);
        if (!(difference <= 1e-6))
            fail_msg("%s: number %zu is %.9g, %.9g wanted", name, i * every,
                     (double)have[i * every], (double)want[i]);
        if (difference > *largest) *largest = difference;
        compared++, equal += have[i * every] == want[i];
    }
}

static void matches_torch(void **state)
{
    (void)state;
    static float x[MOST];
    static lv_noise noise;
    lv_safetensors *f;
    CHECK_OK(lv_safetensors_open(&f, GOLDEN_DIR "/noise/noise.safetensors"));
    for (size_t s = 0; s < sizeof seeds / sizeof seeds[0]; s++)
        for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
            char name[64];
            snprintf(name, sizeof name, "%llu.%zu", (unsigned long long)seeds[s], sizes[n]);
            lv_noise_seed(&noise, seeds[s]);
            lv_noise_fill(&noise, x, sizes[n]);
            compare(f, name, x, sizes[n], sizes[n] > SMALL ? KEPT_EVERY : 1,
                    sizes[n] < 16 ? &worst_scalar : &worst);
        }
    lv_noise_seed(&noise, 3);
    lv_noise_fill(&noise, x, 3);
    lv_noise_fill(&noise, x + 3, 20);
    lv_noise_fill(&noise, x + 23, 4);
    lv_noise_fill(&noise, x + 27, 16);
    compare(f, "sequence", x, 43, 1, &worst);
    lv_safetensors_close(&f);
    print_message("within %.2g (fewer than 16 numbers: %.2g); %zu of %zu have the same bits\n",
                  worst, worst_scalar, equal, compared);
}

/* A seed's upper half doesn't count, as in torch; a copy of a generator goes on as the generator
 * does. */
static void seeds_and_copies(void **state)
{
    (void)state;
    static float a[100], b[100];
    static lv_noise first, second;
    lv_noise_seed(&first, 5);
    lv_noise_seed(&second, (UINT64_C(1) << 32) + 5);
    lv_noise_fill(&first, a, 100);
    lv_noise_fill(&second, b, 100);
    assert_memory_equal(a, b, sizeof a);

    lv_noise_fill(&first, a, 7);
    second = first;
    lv_noise_fill(&first, a, 100);
    lv_noise_fill(&second, b, 100);
    assert_memory_equal(a, b, sizeof a);
    lv_noise_fill(&first, a, 1);
    lv_noise_fill(&second, b, 1);
    assert_memory_equal(a, b, sizeof a);
}

static void is_normal(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    static lv_noise noise;
    float *x = malloc(COUNT * sizeof *x);
    assert_non_null(x);
    lv_noise_seed(&noise, 11);
    lv_noise_fill(&noise, x, COUNT);
    double sum = 0.0, squares = 0.0, fourths = 0.0;
    for (int i = 0; i < COUNT; i++) {
        double square = (double)x[i] * (double)x[i];
        sum += (double)x[i], squares += square, fourths += square * square;
    }
    assert_float_equal((float)(sum / COUNT), 0.0f,
                       0.005f); /* five deviations: sqrt(1, 2, 96)/1024 each */
    assert_float_equal((float)(squares / COUNT), 1.0f, 0.007f);
    assert_float_equal((float)(fourths / COUNT), 3.0f, 0.05f);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matches_torch),
                                       cmocka_unit_test(seeds_and_copies),
                                       cmocka_unit_test(is_normal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
