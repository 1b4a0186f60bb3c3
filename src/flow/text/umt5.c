/* umt5.c: ids to embedding. */
#include "flow/text/umt5.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/runtime/params.h"

/* One layer; E width, A = H*D of attention, F of the feed-forward part. */
typedef struct layer {
    lv_param attention_norm; /* [E]                     */
    lv_param q, k, v;        /* [A, E]                  */
    lv_param out;            /* [E, A]                  */
    lv_weight positions;     /* [buckets, H], read from the file */
    lv_param ff_norm;        /* [E]                     */
    lv_param gate, up;       /* [F, E], wi_0 and wi_1   */
    lv_param down;           /* [E, F], wo              */
} layer;

typedef struct config {
    int64_t width, layers, heads, head_dim, ff, vocabulary, buckets, max_distance;
    double eps;
} config;

struct lv_umt5 {
    lv_device *device;
    config c;
    lv_weights *weights;
    lv_params *params;
    lv_weight table;   /* [vocabulary, E], read from the file */
    lv_param out_norm; /* [E]                                 */
    layer *layer;      /* [layers]                            */
};

static const lv_weight_spec layer_specs[] = {
    {"layer.0.layer_norm.weight", "[E]", LV_PARAM(layer, attention_norm), NULL},
    {"layer.0.SelfAttention.q.weight", "[A, E]", LV_PARAM(layer, q), NULL},
    {"layer.0.SelfAttention.k.weight", "[A, E]", LV_PARAM(layer, k), NULL},
    {"layer.0.SelfAttention.v.weight", "[A, E]", LV_PARAM(layer, v), NULL},
    {"layer.0.SelfAttention.o.weight", "[E, A]", LV_PARAM(layer, out), NULL},
    {"layer.1.layer_norm.weight", "[E]", LV_PARAM(layer, ff_norm), NULL},
    {"layer.1.DenseReluDense.wi_0.weight", "[F, E]", LV_PARAM(layer, gate), NULL},
    {"layer.1.DenseReluDense.wi_1.weight", "[F, E]", LV_PARAM(layer, up), NULL},
    {"layer.1.DenseReluDense.wo.weight", "[E, F]", LV_PARAM(layer, down), NULL},
};
enum { LAYER_SPECS = sizeof layer_specs / sizeof layer_specs[0] };

static const lv_weight_spec top_specs[] = {
    {"encoder.final_layer_norm.weight", "[E]", LV_PARAM(lv_umt5, out_norm), NULL},
};

/* Read from the file, never on the device. */
static const lv_weight_spec position_specs[] = {
    {"layer.0.SelfAttention.relative_attention_bias.weight", "[B, H]", offsetof(layer, positions),
     NULL},
};

static const lv_weight_spec table_specs[] = {
    {"shared.weight", "[V, E]", offsetof(lv_umt5, table), "encoder.embed_tokens.weight"},
};

/* The other half of the model, and the table once more. */
static const char *const unused[] = {"decoder.*", "lm_head.*", "encoder.embed_tokens.weight", NULL};

/* ---- opening --------------------------------------------------------------------------------- */

static lvsa_status read_config(config *c, const char *directory)
{
    enum { MOST = 1 << 24 };
    char path[4096];
    json_t *root;
    const char *ff = "gated-gelu";
    LV_TRY(lv_json_load_in(&root, path, sizeof path, directory, "config.json"));
    lvsa_status s = lv_json_get_int(&c->width, root, "d_model", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&c->layers, root, "num_layers", 1, 1000, path);
    if (s == LVSA_OK) s = lv_json_get_int(&c->heads, root, "num_heads", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&c->head_dim, root, "d_kv", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&c->ff, root, "d_ff", 1, MOST, path);
    if (s == LVSA_OK) s = lv_json_get_int(&c->vocabulary, root, "vocab_size", 1, MOST, path);
    if (s == LVSA_OK)
        s = lv_json_get_int(&c->buckets, root, "relative_attention_num_buckets", 4, MOST, path);
    if (s == LVSA_OK)
        s = lv_json_get_int(&c->max_distance, root, "relative_attention_max_distance", 2, MOST,
                            path);
    if (s == LVSA_OK) s = lv_json_get_double(&c->eps, root, "layer_norm_epsilon", path);
    if (s == LVSA_OK && !(c->eps > 0.0 && c->eps < 1.0))
        s = lv_fail(LVSA_ERR_FORMAT, "%s: \"layer_norm_epsilon\" is %g; 0 to 1 is wanted", path,
                    c->eps);
    if (s == LVSA_OK) s = lv_json_get_string(&ff, root, "feed_forward_proj", path);
    if (s == LVSA_OK && strcmp(ff, "gated-gelu") != 0)
        s = lv_fail(LVSA_ERR_UNSUPPORTED,
                    "%s: \"feed_forward_proj\" is \"%s\"; gated-gelu is wanted", path, ff);
    if (s == LVSA_OK && c->heads * c->head_dim > MOST)
        s = lv_fail(LVSA_ERR_FORMAT,
                    "%s: %lld heads of %lld numbers: %d numbers at most are wanted", path,
                    (long long)c->heads, (long long)c->head_dim, MOST);
    if (s == LVSA_OK && c->max_distance <= c->buckets / 4)
        s = lv_fail(LVSA_ERR_FORMAT,
                    "%s: \"relative_attention_max_distance\" is %lld; above %lld is wanted", path,
                    (long long)c->max_distance, (long long)c->buckets / 4);
    json_decref(root);
    return s;
}

static lvsa_status load(lv_umt5 *u)
{
    const config *c = &u->c;
    lv_dims dims = {.of = {['E'] = (size_t)c->width,
                           ['A'] = (size_t)(c->heads * c->head_dim),
                           ['F'] = (size_t)c->ff,
                           ['B'] = (size_t)c->buckets,
                           ['H'] = (size_t)c->heads,
                           ['V'] = (size_t)c->vocabulary}};
    const lv_weight_group table = {.specs = table_specs,
                                   .spec_count = 1,
                                   .dims = &dims,
                                   .prefix = "",
                                   .repeat = 1,
                                   .to = u,
                                   .stride = sizeof *u};
    lv_weight_group top = table, layers = table;
    top.specs = top_specs;
    layers.specs = layer_specs, layers.spec_count = LAYER_SPECS;
    layers.prefix = "encoder.block.%d.", layers.repeat = (int)c->layers;
    layers.to = u->layer, layers.stride = sizeof *u->layer;

    lv_weight_group positions = layers;
    positions.specs = position_specs, positions.spec_count = 1;
    LV_TRY(lv_weights_bind(u->weights, &table));
    LV_TRY(lv_weights_bind(u->weights, &positions));
    LV_TRY(lv_params_load(u->params, u->weights, &top, u->device->dtype));
    return lv_params_load(u->params, u->weights, &layers, u->device->dtype);
}

lvsa_status lv_umt5_open(lv_umt5 **out, lv_device *device, const char *directory)
{
    *out = NULL;
    lv_umt5 *u = lv_zalloc(sizeof *u);
    if (!u) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a text encoder", directory);
    u->device = device;
    /* UMT5-XXL's, which a config.json may leave out. */
    u->c = (config){.width = 4096,
                    .layers = 24,
                    .heads = 64,
                    .head_dim = 64,
                    .ff = 10240,
                    .vocabulary = 256384,
                    .buckets = 32,
                    .max_distance = 128,
                    .eps = 1e-6};
    lvsa_status s = read_config(&u->c, directory);
    if (s == LVSA_OK) {
        u->layer = lv_zalloc_array((size_t)u->c.layers, sizeof *u->layer);
        if (!u->layer)
            s = lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %lld layers", directory,
                        (long long)u->c.layers);
    }
    if (s == LVSA_OK) s = lv_weights_open(&u->weights, directory, NULL);
    if (s == LVSA_OK) s = lv_params_create(&u->params, device);
    if (s == LVSA_OK) s = load(u);
    if (s != LVSA_OK) lv_umt5_close(&u);
    *out = u;
    return s;
}

void lv_umt5_close(lv_umt5 **encoder)
{
    if (!encoder || !*encoder) return;
    lv_umt5 *u = *encoder;
    lv_params_free(&u->params);
    lv_weights_close(&u->weights);
    lv_free(u->layer);
    lv_free(u);
    *encoder = NULL;
}

int64_t lv_umt5_width(const lv_umt5 *encoder) { return encoder->c.width; }

size_t lv_umt5_count_unknown(const char **first, const lv_umt5 *encoder)
{
    return lv_weights_count_unknown(first, encoder->weights, unused);
}

/* ---- relative positions ---------------------------------------------------------------------- */

/* The bucket of a key that stands `offset` places after its query: half of them for each direction;
 * of a half, half for one place each, the rest ever wider, in logarithms, up to max_distance. */
static int64_t bucket_of(int64_t offset, const config *c)
{
    int64_t half = c->buckets / 2, exact = half / 2, distance = offset < 0 ? -offset : offset;
    int64_t bucket = distance;
    if (distance >= exact) {
        float far = logf((float)distance / (float)exact) /
                    (float)log((double)c->max_distance / (double)exact) * (float)(half - exact);
        bucket = exact + (int64_t)far;
        if (bucket > half - 1) bucket = half - 1;
    }
    return offset > 0 ? half + bucket : bucket;
}

/* bias [H, L, L] in host memory: one number for each pair of places and head. */
static void fill_bias(float *bias, const layer *l, const config *c, int64_t length)
{
    for (int64_t offset = 1 - length; offset < length; offset++) {
        int64_t bucket = bucket_of(offset, c);
        for (int64_t h = 0; h < c->heads; h++) {
            float value;
            lv_weight_to_f32(&value, &l->positions, (size_t)(bucket * c->heads + h), 1);
            for (int64_t i = offset < 0 ? -offset : 0; i < length && i + offset < length; i++)
                bias[(h * length + i) * length + i + offset] = value;
        }
    }
}

/* ---- a forward pass -------------------------------------------------------------------------- */

/* Host memory of one pass. */
typedef struct pass {
    lv_umt5 *u;
    lv_exec *e;
    int64_t length;
    float *host; /* [max(L*E, H*L*L)] on its way to the device and back */
} pass;

static lvsa_status attend(const pass *p, const layer *l, lv_tensor x, lv_tensor n)
{
    const config *c = &p->u->c;
    const int64_t L = p->length, A = c->heads * c->head_dim;
    const lv_tensor none = {0};
    lv_exec *e = p->e;
    size_t mark = lv_arena_mark(&e->arena);
    lv_tensor q, k, v, out, bias;
    LV_TRY(lv_take(&q, e, e->dtype, 2, LV_SHAPE(L, A)));
    LV_TRY(lv_take(&k, e, e->dtype, 2, LV_SHAPE(L, A)));
    LV_TRY(lv_take(&v, e, e->dtype, 2, LV_SHAPE(L, A)));
    LV_TRY(lv_take(&out, e, e->dtype, 2, LV_SHAPE(L, A)));
    LV_TRY(lv_take(&bias, e, LVSA_F32, 3, LV_SHAPE(c->heads, L, L)));
    if (!e->arena.measuring) {
        fill_bias(p->host, l, c, L);
        LV_TRY(e->device->upload(e->device, bias.data, p->host,
                                 (size_t)lv_tensor_count(bias) * sizeof(float)));
    }
    LV_TRY(lv_op_rms_norm(e, n, x, l->attention_norm.t, (float)c->eps));
    LV_TRY(lv_op_linear(e, q, n, l->q.t, none, LV_LINEAR));
    LV_TRY(lv_op_linear(e, k, n, l->k.t, none, LV_LINEAR));
    LV_TRY(lv_op_linear(e, v, n, l->v.t, none, LV_LINEAR));
    LV_TRY(lv_op_attention_biased(e, out, q, k, v, bias, c->heads, 1.0f));
    LV_TRY(lv_op_linear_add(e, x, out, l->out.t, none, none));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

static lvsa_status feed_forward(const pass *p, const layer *l, lv_tensor x, lv_tensor n)
{
    const config *c = &p->u->c;
    const lv_tensor none = {0};
    lv_exec *e = p->e;
    size_t mark = lv_arena_mark(&e->arena);
    lv_tensor gate, up;
    LV_TRY(lv_take(&gate, e, e->dtype, 2, LV_SHAPE(p->length, c->ff)));
    LV_TRY(lv_take(&up, e, e->dtype, 2, LV_SHAPE(p->length, c->ff)));
    LV_TRY(lv_op_rms_norm(e, n, x, l->ff_norm.t, (float)c->eps));
    LV_TRY(lv_op_linear(e, gate, n, l->gate.t, none, LV_LINEAR));
    LV_TRY(lv_op_linear(e, up, n, l->up.t, none, LV_LINEAR));
    LV_TRY(lv_op_gelu_multiply(e, gate, gate, up));
    LV_TRY(lv_op_linear_add(e, x, gate, l->down.t, none, none));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

/* p->host holds the embedded ids; afterwards the result. */
static lvsa_status forward(const pass *p)
{
    lv_exec *e = p->e;
    lv_device *device = e->device;
    const config *c = &p->u->c;
    const size_t count = (size_t)(p->length * c->width);
    lv_tensor x, n, result;
    LV_TRY(lv_take(&x, e, e->dtype, 2, LV_SHAPE(p->length, c->width)));
    LV_TRY(lv_take(&n, e, e->dtype, 2, LV_SHAPE(p->length, c->width)));
    LV_TRY(lv_take(&result, e, LVSA_F32, 2, LV_SHAPE(p->length, c->width)));
    if (!e->arena.measuring)
        LV_TRY(device->upload(device, result.data, p->host, count * sizeof(float)));
    LV_TRY(lv_op_copy(e, x, result));
    for (int64_t i = 0; i < c->layers; i++) {
        LV_TRY(attend(p, &p->u->layer[i], x, n));
        LV_TRY(feed_forward(p, &p->u->layer[i], x, n));
    }
    LV_TRY(lv_op_rms_norm(e, n, x, p->u->out_norm.t, (float)c->eps));
    LV_TRY(lv_op_copy(e, result, n));
    if (e->arena.measuring) return LVSA_OK;
    return device->download(device, p->host, result.data, count * sizeof(float));
}

static lvsa_status embed(float *to, const lv_umt5 *u, const int32_t *ids, int64_t length)
{
    const int64_t width = u->c.width;
    for (int64_t i = 0; i < length; i++) {
        if (ids[i] < 0 || ids[i] >= u->c.vocabulary)
            return lv_fail(
                LVSA_ERR_SHAPE,
                "token %d: the text encoder knows 0 to %lld; does the tokenizer belong to it?",
                ids[i], (long long)u->c.vocabulary - 1);
        lv_weight_to_f32(to + i * width, &u->table, (size_t)(ids[i] * width), (size_t)width);
    }
    return LVSA_OK;
}

/* Numbers of a pass's host memory. */
static lvsa_status count_host(size_t *count, const lv_umt5 *u, int64_t length)
{
    const size_t tokens = (size_t)length;
    size_t pairs, numbers;
    if (!lv_mul(&pairs, tokens, tokens) || !lv_mul(&pairs, pairs, (size_t)u->c.heads) ||
        !lv_mul(&numbers, tokens, (size_t)u->c.width))
        return lv_fail(LVSA_ERR_MEMORY, "encoding %lld tokens: no memory", (long long)length);
    *count = pairs > numbers ? pairs : numbers;
    return LVSA_OK;
}

lvsa_status lv_umt5_measure(size_t *bytes, lv_umt5 *u, int64_t length)
{
    lv_exec e = lv_exec_measure(u->device);
    const pass p = {.u = u, .e = &e, .length = length};
    size_t count = 0;
    LV_TRY(count_host(&count, u, length));
    LV_TRY(forward(&p));
    *bytes = e.arena.peak + count * sizeof *p.host;
    return LVSA_OK;
}

lvsa_status lv_umt5_encode(lv_umt5 *u, float *embedding, const int32_t *ids, int64_t length)
{
    size_t count = 0;
    lv_exec e = lv_exec_measure(u->device);
    pass p = {.u = u, .e = &e, .length = length};
    if (length < 1) return LVSA_OK;
    LV_TRY(count_host(&count, u, length));
    p.host = lv_zalloc_array(count, sizeof *p.host);
    if (!p.host)
        return lv_fail(LVSA_ERR_MEMORY, "encoding %lld tokens: no memory", (long long)length);

    lvsa_status s = forward(&p);
    if (s == LVSA_OK) s = lv_exec_begin(&e);
    if (s == LVSA_OK) s = embed(p.host, u, ids, length);
    if (s == LVSA_OK) s = forward(&p);
    if (s == LVSA_OK) memcpy(embedding, p.host, (size_t)(length * u->c.width) * sizeof *embedding);
    lv_exec_end(&e);
    lv_free(p.host);
    return s;
}
