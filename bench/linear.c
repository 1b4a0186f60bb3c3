/* linear.c: the dense layers of a model as it calls them (bias, GELU, gated sum included) against
 * oneDNN's product of the same size alone. usage: bench_linear [E] [FFN] [THREADS]; best of 20. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <oneapi/dnnl/dnnl.h>

#include "engine/runtime/device.h"

enum { ROWS = 1024, RUNS = 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lv_tensor make(int64_t rows, int64_t columns)
{
    float *data = aligned_alloc(64, (size_t)(rows * columns) * sizeof *data);
    if (!data) exit(3);
    for (int64_t i = 0; i < rows * columns; i++) data[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return lv_tensor_view(data, LVSA_F32, 2, (const int64_t[]){rows, columns});
}

typedef struct layer {
    const char *name;
    int64_t in, out;
    lv_activation f;
    int add; /* gated sum */
} layer;

static void measure(lv_exec *e, const layer *l)
{
    lv_tensor x = make(ROWS, l->in), w = make(l->out, l->in), b = make(1, l->out),
              y = make(ROWS, l->out);
    double ours = 1e30, alone = 1e30;
    for (int i = 0; i < RUNS; i++) {
        double start = now();
        lvsa_status s =
            l->add ? lv_op_linear_add(e, y, x, w, b, b) : lv_op_linear(e, y, x, w, b, l->f);
        if (s != LVSA_OK) exit(1);
        if (now() - start < ours) ours = now() - start;
        start = now();
        dnnl_sgemm('N', 'T', ROWS, l->out, l->in, 1.0f, x.data, l->in, w.data, l->in, 0.0f, y.data,
                   l->out);
        if (now() - start < alone) alone = now() - start;
    }
    double products = 2e-9 * ROWS * (double)l->in * (double)l->out;
    printf("%-22s %5lld -> %5lld: %6.1f GFLOP/s, oneDNN alone %6.1f\n", l->name, (long long)l->in,
           (long long)l->out, products / ours, products / alone);
    free(x.data), free(w.data), free(b.data), free(y.data);
}

int main(int argc, char **argv)
{
    int64_t E = argc > 1 ? atoi(argv[1]) : 512, F = argc > 2 ? atoi(argv[2]) : 2048;
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    lv_device *device;
    omp_set_num_threads(threads);
    if (E < 1 || F < 1 || threads < 1 || lv_device_open(&device, LVSA_DEVICE_CPU, threads))
        return 1;
    lv_exec e = {.device = device, .ops = device->ops, .dtype = LVSA_F32};
    const layer layers[] = {{"projection, bias", E, E, LV_LINEAR, 0},
                            {"up, bias, GELU", E, F, LV_GELU_TANH, 0},
                            {"down, bias, gated sum", F, E, LV_LINEAR, 1}};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) measure(&e, &layers[i]);
    lv_device_close(&device);
    return 0;
}
