/* ops.h: the tensor operations that models are written in, and the table by which a device provides
 * them. A model calls lv_op_...(); it never asks where it runs.
 *
 * Every operation checks shapes once, here, and does nothing while memory is being measured.
 * Outputs come first and overlap no input unless said. "f32" is said where a type is fixed;
 * everything else is of the device's type for activations (lv_exec.dtype): f32 on the CPU.
 *
 * Letters: N rows (tokens), I and O widths in and out, E width, H heads, D head size, L text
 * length, C channels, F frames, T latent frames, Y and X height and width. */
#ifndef LV_ENGINE_RUNTIME_OPS_H
#define LV_ENGINE_RUNTIME_OPS_H

#include "base/error.h"
#include "engine/runtime/arena.h"
#include "engine/runtime/tensor.h"

typedef struct lv_device lv_device;
typedef struct lv_ops lv_ops;

/* What a forward pass needs besides its tensors: where it runs, and scratch. */
typedef struct lv_exec {
    lv_device *device;
    const lv_ops *ops;
    lvsa_dtype dtype; /* of activations */
    lv_arena arena;
} lv_exec;

/* A tensor from the arena, gone with the mark it was taken after. Its numbers are undefined; an
 * e4m3 matrix has room for its scales. */
lvsa_status lv_take(lv_tensor *out, lv_exec *e, lvsa_dtype dtype, int rank, const int64_t *shape);
#define LV_SHAPE(...) (const int64_t[]){__VA_ARGS__}

/* ---- dense layers ---------------------------------------------------------------------------- */

typedef enum lv_activation {
    LV_LINEAR,    /* x                                               */
    LV_SILU,      /* x / (1 + e^-x)                                  */
    LV_GELU_TANH, /* the tanh approximation, as torch's "tanh"       */
} lv_activation;

/* On a GPU x and w may both be e4m3, I and O multiples of 16: the products are of those numbers,
 * the sums f32, and the scales come behind them. Whoever writes an e4m3 matrix chooses its scales:
 * each row's largest number becomes LV_E4M3_MOST, so that none is off by more than half its last
 * bit. */

/* out[N,O] = f(x[N,I] w[O,I]^T + b[O]); b may be no tensor (data NULL, rank 0). out may be e4m3
 * where x and w are. */
lvsa_status lv_op_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                         lv_activation f);

/* x[N,O] += gate[O] * (y[N,I] w[O,I]^T + b[O]); gate f32; no gate is 1. */
lvsa_status lv_op_linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                             lv_tensor gate);

/* ---- norms ----------------------------------------------------------------------------------- */

/* out = ((x - mean) / sqrt(variance + eps) * weight + bias) * (1 + scale) + shift, row by row, in
 * f32. weight, bias, scale and shift are f32 [E] or no tensors. out may be x, or e4m3. */
typedef struct lv_layer_norm {
    lv_tensor weight, bias, scale, shift;
    float eps;
} lv_layer_norm;
lvsa_status lv_op_layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm);

/* out[N,E] = x / sqrt(mean(x^2) + eps) * weight[E], in f32. out may be x. */
lvsa_status lv_op_rms_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight, float eps);

/* Rotary positions of a video's tokens, which lie in t, y, x order: pair j (elements 2j and 2j +
 * 1) of a head turns by position * frequency of its axis. Each axis has a table of its own, so
 * that nothing grows with T*Y*X: cosine and sine, f32 [positions, pairs of the axis]. */
typedef struct lv_rope {
    int64_t frames, height, width; /* T, Y, X in tokens              */
    lv_tensor cosine[3], sine[3];  /* t, y, x                        */
} lv_rope;

/* x[N, H*D], in place: rms norm over the whole row (weight [H*D]), then each head is turned. Row i
 * is token first + i of the rope's grid. Without a rope (NULL) only the norm. */
lvsa_status lv_op_norm_rope(lv_exec *e, lv_tensor x, lv_tensor weight, float eps,
                            const lv_rope *rope, int64_t first, int64_t head_dim);

/* ---- attention ------------------------------------------------------------------------------- */

/* The library's attention call, on this device, with scratch from the arena. The caller fills
 * sizes, strides, sources and runs; device, stream, type and workspace are filled here. */
lvsa_status lv_op_attention(lv_exec *e, lvsa_attention *call);

/* out = softmax(scale * q k^T + bias) v, for short texts: q and out [N, H*D], k and v [L, H*D],
 * bias f32 [H, N, L] or no tensor. */
lvsa_status lv_op_attention_biased(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v,
                                   lv_tensor bias, int64_t heads, float scale);

/* out = softmax(q k^T / sqrt(C)) v between the points of a picture: one head as wide as k and v
 * [points, C], q and out [points or fewer, C]. */
lvsa_status lv_op_attention_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v);

/* ---- elementwise ----------------------------------------------------------------------------- */

/* out[i] = a[i] + b[i % count of b]. out may be a. */
lvsa_status lv_op_add(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b);

/* out[i] = gelu_tanh(a[i]) * b[i]. out may be a or b. */
lvsa_status lv_op_gelu_multiply(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b);

/* out[i] = f(a[i]). out may be a. */
lvsa_status lv_op_activate(lv_exec *e, lv_tensor out, lv_tensor a, lv_activation f);

/* ---- latents and tokens ---------------------------------------------------------------------- */

/* Tokens of patches of py x px latents: out[T*Y/py*X/px, py*px*C], columns (y, x, c) as a kernel's
 * are laid out, from z f32 [C,T,Y,X]. */
lvsa_status lv_op_patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px);

/* The way back: z f32 [C,T,Y,X] from x [tokens, py*px*C]. */
lvsa_status lv_op_unpatchify(lv_exec *e, lv_tensor z, lv_tensor x, int64_t py, int64_t px);

/* ---- convolutional decoders ------------------------------------------------------------------ */
/* Frames lie channels-last, [F, Y, X, C]. */

/* out[1,Y,X,O] = b + sum over a kernel of kt x ky x kx, or out += that: `in` is a list of kt frames
 * [1,Y,X,C], the oldest first; space is padded with zeros by ky/2 and kx/2. w [O, kt, ky, kx, C] as
 * lv_params_load() lays it out. out may be f32. */
lvsa_status lv_op_conv(lv_exec *e, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                       bool add);

/* out = x / max(|x|, 1e-12) * sqrt(C) * weight[C] over the channels of each point, in f32; then f.
 * out may be x. */
lvsa_status lv_op_channel_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight,
                               lv_activation f);

/* out[F, 2Y, 2X, C]: every point four times. */
lvsa_status lv_op_upsample(lv_exec *e, lv_tensor out, lv_tensor x);

/* out[2F, Y, X, C] from x[F, Y, X, 2C]: the first half of the channels is frame 2f, the second
 * 2f+1. */
lvsa_status lv_op_split_frames(lv_exec *e, lv_tensor out, lv_tensor x);

/* out[Y, X, C] = z[c, t, y, x] * scale[c] + shift[c]: frame t of z f32 [C,T,Y,X], channels last. */
lvsa_status lv_op_take_frame(lv_exec *e, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                             lv_tensor shift);

/* A rectangle of every frame, from one picture [F, Y, X, C] to another of the same type:
 *     to[f, to_y + i, to_x + j] = (1 - s) * from[f, from_y + i, from_x + j] + s * to[...]
 * where s is 0 (a copy), i / height or j / width. The two don't overlap. */
typedef enum lv_ramp { LV_RAMP_NONE, LV_RAMP_Y, LV_RAMP_X } lv_ramp;
typedef struct lv_blend {
    int64_t to_y, to_x, from_y, from_x, height, width;
    lv_ramp ramp;
} lv_blend;
lvsa_status lv_op_blend(lv_exec *e, lv_tensor to, lv_tensor from, const lv_blend *blend);

/* Clamps frames f32 [F, Y, X, 3] to -1 .. 1 and makes bytes of them, 0 .. 255, as diffusers'
 * export_to_video() does: it cuts what comes after the point. Behind the bytes, from the next
 * multiple of 4 on, stands a 32-bit number that isn't 0 where a number is none. */
lvsa_status lv_op_pixels(lv_exec *e, void *rgb, lv_tensor frames);
static inline size_t lv_pixels_bytes(int64_t count) { return (size_t)(count + 3) / 4 * 4 + 4; }

/* Copies count numbers within the device; types may differ, and one may be e4m3. */
lvsa_status lv_op_copy(lv_exec *e, lv_tensor out, lv_tensor x);
lvsa_status lv_op_zero(lv_exec *e, lv_tensor out);

/* ---- what a device provides ------------------------------------------------------------------ */

/* As above, after the checks. Only linear, linear_add and conv are called while measuring, without
 * numbers: they make what they need for these shapes. */
struct lv_ops {
    lvsa_status (*linear)(lv_exec *, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                          lv_activation f);
    lvsa_status (*linear_add)(lv_exec *, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                              lv_tensor gate);
    lvsa_status (*layer_norm)(lv_exec *, lv_tensor out, lv_tensor x, const lv_layer_norm *norm);
    lvsa_status (*rms_norm)(lv_exec *, lv_tensor out, lv_tensor x, lv_tensor weight, float eps);
    lvsa_status (*norm_rope)(lv_exec *, lv_tensor x, lv_tensor weight, float eps,
                             const lv_rope *rope, int64_t first, int64_t head_dim);
    size_t (*attention_biased_scratch)(lv_exec *, int64_t length); /* bytes */
    lvsa_status (*attention_biased)(lv_exec *, lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v,
                                    lv_tensor bias, int64_t heads, float scale, void *scratch);
    /* NULL: the library's attention call does it. */
    size_t (*attention_picture_scratch)(lv_exec *, int64_t points, int64_t channels); /* bytes */
    lvsa_status (*attention_picture)(lv_exec *, lv_tensor out, lv_tensor q, lv_tensor k,
                                     lv_tensor v, void *scratch);
    lvsa_status (*add)(lv_exec *, lv_tensor out, lv_tensor a, lv_tensor b);
    lvsa_status (*gelu_multiply)(lv_exec *, lv_tensor out, lv_tensor a, lv_tensor b);
    lvsa_status (*activate)(lv_exec *, lv_tensor out, lv_tensor a, lv_activation f);
    lvsa_status (*patchify)(lv_exec *, lv_tensor out, lv_tensor z, int64_t py, int64_t px);
    lvsa_status (*unpatchify)(lv_exec *, lv_tensor z, lv_tensor x, int64_t py, int64_t px);
    size_t (*conv_scratch)(lv_exec *, lv_tensor out, lv_tensor w); /* bytes */
    lvsa_status (*conv)(lv_exec *, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                        bool add, void *scratch);
    lvsa_status (*channel_norm)(lv_exec *, lv_tensor out, lv_tensor x, lv_tensor weight,
                                lv_activation f);
    lvsa_status (*upsample)(lv_exec *, lv_tensor out, lv_tensor x);
    lvsa_status (*split_frames)(lv_exec *, lv_tensor out, lv_tensor x);
    lvsa_status (*take_frame)(lv_exec *, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                              lv_tensor shift);
    lvsa_status (*blend)(lv_exec *, lv_tensor to, lv_tensor from, const lv_blend *blend);
    lvsa_status (*pixels)(lv_exec *, void *rgb, lv_tensor frames);
    lvsa_status (*copy)(lv_exec *, lv_tensor out, lv_tensor x);
    lvsa_status (*zero)(lv_exec *, lv_tensor out);
};

#endif
