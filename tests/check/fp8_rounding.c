/* fp8_rounding.c: see fp8_rounding.h, and quantise_fp8.cuh for the reasons. */
#include "check/fp8_rounding.h"

#include <math.h>
#include <stdbool.h>

enum { MOST_DIM = 128 };
static const double MOST = 448.0, MOST_INT = 127.0, LEAST = 1e-15;

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

/* By Hadamard's matrix / sqrt(dim). */
static void turn(double *x, int dim)
{
    for (int step = 1; step < dim; step *= 2)
        for (int i = 0; i < dim; i++) {
            if (i & step) continue;
            const double a = x[i], b = x[i + step];
            x[i] = a + b, x[i + step] = a - b;
        }
    for (int i = 0; i < dim; i++) x[i] /= sqrt((double)dim);
}

static float *row_of(const void *tensor, lvsa_strides s, int64_t b, int64_t row, int64_t h)
{
    return (float *)(uintptr_t)tensor + b * s.batch + row * s.token + h * s.head;
}

/* A row of Q or K, turned; false where it isn't finite. */
static bool turned(double *out, const float *row, int dim)
{
    for (int d = 0; d < dim; d++) {
        if (!isfinite(row[d])) return false;
        out[d] = row[d];
    }
    turn(out, dim);
    return true;
}

/* Of a channel, over all keys of all sources. */
typedef struct range {
    double sum, least, most;
} range;

static void add(range *r, double x)
{
    r->sum += x;
    r->least = fmin(r->least, x);
    r->most = fmax(r->most, x);
}

/* Means of K, turned, and of V, and the greatest distances from them. */
static void measure(double mean[2][MOST_DIM], double size[2][MOST_DIM], const lvsa_attention *c,
                    int64_t b, int64_t h)
{
    const int dim = (int)c->head_dim;
    range of[2][MOST_DIM];
    double rows = 0.0, k[MOST_DIM];
    for (int i = 0; i < 2 * MOST_DIM; i++)
        of[i / MOST_DIM][i % MOST_DIM] = (range){0.0, INFINITY, -INFINITY};
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        rows += (double)s->tokens;
        for (int64_t r = 0; r < s->tokens; r++) {
            const float *v = row_of(s->v, s->v_strides, b, r, h);
            const bool finite = turned(k, row_of(s->k, s->k_strides, b, r, h), dim);
            for (int d = 0; d < dim; d++) {
                if (finite) add(&of[0][d], k[d]);
                if (isfinite(v[d])) add(&of[1][d], v[d]);
            }
        }
    }
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < dim; d++) {
            mean[i][d] = of[i][d].sum / rows;
            size[i][d] = fmax(fmax(of[i][d].most - mean[i][d], mean[i][d] - of[i][d].least), LEAST);
        }
}

/* The nearest int8. */
static double round_s8(double x)
{
    return fmax(fmin(nearbyint(x), MOST_INT), -MOST_INT - 1.0);
}

/* A turned row, minus the means, if any, rounded, and turned back. */
static void round_row(float *row, double *x, bool finite, const double *means, double scale,
                      int dim)
{
    for (int d = 0; finite && d < dim; d++)
        x[d] = round_s8((x[d] - (means ? means[d] : 0.0)) / scale) * scale;
    if (finite) turn(x, dim);
    for (int d = 0; d < dim; d++) row[d] = finite ? (float)x[d] : NAN;
}

static void round_keys(lvsa_attention *c, int64_t b, int64_t h, double *k_means)
{
    const int dim = (int)c->head_dim;
    double mean[2][MOST_DIM], size[2][MOST_DIM], x[MOST_DIM], k_size = 0.0;
    measure(mean, size, c, b, h);
    for (int d = 0; d < dim; d++) {
        k_size = fmax(k_size, size[0][d]);
        k_means[d] = mean[0][d];
    }
    turn(k_means, dim);
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        for (int64_t r = 0; r < s->tokens; r++) {
            float *k = row_of(s->k, s->k_strides, b, r, h);
            float *v = row_of(s->v, s->v_strides, b, r, h);
            round_row(k, x, turned(x, k, dim), mean[0], k_size / MOST_INT, dim);
            for (int d = 0; d < dim; d++) {
                const double scale = size[1][d] / MOST;
                v[d] = isfinite(v[d]) ? (float)(mean[1][d] +
                                                scale * round_e4m3((v[d] - mean[1][d]) / scale))
                                      : NAN;
            }
        }
    }
}

void fp8_round(lvsa_attention *c, double *means)
{
    const int dim = (int)c->head_dim;
    double x[MOST_DIM];
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t h = 0; h < c->kv_heads; h++)
            round_keys(c, b, h, means + (b * c->kv_heads + h) * dim);
        for (int64_t r = 0; r < c->queries; r++)
            for (int64_t h = 0; h < c->heads; h++) {
                float *q = row_of(c->q, c->q_strides, b, r, h);
                const bool finite = turned(x, q, dim);
                double size = LEAST;
                for (int d = 0; finite && d < dim; d++) size = fmax(size, fabs(x[d]));
                round_row(q, x, finite, NULL, size / MOST_INT, dim);
            }
    }
}
