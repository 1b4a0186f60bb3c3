/* test_long_cuda.c: a GPU's operations on tensors of more than 2^31 numbers, as videos of minutes
 * have: their last rows become what a short tensor's of the same numbers do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/half.h"
#include "engine/runtime/device.h"

enum { E = 1536, H = 12, D = 128, Y = 14, X = 20, P = Y * X, T = 5000, TAIL = 2 * P };
static const int64_t ROWS = (int64_t)T * P; /* 1.4 million: 2.15e9 numbers, 4.3 GB of bf16 */
static const size_t WANTED = (size_t)24 << 30;

static lv_device *gpu;
static uint64_t random_state = 5;

static float random_number(void) /* -1 .. 1 */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)random_state * 0x1p-63);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static lv_tensor make_tensor(lvsa_dtype dtype, int rank, const int64_t *shape)
{
    lv_tensor t = lv_tensor_view(NULL, dtype, rank, shape);
    CHECK_OK(gpu->allocate(gpu, &t.data, (size_t)lv_tensor_count(t) * lv_dtype_bytes(dtype)));
    return t;
}

static lv_tensor random_f32(int rank, const int64_t *shape)
{
    const lv_tensor t = make_tensor(LVSA_F32, rank, shape);
    const size_t bytes = (size_t)lv_tensor_count(t) * sizeof(float);
    float *numbers = malloc(bytes);
    assert_non_null(numbers);
    for (int64_t i = 0; i < lv_tensor_count(t); i++) numbers[i] = random_number();
    CHECK_OK(gpu->upload(gpu, t.data, numbers, bytes));
    free(numbers);
    return t;
}

static lv_tensor random_bf16(int64_t rows, int64_t width)
{
    const lv_tensor t = make_tensor(LVSA_BF16, 2, LV_SHAPE(rows, width));
    const size_t count = (size_t)lv_tensor_count(t);
    uint16_t *numbers = malloc(count * sizeof *numbers);
    assert_non_null(numbers);
    for (size_t i = 0; i < count; i++) numbers[i] = lv_f32_to_bf16(random_number());
    CHECK_OK(gpu->upload(gpu, t.data, numbers, count * sizeof *numbers));
    free(numbers);
    return t;
}

static void release(lv_tensor t) { gpu->release(gpu, t.data); }

/* Rows of bf16, all zeros but the last ones, and those alone. */
typedef struct pair {
    lv_tensor whole, tail; /* [ROWS, E], [TAIL, E] */
} pair;

static pair make_pair(void)
{
    lv_exec e = {.device = gpu, .ops = gpu->ops, .dtype = gpu->dtype};
    const pair p = {.whole = make_tensor(LVSA_BF16, 2, LV_SHAPE(ROWS, E)),
                    .tail = random_bf16(TAIL, E)};
    CHECK_OK(lv_op_zero(&e, p.whole));
    CHECK_OK(lv_op_copy(&e, lv_tensor_rows(p.whole, ROWS - TAIL, TAIL), p.tail));
    return p;
}

static void release_pair(pair p) { release(p.whole), release(p.tail); }

static uint16_t *download(lv_tensor t)
{
    const size_t bytes = (size_t)lv_tensor_count(t) * lv_dtype_bytes(t.dtype);
    uint16_t *numbers = malloc(bytes);
    assert_non_null(numbers);
    CHECK_OK(gpu->download(gpu, numbers, t.data, bytes));
    return numbers;
}

/* The last `rows` rows of both. */
static void compare(const char *name, pair p, int64_t rows, double steps)
{
    const int64_t count = rows * E;
    uint16_t *have = download(lv_tensor_rows(p.whole, ROWS - rows, rows)),
             *want = download(lv_tensor_rows(p.tail, TAIL - rows, rows));
    double square = 0.0, worst = 0.0;
    for (int64_t i = 0; i < count; i++) square += pow((double)lv_bf16_to_f32(want[i]), 2.0);
    const double rms = sqrt(square / (double)count);
    assert_true(rms > 1e-3);
    for (int64_t i = 0; i < count; i++) {
        const double a = lv_bf16_to_f32(have[i]), b = lv_bf16_to_f32(want[i]);
        const double off = fabs(a - b) / (0x1p-8 * (rms + fabs(b)));
        if (!(off <= steps))
            fail_msg("%s: number %lld of the end is %.9g, %.9g wanted: %.2f steps, %g allowed",
                     name, (long long)i, a, b, off, steps);
        if (off > worst) worst = off;
    }
    print_message("%-12s worst %.2f of %g steps\n", name, worst, steps);
    free(have);
    free(want);
}

/* ---- operations ------------------------------------------------------------------------------ */

/* `first`: of the rows, in the whole. */
typedef lvsa_status operation(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first);

static void run(operation *call, lv_tensor out, lv_tensor in, int64_t first)
{
    lv_exec e = lv_exec_measure(gpu);
    CHECK_OK(call(&e, out, in, first));
    CHECK_OK(lv_exec_begin(&e));
    CHECK_OK(call(&e, out, in, first));
    lv_exec_end(&e);
}

static void check(const char *name, operation *call, double steps)
{
    const pair in = make_pair(), out = make_pair();
    run(call, out.whole, in.whole, 0);
    run(call, out.tail, in.tail, ROWS - TAIL);
    compare(name, out, TAIL, steps);
    release_pair(in), release_pair(out);
}

static lv_tensor vectors[2], matrix; /* f32 [E]; [E, E] */
static lv_rope rope;

static lvsa_status layer_norm(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)first;
    const lv_layer_norm n = {.scale = vectors[0], .shift = vectors[1], .eps = 1e-6f};
    return lv_op_layer_norm(e, out, in, &n);
}

static lvsa_status rms_norm(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)first;
    return lv_op_rms_norm(e, out, in, vectors[0], 1e-6f);
}

static lvsa_status norm_rope(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)in;
    return lv_op_norm_rope(e, out, vectors[0], 1e-6f, &rope, first, D);
}

static lvsa_status linear(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)first;
    return lv_op_linear(e, out, in, matrix, vectors[1], LV_GELU_TANH);
}

static lvsa_status linear_add(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)first;
    return lv_op_linear_add(e, out, in, matrix, vectors[1], vectors[0]);
}

static lvsa_status activate(lv_exec *e, lv_tensor out, lv_tensor in, int64_t first)
{
    (void)first;
    return lv_op_activate(e, out, in, LV_SILU);
}

static void rows(void **state)
{
    (void)state;
    static const int64_t positions[] = {T, Y, X}, pairs[] = {D / 2 - 2 * (D / 6), D / 6, D / 6};
    rope = (lv_rope){.frames = T, .height = Y, .width = X};
    for (int i = 0; i < 3; i++) {
        rope.cosine[i] = random_f32(2, LV_SHAPE(positions[i], pairs[i]));
        rope.sine[i] = random_f32(2, LV_SHAPE(positions[i], pairs[i]));
    }
    for (int i = 0; i < 2; i++) vectors[i] = random_f32(1, LV_SHAPE(E));
    matrix = random_bf16(E, E);
    check("layer_norm", layer_norm, 0);
    check("rms_norm", rms_norm, 0);
    check("norm_rope", norm_rope, 0);
    check("activate", activate, 0);
    check("linear", linear, 2);
    check("linear_add", linear_add, 2);
    for (int i = 0; i < 3; i++) release(rope.cosine[i]), release(rope.sine[i]);
    release(vectors[0]), release(vectors[1]), release(matrix);
}

/* Every frame attends to itself and to the one before it. */
static void attend(lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v)
{
    const int frames = (int)(q.shape[0] / P);
    const lvsa_strides s = {q.shape[0] * E, E, D};
    int32_t *offsets = malloc((size_t)(frames + 1) * sizeof *offsets);
    lvsa_run *list = malloc((size_t)frames * sizeof *list);
    assert_true(offsets && list);
    for (int f = 0; f < frames; f++) {
        list[f] = (lvsa_run){f > 0 ? (f - 1) * P : 0, f > 0 ? 2 * P : P};
        offsets[f] = f;
    }
    offsets[frames] = frames;
    const lvsa_runs runs = {
        .frames = frames, .patches_per_frame = P, .offsets = offsets, .list = list};
    lvsa_attention call = {.batch = 1,
                           .queries = q.shape[0],
                           .heads = H,
                           .kv_heads = H,
                           .head_dim = D,
                           .q = q.data,
                           .q_strides = s,
                           .out = out.data,
                           .out_strides = s,
                           .sources = 1};
    call.source[0] = (lvsa_source){.k = k.data,
                                   .v = v.data,
                                   .k_strides = s,
                                   .v_strides = s,
                                   .tokens = k.shape[0],
                                   .runs = &runs};
    lv_exec e = lv_exec_measure(gpu);
    lvsa_attention measured = call;
    CHECK_OK(lv_op_attention(&e, &measured));
    CHECK_OK(lv_exec_begin(&e));
    CHECK_OK(lv_op_attention(&e, &call));
    lv_exec_end(&e);
    free(offsets);
    free(list);
}

/* The last frame's; the tail's first lacks one that it would attend to. */
static void attention(void **state)
{
    (void)state;
    const pair q = make_pair(), k = make_pair(), v = make_pair(), out = make_pair();
    attend(out.whole, q.whole, k.whole, v.whole);
    attend(out.tail, q.tail, k.tail, v.tail);
    compare("attention", out, P, 2);
    release_pair(q), release_pair(k), release_pair(v), release_pair(out);
}

/* Latents [16, FRAMES, 60, 104] into tokens and back; the last line of all stays what it was. */
static void patches(void **state)
{
    (void)state;
    enum { C = 16, FRAMES = 21600, HEIGHT = 60, WIDTH = 104 };
    const lv_tensor z = make_tensor(LVSA_F32, 4, LV_SHAPE(C, FRAMES, HEIGHT, WIDTH)),
                    tokens =
                        make_tensor(LVSA_BF16, 2, LV_SHAPE(FRAMES * HEIGHT * WIDTH / 4, 4 * C));
    char *end = (char *)z.data + (size_t)(lv_tensor_count(z) - WIDTH) * sizeof(float);
    float line[WIDTH], back[WIDTH];
    uint16_t last;
    lv_exec e = {.device = gpu, .ops = gpu->ops, .dtype = gpu->dtype};
    for (int i = 0; i < WIDTH; i++) line[i] = lv_bf16_to_f32(lv_f32_to_bf16(random_number()));
    CHECK_OK(lv_op_zero(&e, z));
    CHECK_OK(gpu->upload(gpu, end, line, sizeof line));
    CHECK_OK(lv_op_patchify(&e, tokens, z, 2, 2));
    CHECK_OK(gpu->download(
        gpu, &last, (char *)tokens.data + (size_t)(lv_tensor_count(tokens) - 1) * sizeof last,
        sizeof last));
    assert_true(last == lv_f32_to_bf16(line[WIDTH - 1]));
    CHECK_OK(lv_op_zero(&e, z));
    CHECK_OK(lv_op_unpatchify(&e, z, tokens, 2, 2));
    CHECK_OK(gpu->download(gpu, back, end, sizeof back));
    assert_memory_equal(back, line, sizeof line);
    release(z), release(tokens);
}

/* More than a card has: numbers, and what helps. */
static void too_much(void **state)
{
    (void)state;
    void *memory;
    CHECK_FAILS(gpu->allocate(gpu, &memory, (size_t)1 << 50), LVSA_ERR_MEMORY,
                "device cuda: 1073741824 MiB more are wanted");
    CHECK_FAILS(gpu->allocate(gpu, &memory, (size_t)1 << 50), LVSA_ERR_MEMORY, "offload");
    CHECK_OK(gpu->allocate(gpu, &memory, 1)); /* and it goes on */
    gpu->release(gpu, memory);
}

int main(void)
{
    if (lv_device_open(&gpu, LVSA_DEVICE_CUDA, 0) != LVSA_OK) {
        print_message("skipped: %s\n", lvsa_last_error());
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_much),
        cmocka_unit_test(rows),
        cmocka_unit_test(attention),
        cmocka_unit_test(patches),
    };
    const bool fits = gpu->memory - gpu->overhead >= WANTED;
    if (!fits) print_message("skipped: a GPU with %zu GiB left is wanted\n", WANTED >> 30);
    const int failed = fits ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
    lv_device_close(&gpu);
    return failed;
}
