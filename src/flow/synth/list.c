/* list.c: the tensors of each part, in the order in which the modules have them. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "flow/synth/synth.h"

/* ---- lists ----------------------------------------------------------------------------------- */

void lv_synth_list_free(lv_synth_list *list)
{
    lv_free(list->tensor);
    *list = (lv_synth_list){0};
}

/* The next tensor of the list, its name and shape filled in. */
static lv_synth_tensor *next(lv_synth_list *list, int rank, const int64_t *shape,
                             const char *format, va_list args)
{
    if (!list->failed && list->count == list->capacity) {
        const int64_t capacity = list->capacity ? 2 * list->capacity : 256;
        lv_synth_tensor *grown =
            lv_grow_array(list->tensor, (size_t)list->capacity, (size_t)capacity, sizeof *grown);
        if (grown) list->tensor = grown, list->capacity = capacity;
        else list->failed = true;
    }
    if (list->failed) return NULL;
    lv_synth_tensor *t = &list->tensor[list->count++];
    *t = (lv_synth_tensor){.rank = rank, .count = 1};
    vsnprintf(t->name, sizeof t->name, format, args);
    for (int i = 0; i < rank; i++) t->shape[i] = shape[i], t->count *= shape[i];
    return t;
}

void lv_synth_add(lv_synth_list *list, float deviation, int rank, const int64_t *shape,
                  const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lv_synth_tensor *t = next(list, rank, shape, format, args);
    va_end(args);
    if (!t) return;
    t->deviation =
        deviation > 0.0f ? deviation : (float)sqrt((double)t->shape[0] / (double)t->count);
}

void lv_synth_add_constant(lv_synth_list *list, float constant, int rank, const int64_t *shape,
                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    lv_synth_tensor *t = next(list, rank, shape, format, args);
    va_end(args);
    if (t) t->constant = constant;
}

/* prefix.weight [out, in] and prefix.bias [out] */
static void add_linear(lv_synth_list *list, int64_t out, int64_t in, const char *prefix,
                       const char *name)
{
    lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(out, in), "%s%s.weight", prefix, name);
    lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(out), "%s%s.bias", prefix, name);
}

/* ---- transformer: diffusers, models/transformers/transformer_wan.py -------------------------- */

static void add_attention(lv_synth_list *list, int64_t E, const char *prefix)
{
    static const char *const names[] = {"to_q", "to_k", "to_v", "to_out.0"};
    for (int i = 0; i < 4; i++) add_linear(list, E, E, prefix, names[i]);
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "%snorm_q.weight", prefix);
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "%snorm_k.weight", prefix);
}

void lv_synth_list_transformer(lv_synth_list *list, const lv_synth_sizes *s)
{
    const int64_t E = s->heads * s->head_dim, C = LV_SYNTH_CHANNELS;
    const float table = 1.0f / sqrtf((float)E);
    char prefix[LV_SYNTH_NAME / 2];
    lv_synth_add(list, table, LV_SYNTH_SHAPE(1, 2, E), "scale_shift_table");
    lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(E, C, 1, 2, 2), "patch_embedding.weight");
    lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(E), "patch_embedding.bias");
    add_linear(list, E, 256, "condition_embedder.", "time_embedder.linear_1");
    add_linear(list, E, E, "condition_embedder.", "time_embedder.linear_2");
    add_linear(list, 6 * E, E, "condition_embedder.", "time_proj");
    add_linear(list, E, s->text_width, "condition_embedder.", "text_embedder.linear_1");
    add_linear(list, E, E, "condition_embedder.", "text_embedder.linear_2");
    for (int64_t i = 0; i < s->layers; i++) {
        lv_synth_add(list, table, LV_SYNTH_SHAPE(1, 6, E), "blocks.%d.scale_shift_table", (int)i);
        snprintf(prefix, sizeof prefix, "blocks.%d.attn1.", (int)i);
        add_attention(list, E, prefix);
        snprintf(prefix, sizeof prefix, "blocks.%d.attn2.", (int)i);
        add_attention(list, E, prefix);
        snprintf(prefix, sizeof prefix, "blocks.%d.", (int)i);
        lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "%snorm2.weight", prefix);
        lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(E), "%snorm2.bias", prefix);
        add_linear(list, s->ff, E, prefix, "ffn.net.0.proj");
        add_linear(list, E, s->ff, prefix, "ffn.net.2");
    }
    add_linear(list, 4 * C, E, "", "proj_out");
}

/* ---- text encoder: transformers, models/umt5/modeling_umt5.py -------------------------------- */

void lv_synth_list_text_encoder(lv_synth_list *list, const lv_synth_sizes *s)
{
    const int64_t E = s->text_width, A = s->text_heads * s->text_head_dim, F = s->text_ff;
    const double width = (double)E, head = (double)s->text_head_dim;
    lv_synth_add(list, 1.0f, LV_SYNTH_SHAPE(s->vocabulary, E), "shared.weight");
    for (int64_t i = 0; i < s->text_layers; i++) {
        char prefix[LV_SYNTH_NAME / 2];
        snprintf(prefix, sizeof prefix, "encoder.block.%d.layer.", (int)i);
        /* Scores aren't scaled by the head's size, so the queries are. */
        lv_synth_add(list, (float)(1.0 / sqrt(width * head)), LV_SYNTH_SHAPE(A, E),
                     "%s0.SelfAttention.q.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(A, E), "%s0.SelfAttention.k.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(A, E), "%s0.SelfAttention.v.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(E, A), "%s0.SelfAttention.o.weight", prefix);
        lv_synth_add(list, (float)(1.0 / sqrt(width)), LV_SYNTH_SHAPE(32, s->text_heads),
                     "%s0.SelfAttention.relative_attention_bias.weight", prefix);
        lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "%s0.layer_norm.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(F, E), "%s1.DenseReluDense.wi_0.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(F, E), "%s1.DenseReluDense.wi_1.weight", prefix);
        lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(E, F), "%s1.DenseReluDense.wo.weight", prefix);
        lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "%s1.layer_norm.weight", prefix);
    }
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(E), "encoder.final_layer_norm.weight");
}

/* ---- VAE: diffusers, models/autoencoders/autoencoder_kl_wan.py ------------------------------- */

/* A kernel of t x k x k; t 0: without a time axis. */
static void add_conv(lv_synth_list *list, int64_t out, int64_t in, int64_t t, int64_t k,
                     const char *name)
{
    if (t) lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(out, in, t, k, k), "%s.weight", name);
    else lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(out, in, k, k), "%s.weight", name);
    lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(out), "%s.bias", name);
}

static void add_part(lv_synth_list *list, int64_t out, int64_t in, int64_t t, int64_t k,
                     const char *prefix, const char *name)
{
    char whole[LV_SYNTH_NAME];
    snprintf(whole, sizeof whole, "%s.%s", prefix, name);
    add_conv(list, out, in, t, k, whole);
}

static void add_res(lv_synth_list *list, int64_t in, int64_t out, const char *prefix)
{
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(in, 1, 1, 1), "%s.norm1.gamma", prefix);
    add_part(list, out, in, 3, 3, prefix, "conv1");
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(out, 1, 1, 1), "%s.norm2.gamma", prefix);
    add_part(list, out, out, 3, 3, prefix, "conv2");
    if (in != out) add_part(list, out, in, 1, 1, prefix, "conv_shortcut");
}

static void add_middle(lv_synth_list *list, int64_t width, const char *coder)
{
    char prefix[LV_SYNTH_NAME / 2];
    snprintf(prefix, sizeof prefix, "%s.mid_block.attentions.0", coder);
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(width, 1, 1), "%s.norm.gamma", prefix);
    add_part(list, 3 * width, width, 0, 1, prefix, "to_qkv");
    add_part(list, width, width, 0, 1, prefix, "proj");
    for (int i = 0; i < 2; i++) {
        snprintf(prefix, sizeof prefix, "%s.mid_block.resnets.%d", coder, i);
        add_res(list, width, width, prefix);
    }
}

enum { LEVELS = 4 };
static const int64_t multiple[LEVELS] = {1, 2, 4, 4};
static const bool halves[LEVELS] = {false, true, true}; /* the frames, after a level */

/* The levels are one list of blocks: res, .., res, then one that halves the picture. */
static void add_encoder(lv_synth_list *list, const lv_synth_sizes *s)
{
    const int64_t C = LV_SYNTH_CHANNELS;
    int64_t width = s->vae_base;
    int block = 0;
    char prefix[LV_SYNTH_NAME / 2];
    add_conv(list, width, 3, 3, 3, "encoder.conv_in");
    for (int i = 0; i < LEVELS; i++) {
        const int64_t out = s->vae_base * multiple[i];
        for (int64_t j = 0; j < s->vae_blocks; j++, width = out) {
            snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d", block++);
            add_res(list, width, out, prefix);
        }
        if (i == LEVELS - 1) break;
        snprintf(prefix, sizeof prefix, "encoder.down_blocks.%d", block++);
        add_part(list, out, out, 0, 3, prefix, "resample.1");
        if (halves[i]) {
            lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(out, out, 3, 1, 1), "%s.time_conv.weight",
                         prefix);
            lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(out), "%s.time_conv.bias", prefix);
        }
    }
    add_middle(list, width, "encoder");
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(width, 1, 1, 1), "encoder.norm_out.gamma");
    add_conv(list, 2 * C, width, 3, 3, "encoder.conv_out");
}

static void add_decoder(lv_synth_list *list, const lv_synth_sizes *s)
{
    const int64_t C = LV_SYNTH_CHANNELS;
    int64_t width = s->vae_base * multiple[LEVELS - 1];
    char prefix[LV_SYNTH_NAME / 2];
    add_conv(list, width, C, 3, 3, "decoder.conv_in");
    add_middle(list, width, "decoder");
    for (int i = 0; i < LEVELS; i++) {
        const int64_t out = s->vae_base * multiple[LEVELS - 1 - i];
        for (int64_t j = 0; j < s->vae_blocks + 1; j++, width = out) {
            snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.resnets.%d", i, (int)j);
            add_res(list, width, out, prefix);
        }
        if (i == LEVELS - 1) break;
        snprintf(prefix, sizeof prefix, "decoder.up_blocks.%d.upsamplers.0", i);
        add_part(list, out / 2, out, 0, 3, prefix, "resample.1");
        if (halves[LEVELS - 2 - i]) {
            lv_synth_add(list, 0.0f, LV_SYNTH_SHAPE(2 * out, out, 3, 1, 1), "%s.time_conv.weight",
                         prefix);
            lv_synth_add_constant(list, 0.0f, LV_SYNTH_SHAPE(2 * out), "%s.time_conv.bias", prefix);
        }
        width = out / 2;
    }
    lv_synth_add_constant(list, 1.0f, LV_SYNTH_SHAPE(width, 1, 1, 1), "decoder.norm_out.gamma");
    add_conv(list, 3, width, 3, 3, "decoder.conv_out");
}

void lv_synth_list_vae(lv_synth_list *list, const lv_synth_sizes *s)
{
    const int64_t C = LV_SYNTH_CHANNELS;
    add_encoder(list, s);
    add_conv(list, 2 * C, 2 * C, 1, 1, "quant_conv");
    add_conv(list, C, C, 1, 1, "post_quant_conv");
    add_decoder(list, s);
}
