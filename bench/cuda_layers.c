/* cuda_layers.c: the operations of one transformer block on a GPU, alone: dense layers as share of
 * the card's rate on 8192^3, the others in bytes moved, against a copy.
 *
 *     cuda_layers ROWS E FF HEADS        e.g. 32768 1536 8960 12 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/runtime/device.h"

static lv_device *device;
static lv_exec exec;

static void check(lvsa_status s)
{
    if (s == LVSA_OK) return;
    fprintf(stderr, "%s\n", lvsa_last_error());
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lv_tensor make(lvsa_dtype type, int64_t rows, int64_t columns)
{
    const int64_t count = rows * columns;
    void *data;
    float *host = malloc((size_t)count * sizeof *host);
    uint32_t h = 1;
    if (!host) exit(1);
    for (int64_t i = 0; i < count; i++) {
        h = h * 1664525u + 1013904223u;
        host[i] = (float)(int32_t)h * 0x1p-31f;
    }
    const size_t bytes = (size_t)count * lv_dtype_bytes(type);
    check(device->allocate(device, &data, bytes + (size_t)rows * sizeof(float)));
    lv_tensor t = lv_tensor_view(data, type, 2, LV_SHAPE(rows, columns));
    if (type == LV_E4M3) t.scale = (float *)(void *)((char *)data + bytes);
    check(device->upload_as(device, t, host, LVSA_F32));
    free(host);
    return t;
}

static lv_tensor vector(int64_t count)
{
    return lv_tensor_view(make(LVSA_F32, 1, count).data, LVSA_F32, 1, &count);
}

/* What is timed: `call` enqueues it once. */
typedef struct layer {
    lv_tensor out, x, w, b, gate;
    lv_activation f;
    lv_rope *rope;
    int64_t dim;
} layer;

static lvsa_status linear(const layer *l)
{
    return lv_op_linear(&exec, l->out, l->x, l->w, l->b, l->f);
}
static lvsa_status linear_add(const layer *l)
{
    return lv_op_linear_add(&exec, l->out, l->x, l->w, l->b, l->gate);
}
static lvsa_status layer_norm(const layer *l)
{
    const lv_layer_norm n = {.scale = l->gate, .shift = l->b, .eps = 1e-6f};
    return lv_op_layer_norm(&exec, l->out, l->x, &n);
}
static lvsa_status norm_rope(const layer *l)
{
    return lv_op_norm_rope(&exec, l->out, l->b, 1e-6f, l->rope, 0, l->dim);
}
static lvsa_status copy(const layer *l) { return lv_op_copy(&exec, l->out, l->x); }

static double measure(lvsa_status (*call)(const layer *), const layer *l)
{
    enum { WARM = 3, RUNS = 20 };
    char byte[4];
    exec = lv_exec_measure(device);
    check(call(l));
    check(lv_exec_begin(&exec));
    for (int i = 0; i < WARM; i++) check(call(l));
    check(device->download(device, byte, l->out.data, sizeof byte));
    const double start = now();
    for (int i = 0; i < RUNS; i++) check(call(l));
    check(device->download(device, byte, l->out.data, sizeof byte));
    const double seconds = (now() - start) / RUNS;
    lv_exec_end(&exec);
    return seconds;
}

static double peak; /* products a second on 8192^3 */

static void product(const char *name, lvsa_status (*call)(const layer *), const layer *l)
{
    const double seconds = measure(call, l);
    const double rate = 2.0 * (double)l->x.shape[0] * (double)lv_tensor_count(l->w) / seconds;
    if (peak == 0.0) peak = rate;
    printf("%-34s %8.3f ms %7.1f TFLOP/s %5.1f %%\n", name, 1e3 * seconds, 1e-12 * rate,
           100.0 * rate / peak);
}

static double bandwidth;

static double bytes_of(lv_tensor t)
{
    return (double)lv_tensor_count(t) * (double)lv_dtype_bytes(t.dtype);
}

/* Reads x, or where there is none out, and writes out. */
static void movement(const char *name, lvsa_status (*call)(const layer *), const layer *l)
{
    const double seconds = measure(call, l);
    const double rate = (bytes_of(l->out) + bytes_of(l->x.rank ? l->x : l->out)) / seconds;
    if (bandwidth == 0.0) bandwidth = rate;
    printf("%-34s %8.3f ms %7.0f GB/s    %5.1f %%\n", name, 1e3 * seconds, 1e-9 * rate,
           100.0 * rate / bandwidth);
}

static void e4m3_products(int64_t N, int64_t E, int64_t F)
{
    const lv_tensor x = make(LV_E4M3, N, E), y = make(LVSA_BF16, N, E), h = make(LV_E4M3, N, F),
                    w = make(LV_E4M3, E, E), up = make(LV_E4M3, F, E), down = make(LV_E4M3, E, F),
                    e = vector(E), gate = vector(E), f = vector(F), wide = make(LVSA_BF16, N, F);
    product("e4m3: E -> E", linear, &(layer){.out = y, .x = x, .w = w});
    product("e4m3: E -> E, bias", linear, &(layer){.out = y, .x = x, .w = w, .b = e});
    product("e4m3: E -> E, bias, gated sum", linear_add,
            &(layer){.out = y, .x = x, .w = w, .b = e, .gate = gate});
    product("e4m3: E -> F", linear, &(layer){.out = wide, .x = x, .w = up});
    product("e4m3: E -> F, bias, GELU, bf16", linear,
            &(layer){.out = wide, .x = x, .w = up, .b = f, .f = LV_GELU_TANH});
    product("e4m3: E -> F, bias, GELU, e4m3", linear,
            &(layer){.out = h, .x = x, .w = up, .b = f, .f = LV_GELU_TANH});
    product("e4m3: F -> E, bias, gated sum", linear_add,
            &(layer){.out = y, .x = h, .w = down, .b = e, .gate = gate});
}

int main(int argc, char **argv)
{
    if (argc != 5) return fprintf(stderr, "cuda_layers ROWS E FF HEADS\n"), 2;
    const int64_t N = atoll(argv[1]), E = atoll(argv[2]), F = atoll(argv[3]),
                  D = E / atoll(argv[4]), across = D / 6, along = D / 2 - 2 * across;
    check(lv_device_open(&device, LVSA_DEVICE_CUDA, 0));
    const lv_tensor square = make(LVSA_BF16, 8192, 8192), square2 = make(LVSA_BF16, 8192, 8192),
                    square3 = make(LVSA_BF16, 8192, 8192);
    product("8192^3", linear, &(layer){.out = square, .x = square2, .w = square3});
    const lv_tensor x = make(LVSA_BF16, N, E), y = make(LVSA_BF16, N, E), h = make(LVSA_BF16, N, F),
                    w = make(LVSA_BF16, E, E), up = make(LVSA_BF16, F, E),
                    down = make(LVSA_BF16, E, F), e = vector(E), gate = vector(E), f = vector(F);
    product("E -> E", linear, &(layer){.out = y, .x = x, .w = w});
    product("E -> E, bias", linear, &(layer){.out = y, .x = x, .w = w, .b = e});
    product("E -> E, bias, sum", linear_add, &(layer){.out = y, .x = x, .w = w, .b = e});
    product("E -> E, bias, gated sum", linear_add,
            &(layer){.out = y, .x = x, .w = w, .b = e, .gate = gate});
    product("E -> F", linear, &(layer){.out = h, .x = x, .w = up});
    product("E -> F, bias", linear, &(layer){.out = h, .x = x, .w = up, .b = f});
    product("E -> F, bias, GELU", linear,
            &(layer){.out = h, .x = x, .w = up, .b = f, .f = LV_GELU_TANH});
    product("F -> E, bias, gated sum", linear_add,
            &(layer){.out = y, .x = h, .w = down, .b = e, .gate = gate});
    if (device->takes_e4m3) e4m3_products(N, E, F);
    lv_rope rope = {.frames = (N + 1559) / 1560, .height = 30, .width = 52};
    const int64_t length[] = {rope.frames, 30, 52}, pairs[] = {along, across, across};
    for (int a = 0; a < 3; a++)
        rope.cosine[a] = make(LVSA_F32, length[a], pairs[a]),
        rope.sine[a] = make(LVSA_F32, length[a], pairs[a]);
    movement("copy", copy, &(layer){.out = y, .x = x});
    movement("layer_norm, modulated", layer_norm, &(layer){.out = y, .x = x, .b = e, .gate = gate});
    if (device->takes_e4m3) {
        const lv_tensor y8 = make(LV_E4M3, N, E);
        movement("layer_norm, modulated, to e4m3", layer_norm,
                 &(layer){.out = y8, .x = x, .b = e, .gate = gate});
        movement("copy to e4m3", copy, &(layer){.out = y8, .x = x});
    }
    movement("norm_rope", norm_rope, &(layer){.out = y, .b = e, .rope = &rope, .dim = D});
    movement("norm_rope, no rope", norm_rope, &(layer){.out = y, .b = e, .dim = D});
    lv_device_close(&device);
    return 0;
}
