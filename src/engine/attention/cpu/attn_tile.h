/* attn_tile.h: the CPU attention kernel, written once over a vector type; attn_f32_<isa>.c
 * includes it after saying what a vector is.
 *
 *     for each tile of up to TILE queries of one frame, head and batch item (threads share these)
 *         for each KEYS keys of the frame's runs, all sources one after the other
 *             pack K [KEYS, D] and V [KEYS, D'] to fp32
 *             for each block of BLOCK queries
 *                 s[j][i]  = sum_d k[j][d] q[d][i]                     q holds scale * log2(e);
 *                                                   + log2(n) where a last row counts n times
 *                 p[j][i]  = 2^(s[j][i] - m[i]), m the running maximum, l the running sum
 *                 o[d][i]  = o[d][i] * 2^(m_old[i] - m[i]) + sum_j v[j][d] p[j][i]
 *
 * Queries lie in the lanes, so that maxima, sums and exponentials need no shuffles, and K and V
 * are read one broadcast number at a time: any head size and any number of keys fits without a
 * tail loop. Both products keep ROWS x COLS vectors in registers; ROWS * COLS + COLS + 1 of them
 * must fit.
 *
 * The includer defines: KERNEL (the lv_attn_kernel), NAME (its string), ROWS, COLS, and
 *   vec, LANES, v_load v_store (aligned), v_set1, v_fma(a, b, c) = a*b + c, v_add, v_sub,
 *   v_max (the second where one is NaN), v_exp2 (of x <= 0; 0 far below, NaN of NaN),
 *   v_storeu, v_from_bf16 and v_from_f16 (LANES numbers, unaligned). */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#ifdef LVSA_HAVE_OPENMP
#include <omp.h>
#endif

#include "base/half.h"
#include "base/mem.h"
#include "engine/attention/attention.h"

enum {
    BLOCK = COLS * LANES,                     /* queries that are computed at once    */
    TILE = (256 + BLOCK - 1) / BLOCK * BLOCK, /* queries that share a packed key tile */
    KEYS = 64 / ROWS * ROWS                   /* keys packed at once                  */
};

/* A maximum below every score; finite, so that differences are. */
static const float LOWEST = -1e30f;

/* One thread's scratch. D' is D rounded up to ROWS; rows past the real ones hold zeros. */
typedef struct scratch {
    float *q;   /* [TILE / BLOCK][D][BLOCK], times scale * log2(e) */
    float *o;   /* [TILE / BLOCK][D'][BLOCK]                       */
    float *max; /* [TILE], in log2 units                           */
    float *sum; /* [TILE]                                          */
    float *k;   /* [KEYS][D]                                       */
    float *v;   /* [KEYS][D']                                      */
    float *s;   /* [KEYS][BLOCK], scores, then weights             */
} scratch;

static size_t padded_dim(const lvsa_attention *c)
{
    return ((size_t)c->head_dim + ROWS - 1) / ROWS * ROWS;
}

/* Lays the scratch out from `base` on (NULL: only counts) and returns its size in bytes. */
static size_t place(scratch *out, void *base, const lvsa_attention *c)
{
    size_t dim = (size_t)c->head_dim, padded = padded_dim(c), floats = 0;
    struct {
        float **at;
        size_t count;
    } part[] = {{&out->q, TILE * dim},  {&out->o, TILE * padded}, {&out->max, TILE},
                {&out->sum, TILE},      {&out->k, KEYS * dim},    {&out->v, KEYS * padded},
                {&out->s, KEYS * BLOCK}};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        *part[i].at = base ? (float *)base + floats : NULL;
        floats += lv_round_up(part[i].count, LV_CACHE_LINE / sizeof(float));
    }
    return floats * sizeof(float);
}

/* ---- packing -------------------------------------------------------------------------------- */

/* Row elements 0 .. dim - 1 of any storage to fp32. */
static void unpack_row(float *to, const void *tensor, int64_t at, size_t dim, lvsa_dtype dtype)
{
    const uint16_t *half = (const uint16_t *)tensor + at;
    size_t d = 0;
    switch (dtype) {
    case LVSA_F32: memcpy(to, (const float *)tensor + at, dim * sizeof *to); return;
    case LVSA_BF16:
        for (; d + LANES <= dim; d += LANES) v_storeu(to + d, v_from_bf16(half + d));
        for (; d < dim; d++) to[d] = lv_bf16_to_f32(half[d]);
        return;
    case LVSA_F16:
        for (; d + LANES <= dim; d += LANES) v_storeu(to + d, v_from_f16(half + d));
        for (; d < dim; d++) to[d] = lv_f16_to_f32(half[d]);
        return;
    }
}

/* The keys that one query frame attends to, source after source, run after run. */
typedef struct key_stream {
    const lvsa_attention *c;
    int64_t b, kv_h, frame;
    int source;          /* the next run's                        */
    int runs;            /* left in the source, this one included */
    const lvsa_run *run; /* that run                              */
    int32_t used;        /* rows of it already read               */
    lvsa_run all;        /* the one run of a source without runs  */
} key_stream;

/* Moves to the next row that is attended to; false at the end. */
static bool find_row(key_stream *in)
{
    while (in->runs == 0) {
        if (++in->source >= in->c->sources) return false;
        in->runs = lv_attn_get_runs(&in->run, &in->all, &in->c->source[in->source], in->frame);
        in->used = 0;
    }
    return true;
}

/* The keys of a tile that count more than once: their scores get + log2(count). */
typedef struct counted_keys {
    int count, key[LVSA_MAX_SOURCES];
    float plus[LVSA_MAX_SOURCES];
} counted_keys;

/* Packs up to KEYS rows of K and V and returns how many; fills up to a multiple of ROWS with
 * zeros. */
static int read_keys(key_stream *in, scratch *w, counted_keys *counted)
{
    const lvsa_attention *c = in->c;
    const size_t dim = (size_t)c->head_dim, padded = padded_dim(c);
    int keys = 0;
    counted->count = 0;
    while (keys < KEYS && find_row(in)) {
        const lvsa_source *s = &c->source[in->source];
        int64_t k = in->b * s->k_strides.batch + in->kv_h * s->k_strides.head;
        int64_t v = in->b * s->v_strides.batch + in->kv_h * s->v_strides.head;
        for (; keys < KEYS && in->used < in->run->count; keys++, in->used++) {
            int64_t row = (int64_t)in->run->start + in->used;
            unpack_row(w->k + (size_t)keys * dim, s->k, k + row * s->k_strides.token, dim,
                       c->dtype);
            unpack_row(w->v + (size_t)keys * padded, s->v, v + row * s->v_strides.token, dim,
                       c->dtype);
        }
        if (in->run->start + (int64_t)in->used == s->tokens && lv_attn_last_row_count(s) > 1) {
            counted->key[counted->count] = keys - 1;
            counted->plus[counted->count++] = log2f((float)lv_attn_last_row_count(s));
        }
        if (in->used == in->run->count) in->run++, in->runs--, in->used = 0;
    }
    for (int j = keys; j % ROWS != 0; j++) {
        memset(w->k + (size_t)j * dim, 0, dim * sizeof(float));
        memset(w->v + (size_t)j * padded, 0, padded * sizeof(float));
    }
    return keys;
}

/* Query rows row .. row + rows - 1 as [D][BLOCK] blocks, lanes past the last row zero. */
static void pack_queries(scratch *w, const lvsa_attention *c, int64_t b, int64_t h, int64_t row,
                         int rows)
{
    const size_t dim = (size_t)c->head_dim, blocks = ((size_t)rows + BLOCK - 1) / BLOCK;
    const float scale = (float)(lv_attn_scale(c) * 1.4426950408889634);
    float line[LVSA_MAX_HEAD_DIM];
    memset(w->q, 0, blocks * dim * BLOCK * sizeof(float));
    memset(w->o, 0, blocks * padded_dim(c) * BLOCK * sizeof(float));
    for (size_t i = 0; i < blocks * BLOCK; i++) w->max[i] = LOWEST, w->sum[i] = 0.0f;
    for (int i = 0; i < rows; i++) {
        int64_t at =
            b * c->q_strides.batch + (row + i) * c->q_strides.token + h * c->q_strides.head;
        unpack_row(line, c->q, at, dim, c->dtype);
        float *to = w->q + (size_t)(i / BLOCK) * dim * BLOCK + i % BLOCK;
        for (size_t d = 0; d < dim; d++) to[d * BLOCK] = line[d] * scale;
    }
}

/* ---- the three steps ------------------------------------------------------------------------ */

/* s[j][i] = sum_d k[j][d] q[d][i] for `keys` (a multiple of ROWS) keys and one block of queries. */
static void multiply_keys(float *restrict s, const float *restrict k, const float *restrict q,
                          int keys, size_t dim)
{
    for (int j = 0; j < keys; j += ROWS, k += ROWS * dim, s += ROWS * BLOCK) {
        vec sum[ROWS][COLS];
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++) sum[r][c] = v_set1(0.0f);
        for (size_t d = 0; d < dim; d++) {
            vec lanes[COLS];
            for (int c = 0; c < COLS; c++) lanes[c] = v_load(q + d * BLOCK + c * LANES);
            for (int r = 0; r < ROWS; r++) {
                vec key = v_set1(k[(size_t)r * dim + d]);
                for (int c = 0; c < COLS; c++) sum[r][c] = v_fma(key, lanes[c], sum[r][c]);
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++) v_store(s + r * BLOCK + c * LANES, sum[r][c]);
    }
}

/* The scores of keys that count more than once; log2(n) more is a weight n times as large. */
static void add_counts(float *s, const counted_keys *counted)
{
    for (int i = 0; i < counted->count; i++) {
        float *row = s + counted->key[i] * BLOCK;
        const vec plus = v_set1(counted->plus[i]);
        for (int c = 0; c < COLS; c++)
            v_store(row + c * LANES, v_add(v_load(row + c * LANES), plus));
    }
}

/* Scores to weights in place, `keys` real ones of `padded`; moves the running maximum and sum on.
 * rescale[i] = 2^(old maximum - new maximum). */
static void weigh(float *restrict s, float *restrict max, float *restrict sum, vec rescale[COLS],
                  int keys, int padded)
{
    for (int c = 0; c < COLS; c++) {
        float *column = s + c * LANES;
        vec before = v_load(max + c * LANES), now = before, total = v_set1(0.0f);
        for (int j = 0; j < keys; j++) now = v_max(now, v_load(column + j * BLOCK));
        for (int j = 0; j < keys; j++) {
            vec weight = v_exp2(v_sub(v_load(column + j * BLOCK), now));
            total = v_add(total, weight);
            v_store(column + j * BLOCK, weight);
        }
        for (int j = keys; j < padded; j++) v_store(column + j * BLOCK, v_set1(0.0f));
        rescale[c] = v_exp2(v_sub(before, now));
        v_store(max + c * LANES, now);
        v_store(sum + c * LANES, v_fma(v_load(sum + c * LANES), rescale[c], total));
    }
}

/* o[d][i] = o[d][i] * rescale[i] + sum_j v[j][d] p[j][i]; dim is a multiple of ROWS. The tile has a
 * sum of its own, added once: a thousand equal keys would otherwise all round the same way. */
static void add_values(float *restrict o, const float *restrict v, const float *restrict p,
                       const vec rescale[COLS], int keys, size_t dim)
{
    for (size_t d = 0; d < dim; d += ROWS, o += ROWS * BLOCK) {
        vec sum[ROWS][COLS];
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++) sum[r][c] = v_set1(0.0f);
        for (int j = 0; j < keys; j++) {
            vec lanes[COLS];
            for (int c = 0; c < COLS; c++) lanes[c] = v_load(p + j * BLOCK + c * LANES);
            for (int r = 0; r < ROWS; r++) {
                vec value = v_set1(v[(size_t)j * dim + d + (size_t)r]);
                for (int c = 0; c < COLS; c++) sum[r][c] = v_fma(value, lanes[c], sum[r][c]);
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++) {
                float *to = o + r * BLOCK + c * LANES;
                v_store(to, v_fma(v_load(to), rescale[c], sum[r][c]));
            }
    }
}

/* ---- one tile ------------------------------------------------------------------------------- */

static void store_row(const lvsa_attention *c, int64_t at, const float *o, float inverse)
{
    for (int64_t d = 0; d < c->head_dim; d++) {
        float value = o[d * BLOCK] * inverse;
        switch (c->dtype) {
        case LVSA_F32: ((float *)c->out)[at + d] = value; break;
        case LVSA_F16: ((uint16_t *)c->out)[at + d] = lv_f32_to_f16(value); break;
        case LVSA_BF16: ((uint16_t *)c->out)[at + d] = lv_f32_to_bf16(value); break;
        }
    }
}

static void write_out(const scratch *w, const lvsa_attention *c, int64_t b, int64_t h, int64_t row,
                      int rows)
{
    const size_t padded = padded_dim(c);
    float *lse = c->lse ? c->lse + (b * c->heads + h) * c->queries + row : NULL;
    for (int i = 0; i < rows; i++) {
        float sum = w->sum[i];
        int64_t at =
            b * c->out_strides.batch + (row + i) * c->out_strides.token + h * c->out_strides.head;
        store_row(c, at, w->o + (size_t)(i / BLOCK) * padded * BLOCK + i % BLOCK,
                  sum == 0.0f ? 0.0f : 1.0f / sum);
        if (lse) lse[i] = sum == 0.0f ? -INFINITY : (w->max[i] + log2f(sum)) * 0.69314718f;
    }
}

static void attend_tile(scratch *w, const lvsa_attention *c, int64_t b, int64_t h, int64_t row,
                        int rows)
{
    const size_t dim = (size_t)c->head_dim, padded = padded_dim(c);
    key_stream in = {.c = c,
                     .b = b,
                     .kv_h = h / (c->heads / c->kv_heads),
                     .frame = row / lv_attn_frame_rows(c),
                     .source = -1};
    pack_queries(w, c, b, h, row, rows);
    counted_keys counted;
    for (int keys; (keys = read_keys(&in, w, &counted)) > 0;) {
        int filled = (keys + ROWS - 1) / ROWS * ROWS;
        for (int i = 0; i < rows; i += BLOCK) {
            vec rescale[COLS];
            multiply_keys(w->s, w->k, w->q + (size_t)i * dim, filled, dim);
            add_counts(w->s, &counted);
            weigh(w->s, w->max + i, w->sum + i, rescale, keys, filled);
            add_values(w->o + (size_t)i * padded, w->v, w->s, rescale, keys, padded);
        }
    }
    write_out(w, c, b, h, row, rows);
}

/* ---- the kernel ----------------------------------------------------------------------------- */

static int thread_count(const lvsa_attention *c)
{
#ifdef LVSA_HAVE_OPENMP
    return c->threads > 0 ? c->threads : omp_get_max_threads();
#else
    (void)c;
    return 1;
#endif
}

static int thread_index(void)
{
#ifdef LVSA_HAVE_OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static lvsa_status workspace(size_t *bytes, const lvsa_attention *c)
{
    scratch unused;
    if (!lv_mul(bytes, place(&unused, NULL, c), (size_t)thread_count(c)))
        return lv_fail(LVSA_ERR_ARGUMENT, "%d threads: too many", c->threads);
    return LVSA_OK;
}

static lvsa_status run(const lvsa_attention *c)
{
    /* Tiles of equal size that don't cross frames. */
    const int64_t rows = lv_attn_frame_rows(c), frames = c->queries / rows;
    const int64_t tiles = (rows + TILE - 1) / TILE;
    const int64_t tile_rows = (rows + tiles - 1) / tiles;
    const int64_t count = c->batch * c->heads * frames * tiles;
#ifdef LVSA_HAVE_OPENMP
    /* Waking threads costs some ten microseconds: a small call does without. */
    double products = (double)(c->batch * c->heads * c->queries) * (double)c->head_dim;
    int64_t keys = 0;
    for (int i = 0; i < c->sources; i++) keys += c->source[i].tokens;
    const int threads = products * (double)keys < 1e6 ? 1 : thread_count(c);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
#endif
    for (int64_t i = 0; i < count; i++) {
        scratch w;
        size_t bytes = place(&w, NULL, c);
        place(&w, (char *)c->workspace + (size_t)thread_index() * bytes, c);
        int64_t tile = i % tiles, frame = i / tiles % frames, h = i / (tiles * frames) % c->heads;
        int64_t first = tile * tile_rows, last = first + tile_rows;
        if (last > rows) last = rows;
        attend_tile(&w, c, i / (tiles * frames * c->heads), h, frame * rows + first,
                    (int)(last - first));
    }
    return LVSA_OK;
}

const lv_attn_kernel KERNEL = {.name = NAME, .workspace = workspace, .run = run};
