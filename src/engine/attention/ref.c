/* ref.c: attention as it is written on paper, in double precision, one query at a time.
 *
 *     m = max_j scale * q.k_j    l = sum_j exp(scale * q.k_j - m)    out = sum_j exp(...) / l * v_j
 *
 * Every other kernel is checked against this one. It is plain on purpose: no tiles, no threads. */
#include <math.h>
#include <stdbool.h>

#include "base/half.h"
#include "engine/attention/attention.h"

static double load(const void *tensor, int64_t index, lvsa_dtype dtype)
{
    switch (dtype) {
    case LVSA_F32: return ((const float *)tensor)[index];
    case LVSA_F16: return lv_f16_to_f32(((const uint16_t *)tensor)[index]);
    case LVSA_BF16: return lv_bf16_to_f32(((const uint16_t *)tensor)[index]);
    }
    return 0.0;
}

static void store(void *tensor, int64_t index, double value, lvsa_dtype dtype)
{
    switch (dtype) {
    case LVSA_F32: ((float *)tensor)[index] = (float)value; return;
    case LVSA_F16: ((uint16_t *)tensor)[index] = lv_f32_to_f16((float)value); return;
    case LVSA_BF16: ((uint16_t *)tensor)[index] = lv_f32_to_bf16((float)value); return;
    }
}

static int64_t at(lvsa_strides strides, int64_t b, int64_t token, int64_t h)
{
    return b * strides.batch + token * strides.token + h * strides.head;
}

/* One query row: where it stands, and the double copy of its vector. */
typedef struct query {
    int64_t b, row, h, kv_h, frame;
    double scale;
    double q[LVSA_MAX_HEAD_DIM];
} query;

/* scale * q.k; of a last row that counts n times, + log(n). */
static double score(const lvsa_attention *c, const lvsa_source *s, const query *q, int64_t key)
{
    int64_t k = at(s->k_strides, q->b, key, q->kv_h);
    double sum = 0.0;
    for (int64_t d = 0; d < c->head_dim; d++) sum += q->q[d] * load(s->k, k + d, c->dtype);
    sum *= q->scale;
    return key == s->tokens - 1 ? sum + log((double)lv_attn_last_row_count(s)) : sum;
}

/* The largest score over all kept keys; -INFINITY when there are none. */
static double find_max(const lvsa_attention *c, const query *q)
{
    double max = -INFINITY;
    for (int i = 0; i < c->sources; i++) {
        lvsa_run all;
        const lvsa_run *run;
        int runs = lv_attn_get_runs(&run, &all, &c->source[i], q->frame);
        for (int r = 0; r < runs; r++)
            for (int64_t j = run[r].start; j < (int64_t)run[r].start + run[r].count; j++)
                max = fmax(max, score(c, &c->source[i], q, j));
    }
    return max;
}

static void attend(const lvsa_attention *c, const query *q)
{
    double max = find_max(c, q), sum = 0.0, out[LVSA_MAX_HEAD_DIM] = {0};
    for (int i = 0; i < c->sources; i++) {
        const lvsa_source *s = &c->source[i];
        lvsa_run all;
        const lvsa_run *run;
        int runs = lv_attn_get_runs(&run, &all, s, q->frame);
        for (int r = 0; r < runs; r++)
            for (int64_t j = run[r].start; j < (int64_t)run[r].start + run[r].count; j++) {
                double weight = exp(score(c, s, q, j) - max);
                int64_t v = at(s->v_strides, q->b, j, q->kv_h);
                sum += weight;
                for (int64_t d = 0; d < c->head_dim; d++)
                    out[d] += weight * load(s->v, v + d, c->dtype);
            }
    }
    int64_t o = at(c->out_strides, q->b, q->row, q->h);
    for (int64_t d = 0; d < c->head_dim; d++)
        store(c->out, o + d, sum == 0.0 ? 0.0 : out[d] / sum, c->dtype);
    if (c->lse) c->lse[(q->b * c->heads + q->h) * c->queries + q->row] = (float)(max + log(sum));
}

static lvsa_status workspace(size_t *bytes, const lvsa_attention *call)
{
    (void)call;
    *bytes = 0;
    return LVSA_OK;
}

static lvsa_status run(const lvsa_attention *c)
{
    int64_t group = c->heads / c->kv_heads, frame_rows = lv_attn_frame_rows(c);
    query q = {.scale = lv_attn_scale(c)};
    for (q.b = 0; q.b < c->batch; q.b++)
        for (q.h = 0; q.h < c->heads; q.h++)
            for (q.row = 0; q.row < c->queries; q.row++) {
                q.kv_h = q.h / group;
                q.frame = q.row / frame_rows;
                int64_t from = at(c->q_strides, q.b, q.row, q.h);
                for (int64_t d = 0; d < c->head_dim; d++) q.q[d] = load(c->q, from + d, c->dtype);
                attend(c, &q);
            }
    return LVSA_OK;
}

const lv_attn_kernel lv_attn_ref = {.name = "attn_ref", .workspace = workspace, .run = run};
