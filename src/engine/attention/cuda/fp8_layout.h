/* fp8_layout.h: where the rounded tensors of an attention call in fp8 lie in its workspace, and in
 * which units its tiles count. Integers in, integers out; no device.
 *
 * Keys come in units of 32. The rows that runs take as a whole (a frame; all rows of a source
 * without runs) begin a unit of their own, and their last unit is filled up: K with copies of the
 * last row, V with zeros. A unit of K or V is what the kernel wants in shared memory, byte for
 * byte:
 *
 *   K  [32 keys][D] int8, in each key's row the 16-byte chunk c at place c ^ (key % 8), at D = 64
 *      c ^ (key / 2 % 4)
 *   V  [D + 8][32 keys] e4m3, in groups of 8 rows; chunk c of row d at place c ^ (d / 4 % 2).
 *      Keys are in the order in which lanes hold them: place 4q + 2a + e of 16 is key 8a + 2q + e.
 *      Of the last 8 rows, row i has 1 for the keys that are i modulo 8, and 0 for filling: their
 *      products with the weights are eight sums of weights. (One sum alone would be so large that
 *      the tensor cores, which add up with 14 bits or less, lose the small weights.)
 *
 * Also read by the kernels (CUDA C++). */
#ifndef LV_ENGINE_ATTENTION_CUDA_FP8_LAYOUT_H
#define LV_ENGINE_ATTENTION_CUDA_FP8_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_attention.h>

#include "engine/attention/cuda/tile_table.h"

enum {
    LV_FP8_UNIT = 32,   /* keys of a unit                     */
    LV_FP8_CHUNK = 1024 /* rows whose statistics a block adds */
};

/* Bytes of a unit, by head size. */
#define LV_FP8_K_BYTES(d) (LV_FP8_UNIT * (d))
#define LV_FP8_V_BYTES(d) (LV_FP8_UNIT * ((d) + 8))

/* The keys of one source. */
typedef struct lv_fp8_keys {
    int64_t group;       /* rows that runs take as a whole              */
    int64_t group_units; /* units of those                              */
    int64_t units;       /* of a head                                   */
    int64_t chunk;       /* its first chunk of rows, among all sources' */
    size_t k, v;         /* bytes: [B, H_kv, units] of them             */
} lv_fp8_keys;

/* Byte offsets into the workspace. Channels: D numbers of each key head. */
typedef struct lv_fp8_layout {
    lv_fp8_keys keys[LVSA_MAX_SOURCES];
    int64_t q_rows; /* rows of a head, whole blocks */
    int64_t chunks; /* of all sources               */
    size_t q;       /* [B, H, q_rows, D] int8, a row's chunks in the places of a key's */
    size_t q_scale; /* [B, H, q_rows] f32: products to exponents of 2                  */
    size_t q_shift; /* [B, H, q_rows] f32: what the scores lack, for lse; or none      */
    size_t zero;    /* a unit of V of zeros                                            */
    size_t parts;   /* [2, B * H_kv, chunks, 3, D] f32: sum, least and most of K, which is turned,
                       and of V                                                        */
    size_t means;   /* [2, B * H_kv, D] f32: what is subtracted from these             */
    size_t scales;  /* [2, B * H_kv, D] f32: their rounded numbers times these, K's all one */
    size_t bytes;   /* all                                                             */
} lv_fp8_layout;

static inline size_t lv_fp8_take(lv_fp8_layout *l, double elements, size_t size)
{
    const size_t at = l->bytes;
    l->bytes += ((size_t)elements * size + 1023) / 1024 * 1024;
    return at;
}

static inline void lv_fp8_lay_out(lv_fp8_layout *out, const lvsa_attention *call)
{
    const int64_t heads = call->batch * call->heads, kv_heads = call->batch * call->kv_heads;
    const int64_t block = lv_tile_block_rows(call->head_dim);
    const size_t d = (size_t)call->head_dim;
    lv_fp8_layout l = {0};
    for (int i = 0; i < call->sources; i++) {
        const lvsa_source *s = &call->source[i];
        lv_fp8_keys *k = &l.keys[i];
        k->group = s->runs ? s->runs->patches_per_frame : s->tokens;
        if (s->tokens == 0) continue;
        k->group_units = (k->group + LV_FP8_UNIT - 1) / LV_FP8_UNIT;
        k->units = (s->tokens + k->group - 1) / k->group * k->group_units;
        k->chunk = l.chunks;
        l.chunks += (s->tokens + LV_FP8_CHUNK - 1) / LV_FP8_CHUNK;
        k->k = lv_fp8_take(&l, (double)(kv_heads * k->units), LV_FP8_K_BYTES(d));
        k->v = lv_fp8_take(&l, (double)(kv_heads * k->units), LV_FP8_V_BYTES(d));
    }
    l.q_rows = (call->queries + block - 1) / block * block;
    l.q = lv_fp8_take(&l, (double)(heads * l.q_rows), d);
    l.q_scale = lv_fp8_take(&l, (double)(heads * l.q_rows), sizeof(float));
    l.q_shift = lv_fp8_take(&l, call->lse ? (double)(heads * l.q_rows) : 0.0, sizeof(float));
    l.zero = lv_fp8_take(&l, 1.0, LV_FP8_V_BYTES(d));
    l.parts = lv_fp8_take(&l, 2.0 * (double)(kv_heads * l.chunks), 3 * d * sizeof(float));
    l.means = lv_fp8_take(&l, 2.0 * (double)kv_heads, d * sizeof(float));
    l.scales = lv_fp8_take(&l, 2.0 * (double)kv_heads, d * sizeof(float));
    *out = l;
}

#endif
