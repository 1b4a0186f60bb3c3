/* module.h: the CUDA module, liblvsa_cuda.so.<major version>: all that a CUDA compiler makes. The
 * library links neither to it nor to CUDA; it loads the module when a program asks for device cuda.
 *
 * Also read by the module (CUDA C++). */
#ifndef LV_ENGINE_RUNTIME_CUDA_MODULE_H
#define LV_ENGINE_RUNTIME_CUDA_MODULE_H

#include <stdint.h>

#include <lvsa/lvsa_attention.h>

#include "engine/runtime/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Counts the changes of lv_cuda_table and of what its functions take. */
enum { LV_CUDA_ABI = 9 };

typedef struct lv_cuda_gpu {
    char name[128];
    int major, minor; /* compute capability: 9, 0 is sm_90   */
    int driver;       /* CUDA version it offers: 13000 is 13.0 */
    int64_t memory;   /* bytes                               */
    int processors;   /* multiprocessors                     */
} lv_cuda_gpu;

/* What the module gives. Every function returns NULL, or a static text that says what failed. */
typedef struct lv_cuda_table {
    uint32_t abi;  /* LV_CUDA_ABI and the sizes of this table, lvsa_attention and lv_cuda_ops as */
    uint32_t size; /* the module was compiled with: all four have to be the library's           */
    uint32_t attention_size, ops_size;

    const char *(*get_gpu)(lv_cuda_gpu *out, int index); /* -1: the thread's current one */

    /* ---- the attention call, on the current GPU ---- */
    const char *(*get_capability)(int *out);           /* 90 is sm_90; quick                    */
    const char *(*allocate)(void **out, size_t bytes); /* 256-byte aligned             */
    const char *(*release)(void *memory);
    const char *(*copy)(void *to, const void *from, size_t bytes); /* any direction; waits */
    const char *(*synchronize)(void *stream);

    /* `tiles`: in device memory, a lv_tile_table's blocks and right behind them its runs. */
    const char *(*attn_bf16_sm80)(const lvsa_attention *call, const void *tiles);
    const char *(*attn_f16_sm80)(const lvsa_attention *call, const void *tiles);
    const char *(*attn_bf16_sm90)(const lvsa_attention *call, const void *tiles);
    const char *(*attn_f16_sm90)(const lvsa_attention *call, const void *tiles);
    const char *(*attn_fp8_sm90)(const lvsa_attention *call, const void *tiles);

    const lv_cuda_ops *ops; /* models; NULL: the module has the attention alone */
} lv_cuda_table;

/* What the module exports, and nothing else. */
#define LV_CUDA_SYMBOL "lv_cuda_module_table"
LVSA_API const lv_cuda_table *lv_cuda_module_table(void);

/* Loads the module at the first call. Fails with LVSA_ERR_UNSUPPORTED: there is no module, or it is
 * of another build, or no driver, or no GPU that the module's code was made for. Any thread. */
lvsa_status lv_cuda_get_table(const lv_cuda_table **out);

/* A table function's result as a status and a sentence. */
lvsa_status lv_cuda_check(const char *failure, const char *what);

#ifdef __cplusplus
}
#endif
#endif
