/* fp8_rounding.c: see fp8_rounding.h, and quantise_fp8.cuh for the reasons. */
#include "check/fp8_rounding.h"

#include <math.h>
#include <stdbool.h>

enum { D = 128 };
static const double MOST = 448.0, MOST_TURNED = 39.0, LEAST = 1e-15;

/* The nearest e4m3, to even; NaN stays. */
static double round_e4m3(double x)
{
    if (isnan(x) || x == 0.0) return x;
    if (fabs(x) >= MOST) return copysign(MOST, x);
    int exponent;
    frexp(x, &exponent); /* 0.5 <= |x| / 2^exponent < 1; 3 bits follow the first */
    const double step = ldexp(1.0, (exponent < -5 ? -5 : exponent) - 4);
    return nearbyint(x / step) * step;
}

/* By Hadamard's matrix / sqrt(128). */
static void turn(double *x)
{
    for (int step = 1; step < D; step *= 2)
        for (int i = 0; i < D; i++) {
            if (i & step) continue;
            const double a = x[i], b = x[i + step];
            x[i] = a + b, x[i + step] = a - b;
        }
    for (int i = 0; i < D; i++) x[i] /= sqrt((double)D);
}

static float *row_of(const void *tensor, lvsa_strides s, int64_t b, int64_t row, int64_t h)
{
    return (float *)(uintptr_t)tensor + b * s.batch + row * s.token + h * s.head;
}

/* Mean and greatest distance from it of a channel of K (v 0) or V, over all sources. */
static void measure(double *mean, double *size, const lvsa_attention *c, int64_t b, int64_t h,
                    int d, int v)
{
    double sum = 0.0, least = INFINITY, most = -INFINITY, rows = 0.0;
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        rows += (double)s->tokens;
        for (int64_t r = 0; r < s->tokens; r++) {
            const double x = row_of(v ? s->v : s->k, v ? s->v_strides : s->k_strides, b, r, h)[d];
            if (!isfinite(x)) continue;
            sum += x;
            least = fmin(least, x);
            most = fmax(most, x);
        }
    }
    *mean = sum / rows;
    *size = fmax(fmax(most - *mean, *mean - least), LEAST);
}

/* One row of Q or K: minus the means, if any, over the scale, turned and rounded. */
static void round_row(float *x, const double *means, double scale)
{
    double y[D];
    bool finite = true;
    for (int d = 0; d < D; d++) {
        finite = finite && isfinite(x[d]);
        y[d] = (x[d] - (means ? means[d] : 0.0)) / scale;
    }
    turn(y);
    for (int d = 0; d < D; d++) x[d] = finite ? (float)(round_e4m3(y[d]) * scale) : NAN;
}

static void round_keys(lvsa_attention *c, int64_t b, int64_t h, double *k_means)
{
    double v_mean[D], v_scale[D], k_size = 0.0;
    for (int d = 0; d < D; d++) {
        double size;
        measure(&k_means[d], &size, c, b, h, d, 0);
        k_size = fmax(k_size, size);
        measure(&v_mean[d], &size, c, b, h, d, 1);
        v_scale[d] = size / MOST;
    }
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        for (int64_t r = 0; r < s->tokens; r++) {
            float *v = row_of(s->v, s->v_strides, b, r, h);
            round_row(row_of(s->k, s->k_strides, b, r, h), k_means, k_size / MOST_TURNED);
            for (int d = 0; d < D; d++)
                v[d] = isfinite(v[d])
                           ? (float)(v_mean[d] +
                                     v_scale[d] * round_e4m3((v[d] - v_mean[d]) / v_scale[d]))
                           : NAN;
        }
    }
}

void fp8_round(lvsa_attention *c, double *means)
{
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t h = 0; h < c->kv_heads; h++)
            round_keys(c, b, h, means + (b * c->kv_heads + h) * D);
        for (int64_t r = 0; r < c->queries; r++)
            for (int64_t h = 0; h < c->heads; h++) {
                float *q = row_of(c->q, c->q_strides, b, r, h);
                double size = LEAST;
                for (int d = 0; d < D; d++)
                    if (isfinite(q[d])) size = fmax(size, fabs((double)q[d]));
                round_row(q, NULL, size / MOST_TURNED);
            }
    }
}
