/* kernels.h: what the CUDA module does for a device and for the operations of engine/runtime/ops.h.
 *
 * The library has the shapes checked and the memory taken; the module launches. So every function
 * here takes tensors in device memory, enqueues on its GPU's stream and returns at once, unless it
 * says that it waits: NULL, or a static text that says what failed. Tensors are bf16 or f32, as
 * each says, or e4m3; vectors (weights of norms, biases, gates, scales) are f32.
 *
 * Also read by the module (CUDA C++). */
#ifndef LV_ENGINE_RUNTIME_CUDA_KERNELS_H
#define LV_ENGINE_RUNTIME_CUDA_KERNELS_H

#include "engine/runtime/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A GPU in use: its stream, pinned memory for copies, handles of libraries. One thread at a
 * time. */
typedef struct lv_cuda lv_cuda;

/* out[rows, columns] = x[rows, inner] w[columns, inner]^T, then the rest in this order. */
typedef struct lv_cuda_product {
    int64_t rows, columns, inner;
    int32_t dtype;           /* of x and w; the bias is f32 where they are, otherwise bf16 */
    int32_t out_dtype;       /* theirs, but bf16 where they are e4m3                       */
    int32_t align;           /* every row of x, w and out begins at a multiple: 2 to 16    */
    int32_t bias, gelu, add; /* + bias, f, + what is in out: 0 or 1. No gap follows:       */
} lv_cuda_product;           /* products are compared byte by byte                         */

/* Device memory of a product. */
typedef struct lv_cuda_operands {
    void *out;
    const void *x, *w, *bias;
    const float *x_scale, *w_scale; /* of e4m3: [rows], [columns] */
} lv_cuda_operands;

/* How cuBLASLt multiplies: good for the card and the version of the library that gave it. */
typedef struct lv_cuda_algorithm {
    uint64_t words[8];
} lv_cuda_algorithm;

/* Slots of marks. */
enum { LV_CUDA_MARKS = 3 };

enum { LV_CUDA_STAGE = 16 << 20 };

typedef struct lv_cuda_ops {
    /* ---- a GPU ---- */
    const char *(*open)(lv_cuda **out, int index);
    void (*close)(lv_cuda *gpu);
    /* Makes it the calling thread's current GPU: before every other call but open and close. */
    const char *(*use)(lv_cuda *gpu);
    void *(*get_stream)(lv_cuda *gpu);
    /* Bytes of the card, and those that nobody has taken. */
    const char *(*get_memory)(lv_cuda *gpu, size_t *total, size_t *available);
    /* What an algorithm is good for, as a file's name: "NVIDIA-H100-80GB-HBM3-cublas-130002". */
    const char *(*get_identity)(lv_cuda *gpu, char *name, size_t size);

    /* ---- memory; allocate and release wait ---- */
    const char *(*allocate)(lv_cuda *gpu, void **out, size_t bytes); /* 256-byte aligned */
    const char *(*release)(lv_cuda *gpu, void *memory);
    /* Pinned memory of LV_CUDA_STAGE bytes for the caller to fill; then what it has filled goes
     * its way to `to`: numbers of `type`, converted there. Waits while all stages are on theirs. */
    const char *(*get_stage)(lv_cuda *gpu, void **out);
    const char *(*send_stage)(lv_cuda *gpu, lv_tensor to, lvsa_dtype type);
    const char *(*download)(lv_cuda *gpu, void *to, const void *from, size_t bytes); /* waits */
    /* Into pinned memory, slot 0 or 1; await waits and gives the slot's memory. */
    const char *(*fetch)(lv_cuda *gpu, int slot, const void *from, size_t bytes);
    const char *(*await)(lv_cuda *gpu, const void **out, int slot);
    /* When all before is done; the time from stamp 2i to stamp 2i + 1, which waits. */
    const char *(*stamp)(lv_cuda *gpu, int index);
    const char *(*elapsed)(lv_cuda *gpu, double *seconds, int count);
    const char *(*synchronize)(lv_cuda *gpu);
    /* Notes what the stream has been asked so far, in a slot; another GPU in use of the same card
     * lets its later work wait for that. */
    const char *(*mark)(lv_cuda *gpu, int slot);
    const char *(*wait)(lv_cuda *gpu, lv_cuda *other, int slot);

    /* ---- products ---- */
    /* The algorithm for a product: the fastest of those that cuBLASLt proposes, by timing them in
     * memory taken for it (waits), or its first proposal; all 0 where it has none for e4m3. */
    const char *(*find_algorithm)(lv_cuda *gpu, lv_cuda_algorithm *out, const lv_cuda_product *p,
                                  bool timed);
    const char *(*multiply)(lv_cuda *gpu, const lv_cuda_product *p, const lv_cuda_algorithm *how,
                            const lv_cuda_operands *o);
    /* w_out[O,I] = gate[O] w[O,I] and b_out[O] = gate[O] b[O]; without a gate only b_out, without b
     * only w_out. Of e4m3 weights the scales alone change. */
    const char *(*gate_weights)(lv_cuda *gpu, lv_tensor w_out, lv_tensor b_out, lv_tensor w,
                                lv_tensor b, lv_tensor gate);
    /* out[N,O] = f(x[N,O] + b[O]), e4m3, a row's largest number 448 times its scale. */
    const char *(*activate_rows)(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor b,
                                 lv_activation f);

    /* ---- as in ops.h ---- */
    const char *(*layer_norm)(lv_cuda *gpu, lv_tensor out, lv_tensor x, const lv_layer_norm *norm);
    const char *(*rms_norm)(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight, float eps);
    const char *(*norm_rope)(lv_cuda *gpu, lv_tensor x, lv_tensor weight, float eps,
                             const lv_rope *rope, int64_t first, int64_t head_dim);
    const char *(*attention_biased)(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v, lv_tensor bias, int64_t heads, float scale);
    const char *(*add)(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b);
    const char *(*gelu_multiply)(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_tensor b);
    const char *(*activate)(lv_cuda *gpu, lv_tensor out, lv_tensor a, lv_activation f);
    const char *(*patchify)(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t py, int64_t px);
    const char *(*unpatchify)(lv_cuda *gpu, lv_tensor z, lv_tensor x, int64_t py, int64_t px);
    /* `capability`: 90 is sm_90; kernels of a smaller one are taken where it is smaller. */
    const char *(*conv)(lv_cuda *gpu, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                        bool add, int capability);
    size_t (*attention_picture_scratch)(int64_t points, int64_t channels); /* bytes */
    const char *(*attention_picture)(lv_cuda *gpu, lv_tensor out, lv_tensor q, lv_tensor k,
                                     lv_tensor v, void *scratch, int capability);
    const char *(*channel_norm)(lv_cuda *gpu, lv_tensor out, lv_tensor x, lv_tensor weight,
                                lv_activation f);
    const char *(*upsample)(lv_cuda *gpu, lv_tensor out, lv_tensor x);
    const char *(*split_frames)(lv_cuda *gpu, lv_tensor out, lv_tensor x);
    const char *(*take_frame)(lv_cuda *gpu, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                              lv_tensor shift);
    const char *(*blend)(lv_cuda *gpu, lv_tensor to, lv_tensor from, const lv_blend *blend);
    const char *(*pixels)(lv_cuda *gpu, void *rgb, lv_tensor frames);
    const char *(*copy)(lv_cuda *gpu, lv_tensor out, lv_tensor x);
    const char *(*zero)(lv_cuda *gpu, lv_tensor out);
} lv_cuda_ops;

#ifdef __cplusplus
}
#endif
#endif
