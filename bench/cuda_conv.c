/* cuda_conv.c: the convolutions of Wan's decoder at 480 x 832 on a GPU, each alone. Usage:
 * bench_cuda_conv [sm80]; median and best of 11, by the GPU's own clock. bench/torch_conv.py
 * measures cuDNN's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/runtime/cuda/cuda.h"
#include "engine/runtime/profile.h"

enum { RUNS = 11, FRAMES = 3 };

typedef struct shape {
    int64_t height, width, in, out, kt, k;
    bool add;
} shape;

static const shape shapes[] = {
    {480, 832, 96, 96, 3, 3, false},   {480, 832, 96, 96, 3, 3, true},
    {480, 832, 192, 96, 1, 3, false},  {480, 832, 96, 3, 3, 3, false},
    {240, 416, 192, 192, 3, 3, false}, {240, 416, 192, 192, 3, 3, true},
    {240, 416, 384, 192, 1, 3, false}, {120, 208, 384, 384, 3, 3, false},
    {120, 208, 192, 384, 3, 3, false}, {120, 208, 384, 768, 3, 1, false},
    {60, 104, 384, 384, 3, 3, false},  {720, 1280, 96, 96, 3, 3, false},
};

static void must(lvsa_status s)
{
    if (s == LVSA_OK) return;
    fprintf(stderr, "%s\n", lvsa_last_error());
    exit(1);
}

/* Uniform numbers of -1 .. 1 that repeat; the speed depends on them, as the card's power does. */
static lv_tensor make(lv_device *d, lvsa_dtype dtype, int rank, const int64_t *dims)
{
    enum { PERIOD = 1 << 20 };
    static float numbers[PERIOD];
    lv_tensor t = lv_tensor_view(NULL, dtype, rank, dims);
    const int64_t count = lv_tensor_count(t);
    for (int i = 0; i < PERIOD && numbers[PERIOD - 1] == 0.0f; i++)
        numbers[i] = (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
    must(d->allocate(d, &t.data, (size_t)count * lv_dtype_bytes(dtype)));
    for (int64_t at = 0; at < count; at += PERIOD) {
        lv_tensor piece = t;
        piece.data = (char *)t.data + (size_t)at * lv_dtype_bytes(dtype);
        piece.rank = 1;
        piece = lv_tensor_view(piece.data, dtype, 1,
                               LV_SHAPE(count - at < PERIOD ? count - at : PERIOD));
        must(d->upload_as(d, piece, numbers, LVSA_F32));
    }
    return t;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(lv_device *d, const shape *s)
{
    lv_exec e = {.device = d, .ops = d->ops, .dtype = d->dtype};
    const lv_tensor w = make(d, LVSA_BF16, 5, LV_SHAPE(s->out, s->kt, s->k, s->k, s->in)),
                    b = make(d, LVSA_F32, 1, LV_SHAPE(s->out)),
                    out = make(d, LVSA_BF16, 4, LV_SHAPE(1, s->height, s->width, s->out));
    lv_tensor in[FRAMES] = {{0}};
    double seconds[RUNS], flops = 0.0;
    for (int64_t t = 0; t < s->kt; t++)
        in[t] = make(d, LVSA_BF16, 4, LV_SHAPE(1, s->height, s->width, s->in));
    must(lv_profile_create(d));
    for (int i = -3; i < RUNS; i++) {
        must(lv_profile_reset(d->profile));
        must(lv_op_conv(&e, out, in, w, b, s->add));
        must(lv_profile_collect(d->profile));
        const lv_profile_row *r = &d->profile->row[0][LV_KIND_CONV];
        if (i >= 0) seconds[i] = r->seconds, flops = r->flops;
    }
    lv_profile_free(d);
    qsort(seconds, RUNS, sizeof *seconds, compare);
    const double rate = 1e-12 * flops / seconds[RUNS / 2];
    printf("%4lld x %4lld, %3lld -> %3lld, %lld x %lld x %lld%s: %.4f ms median, %.4f best, %4.0f "
           "TFLOP/s",
           (long long)s->height, (long long)s->width, (long long)s->in, (long long)s->out,
           (long long)s->kt, (long long)s->k, (long long)s->k, s->add ? " added" : "",
           1e3 * seconds[RUNS / 2], 1e3 * seconds[0], rate);
    if (d->peak_flops > 0.0) printf(", %.1f %%", 1e14 * rate / d->peak_flops);
    putchar('\n');
    fflush(stdout);
    for (int64_t t = 0; t < s->kt; t++) d->release(d, in[t].data);
    d->release(d, w.data), d->release(d, b.data), d->release(d, out.data);
}

int main(int argc, char **argv)
{
    lv_device *d;
    must(lv_cuda_device_open(&d, 0));
    if (argc > 1 && strcmp(argv[1], "sm80") == 0) ((lv_cuda_device *)d)->capability = 80;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) measure(d, &shapes[i]);
    lv_device_close(&d);
    return 0;
}
