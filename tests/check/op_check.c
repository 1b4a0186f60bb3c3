/* op_check.c: see op_check.h. */
#include "op_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "e4m3.h"

enum { MOST = 12, GUARD = 256, FILL = 0xA5 };

static lv_device *cpu, *gpu;
static uint64_t random_state = 11;

static float random_number(void) /* -1 .. 1 */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)random_state * 0x1p-63);
}

bool op_check_open(void)
{
    CHECK_OK(lv_device_open(&cpu, LVSA_DEVICE_CPU, 0));
    if (lv_device_open(&gpu, LVSA_DEVICE_CUDA, 0) == LVSA_OK) return true;
    print_message("skipped: %s\n", lvsa_last_error());
    lv_device_close(&cpu);
    return false;
}

bool op_check_takes_e4m3(void) { return gpu->takes_e4m3; }

void op_check_close(void)
{
    lv_device_close(&gpu);
    lv_device_close(&cpu);
}

/* ---- one tensor on both devices -------------------------------------------------------------- */

typedef struct both {
    lv_tensor cpu, gpu;
    char *memory;       /* of the GPU, with guards                   */
    char *start, *back; /* [bytes + 2 guards] what is there before, and afterwards */
    size_t bytes;
} both;

/* Rows of e4m3 and behind them their scales. */
static void narrow_rows(void *to, float *numbers, int64_t rows, int64_t width)
{
    uint8_t *bits = to;
    float *scale = (float *)(void *)(bits + rows * width);
    for (int64_t i = 0; i < rows * width; i++) numbers[i] *= (float)(1 + i / width % 7);
    e4m3_quantise(bits, scale, numbers, rows, width);
    for (int64_t i = 0; i < rows * width; i++)
        numbers[i] = e4m3_to_f32(bits[i]) * scale[i / width];
}

static void narrow(void *to, float *numbers, int64_t count, lvsa_dtype dtype)
{
    for (int64_t i = 0; i < count; i++) {
        if (dtype == LVSA_BF16) {
            ((uint16_t *)to)[i] = lv_f32_to_bf16(numbers[i]);
            numbers[i] = lv_bf16_to_f32(((uint16_t *)to)[i]);
        } else ((float *)to)[i] = numbers[i];
    }
}

static void make(both *b, const operand *o)
{
    void *memory;
    if (o->rank == 0) return;
    b->cpu = lv_tensor_view(NULL, LVSA_F32, o->rank, o->shape);
    const int64_t count = lv_tensor_count(b->cpu);
    b->bytes = (size_t)count * lv_dtype_bytes(o->dtype);
    const bool e4m3 = o->dtype == LV_E4M3;
    if (e4m3) b->bytes += (size_t)o->shape[0] * sizeof *b->gpu.scale;
    float *numbers = b->cpu.data = malloc((size_t)count * sizeof *numbers + 64);
    b->start = malloc(b->bytes + 2 * GUARD);
    b->back = malloc(b->bytes + 2 * GUARD);
    assert_true(numbers && b->start && b->back);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = random_number() * (o->size > 0.0f ? o->size : 1.0f);
    memset(b->start, FILL, b->bytes + 2 * GUARD);
    if (e4m3) narrow_rows(b->start + GUARD, numbers, o->shape[0], o->shape[1]);
    else narrow(b->start + GUARD, numbers, count, o->dtype);
    CHECK_OK(gpu->allocate(gpu, &memory, b->bytes + 2 * GUARD));
    b->memory = memory;
    b->gpu = lv_tensor_view(b->memory + GUARD, o->dtype, o->rank, o->shape);
    if (e4m3) b->gpu.scale = (float *)(void *)(b->memory + GUARD + count);
}

static void destroy(both *b)
{
    if (b->memory) gpu->release(gpu, b->memory);
    free(b->cpu.data);
    free(b->start);
    free(b->back);
}

/* ---- running --------------------------------------------------------------------------------- */

static void run(lv_device *device, op_call *call, const lv_tensor *t, const void *options)
{
    lv_exec e = lv_exec_measure(device);
    CHECK_OK(call(&e, t, options));
    const size_t forecast = e.arena.peak;
    CHECK_OK(lv_exec_begin(&e));
    CHECK_OK(call(&e, t, options));
    assert_int_equal(e.arena.peak, forecast);
    lv_exec_end(&e);
}

/* `back` of every tensor after a run from the same start. */
static void run_on_gpu(both *b, int count, op_call *call, const void *options)
{
    lv_tensor t[MOST] = {0};
    for (int i = 0; i < count; i++) {
        t[i] = b[i].gpu;
        if (!b[i].memory) continue;
        CHECK_OK(gpu->upload(gpu, b[i].memory, b[i].start, b[i].bytes + 2 * GUARD));
    }
    run(gpu, call, t, options);
    for (int i = 0; i < count; i++)
        if (b[i].memory)
            CHECK_OK(gpu->download(gpu, b[i].back, b[i].memory, b[i].bytes + 2 * GUARD));
}

static double rms_of(const both *b)
{
    const int64_t count = lv_tensor_count(b->cpu);
    const float *want = b->cpu.data;
    double square = 0.0;
    for (int64_t i = 0; i < count; i++) square += (double)want[i] * want[i];
    return sqrt(square / (double)count);
}

/* An e4m3 number that was written; *half is half of its last bit. */
static double get_e4m3(double *half, const both *b, int64_t i, double want)
{
    const uint8_t *bits = (const uint8_t *)b->back + GUARD;
    const float *scale = (const float *)(const void *)(bits + lv_tensor_count(b->gpu));
    const double s = scale[i / b->gpu.shape[1]];
    *half = fmax(0x1p-4 * fabs(want), 0x1p-10 * s);
    return e4m3_to_f32(bits[i]) * s;
}

static void compare_e4m3(const char *name, const both *b, double steps)
{
    const double most = (steps - 1.0) * 0x1p-9 * rms_of(b);
    double worst = 0.0;
    for (int64_t i = 0; i < lv_tensor_count(b->cpu); i++) {
        double half, want = ((const float *)b->cpu.data)[i];
        const double have = get_e4m3(&half, b, i, want);
        const double off = fmax(fabs(have - want) - most, 0.0) / half;
        if (!(off <= steps))
            fail_msg("%s: number %lld is %.9g, %.9g wanted: %.2f half bits, at most %g are", name,
                     (long long)i, have, want, off, steps);
        if (off > worst) worst = off;
    }
    print_message("%-18s worst %.2f of %g half bits\n", name, worst, steps);
}

static void compare(const char *name, const both *b, double steps)
{
    const int64_t count = lv_tensor_count(b->cpu);
    const float *want = b->cpu.data;
    const bool bf16 = b->gpu.dtype == LVSA_BF16;
    const double step = bf16 ? 0x1p-8 : 0x1p-20;
    double worst = 0.0;
    const double rms = rms_of(b);
    for (int64_t i = 0; i < count; i++) {
        const char *at = b->back + GUARD;
        const double have = bf16 ? lv_bf16_to_f32(((const uint16_t *)(const void *)at)[i])
                                 : ((const float *)(const void *)at)[i];
        const double off = fabs(have - want[i]) / (step * (rms + fabs((double)want[i]) + 1e-30));
        if (!(off <= steps))
            fail_msg("%s: number %lld is %.9g, %.9g wanted: %.2f steps, at most %g are", name,
                     (long long)i, have, want[i], off, steps);
        if (off > worst) worst = off;
    }
    print_message("%-18s worst %.2f of %g steps\n", name, worst, steps);
}

static void check_guards(const char *name, const both *b)
{
    for (size_t i = 0; i < GUARD; i++)
        if ((uint8_t)b->back[i] != FILL || (uint8_t)b->back[b->bytes + GUARD + i] != FILL)
            fail_msg("%s: wrote outside a tensor", name);
}

void op_check(const char *name, op_call *call, const void *options, double steps, int count,
              const operand *operands)
{
    both b[MOST] = {0};
    lv_tensor t[MOST] = {0};
    char *first[MOST] = {NULL};
    assert_true(count <= MOST);
    for (int i = 0; i < count; i++) make(&b[i], &operands[i]), t[i] = b[i].cpu;
    run(cpu, call, t, options);
    run_on_gpu(b, count, call, options);
    for (int i = 0; i < count; i++) {
        if (!b[i].memory) continue;
        check_guards(name, &b[i]);
        if (operands[i].written && b[i].gpu.dtype == LV_E4M3) compare_e4m3(name, &b[i], steps);
        else if (operands[i].written) compare(name, &b[i], steps);
        else assert_memory_equal(b[i].back, b[i].start, b[i].bytes + 2 * GUARD);
        first[i] = malloc(b[i].bytes + 2 * GUARD);
        assert_non_null(first[i]);
        memcpy(first[i], b[i].back, b[i].bytes + 2 * GUARD);
    }
    run_on_gpu(b, count, call, options);
    for (int i = 0; i < count; i++) {
        if (first[i]) assert_memory_equal(first[i], b[i].back, b[i].bytes + 2 * GUARD);
        free(first[i]);
        destroy(&b[i]);
    }
}
