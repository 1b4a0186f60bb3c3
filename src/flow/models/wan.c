/* wan.c: the diffusion transformer of Wan 2.1 (and of each expert of Wan 2.2 A14B).
 *
 *     x [S, E] = patches of z                             S = T*P tokens in t, y, x order
 *     e [6, E] = table + linear(silu(time embedding))     shift, scale, gate, shift', scale', gate'
 *     per block:  n = layer_norm(x) * (1 + scale) + shift
 *                 x += gate * out(attention(rope(norm(q n)), rope(norm(k n)), v n))    sparse here
 *                 x += out(attention(norm(q layer_norm(x)), text))                     always dense
 *                 n = layer_norm(x) * (1 + scale') + shift'
 *                 x += gate' * down(gelu(up n))
 *     velocity = patches back of linear(layer_norm(x) * (1 + scale) + shift)
 *
 * Norms, tables and the time embedding are f32 on every device, as in diffusers
 * (models/transformers/transformer_wan.py); docs/MODEL-wan.md has the whole.
 *
 * Memory: x, q, k, v and the attention's output are the only [S, E] buffers; everything else goes
 * over as many tokens at a time as the device likes. The text's keys and values are computed once
 * for a prompt.
 *
 * fp8: all matrices of the blocks are e4m3, 98 % of the weights and nearly all of the dense layers'
 * work, and so is what they multiply. Patches, time, text and head stay as they are: all blocks
 * build on them, and they cost nothing. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/parallel/sequence.h"
#include "engine/runtime/params.h"
#include "engine/runtime/rope.h"
#include "flow/models/model.h"

enum { TIME_WIDTH = 256, TEXT_ROWS = 512 };

/* Queries, keys and values of one attention, and its output. */
typedef struct attention {
    lv_param q, k, v, out;                     /* [E, E]                       */
    lv_param q_bias, k_bias, v_bias, out_bias; /* [E]                          */
    lv_param q_norm, k_norm;                   /* [E], over all heads together */
} attention;

typedef struct block {
    attention self, cross;
    lv_param cross_norm, cross_norm_bias; /* [E]                                     */
    lv_param up, up_bias;                 /* [F, E], [F]                             */
    lv_param down, down_bias;             /* [E, F], [E]                             */
    lv_param table;                       /* [1, 6, E]: shift, scale, gate, twice    */
    lv_tensor text_k[LV_MODEL_TEXTS];     /* [rows of the text, E] each              */
    lv_tensor text_v[LV_MODEL_TEXTS];
} block;

typedef struct wan {
    lv_model base;
    int64_t width, ff; /* E, F */
    lvsa_dtype dense;  /* of the blocks' matrices and of what they multiply */
    double eps;
    lv_weights *weights;
    lv_params *params;

    lv_param patch, patch_bias;              /* [E, C, 1, py, px] in the file, [E]      */
    lv_param time1, time1_bias;              /* [E, 256], f32                           */
    lv_param time2, time2_bias;              /* [E, E], f32                             */
    lv_param time_out, time_out_bias;        /* [6E, E]                                 */
    lv_param text1, text1_bias;              /* [E, text width]                         */
    lv_param text2, text2_bias;              /* [E, E]                                  */
    lv_param head, head_bias;                /* [C*py*px, E]                            */
    lv_param head_table;                     /* [1, 2, E]: shift, scale                 */
    block *blocks;                           /* [layers]                                */
    void *text_memory;                       /* of all text_k and text_v                */
    int64_t text_last_count[LV_MODEL_TEXTS]; /* how often the last row of each counts */
    lv_rope_tables rope;                     /* of the last video                       */
} wan;

/* ---- the list of weights --------------------------------------------------------------------- */

/* clang-format off */
#define ATTENTION(name, member)                                                                    \
    {name ".to_q.weight", "[E, E]", LV_PARAM(block, member.q), NULL},                              \
    {name ".to_q.bias", "[E]", LV_PARAM(block, member.q_bias), NULL},                              \
    {name ".to_k.weight", "[E, E]", LV_PARAM(block, member.k), NULL},                              \
    {name ".to_k.bias", "[E]", LV_PARAM(block, member.k_bias), NULL},                              \
    {name ".to_v.weight", "[E, E]", LV_PARAM(block, member.v), NULL},                              \
    {name ".to_v.bias", "[E]", LV_PARAM(block, member.v_bias), NULL},                              \
    {name ".to_out.0.weight", "[E, E]", LV_PARAM(block, member.out), NULL},                        \
    {name ".to_out.0.bias", "[E]", LV_PARAM(block, member.out_bias), NULL},                        \
    {name ".norm_q.weight", "[E]", LV_PARAM(block, member.q_norm), NULL},                          \
    {name ".norm_k.weight", "[E]", LV_PARAM(block, member.k_norm), NULL}
/* clang-format on */

static const lv_weight_spec block_specs[] = {
    ATTENTION("attn1", self),
    ATTENTION("attn2", cross),
    {"norm2.weight", "[E]", LV_PARAM(block, cross_norm), NULL},
    {"norm2.bias", "[E]", LV_PARAM(block, cross_norm_bias), NULL},
    {"ffn.net.0.proj.weight", "[F, E]", LV_PARAM(block, up), NULL},
    {"ffn.net.0.proj.bias", "[F]", LV_PARAM(block, up_bias), NULL},
    {"ffn.net.2.weight", "[E, F]", LV_PARAM(block, down), NULL},
    {"ffn.net.2.bias", "[E]", LV_PARAM(block, down_bias), NULL},
    {"scale_shift_table", "[1, 6, E]", LV_PARAM(block, table), NULL},
};

static const lv_weight_spec time_specs[] = {
    {"time_embedder.linear_1.weight", "[E, 256]", LV_PARAM(wan, time1), NULL},
    {"time_embedder.linear_1.bias", "[E]", LV_PARAM(wan, time1_bias), NULL},
    {"time_embedder.linear_2.weight", "[E, E]", LV_PARAM(wan, time2), NULL},
    {"time_embedder.linear_2.bias", "[E]", LV_PARAM(wan, time2_bias), NULL},
};

static const lv_weight_spec condition_specs[] = {
    {"time_proj.weight", "[6E, E]", LV_PARAM(wan, time_out), NULL},
    {"time_proj.bias", "[6E]", LV_PARAM(wan, time_out_bias), NULL},
    {"text_embedder.linear_1.weight", "[E, T]", LV_PARAM(wan, text1), NULL},
    {"text_embedder.linear_1.bias", "[E]", LV_PARAM(wan, text1_bias), NULL},
    {"text_embedder.linear_2.weight", "[E, E]", LV_PARAM(wan, text2), NULL},
    {"text_embedder.linear_2.bias", "[E]", LV_PARAM(wan, text2_bias), NULL},
};

static const lv_weight_spec top_specs[] = {
    {"patch_embedding.weight", "[E, C, 1, P, P]", LV_PARAM(wan, patch), NULL},
    {"patch_embedding.bias", "[E]", LV_PARAM(wan, patch_bias), NULL},
    {"proj_out.weight", "[O, E]", LV_PARAM(wan, head), NULL},
    {"proj_out.bias", "[O]", LV_PARAM(wan, head_bias), NULL},
    {"scale_shift_table", "[1, 2, E]", LV_PARAM(wan, head_table), NULL},
};

/* Of checkpoints that also take an image. */
static const char *const unused[] = {"condition_embedder.image_embedder.*", "*.attn2.add_k_proj.*",
                                     "*.attn2.add_v_proj.*", "*.attn2.norm_added_k.*", NULL};

#define SPECS(list) .specs = list, .spec_count = sizeof list / sizeof list[0]

static lvsa_status load(wan *m)
{
    const lvsa_dtype dtype = m->base.device->dtype;
    const size_t E = (size_t)m->width, P = (size_t)m->base.patch, C = (size_t)m->base.channels;
    lv_dims dims = {.of = {['E'] = E,
                           ['F'] = (size_t)m->ff,
                           ['T'] = (size_t)m->base.text_width,
                           ['C'] = C,
                           ['P'] = P,
                           ['O'] = C * P * P}};
    lv_weight_group g = {SPECS(top_specs), .dims = &dims, .prefix = "",
                         .repeat = 1,      .to = m,       .stride = sizeof *m};
    lv_weight_group time = {SPECS(time_specs), .dims = &dims, .prefix = "condition_embedder.",
                            .repeat = 1,       .to = m,       .stride = sizeof *m};
    lv_weight_group condition = time;
    condition.specs = condition_specs;
    condition.spec_count = sizeof condition_specs / sizeof condition_specs[0];
    lv_weight_group blocks = {SPECS(block_specs),     .dims = &dims,
                              .prefix = "blocks.%d.", .repeat = (int)m->base.layers,
                              .to = m->blocks,        .stride = sizeof *m->blocks};
    LV_TRY(lv_params_load(m->params, m->weights, &g, dtype));
    LV_TRY(lv_params_load(m->params, m->weights, &time, LVSA_F32));
    LV_TRY(lv_params_load(m->params, m->weights, &condition, dtype));
    LV_TRY(m->base.device->offload
               ? lv_params_load_in_turns(m->params, m->weights, &blocks, m->dense)
               : lv_params_load(m->params, m->weights, &blocks, m->dense));
    m->base.unknown = lv_weights_count_unknown(&m->base.unknown_name, m->weights, unused);
    return LVSA_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Pairs of a head's elements that turn with y, and with x; the rest turns with t. */
static int64_t axis_pairs(int64_t head_dim) { return head_dim / 6; }

/* [1, n, n]; what isn't there stays as it is. */
static lvsa_status read_patch(int64_t *patch, const json_t *value, const char *path)
{
    if (!value || json_is_null(value)) return LVSA_OK;
    const json_int_t t = json_integer_value(json_array_get(value, 0));
    const json_int_t y = json_integer_value(json_array_get(value, 1));
    const json_int_t x = json_integer_value(json_array_get(value, 2));
    if (json_array_size(value) != 3 || t != 1 || y != x || y < 1 || y > 16)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"patch_size\": [1, n, n] is wanted, n 1 to 16",
                       path);
    *patch = y;
    return LVSA_OK;
}

/* What diffusers' class computes otherwise where its config says so. */
static lvsa_status check_kind(const json_t *root, const char *path)
{
    static const char *const images[] = {"image_dim", "added_kv_proj_dim"};
    const char *class_name = "WanTransformer3DModel", *norm = "rms_norm_across_heads";
    bool cross_norm = true;
    LV_TRY(lv_json_get_string(&class_name, root, "_class_name", path));
    LV_TRY(lv_json_get_string(&norm, root, "qk_norm", path));
    LV_TRY(lv_json_get_bool(&cross_norm, root, "cross_attn_norm", path));
    if (strcmp(class_name, "WanTransformer3DModel") != 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s: \"_class_name\" is \"%.64s\"; WanTransformer3DModel is wanted", path,
                       class_name);
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        if (json_is_integer(json_object_get(root, images[i])))
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "%s: \"%s\" is %lld: a model that wants a picture; one of text to video "
                           "is wanted",
                           path, images[i],
                           (long long)json_integer_value(json_object_get(root, images[i])));
    if (strcmp(norm, "rms_norm_across_heads") != 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "%s: \"qk_norm\" is \"%.64s\"; rms_norm_across_heads is wanted", path, norm);
    return cross_norm ? LVSA_OK
                      : lv_fail(LVSA_ERR_UNSUPPORTED,
                                "%s: \"cross_attn_norm\" is false; true is wanted", path);
}

static lvsa_status read_config(wan *m, const char *directory)
{
    enum { MOST = 1 << 20 };
    char path[4096];
    json_t *root;
    int64_t out_channels = 0;
    lv_model *b = &m->base;
    LV_TRY(lv_json_load_in(&root, path, sizeof path, directory, "config.json"));
    lvsa_status s = check_kind(root, path);
    if (s == LVSA_OK) s = lv_json_get_int(&b->channels, root, "in_channels", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&out_channels, root, "out_channels", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&b->layers, root, "num_layers", 1, 1000, path);
    if (s == LVSA_OK) s = lv_json_get_int(&b->heads, root, "num_attention_heads", 1, MOST, path);
    if (s == LVSA_OK)
        s = lv_json_get_int(&b->head_dim, root, "attention_head_dim", 6, LVSA_MAX_HEAD_DIM, path);
    if (s == LVSA_OK) s = lv_json_get_int(&m->ff, root, "ffn_dim", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&b->text_width, root, "text_dim", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_double(&m->eps, root, "eps", path);
    if (s == LVSA_OK && !(m->eps > 0.0 && m->eps < 1.0))
        s = lv_fail(LVSA_ERR_FORMAT, "%s: \"eps\" is %g; a number between 0 and 1 is wanted", path,
                    m->eps);
    if (s == LVSA_OK) s = read_patch(&b->patch, json_object_get(root, "patch_size"), path);
    if (s == LVSA_OK && out_channels && out_channels != b->channels)
        s = lv_fail(LVSA_ERR_UNSUPPORTED,
                    "%s: %lld channels in and %lld out: not a text-to-video model", path,
                    (long long)b->channels, (long long)out_channels);
    if (s == LVSA_OK && b->head_dim % 2 != 0)
        s = lv_fail(LVSA_ERR_FORMAT, "%s: \"attention_head_dim\" %lld: an even number is wanted",
                    path, (long long)b->head_dim);
    m->width = b->heads * b->head_dim;
    b->temporal_pairs = b->head_dim / 2 - 2 * axis_pairs(b->head_dim);
    json_decref(root);
    return s;
}

/* Keys and values of both texts in one piece of device memory. */
static lvsa_status allocate_texts(wan *m)
{
    size_t bytes, all; /* of one, of all */
    if (!lv_mul(&bytes, TEXT_ROWS * lv_dtype_bytes(m->base.device->dtype), (size_t)m->width) ||
        !lv_mul(&all, bytes, (size_t)m->base.layers * LV_MODEL_TEXTS * 2))
        return lv_fail(LVSA_ERR_MEMORY, "the texts' keys and values don't fit in memory");
    LV_TRY(m->base.device->allocate(m->base.device, &m->text_memory, all));
    char *at = m->text_memory;
    for (int64_t i = 0; i < m->base.layers; i++)
        for (int text = 0; text < LV_MODEL_TEXTS; text++, at += 2 * bytes) {
            const int64_t shape[] = {TEXT_ROWS, m->width};
            m->blocks[i].text_k[text] = lv_tensor_view(at, m->base.device->dtype, 2, shape);
            m->blocks[i].text_v[text] = lv_tensor_view(at + bytes, m->base.device->dtype, 2, shape);
        }
    return LVSA_OK;
}

static void wan_close(lv_model *model)
{
    wan *m = (wan *)model;
    lv_rope_release(&m->rope, m->base.device);
    if (m->text_memory) m->base.device->release(m->base.device, m->text_memory);
    lv_params_free(&m->params);
    lv_weights_close(&m->weights);
    lv_free(m->blocks);
    lv_free(m);
}

static lvsa_status wan_open(lv_model **out, lv_device *device, const char *directory)
{
    *out = NULL;
    wan *m = lv_zalloc(sizeof *m);
    if (!m) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a model", directory);
    /* Wan 2.1 1.3B's, which a config.json may leave out. */
    m->base = (lv_model){.class = &lv_wan_class,
                         .device = device,
                         .channels = 16,
                         .patch = 2,
                         .text_width = 4096,
                         .layers = 30,
                         .heads = 12,
                         .head_dim = 128};
    m->ff = 8960, m->eps = 1e-6;
    m->dense = device->fp8 ? LV_E4M3 : device->dtype;

    lvsa_status s = read_config(m, directory);
    if (s == LVSA_OK) {
        m->blocks = lv_zalloc_array((size_t)m->base.layers, sizeof *m->blocks);
        if (!m->blocks) s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its blocks", directory);
    }
    if (s == LVSA_OK) s = lv_weights_open(&m->weights, directory, NULL);
    if (s == LVSA_OK) s = lv_params_create(&m->params, device);
    if (s == LVSA_OK) s = load(m);
    if (s == LVSA_OK) s = allocate_texts(m);
    if (s != LVSA_OK) wan_close(&m->base);
    else *out = &m->base;
    return s;
}

/* Round the work with a block's weights, which may have to come and go. */
static lvsa_status enter(const wan *m, const lv_exec *e, int64_t i)
{
    return e->arena.measuring ? LVSA_OK : lv_params_enter(m->params, (int)i);
}

static lvsa_status leave(const wan *m, const lv_exec *e, int64_t i)
{
    return e->arena.measuring ? LVSA_OK : lv_params_leave(m->params, (int)i);
}

/* ---- text ------------------------------------------------------------------------------------ */

static const lv_tensor none;

/* x as dense layers of the blocks multiply it: itself, or an e4m3 copy from the arena. */
static lvsa_status find_factor(lv_tensor *out, const wan *m, lv_exec *e, lv_tensor x)
{
    *out = x;
    if (m->dense != LV_E4M3) return LVSA_OK;
    LV_TRY(lv_take(out, e, LV_E4M3, 2, x.shape));
    return lv_op_copy(e, *out, x);
}

/* Room for such rows where others, as many and as long, were or will be. */
static lvsa_status view_factor(lv_tensor *out, const wan *m, lv_exec *e, lv_tensor memory)
{
    lv_tensor scale;
    *out = memory;
    if (m->dense != LV_E4M3) return LVSA_OK;
    LV_TRY(lv_take(&scale, e, LVSA_F32, 1, memory.shape));
    *out = lv_tensor_view(memory.data, LV_E4M3, 2, memory.shape);
    out->scale = scale.data;
    return LVSA_OK;
}

/* text_k and text_v of every block from [rows, text width] f32 in host memory. */
static lvsa_status project_text(wan *m, lv_exec *e, int index, const float *embedding, int64_t rows)
{
    lv_device *device = e->device;
    const int64_t E = m->width;
    lv_tensor raw, in, hidden, text;
    LV_TRY(lv_take(&raw, e, LVSA_F32, 2, LV_SHAPE(rows, m->base.text_width)));
    LV_TRY(lv_take(&in, e, e->dtype, 2, LV_SHAPE(rows, m->base.text_width)));
    LV_TRY(lv_take(&hidden, e, e->dtype, 2, LV_SHAPE(rows, E)));
    LV_TRY(lv_take(&text, e, e->dtype, 2, LV_SHAPE(rows, E)));
    if (!e->arena.measuring)
        LV_TRY(device->upload(device, raw.data, embedding,
                              (size_t)lv_tensor_count(raw) * sizeof *embedding));
    LV_TRY(lv_op_copy(e, in, raw));
    LV_TRY(lv_op_linear(e, hidden, in, m->text1.t, m->text1_bias.t, LV_GELU_TANH));
    LV_TRY(lv_op_linear(e, text, hidden, m->text2.t, m->text2_bias.t, LV_LINEAR));
    LV_TRY(find_factor(&text, m, e, text));
    for (int64_t i = 0; i < m->base.layers; i++) {
        block *b = &m->blocks[i];
        const attention *a = &b->cross;
        b->text_k[index].shape[0] = b->text_v[index].shape[0] = rows;
        LV_TRY(enter(m, e, i));
        LV_TRY(lv_op_linear(e, b->text_k[index], text, a->k.t, a->k_bias.t, LV_LINEAR));
        LV_TRY(lv_op_norm_rope(e, b->text_k[index], a->k_norm.t, (float)m->eps, NULL, 0,
                               m->base.head_dim));
        LV_TRY(lv_op_linear(e, b->text_v[index], text, a->v.t, a->v_bias.t, LV_LINEAR));
        LV_TRY(leave(m, e, i));
    }
    return LVSA_OK;
}

/* The rows past the text are zeros and take part in attention, as in diffusers. They are all alike:
 * one stands for all of them. */
static lvsa_status wan_set_text(lv_model *model, int index, const float *embedding, int64_t length,
                                int64_t padded)
{
    wan *m = (wan *)model;
    const size_t width = (size_t)m->base.text_width;
    if (length > padded || padded < 1 || padded > TEXT_ROWS)
        return lv_fail(LVSA_ERR_SHAPE,
                       "a text of %lld tokens, padded to %lld: at most %d are wanted",
                       (long long)length, (long long)padded, TEXT_ROWS);
    const int64_t rows = length < padded ? length + 1 : length;
    float *host = lv_zalloc_array((size_t)rows * width, sizeof *host);
    if (!host) return lv_fail(LVSA_ERR_MEMORY, "a text's embedding doesn't fit in memory");
    memcpy(host, embedding, (size_t)length * width * sizeof *host);
    m->text_last_count[index] = padded - rows + 1;

    lv_exec e = lv_exec_measure(m->base.device);
    lvsa_status s = project_text(m, &e, index, host, rows);
    if (s == LVSA_OK) s = lv_exec_begin(&e);
    if (s == LVSA_OK) s = project_text(m, &e, index, host, rows);
    lv_exec_end(&e);
    lv_free(host);
    return s;
}

/* ---- a forward pass -------------------------------------------------------------------------- */

typedef struct pass {
    wan *m;
    lv_exec *e;
    const lv_step *step;
    int64_t frames, height, width; /* of the token grid                          */
    int64_t tokens;                /* S                                          */
    int64_t first;                 /* of them in the video, of which others may have the rest */
    lv_tensor x;                   /* [S, E]                                     */
    lv_tensor time;                /* [1, E] f32, the time embedding             */
    lv_tensor shared;              /* [6, E] f32, added to every block's table   */
    lv_tensor modulation;          /* [6, E] f32, this block's                   */
} pass;

static lvsa_status probe(const pass *p, const char *stage, int index, lv_tensor rows)
{
    const lv_probe *watcher = &p->m->base.probe;
    if (!watcher->call || p->e->arena.measuring) return LVSA_OK;
    return watcher->call(watcher->user, stage, index, rows);
}

static lvsa_status upload(const pass *p, lv_tensor to, const float *from)
{
    if (p->e->arena.measuring) return LVSA_OK;
    return p->e->device->upload(p->e->device, to.data, from,
                                (size_t)lv_tensor_count(to) * sizeof *from);
}

/* Sinusoids of the timestep, cosines first, through two layers; then what all blocks share. */
static lvsa_status embed_time(pass *p)
{
    const wan *m = p->m;
    lv_exec *e = p->e;
    lv_tensor wave, hidden, active, all;
    float host[TIME_WIDTH];
    for (int i = 0; i < TIME_WIDTH / 2; i++) {
        float frequency = expf((float)-9.210340371976184 * (float)i / (float)(TIME_WIDTH / 2));
        host[i] = cosf(p->step->timestep * frequency);
        host[TIME_WIDTH / 2 + i] = sinf(p->step->timestep * frequency);
    }
    LV_TRY(lv_take(&p->time, e, LVSA_F32, 2, LV_SHAPE(1, m->width)));
    LV_TRY(lv_take(&p->shared, e, LVSA_F32, 2, LV_SHAPE(6, m->width)));
    LV_TRY(lv_take(&p->modulation, e, LVSA_F32, 2, LV_SHAPE(6, m->width)));
    size_t mark = lv_arena_mark(&e->arena);
    LV_TRY(lv_take(&wave, e, LVSA_F32, 2, LV_SHAPE(1, TIME_WIDTH)));
    LV_TRY(lv_take(&hidden, e, LVSA_F32, 2, LV_SHAPE(1, m->width)));
    LV_TRY(lv_take(&active, e, e->dtype, 2, LV_SHAPE(1, m->width)));
    LV_TRY(lv_take(&all, e, e->dtype, 2, LV_SHAPE(1, 6 * m->width)));
    LV_TRY(upload(p, wave, host));
    LV_TRY(lv_op_linear(e, hidden, wave, m->time1.t, m->time1_bias.t, LV_SILU));
    LV_TRY(lv_op_linear(e, p->time, hidden, m->time2.t, m->time2_bias.t, LV_LINEAR));
    LV_TRY(lv_op_copy(e, active, p->time));
    LV_TRY(lv_op_activate(e, active, active, LV_SILU));
    LV_TRY(lv_op_linear(e, all, active, m->time_out.t, m->time_out_bias.t, LV_LINEAR));
    LV_TRY(lv_op_copy(e, p->shared, all));
    lv_arena_release(&e->arena, mark);
    LV_TRY(probe(p, "time", 0, p->time));
    return probe(p, "modulation", 0, p->shared);
}

/* Made with a video's first pass, kept for the others. */
static lvsa_status prepare_rope(const pass *p)
{
    const int64_t across = axis_pairs(p->m->base.head_dim);
    const int64_t frames = p->step->sequence ? p->step->sequence->all : p->frames;
    lv_rope_spec spec = {.length = {frames, p->height, p->width},
                         .pairs = {p->m->base.temporal_pairs, across, across},
                         .theta = 10000.0,
                         .replaced = -1};
    if (p->step->riflex) {
        spec.replaced = p->step->riflex->pair;
        spec.frequency = 6.283185307179586 / p->step->riflex->frames;
    }
    return lv_rope_prepare(&p->m->rope, p->e->device, &spec);
}

/* Row `index` of the block's modulation, [E]. */
static lv_tensor modulate(const pass *p, int index)
{
    return lv_tensor_rows(p->modulation, index, 1);
}

/* Strides of [1, rows, H, D] in a [rows, E] matrix. */
static lvsa_strides strides(const wan *m, int64_t rows)
{
    return (lvsa_strides){.batch = rows * m->width, .token = m->width, .head = m->base.head_dim};
}

static int64_t rows_from(const pass *p, int64_t first)
{
    const int64_t left = p->tokens - first, most = p->e->device->rows;
    return left < most ? left : most;
}

/* The statement that follows, for all tokens: rows first .. first + count - 1 at a time. */
#define FOR_ROWS(p, first, count)                                                                  \
    for (int64_t first = 0, count = rows_from(p, 0); first < (p)->tokens;                          \
         first += count, count = rows_from(p, first))

static lvsa_status self_attention(const pass *p, const block *b)
{
    wan *m = p->m;
    lv_exec *e = p->e;
    const attention *a = &b->self;
    const lv_layer_norm norm = {
        .shift = modulate(p, 0), .scale = modulate(p, 1), .eps = (float)m->eps};
    size_t mark = lv_arena_mark(&e->arena);
    lv_tensor q, k, v, out, normed, factor;
    LV_TRY(lv_take(&q, e, e->dtype, 2, LV_SHAPE(p->tokens, m->width)));
    LV_TRY(lv_take(&k, e, e->dtype, 2, LV_SHAPE(p->tokens, m->width)));
    LV_TRY(lv_take(&v, e, e->dtype, 2, LV_SHAPE(p->tokens, m->width)));
    LV_TRY(lv_take(&out, e, e->dtype, 2, LV_SHAPE(p->tokens, m->width)));
    LV_TRY(view_factor(&normed, m, e, out)); /* until attention writes `out` */
    FOR_ROWS(p, first, count)
    {
        lv_tensor n = lv_tensor_rows(normed, first, count), rows = lv_tensor_rows(k, first, count);
        LV_TRY(lv_op_layer_norm(e, n, lv_tensor_rows(p->x, first, count), &norm));
        LV_TRY(lv_op_linear(e, rows, n, a->k.t, a->k_bias.t, LV_LINEAR));
        LV_TRY(lv_op_norm_rope(e, rows, a->k_norm.t, (float)m->eps, &m->rope.rope, p->first + first,
                               m->base.head_dim));
        LV_TRY(lv_op_linear(e, lv_tensor_rows(v, first, count), n, a->v.t, a->v_bias.t, LV_LINEAR));
    }
    LV_TRY(lv_sequence_begin(p->step->sequence, e, k, v));
    FOR_ROWS(p, first, count)
    {
        lv_tensor n = lv_tensor_rows(normed, first, count), rows = lv_tensor_rows(q, first, count);
        LV_TRY(lv_op_linear(e, rows, n, a->q.t, a->q_bias.t, LV_LINEAR));
        LV_TRY(lv_op_norm_rope(e, rows, a->q_norm.t, (float)m->eps, &m->rope.rope, p->first + first,
                               m->base.head_dim));
    }
    LV_TRY(lv_sequence_attend(p->step->sequence, e,
                              &(lv_self_attention){.out = out,
                                                   .q = q,
                                                   .k = k,
                                                   .v = v,
                                                   .heads = m->base.heads,
                                                   .head_dim = m->base.head_dim,
                                                   .runs = p->step->runs,
                                                   .backend = p->step->backend,
                                                   .fp8 = p->step->attention_fp8}));
    /* All tokens at once, for there is no scratch to it: q's memory holds an e4m3 copy. */
    LV_TRY(view_factor(&factor, m, e, m->dense == LV_E4M3 ? q : out));
    if (m->dense == LV_E4M3) LV_TRY(lv_op_copy(e, factor, out));
    LV_TRY(lv_op_linear_add(e, p->x, factor, a->out.t, a->out_bias.t, modulate(p, 2)));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

static lvsa_status cross_attention_rows(const pass *p, const block *b, lv_tensor x)
{
    wan *m = p->m;
    lv_exec *e = p->e;
    const attention *a = &b->cross;
    const int64_t rows = x.shape[0];
    const lv_layer_norm norm = {
        .weight = b->cross_norm.t, .bias = b->cross_norm_bias.t, .eps = (float)m->eps};
    lv_tensor n, q, out;
    LV_TRY(lv_take(&n, e, m->dense, 2, LV_SHAPE(rows, m->width)));
    LV_TRY(lv_take(&q, e, e->dtype, 2, LV_SHAPE(rows, m->width)));
    LV_TRY(lv_take(&out, e, e->dtype, 2, LV_SHAPE(rows, m->width)));
    LV_TRY(lv_op_layer_norm(e, n, x, &norm));
    LV_TRY(lv_op_linear(e, q, n, a->q.t, a->q_bias.t, LV_LINEAR));
    LV_TRY(lv_op_norm_rope(e, q, a->q_norm.t, (float)m->eps, NULL, 0, m->base.head_dim));
    const lv_tensor k = b->text_k[p->step->text], v = b->text_v[p->step->text];
    const lvsa_strides s = strides(m, rows), text = strides(m, k.shape[0]);
    lvsa_attention call = {.batch = 1,
                           .queries = rows,
                           .heads = m->base.heads,
                           .kv_heads = m->base.heads,
                           .head_dim = m->base.head_dim,
                           .q = q.data,
                           .q_strides = s,
                           .out = out.data,
                           .out_strides = s,
                           .backend = LVSA_BACKEND_NATIVE, /* whatever LVSA_BACKEND says */
                           .sources = 1};
    call.source[0] = (lvsa_source){.k = k.data,
                                   .v = v.data,
                                   .k_strides = text,
                                   .v_strides = text,
                                   .tokens = k.shape[0],
                                   .last_row_count = m->text_last_count[p->step->text]};
    LV_TRY(lv_op_attention(e, &call));
    LV_TRY(find_factor(&out, m, e, out));
    return lv_op_linear_add(e, x, out, a->out.t, a->out_bias.t, none);
}

static lvsa_status feed_forward_rows(const pass *p, const block *b, lv_tensor x)
{
    const wan *m = p->m;
    lv_exec *e = p->e;
    const lv_layer_norm norm = {
        .shift = modulate(p, 3), .scale = modulate(p, 4), .eps = (float)m->eps};
    lv_tensor n, hidden;
    LV_TRY(lv_take(&n, e, m->dense, 2, LV_SHAPE(x.shape[0], m->width)));
    LV_TRY(lv_take(&hidden, e, m->dense, 2, LV_SHAPE(x.shape[0], m->ff)));
    LV_TRY(lv_op_layer_norm(e, n, x, &norm));
    LV_TRY(lv_op_linear(e, hidden, n, b->up.t, b->up_bias.t, LV_GELU_TANH));
    return lv_op_linear_add(e, x, hidden, b->down.t, b->down_bias.t, modulate(p, 5));
}

static lvsa_status run_block(const pass *p, const block *b)
{
    lv_exec *e = p->e;
    LV_TRY(lv_op_add(e, p->modulation, lv_tensor_matrix(b->table.t, 6, p->m->width), p->shared));
    LV_TRY(self_attention(p, b));
    FOR_ROWS(p, first, count)
    {
        size_t mark = lv_arena_mark(&e->arena);
        LV_TRY(cross_attention_rows(p, b, lv_tensor_rows(p->x, first, count)));
        lv_arena_release(&e->arena, mark);
        LV_TRY(feed_forward_rows(p, b, lv_tensor_rows(p->x, first, count)));
        lv_arena_release(&e->arena, mark);
    }
    return LVSA_OK;
}

/* p->x from the latents. */
static lvsa_status embed_patches(pass *p, lv_tensor z)
{
    const wan *m = p->m;
    lv_exec *e = p->e;
    const int64_t columns = m->base.channels * m->base.patch * m->base.patch;
    LV_TRY(lv_take(&p->x, e, e->dtype, 2, LV_SHAPE(p->tokens, m->width)));
    size_t mark = lv_arena_mark(&e->arena);
    lv_tensor patches;
    LV_TRY(lv_take(&patches, e, e->dtype, 2, LV_SHAPE(p->tokens, columns)));
    LV_TRY(lv_op_patchify(e, patches, z, m->base.patch, m->base.patch));
    LV_TRY(lv_op_linear(e, p->x, patches, lv_tensor_matrix(m->patch.t, m->width, columns),
                        m->patch_bias.t, LV_LINEAR));
    lv_arena_release(&e->arena, mark);
    return probe(p, "patches", 0, p->x);
}

static lvsa_status project_head(pass *p, lv_tensor velocity)
{
    const wan *m = p->m;
    lv_exec *e = p->e;
    const int64_t columns = m->base.channels * m->base.patch * m->base.patch;
    lv_tensor table = lv_tensor_matrix(m->head_table.t, 2, m->width), out, both;
    LV_TRY(lv_take(&both, e, LVSA_F32, 2, LV_SHAPE(2, m->width)));
    LV_TRY(lv_op_add(e, both, table, p->time));
    const lv_layer_norm norm = {.shift = lv_tensor_rows(both, 0, 1),
                                .scale = lv_tensor_rows(both, 1, 1),
                                .eps = (float)m->eps};
    LV_TRY(lv_take(&out, e, e->dtype, 2, LV_SHAPE(p->tokens, columns)));
    FOR_ROWS(p, first, count)
    {
        lv_tensor n;
        size_t mark = lv_arena_mark(&e->arena);
        LV_TRY(lv_take(&n, e, e->dtype, 2, LV_SHAPE(count, m->width)));
        LV_TRY(lv_op_layer_norm(e, n, lv_tensor_rows(p->x, first, count), &norm));
        LV_TRY(lv_op_linear(e, lv_tensor_rows(out, first, count), n, m->head.t, m->head_bias.t,
                            LV_LINEAR));
        lv_arena_release(&e->arena, mark);
    }
    LV_TRY(probe(p, "head", 0, out));
    return lv_op_unpatchify(e, velocity, out, m->base.patch, m->base.patch);
}

static lvsa_status wan_forward(lv_model *model, lv_exec *e, lv_tensor velocity, lv_tensor z,
                               const lv_step *step)
{
    wan *m = (wan *)model;
    pass p = {.m = m,
              .e = e,
              .step = step,
              .frames = z.shape[1],
              .height = z.shape[2] / m->base.patch,
              .width = z.shape[3] / m->base.patch};
    p.tokens = p.frames * p.height * p.width;
    if (step->sequence) p.first = step->sequence->first * step->sequence->patches;
    size_t mark = lv_arena_mark(&e->arena);
    LV_TRY(prepare_rope(&p));
    LV_TRY(embed_time(&p));
    LV_TRY(embed_patches(&p, z));
    for (int64_t i = 0; i < m->base.layers; i++) {
        LV_TRY(enter(m, e, i));
        LV_TRY(run_block(&p, &m->blocks[i]));
        LV_TRY(leave(m, e, i));
        LV_TRY(probe(&p, "block", (int)i, p.x));
    }
    LV_TRY(project_head(&p, velocity));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

const lv_model_class lv_wan_class = {.name = "wan",
                                     .text_length = TEXT_ROWS,
                                     .open = wan_open,
                                     .close = wan_close,
                                     .set_text = wan_set_text,
                                     .forward = wan_forward};
