/* wan.c: the decoder of Wan 2.1's VAE.
 *
 *     x [Y, X, 384] = conv_in(post_quant(z))           widths of the published one, base 96
 *     x = res(attention(res(x)))                        mid block, attention within a frame
 *     per level:  x = res(res(res(x)))                  Y, X, width at the end of the level:
 *                 frames twice (levels 0 and 1)         2Y, 2X, 192
 *                 picture twice (levels 0, 1 and 2)     4Y, 4X, 192
 *     frame = conv_out(silu(norm(x)))                   8Y, 8X, 96; 8Y, 8X, 96 -> 3
 *
 *     res(x) = conv2(silu(norm2(conv1(silu(norm1 x))))) + shortcut(x)
 *
 * Every conv of three frames is causal: it sees its frame and its last two inputs, zeros before
 * the first. diffusers (models/autoencoders/autoencoder_kl_wan.py) takes the frames of a latent
 * through a level together; here each goes all the way to its pixels before the next one starts,
 * which is the same sums with a quarter of the scratch. The first latent frame skips time_conv,
 * which neither doubles nor remembers it. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/runtime/params.h"
#include "flow/vae/vae.h"
#include "flow/vae/wan_config.h"

enum { PAST = 2 /* frames that a causal conv remembers */, RINGS = 4 * LV_VAE_LEVELS };

/* The last inputs of the n causal convs that take frames of one size. Each takes one for every
 * frame of its level, always in the same order, so the inputs follow each other in one ring of 2n +
 * 1 frames: input s goes into slot s mod (2n + 1), where input s - 2n - 1 was, which nobody needs.
 * The two inputs before it of the same conv are s - n and s - 2n. So a conv's input is written
 * where it will be remembered, and no frame is ever copied. */
typedef struct ring {
    int64_t width, scale; /* channels; the picture's height and width in latents' */
    int64_t convs;        /* n                                                    */
} ring;

typedef struct conv {
    lv_param weight, bias; /* [O, I, kt, ky, kx], [O]            */
    int ring, place;       /* of a causal one, and which of its n */
} conv;

/* in and out widths I and O */
typedef struct res {
    lv_param norm1, norm2; /* [I], [O]                            */
    conv conv1, conv2;     /* 3 x 3 x 3: I to O, O to O           */
    conv shortcut;         /* 1 x 1 x 1, only where I isn't O     */
} res;

typedef struct attention {
    lv_param norm;                  /* [C]                           */
    lv_param qkv, qkv_bias;         /* [3C, C, 1, 1], [3C]: q, k, v  */
    lv_param project, project_bias; /* [C, C, 1, 1], [C]             */
} attention;

typedef struct level {
    int64_t in, out; /* widths of the first res and of all others         */
    res *res;        /* [res_blocks]                                      */
    bool grows;      /* Y and X become twice as much, the width half      */
    bool doubles;    /* frames too                                        */
    conv time_conv;  /* 3 x 1 x 1, out to 2*out                           */
    conv resample;   /* 3 x 3, out to out/2                               */
} level;

typedef struct wan {
    lv_vae base;
    int64_t width;      /* of the mid block                                 */
    int64_t res_blocks; /* of a level                                       */
    ring ring[RINGS];
    int rings;
    int levels;
    lv_weights *weights;
    lv_params *params;
    void *statistics; /* of the device: scale and shift                   */

    conv post_quant, conv_in, conv_out;
    res mid[2];
    attention attention;
    level level[LV_VAE_LEVELS];
    lv_param norm_out;
    res *blocks; /* of all levels */
} wan;

/* ---- the list of weights --------------------------------------------------------------------- */

#define CONV(name, type, member, shape, width)                                                     \
    {name ".weight", shape, LV_PARAM(type, member.weight), NULL},                                  \
    {                                                                                              \
        name ".bias", width, LV_PARAM(type, member.bias), NULL                                     \
    }

static const lv_weight_spec res_specs[] = {
    {"norm1.gamma", "[I, 1, 1, 1]", LV_PARAM(res, norm1), NULL},
    CONV("conv1", res, conv1, "[O, I, 3, 3, 3]", "[O]"),
    {"norm2.gamma", "[O, 1, 1, 1]", LV_PARAM(res, norm2), NULL},
    CONV("conv2", res, conv2, "[O, O, 3, 3, 3]", "[O]"),
};

static const lv_weight_spec shortcut_specs[] = {
    CONV("conv_shortcut", res, shortcut, "[O, I, 1, 1, 1]", "[O]"),
};

static const lv_weight_spec attention_specs[] = {
    {"norm.gamma", "[O, 1, 1]", LV_PARAM(attention, norm), NULL},
    {"to_qkv.weight", "[3O, O, 1, 1]", LV_PARAM(attention, qkv), NULL},
    {"to_qkv.bias", "[3O]", LV_PARAM(attention, qkv_bias), NULL},
    {"proj.weight", "[O, O, 1, 1]", LV_PARAM(attention, project), NULL},
    {"proj.bias", "[O]", LV_PARAM(attention, project_bias), NULL},
};

static const lv_weight_spec time_conv_specs[] = {
    CONV("time_conv", level, time_conv, "[2O, O, 3, 1, 1]", "[2O]"),
};

static const lv_weight_spec resample_specs[] = {
    CONV("resample.1", level, resample, "[I, O, 3, 3]", "[I]"),
};

static const lv_weight_spec in_specs[] = {
    CONV("post_quant_conv", wan, post_quant, "[I, I, 1, 1, 1]", "[I]"),
    CONV("decoder.conv_in", wan, conv_in, "[O, I, 3, 3, 3]", "[O]"),
};

static const lv_weight_spec out_specs[] = {
    {"decoder.norm_out.gamma", "[I, 1, 1, 1]", LV_PARAM(wan, norm_out), NULL},
    CONV("decoder.conv_out", wan, conv_out, "[O, I, 3, 3, 3]", "[O]"),
};

/* Of the encoder. */
static const char *const unused[] = {"encoder.*", "quant_conv.*", NULL};

#define SPECS(list) list, sizeof list / sizeof list[0]

/* One structure's weights, of widths I and O. */
static lvsa_status load_group(wan *m, void *to, const lv_weight_spec *specs, size_t count,
                              const char *prefix, int64_t in, int64_t out)
{
    const lv_dims dims = {.of = {['I'] = (size_t)in, ['O'] = (size_t)out}};
    const lv_weight_group g = {.specs = specs,
                               .spec_count = count,
                               .dims = &dims,
                               .prefix = prefix,
                               .repeat = 1,
                               .to = to};
    return lv_params_load(m->params, m->weights, &g, m->base.device->dtype);
}

/* Gives a causal conv its place in a ring. A level's first frame skips its time_conv, which so has
 * a ring of its own: its inputs are counted otherwise than the level's. Nobody else finds it, as
 * the ring of the level's last conv, of the same size, comes first. */
static void remember(wan *m, conv *c, int64_t width, int64_t scale, bool alone)
{
    c->ring = alone ? m->rings : 0;
    while (c->ring < m->rings &&
           (m->ring[c->ring].width != width || m->ring[c->ring].scale != scale))
        c->ring++;
    if (c->ring == m->rings) m->ring[m->rings++] = (ring){.width = width, .scale = scale};
    c->place = (int)m->ring[c->ring].convs++;
}

static lvsa_status load_res(wan *m, res *r, const char *prefix, int64_t in, int64_t out,
                            int64_t scale)
{
    remember(m, &r->conv1, in, scale, false);
    remember(m, &r->conv2, out, scale, false);
    LV_TRY(load_group(m, r, SPECS(res_specs), prefix, in, out));
    return in == out ? LVSA_OK : load_group(m, r, SPECS(shortcut_specs), prefix, in, out);
}

static lvsa_status load_level(wan *m, int index, int64_t scale)
{
    level *l = &m->level[index];
    char prefix[64];
    l->res = m->blocks + index * m->res_blocks;
    for (int64_t i = 0; i < m->res_blocks; i++) {
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.resnets.%d.", index, (int)i);
        LV_TRY(load_res(m, &l->res[i], prefix, i ? l->out : l->in, l->out, scale));
    }
    snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.upsamplers.0.", index);
    if (l->doubles) {
        remember(m, &l->time_conv, l->out, scale, true);
        LV_TRY(load_group(m, l, SPECS(time_conv_specs), prefix, l->out, l->out));
    }
    return l->grows ? load_group(m, l, SPECS(resample_specs), prefix, l->out / 2, l->out) : LVSA_OK;
}

static lvsa_status load(wan *m)
{
    const level *last = &m->level[m->levels - 1];
    int64_t scale = 1;
    remember(m, &m->conv_in, m->base.channels, scale, false);
    LV_TRY(load_group(m, m, SPECS(in_specs), "", m->base.channels, m->width));
    LV_TRY(load_res(m, &m->mid[0], "decoder.mid_block.resnets.0.", m->width, m->width, scale));
    LV_TRY(load_group(m, &m->attention, SPECS(attention_specs), "decoder.mid_block.attentions.0.",
                      m->width, m->width));
    LV_TRY(load_res(m, &m->mid[1], "decoder.mid_block.resnets.1.", m->width, m->width, scale));
    for (int i = 0; i < m->levels; i++) {
        LV_TRY(load_level(m, i, scale));
        if (m->level[i].grows) scale *= 2;
    }
    remember(m, &m->conv_out, last->out, scale, false);
    LV_TRY(load_group(m, m, SPECS(out_specs), "", last->out, 3));
    m->base.unknown = lv_weights_count_unknown(&m->base.unknown_name, m->weights, unused);
    return LVSA_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The decoder's levels run the other way: from the latents to the picture. */
static void apply(wan *m, const lv_vae_wan_config *c)
{
    int64_t width = c->base * c->multiple[c->levels - 1];
    m->width = width;
    m->levels = (int)c->levels;
    m->res_blocks = c->res_blocks + 1;
    m->base.channels = c->channels;
    m->base.spatial = m->base.temporal = 1;
    for (int64_t i = 0; i < c->levels; i++) {
        level *l = &m->level[i];
        l->in = width;
        l->out = c->base * c->multiple[c->levels - 1 - i];
        l->grows = i < c->levels - 1;
        l->doubles = l->grows && c->halves[c->levels - 2 - i];
        width = l->out / 2;
        m->base.spatial *= l->grows ? 2 : 1;
        m->base.temporal *= l->doubles ? 2 : 1;
    }
}

/* Latents are normalized: they come back as latent * deviation + mean. */
static lvsa_status upload_statistics(wan *m, const lv_vae_wan_config *c)
{
    float host[2 * LV_VAE_CHANNELS];
    const size_t count = (size_t)c->channels, bytes = 2 * count * sizeof *host;
    lv_device *device = m->base.device;
    for (size_t i = 0; i < count; i++) {
        host[i] = (float)c->deviation[i];
        host[count + i] = (float)c->mean[i];
    }
    LV_TRY(device->allocate(device, &m->statistics, bytes));
    LV_TRY(device->upload(device, m->statistics, host, bytes));
    m->base.scale = lv_tensor_view(m->statistics, LVSA_F32, 1, &c->channels);
    m->base.shift = lv_tensor_view((float *)m->statistics + count, LVSA_F32, 1, &c->channels);
    return LVSA_OK;
}

static lvsa_status configure(wan *m, const char *directory)
{
    lv_vae_wan_config c;
    LV_TRY(lv_vae_wan_config_read(&c, directory));
    apply(m, &c);
    m->blocks = lv_zalloc_array((size_t)(m->levels * m->res_blocks), sizeof *m->blocks);
    if (!m->blocks) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its blocks", directory);
    return upload_statistics(m, &c);
}

static void wan_close(lv_vae *vae)
{
    wan *m = (wan *)vae;
    if (m->statistics) vae->device->release(vae->device, m->statistics);
    lv_params_free(&m->params);
    lv_weights_close(&m->weights);
    lv_free(m->blocks);
    lv_free(m);
}

static lvsa_status wan_open(lv_vae **out, lv_device *device, const char *directory)
{
    wan *m = lv_zalloc(sizeof *m);
    if (!m) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a VAE", directory);
    m->base = (lv_vae){.class = &lv_vae_wan_class, .device = device};
    lvsa_status s = configure(m, directory);
    if (s == LVSA_OK) s = lv_weights_open(&m->weights, directory, NULL);
    if (s == LVSA_OK) s = lv_params_create(&m->params, device);
    if (s == LVSA_OK) s = load(m);
    if (s != LVSA_OK) wan_close(&m->base);
    else *out = &m->base;
    return s;
}

/* ---- a step ---------------------------------------------------------------------------------- */

typedef struct pass {
    const wan *m;
    lv_exec *e;
    const lv_vae_step *step;
    int64_t height, width; /* Y, X of the latents that are this rank's own */
    int64_t first;         /* number of the step's first frame             */
} pass;

/* All frames of a pass are [1, y, x, c]; they are counted from 0 at each level, over all steps. */

static lvsa_status take_like(lv_tensor *out, const pass *p, lv_tensor x, int64_t frames,
                             int64_t channels)
{
    return lv_take(out, p->e, p->e->dtype, 4, LV_SHAPE(frames, x.shape[1], x.shape[2], channels));
}

static lvsa_status probe(const pass *p, const char *stage, int index, lv_tensor frame)
{
    const lv_vae_probe *probe = &p->m->base.probe;
    return probe->call && !p->e->arena.measuring ? probe->call(probe->user, stage, index, frame)
                                                 : LVSA_OK;
}

static int64_t count_slots(const ring *r) { return PAST * r->convs + 1; }

/* Numbers of one of them, of Y x X latents and `beyond` rows of others. */
static int64_t count_numbers(const ring *r, int64_t height, int64_t width, int64_t beyond)
{
    return r->width * (r->scale * height + beyond) * r->scale * width;
}

/* Of the first `rings` rings, which lie one behind the other. */
static int64_t count_past(const wan *m, int rings, int64_t height, int64_t width, int64_t beyond)
{
    int64_t numbers = 0;
    for (const ring *r = m->ring; r < m->ring + rings; r++)
        numbers += count_slots(r) * count_numbers(r, height, width, beyond);
    return numbers;
}

/* The input of a causal conv for frame `number` of its level, `back` frames ago: [1, y, x, c],
 * where it is remembered. */
static lv_tensor input(const pass *p, const conv *c, int64_t number, int64_t back)
{
    const ring *r = &p->m->ring[c->ring];
    const int64_t slots = count_slots(r), beyond = lv_rows_beyond(p->step->rows);
    const int64_t slot = ((number - back) * r->convs + c->place + slots) % slots;
    const int64_t at = count_past(p->m, c->ring, p->height, p->width, beyond) +
                       slot * count_numbers(r, p->height, p->width, beyond);
    lv_tensor t =
        lv_tensor_view(NULL, p->e->dtype, 4,
                       LV_SHAPE(1, p->height * r->scale + beyond, p->width * r->scale, r->width));
    if (!p->e->arena.measuring)
        t.data = (char *)p->step->past.data + (size_t)at * lv_dtype_bytes(t.dtype);
    return t;
}

/* out = causal conv of its input for this frame, which has been written; out += where `add`. */
static lvsa_status causal(const pass *p, lv_tensor out, const conv *c, int64_t number, bool add)
{
    const lv_tensor in[] = {input(p, c, number, 2), input(p, c, number, 1), input(p, c, number, 0)};
    return lv_op_conv(p->e, out, in, c->weight.t, c->bias.t, add);
}

/* out = causal conv of silu(norm(x)), or out += . */
static lvsa_status norm_conv(const pass *p, lv_tensor out, lv_tensor x, const lv_param *norm,
                             const conv *c, int64_t number, bool add)
{
    const lv_tensor in = input(p, c, number, 0);
    LV_TRY(lv_op_channel_norm(p->e, in, x, norm->t, LV_SILU));
    LV_TRY(lv_rows_look(p->step->rows, p->e, in));
    return causal(p, out, c, number, add);
}

/* y = res(x); y is x where the width stays. */
static lvsa_status run_res(const pass *p, lv_tensor y, lv_tensor x, const res *r, int64_t number)
{
    const size_t mark = lv_arena_mark(&p->e->arena);
    lv_tensor h;
    LV_TRY(take_like(&h, p, y, 1, y.shape[3]));
    LV_TRY(norm_conv(p, h, x, &r->norm1, &r->conv1, number, false));
    if (r->shortcut.weight.t.rank)
        LV_TRY(lv_op_conv(p->e, y, &x, r->shortcut.weight.t, r->shortcut.bias.t, false));
    LV_TRY(norm_conv(p, y, h, &r->norm2, &r->conv2, number, true));
    lv_arena_release(&p->e->arena, mark);
    return LVSA_OK;
}

/* Keys or values of the whole frame from those of this rank's rows. */
static lvsa_status gather_points(lv_tensor *t, const pass *p)
{
    const lv_rows *rows = p->step->rows;
    const lv_tensor own = *t;
    if (!rows) return LVSA_OK;
    LV_TRY(lv_take(t, p->e, p->e->dtype, 2, LV_SHAPE(rows->all * p->width, own.shape[1])));
    return lv_rows_gather(rows, p->e, *t, own);
}

/* x += project(attention(q n, k n, v n)), n = norm(x): one head as wide as x, over the points of
 * the frame. */
static lvsa_status run_attention(const pass *p, lv_tensor x)
{
    const attention *a = &p->m->attention;
    const int64_t width = x.shape[3], points = p->height * p->width;
    const lv_tensor rows = lv_tensor_matrix(lv_rows_own(p->step->rows, x), points, width);
    const lv_tensor none = {0};
    const size_t mark = lv_arena_mark(&p->e->arena);
    lv_tensor n, part[3];
    LV_TRY(lv_take(&n, p->e, p->e->dtype, 2, LV_SHAPE(points, width)));
    LV_TRY(lv_op_channel_norm(p->e, n, rows, a->norm.t, LV_LINEAR));
    for (int i = 0; i < 3; i++) {
        lv_tensor weight = lv_tensor_matrix(a->qkv.t, 3 * width, width);
        LV_TRY(lv_take(&part[i], p->e, p->e->dtype, 2, LV_SHAPE(points, width)));
        LV_TRY(lv_op_linear(p->e, part[i], n, lv_tensor_rows(weight, i * width, width),
                            lv_tensor_rows(a->qkv_bias.t, i * width, width), LV_LINEAR));
    }
    LV_TRY(gather_points(&part[1], p));
    LV_TRY(gather_points(&part[2], p));
    LV_TRY(lv_op_attention_picture(p->e, n, part[0], part[1], part[2]));
    LV_TRY(lv_op_linear_add(p->e, rows, n, lv_tensor_matrix(a->project.t, width, width),
                            a->project_bias.t, none));
    lv_arena_release(&p->e->arena, mark);
    return LVSA_OK;
}

static lvsa_status run_out(const pass *p, lv_tensor x, int64_t number)
{
    return norm_conv(p, lv_tensor_rows(p->step->frames, number - p->first, 1), x, &p->m->norm_out,
                     &p->m->conv_out, number, false);
}

static lvsa_status run_level(const pass *p, int index, lv_tensor x, int64_t number);

/* A frame at the end of a level: to twice the size, and on. */
static lvsa_status run_resample(const pass *p, int index, lv_tensor x, int64_t number)
{
    const level *l = &p->m->level[index];
    const lv_rows *rows = p->step->rows;
    const lv_tensor small = lv_rows_own(rows, x);
    const int64_t height = 2 * small.shape[1] + lv_rows_beyond(rows), width = 2 * x.shape[2];
    lv_tensor y, large;
    LV_TRY(lv_take(&y, p->e, p->e->dtype, 4, LV_SHAPE(1, height, width, l->out / 2)));
    const size_t mark = lv_arena_mark(&p->e->arena);
    LV_TRY(lv_take(&large, p->e, p->e->dtype, 4, LV_SHAPE(1, height, width, l->out)));
    LV_TRY(lv_op_upsample(p->e, lv_rows_own(rows, large), small));
    LV_TRY(lv_rows_look(rows, p->e, large));
    LV_TRY(lv_op_conv(p->e, y, &large, l->resample.weight.t, l->resample.bias.t, false));
    lv_arena_release(&p->e->arena, mark);
    LV_TRY(probe(p, "up", index, y));
    return run_level(p, index + 1, y, number);
}

/* Two frames of one, each of which goes on by itself. */
static lvsa_status run_time_conv(const pass *p, int index, lv_tensor x, int64_t number)
{
    const level *l = &p->m->level[index];
    lv_tensor frames, halves;
    LV_TRY(take_like(&frames, p, x, 2, l->out));
    const size_t mark = lv_arena_mark(&p->e->arena);
    LV_TRY(take_like(&halves, p, x, 1, 2 * l->out));
    LV_TRY(lv_op_copy(p->e, input(p, &l->time_conv, number, 0), x));
    LV_TRY(causal(p, halves, &l->time_conv, number, false));
    LV_TRY(lv_op_split_frames(p->e, frames, halves));
    for (int i = 0; i < 2; i++) {
        lv_arena_release(&p->e->arena, mark);
        LV_TRY(run_resample(p, index, lv_tensor_rows(frames, i, 1), 2 * number - 1 + i));
    }
    return LVSA_OK;
}

/* Frame `number` from this level's input to its pixels; x is overwritten. */
static lvsa_status run_level(const pass *p, int index, lv_tensor x, int64_t number)
{
    if (index == p->m->levels) return run_out(p, x, number);
    const level *l = &p->m->level[index];
    const size_t mark = lv_arena_mark(&p->e->arena);
    lv_tensor y = x;
    if (l->in != l->out) LV_TRY(take_like(&y, p, x, 1, l->out));
    LV_TRY(run_res(p, y, x, &l->res[0], number));
    for (int64_t i = 1; i < p->m->res_blocks; i++) LV_TRY(run_res(p, y, y, &l->res[i], number));
    if (l->doubles && number > 0) LV_TRY(run_time_conv(p, index, y, number));
    else if (l->grows) LV_TRY(run_resample(p, index, y, number));
    else {
        LV_TRY(probe(p, "up", index, y));
        LV_TRY(run_level(p, index + 1, y, number));
    }
    lv_arena_release(&p->e->arena, mark);
    return LVSA_OK;
}

static lvsa_status wan_step(lv_vae *vae, lv_exec *e, const lv_vae_step *step)
{
    const wan *m = (const wan *)vae;
    const int64_t t = step->t;
    const pass p = {.m = m,
                    .e = e,
                    .step = step,
                    .height = step->latent.shape[1] - lv_rows_beyond(step->rows),
                    .width = step->latent.shape[2],
                    .first = t ? 1 + vae->temporal * (t - 1) : 0};
    const lv_tensor in = input(&p, &m->conv_in, t, 0);
    lv_tensor x;
    LV_TRY(take_like(&x, &p, step->latent, 1, m->width));
    LV_TRY(lv_op_conv(e, in, &step->latent, m->post_quant.weight.t, m->post_quant.bias.t, false));
    LV_TRY(probe(&p, "post_quant", 0, in));
    LV_TRY(causal(&p, x, &m->conv_in, t, false));
    LV_TRY(probe(&p, "conv_in", 0, x));
    LV_TRY(run_res(&p, x, x, &m->mid[0], t));
    LV_TRY(run_attention(&p, x));
    LV_TRY(run_res(&p, x, x, &m->mid[1], t));
    LV_TRY(probe(&p, "mid_block", 0, x));
    return run_level(&p, 0, x, t);
}

static int64_t wan_past(const lv_vae *vae, int64_t height, int64_t width, int64_t beyond)
{
    const wan *m = (const wan *)vae;
    return count_past(m, m->rings, height, width, beyond);
}

const lv_vae_class lv_vae_wan_class = {
    .name = "AutoencoderKLWan",
    .open = wan_open,
    .close = wan_close,
    .past = wan_past,
    .step = wan_step,
};
