/* cuda.h: an NVIDIA GPU as a device: bf16 activations, the operations of the CUDA module. */
#ifndef LV_ENGINE_RUNTIME_CUDA_CUDA_H
#define LV_ENGINE_RUNTIME_CUDA_CUDA_H

#include "engine/runtime/cuda/module.h"
#include "engine/runtime/device.h"

/* GPU `index`. Fails as lv_cuda_get_table(), or with LVSA_ERR_DEVICE. */
lvsa_status lv_cuda_device_open(lv_device **out, int index);

/* ---- for the files of this folder ------------------------------------------------------------ */

/* A product and how it is computed on this card. */
typedef struct lv_cuda_plan {
    lv_cuda_product product;
    lv_cuda_algorithm algorithm;
} lv_cuda_plan;

/* Tiles of the attention calls that this device has seen. */
typedef struct lv_cuda_tiles {
    uint64_t pattern;
    lvsa_backend backend; /* one may need tables where another has none */
    lvsa_tiles *tiles;
} lv_cuda_tiles;

typedef struct lv_cuda_device {
    lv_device base;
    int capability; /* 90 is sm_90; tests lower it, for the kernels of other cards */
    const lv_cuda_ops *cuda;
    lv_cuda *gpu;
    lv_cuda *aside; /* the same card once more, for copies beside the work; NULL: not yet wanted */
    lv_cuda_plan *plan; /* [plans] */
    size_t plans, plan_capacity;
    bool plans_read;      /* those of earlier runs are among them                  */
    char *plans_path;     /* the file they are kept in; NULL: there is none        */
    lv_cuda_tiles *tiles; /* [tile_count] */
    size_t tile_count, tile_capacity;
} lv_cuda_device;

extern const lv_ops lv_cuda_ops_table; /* ops.c */

/* Enqueues operation `op` of the module, with its arguments past the GPU. */
#define LV_CUDA_ENQUEUE(e, op, ...)                                                                \
    do {                                                                                           \
        const lv_cuda_device *d_ = (const lv_cuda_device *)(e)->device;                            \
        LV_TRY(lv_cuda_check(d_->cuda->use(d_->gpu), "choosing the GPU"));                         \
        LV_TRY(lv_cuda_check(d_->cuda->op(d_->gpu, __VA_ARGS__), #op));                            \
    } while (0)

/* products.c: dense layers. While memory is measured they choose their algorithms. */
lvsa_status lv_cuda_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                           lv_activation f);
lvsa_status lv_cuda_linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                               lv_tensor gate);

/* plans.c: the algorithm for a product: chosen once for a card and a version of cuBLASLt, kept in a
 * file, so that repeated runs give the same bits. */
lvsa_status lv_cuda_find_plan(const lv_cuda_algorithm **out, lv_cuda_device *device,
                              const lv_cuda_product *product);
void lv_cuda_free_plans(lv_cuda_device *device);

#endif
