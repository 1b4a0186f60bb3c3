/* test_ops.c: the CPU's operations against loops in double precision, at odd sizes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "testing.h"

#include "base/mem.h"
#include "engine/runtime/device.h"

static lv_device *device;
static lv_exec exec;
static uint64_t random_state = 7;

static float random_number(void) /* -1 .. 1 */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int64_t)random_state * 0x1p-63);
}

static lv_tensor make(int rank, const int64_t *shape)
{
    lv_tensor t = lv_tensor_view(NULL, LVSA_F32, rank, shape);
    float *data = malloc((size_t)lv_tensor_count(t) * sizeof *data + 64);
    assert_non_null(data);
    for (int64_t i = 0; i < lv_tensor_count(t); i++) data[i] = random_number();
    t.data = data;
    return t;
}

#define MAKE(rank, ...) make(rank, LV_SHAPE(__VA_ARGS__))
#define AT(t, i) (((const float *)(t).data)[i])

static const lv_tensor none;

static void free_all(int count, const lv_tensor *t)
{
    for (int i = 0; i < count; i++) free(t[i].data);
}
#define FREE(...)                                                                                  \
    do {                                                                                           \
        const lv_tensor t_[] = {__VA_ARGS__};                                                      \
        free_all((int)(sizeof t_ / sizeof t_[0]), t_);                                             \
    } while (0)

/* Relative to the size of what is summed, as fp32 errors are. */
static void close_to(double have, double want, double size, const char *what, int64_t i)
{
    if (!(fabs(have - want) <= 4e-6 * (size + fabs(want))))
        fail_msg("%s[%lld] is %.9g, %.9g wanted", what, (long long)i, have, want);
}

static double activation(double x, lv_activation f)
{
    if (f == LV_SILU) return x / (1.0 + exp(-x));
    if (f == LV_GELU_TANH)
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.141592653589793) * (x + 0.044715 * x * x * x)));
    return x;
}

static void linear_case(int64_t rows, int64_t columns, int64_t inner, lv_activation f, int bias)
{
    lv_tensor x = MAKE(2, rows, inner), w = MAKE(2, columns, inner), b = MAKE(1, columns);
    lv_tensor out = MAKE(2, rows, columns), sum = MAKE(2, rows, columns), gate = MAKE(1, columns);
    lv_tensor before = MAKE(2, rows, columns);
    memcpy(sum.data, before.data, (size_t)(rows * columns) * sizeof(float));
    CHECK_OK(lv_op_linear(&exec, out, x, w, bias ? b : none, f));
    CHECK_OK(lv_op_linear_add(&exec, sum, x, w, bias ? b : none, f ? gate : none));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            double want = bias ? AT(b, j) : 0.0;
            for (int64_t k = 0; k < inner; k++)
                want += (double)AT(x, i * inner + k) * AT(w, j * inner + k);
            int64_t at = i * columns + j;
            close_to(AT(out, at), activation(want, f), sqrt((double)inner), "linear", at);
            close_to(AT(sum, at), AT(before, at) + (f ? AT(gate, j) : 1.0) * want,
                     sqrt((double)inner), "linear_add", at);
        }
    FREE(x, w, b, out, sum, gate, before);
}

static void products(void **state)
{
    (void)state;
    linear_case(1, 1, 1, LV_LINEAR, 0);
    linear_case(7, 33, 65, LV_SILU, 1);
    linear_case(65, 48, 130, LV_GELU_TANH, 1);
    linear_case(130, 17, 64, LV_GELU_TANH, 0);
    linear_case(7, 33, 65, LV_LINEAR, 1);
}

static void layer_norms(void **state)
{
    (void)state;
    const int64_t rows = 5, width = 77;
    lv_tensor x = MAKE(2, rows, width), out = MAKE(2, rows, width);
    lv_tensor v[] = {MAKE(1, width), MAKE(1, width), MAKE(1, width), MAKE(1, width)};
    for (int which = 0; which < 16; which++) {
        lv_layer_norm n = {.weight = which & 1 ? v[0] : none,
                           .bias = which & 2 ? v[1] : none,
                           .scale = which & 4 ? v[2] : none,
                           .shift = which & 8 ? v[3] : none,
                           .eps = 1e-6f};
        CHECK_OK(lv_op_layer_norm(&exec, out, x, &n));
        for (int64_t r = 0; r < rows; r++) {
            double mean = 0.0, variance = 0.0;
            for (int64_t i = 0; i < width; i++) mean += AT(x, r * width + i) / (double)width;
            for (int64_t i = 0; i < width; i++)
                variance += pow(AT(x, r * width + i) - mean, 2) / (double)width;
            for (int64_t i = 0; i < width; i++) {
                double want = (AT(x, r * width + i) - mean) / sqrt(variance + 1e-6);
                if (which & 1) want *= AT(v[0], i);
                if (which & 2) want += AT(v[1], i);
                if (which & 4) want *= 1.0 + AT(v[2], i);
                if (which & 8) want += AT(v[3], i);
                close_to(AT(out, r * width + i), want, 1.0, "layer_norm", r * width + i);
            }
        }
    }
    FREE(x, out, v[0], v[1], v[2], v[3]);
}

static void norm_and_rope(void **state)
{
    (void)state;
    const int64_t T = 3, Y = 2, X = 5, heads = 3, dim = 14, width = heads * dim, first = 4,
                  rows = 21;
    static const int64_t pairs[] = {3, 2, 2};
    lv_rope rope = {.frames = T, .height = Y, .width = X};
    const int64_t length[] = {T, Y, X};
    for (int a = 0; a < 3; a++)
        rope.cosine[a] = MAKE(2, length[a], pairs[a]), rope.sine[a] = MAKE(2, length[a], pairs[a]);
    lv_tensor x = MAKE(2, rows, width), before = MAKE(2, rows, width), weight = MAKE(1, width);
    memcpy(before.data, x.data, (size_t)(rows * width) * sizeof(float));
    CHECK_OK(lv_op_norm_rope(&exec, x, weight, 1e-6f, &rope, first, dim));
    for (int64_t r = 0; r < rows; r++) {
        double square = 0.0;
        for (int64_t i = 0; i < width; i++) square += pow(AT(before, r * width + i), 2);
        double inverse = 1.0 / sqrt(square / (double)width + 1e-6);
        int64_t token = first + r;
        const int64_t position[] = {token / (Y * X), token / X % Y, token % X};
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0, axis = 0, start = 0; j < dim / 2; j++) {
                while (j - start >= pairs[axis]) start += pairs[axis++];
                int64_t at = r * width + h * dim + 2 * j,
                        table = position[axis] * pairs[axis] + j - start;
                double a = AT(before, at) * inverse * AT(weight, h * dim + 2 * j);
                double b = AT(before, at + 1) * inverse * AT(weight, h * dim + 2 * j + 1);
                double c = AT(rope.cosine[axis], table), s = AT(rope.sine[axis], table);
                close_to(AT(x, at), a * c - b * s, 1.0, "norm_rope", at);
                close_to(AT(x, at + 1), a * s + b * c, 1.0, "norm_rope", at + 1);
            }
    }
    CHECK_FAILS(lv_op_norm_rope(&exec, x, weight, 1e-6f, &rope, first + 6, dim), LVSA_ERR_SHAPE,
                "norm_rope");
    for (int a = 0; a < 3; a++) FREE(rope.cosine[a], rope.sine[a]);
    FREE(x, before, weight);
}

static void channel_norms(void **state)
{
    (void)state;
    const int64_t points = 12, channels = 19;
    lv_tensor x = MAKE(4, 1, 3, 4, channels), out = MAKE(4, 1, 3, 4, channels),
              w = MAKE(1, channels);
    CHECK_OK(lv_op_channel_norm(&exec, out, x, w, LV_SILU));
    for (int64_t p = 0; p < points; p++) {
        double square = 0.0;
        for (int64_t c = 0; c < channels; c++) square += pow(AT(x, p * channels + c), 2);
        for (int64_t c = 0; c < channels; c++) {
            double want =
                AT(x, p * channels + c) / sqrt(square) * sqrt((double)channels) * AT(w, c);
            close_to(AT(out, p * channels + c), activation(want, LV_SILU), 1.0, "channel_norm", p);
        }
    }
    FREE(x, out, w);
}

/* Once as it is, once added to what is there. */
static void conv_case(int64_t Y, int64_t X, int64_t C, int64_t O, int64_t kt, int64_t k)
{
    lv_tensor in[3], out = MAKE(4, 1, Y, X, O), before = MAKE(4, 1, Y, X, O);
    lv_tensor w = MAKE(5, O, kt, k, k, C), b = MAKE(1, O);
    for (int64_t t = 0; t < kt; t++) in[t] = MAKE(4, 1, Y, X, C);
    for (int add = 0; add < 2; add++) {
        lv_exec e = lv_exec_measure(device);
        CHECK_OK(lv_op_conv(&e, out, in, w, b, add));
        CHECK_OK(lv_exec_begin(&e));
        memcpy(before.data, out.data, (size_t)(Y * X * O) * sizeof(float));
        CHECK_OK(lv_op_conv(&e, out, in, w, b, add));
        lv_exec_end(&e);
        for (int64_t i = 0; i < Y * X * O; i++) {
            int64_t o = i % O, x = i / O % X, y = i / (O * X);
            double want = AT(b, o) + (add ? AT(before, i) : 0.0);
            for (int64_t t = 0; t < kt; t++)
                for (int64_t dy = 0; dy < k; dy++)
                    for (int64_t dx = 0; dx < k; dx++) {
                        int64_t from_y = y + dy - k / 2, from_x = x + dx - k / 2;
                        if (from_y < 0 || from_y >= Y || from_x < 0 || from_x >= X) continue;
                        for (int64_t c = 0; c < C; c++)
                            want += (double)AT(in[t], (from_y * X + from_x) * C + c) *
                                    AT(w, (((o * kt + t) * k + dy) * k + dx) * C + c);
                    }
            close_to(AT(out, i), want, sqrt((double)(kt * k * k * C)), "conv", i);
        }
    }
    for (int64_t t = 0; t < kt; t++) FREE(in[t]);
    FREE(out, before, w, b);
}

static void convolutions(void **state)
{
    (void)state;
    conv_case(5, 7, 3, 8, 3, 3);
    conv_case(6, 5, 16, 16, 3, 3);
    conv_case(4, 4, 17, 6, 3, 1);
    conv_case(9, 3, 20, 3, 1, 3);
    conv_case(2, 3, 9, 5, 1, 1);
    conv_case(40, 30, 8, 4, 3, 3); /* more points than are gathered at once */
}

static void picture_attention(void **state)
{
    (void)state;
    const int64_t N = 23, C = 40;
    lv_tensor q = MAKE(2, N, C), k = MAKE(2, N, C), v = MAKE(2, N, C), out = MAKE(2, N, C);
    lv_exec e = lv_exec_measure(device);
    CHECK_OK(lv_op_attention_picture(&e, out, q, k, v));
    CHECK_OK(lv_exec_begin(&e));
    CHECK_OK(lv_op_attention_picture(&e, out, q, k, v));
    lv_exec_end(&e);
    for (int64_t i = 0; i < N; i++) {
        double weight[23], sum = 0.0;
        for (int64_t j = 0; j < N; j++) {
            weight[j] = 0.0;
            for (int64_t c = 0; c < C; c++)
                weight[j] += (double)AT(q, i * C + c) * AT(k, j * C + c) / sqrt((double)C);
            sum += weight[j] = exp(weight[j]);
        }
        for (int64_t c = 0; c < C; c++) {
            double want = 0.0;
            for (int64_t j = 0; j < N; j++) want += weight[j] / sum * AT(v, j * C + c);
            close_to(AT(out, i * C + c), want, 1.0, "attention_picture", i);
        }
    }
    CHECK_FAILS(lv_op_attention_picture(&e, out, q, k, lv_tensor_rows(v, 0, 1)), LVSA_ERR_SHAPE,
                "attention_picture");
    FREE(q, k, v, out);
}

/* Cut, clamped, and a NaN counted. */
static void pixels(void **state)
{
    (void)state;
    const float values[] = {-1.5f, -1.0f, -0.5f, 0.0f, 0.5f, 1.0f, 7.0f, NAN, 0.1f};
    static const uint8_t wanted[] = {0, 0, 63, 127, 191, 255, 255, 0, 140};
    lv_tensor frames = MAKE(4, 1, 1, 3, 3);
    uint8_t rgb[16];
    uint32_t nans;
    assert_int_equal(lv_pixels_bytes(9), sizeof rgb);
    memcpy(frames.data, values, sizeof values);
    CHECK_OK(lv_op_pixels(&exec, rgb, frames));
    for (int i = 0; i < 9; i++)
        if (i != 7) assert_int_equal(rgb[i], wanted[i]);
    memcpy(&nans, rgb + 12, sizeof nans);
    assert_true(nans != 0);
    assert_true(AT(frames, 0) == -1.0f && AT(frames, 6) == 1.0f && AT(frames, 4) == 0.5f);
    ((float *)frames.data)[7] = 0.0f;
    CHECK_OK(lv_op_pixels(&exec, rgb, frames));
    memcpy(&nans, rgb + 12, sizeof nans);
    assert_int_equal(nans, 0);
    FREE(frames);
}

static void attention_with_bias(void **state)
{
    (void)state;
    const int64_t N = 9, L = 13, H = 3, D = 5, W = H * D;
    lv_tensor q = MAKE(2, N, W), k = MAKE(2, L, W), v = MAKE(2, L, W), out = MAKE(2, N, W);
    lv_tensor bias = MAKE(3, H, N, L);
    lv_exec measured = lv_exec_measure(device);
    CHECK_OK(lv_op_attention_biased(&measured, out, q, k, v, bias, H, 1.0f));
    CHECK_OK(lv_exec_begin(&measured));
    CHECK_OK(lv_op_attention_biased(&measured, out, q, k, v, bias, H, 1.0f));
    lv_exec_end(&measured);
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < N; i++) {
            double score[16], sum = 0.0;
            for (int64_t j = 0; j < L; j++) {
                score[j] = AT(bias, (h * N + i) * L + j);
                for (int64_t d = 0; d < D; d++)
                    score[j] += (double)AT(q, i * W + h * D + d) * AT(k, j * W + h * D + d);
                sum += exp(score[j]);
            }
            for (int64_t d = 0; d < D; d++) {
                double want = 0.0;
                for (int64_t j = 0; j < L; j++)
                    want += exp(score[j]) / sum * AT(v, j * W + h * D + d);
                close_to(AT(out, i * W + h * D + d), want, 1.0, "attention_biased", i);
            }
        }
    FREE(q, k, v, out, bias);
}

static void elementwise(void **state)
{
    (void)state;
    const int64_t n = 3 * 41;
    lv_tensor a = MAKE(2, 3, 41), b = MAKE(2, 3, 41), row = MAKE(1, 41), out = MAKE(2, 3, 41);
    for (int64_t i = 0; i < n; i++) ((float *)a.data)[i] *= 30.0f;
    CHECK_OK(lv_op_add(&exec, out, a, row));
    for (int64_t i = 0; i < n; i++)
        close_to(AT(out, i), (double)AT(a, i) + AT(row, i % 41), 1.0, "add", i);
    for (lv_activation f = LV_LINEAR; f <= LV_GELU_TANH; f++) {
        CHECK_OK(lv_op_activate(&exec, out, a, f));
        for (int64_t i = 0; i < n; i++)
            close_to(AT(out, i), activation(AT(a, i), f), 1e-2, "activate", i);
    }
    CHECK_OK(lv_op_gelu_multiply(&exec, out, a, b));
    for (int64_t i = 0; i < n; i++)
        close_to(AT(out, i), activation(AT(a, i), LV_GELU_TANH) * AT(b, i), 1e-2, "gelu_multiply",
                 i);
    FREE(a, b, row, out);
}

static void exponentials_at_the_ends(void **state)
{
    (void)state;
    const float values[] = {-INFINITY, -200.0f, -104.0f, -88.0f,   -1e-8f,
                            0.0f,      88.0f,   200.0f,  INFINITY, NAN};
    lv_tensor a = MAKE(1, 10), out = MAKE(1, 10);
    memcpy(a.data, values, sizeof values);
    CHECK_OK(lv_op_activate(&exec, out, a, LV_SILU));
    for (int i = 1; i < 8; i++)
        close_to(AT(out, i), activation(values[i], LV_SILU), 1e-6, "silu", i);
    assert_true(isinf(AT(out, 8)) && isnan(AT(out, 9)));
    FREE(a, out);
}

static void patches_come_back(void **state)
{
    (void)state;
    const int64_t C = 5, T = 2, Y = 4, X = 6;
    lv_tensor z = MAKE(4, C, T, Y, X), tokens = MAKE(2, T * Y / 2 * X / 2, C * 4),
              back = MAKE(4, C, T, Y, X);
    CHECK_OK(lv_op_patchify(&exec, tokens, z, 2, 2));
    /* token of (t 1, y 2..3, x 4..5), column (y 1, x 0, c 3) */
    assert_true(AT(tokens, (1 * 6 + 1 * 3 + 2) * 20 + 2 * C + 3) ==
                AT(z, ((3 * T + 1) * Y + 3) * X + 4));
    CHECK_OK(lv_op_unpatchify(&exec, back, tokens, 2, 2));
    assert_memory_equal(back.data, z.data, (size_t)(C * T * Y * X) * sizeof(float));
    FREE(z, tokens, back);
}

static void frames_are_moved(void **state)
{
    (void)state;
    lv_tensor x = MAKE(4, 2, 2, 3, 8), up = MAKE(4, 2, 4, 6, 8), twice = MAKE(4, 4, 2, 3, 4);
    CHECK_OK(lv_op_upsample(&exec, up, x));
    for (int64_t i = 0; i < lv_tensor_count(up); i++) {
        int64_t c = i % 8, px = i / 8 % 6, py = i / 48 % 4, f = i / 192;
        assert_true(AT(up, i) == AT(x, ((f * 2 + py / 2) * 3 + px / 2) * 8 + c));
    }
    CHECK_OK(lv_op_split_frames(&exec, twice, x));
    for (int64_t i = 0; i < lv_tensor_count(twice); i++) {
        int64_t c = i % 4, point = i / 4 % 6, f = i / 24;
        assert_true(AT(twice, i) == AT(x, ((f / 2) * 6 + point) * 8 + f % 2 * 4 + c));
    }
    lv_tensor z = MAKE(4, 3, 2, 2, 2), frame = MAKE(3, 2, 2, 3), scale = MAKE(1, 3),
              shift = MAKE(1, 3);
    CHECK_OK(lv_op_take_frame(&exec, frame, z, 1, scale, shift));
    for (int64_t i = 0; i < 12; i++)
        close_to(AT(frame, i),
                 (double)AT(z, (i % 3 * 2 + 1) * 4 + i / 3) * AT(scale, i % 3) + AT(shift, i % 3),
                 1.0, "take_frame", i);
    FREE(x, up, twice, z, frame, scale, shift);
}

static void pictures_are_blended(void **state)
{
    (void)state;
    const int64_t Y = 5, X = 7, C = 3, count = 2 * Y * X * C;
    lv_tensor from = MAKE(4, 2, 6, 4, C), to = MAKE(4, 2, Y, X, C), before = MAKE(4, 2, Y, X, C);
    for (lv_ramp ramp = LV_RAMP_NONE; ramp <= LV_RAMP_X; ramp++) {
        const lv_blend b = {
            .to_y = 2, .to_x = 3, .from_y = 1, .from_x = 1, .height = 3, .width = 2, .ramp = ramp};
        memcpy(before.data, to.data, (size_t)count * sizeof(float));
        CHECK_OK(lv_op_blend(&exec, to, from, &b));
        for (int64_t at = 0; at < count; at++) {
            int64_t c = at % C, j = at / C % X - 3, i = at / (C * X) % Y - 2, f = at / (C * X * Y);
            double want = AT(before, at);
            if (i >= 0 && j >= 0 && j < 2) {
                const double grown[] = {0.0, (double)i / 3.0, (double)j / 2.0}, s = grown[ramp];
                want = s * want + (1 - s) * AT(from, ((f * 6 + 1 + i) * 4 + 1 + j) * C + c);
            }
            close_to(AT(to, at), want, 1.0, "blend", at);
        }
    }
    CHECK_FAILS(lv_op_blend(&exec, to, from, &(lv_blend){.to_x = 4, .height = 1, .width = 4}),
                LVSA_ERR_SHAPE, "blend");
    CHECK_FAILS(lv_op_blend(&exec, to, from, &(lv_blend){.from_y = -1, .height = 1, .width = 1}),
                LVSA_ERR_SHAPE, "blend");
    FREE(from, to, before);
}

static void misfits_are_refused(void **state)
{
    (void)state;
    lv_tensor a = MAKE(2, 3, 4), b = MAKE(2, 4, 3), w = MAKE(2, 5, 4);
    CHECK_FAILS(lv_op_linear(&exec, b, a, w, none, LV_LINEAR), LVSA_ERR_SHAPE, "linear: [4, 3");
    CHECK_FAILS(lv_op_copy(&exec, a, w), LVSA_ERR_SHAPE, "copy");
    FREE(a, b, w);
}

static void measuring_finds_the_peak(void **state)
{
    (void)state;
    lv_exec e = lv_exec_measure(device);
    lv_tensor a, b;
    for (int pass = 0; pass < 2; pass++) {
        CHECK_OK(lv_take(&a, &e, LVSA_F32, 2, LV_SHAPE(10, 10)));
        size_t mark = lv_arena_mark(&e.arena);
        CHECK_OK(lv_take(&b, &e, LVSA_F32, 1, LV_SHAPE(1000)));
        lv_arena_release(&e.arena, mark);
        CHECK_OK(lv_take(&b, &e, LVSA_F32, 1, LV_SHAPE(10)));
        CHECK_OK(lv_op_zero(&e, a));
        assert_int_equal(e.arena.peak, 448 + 4032);
        assert_true((a.data != NULL) == (pass == 1));
        if (pass == 0) CHECK_OK(lv_exec_begin(&e));
    }
    CHECK_FAILS(lv_take(&b, &e, LVSA_F32, 1, LV_SHAPE(1100)), LVSA_ERR_MEMORY, "used up");
    lv_exec_end(&e);
    CHECK_FAILS(lv_take(&b, &e, LVSA_F32, 3, LV_SHAPE(INT64_MAX, 4, 4)), LVSA_ERR_MEMORY,
                "too large");
}

int main(void)
{
    CHECK_OK(lv_device_open(&device, LVSA_DEVICE_CPU, 2));
    exec = (lv_exec){.device = device, .ops = device->ops, .dtype = LVSA_F32};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),
        cmocka_unit_test(layer_norms),
        cmocka_unit_test(norm_and_rope),
        cmocka_unit_test(channel_norms),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(picture_attention),
        cmocka_unit_test(pixels),
        cmocka_unit_test(attention_with_bias),
        cmocka_unit_test(elementwise),
        cmocka_unit_test(exponentials_at_the_ends),
        cmocka_unit_test(patches_come_back),
        cmocka_unit_test(frames_are_moved),
        cmocka_unit_test(pictures_are_blended),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(measuring_finds_the_peak),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    lv_device_close(&device);
    return failed;
}
