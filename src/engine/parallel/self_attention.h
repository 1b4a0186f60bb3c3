/* self_attention.h: the self-attention of a layer over a video's tokens, whoever has them. */
#ifndef LV_ENGINE_PARALLEL_SELF_ATTENTION_H
#define LV_ENGINE_PARALLEL_SELF_ATTENTION_H

#include <stdbool.h>

#include <lvsa/lvsa_attention.h>

#include "engine/runtime/tensor.h"

typedef struct lv_self_attention {
    lv_tensor out, q, k, v; /* [rows, H*D], of the tokens that are here           */
    int64_t heads, head_dim;
    const lvsa_runs *runs; /* of all tokens of the video; NULL: each to each     */
    lvsa_backend backend;
    bool fp8; /* as in lvsa_attention */
} lv_self_attention;

/* Keys and values [rows, H*D] as a source. */
static inline lvsa_source lv_self_attention_source(lv_tensor k, lv_tensor v, int64_t head_dim,
                                                   const lvsa_runs *runs)
{
    const int64_t rows = k.shape[0], width = k.shape[1];
    const lvsa_strides s = {.batch = rows * width, .token = width, .head = head_dim};
    return (lvsa_source){
        .k = k.data, .v = v.data, .k_strides = s, .v_strides = s, .tokens = rows, .runs = runs};
}

/* The call for the queries that are here, its first source the keys and values that are. */
static inline lvsa_attention lv_self_attention_call(const lv_self_attention *a)
{
    const int64_t rows = a->q.shape[0], width = a->q.shape[1];
    const lvsa_strides s = {.batch = rows * width, .token = width, .head = a->head_dim};
    return (lvsa_attention){.batch = 1,
                            .queries = rows,
                            .heads = a->heads,
                            .kv_heads = a->heads,
                            .head_dim = a->head_dim,
                            .q = a->q.data,
                            .q_strides = s,
                            .out = a->out.data,
                            .out_strides = s,
                            .sources = 1,
                            .source[0] = lv_self_attention_source(a->k, a->v, a->head_dim, a->runs),
                            .backend = a->backend,
                            .fp8 = a->fp8};
}

#endif
