/* module.h: the cuDNN module, liblvsa_cudnn.so.<major version>: dense attention by NVIDIA's
 * cuDNN 9, through its C++ front end (https://github.com/NVIDIA/cudnn-frontend), whose headers it
 * is compiled with. libcudnn.so.9 is found when the module is used.
 *
 * Also read by the module (CUDA C++). */
#ifndef LV_ENGINE_ATTENTION_SDPA_MODULE_H
#define LV_ENGINE_ATTENTION_SDPA_MODULE_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_attention.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts the changes of what is below. */
enum { LV_CUDNN_ABI = 1 };

/* Each of `queries` rows attends to each of `keys` rows. */
typedef struct lv_cudnn_job {
    lvsa_dtype dtype; /* bf16 or f16 */
    int64_t queries, keys, heads, kv_heads, head_dim;
    lvsa_strides q_strides, k_strides, v_strides, out_strides;
    float scale;
    int with_lse;
    const void *q, *k, *v;
    void *out;
    float *lse; /* [heads, queries], base e */
    void *workspace, *stream;
} lv_cudnn_job;

typedef struct lv_cudnn_table {
    uint32_t abi, size;
    /* All return NULL, or a text that says what failed, the thread's own until its next call. */
    const char *(*load)(void);
    const char *(*workspace)(size_t *bytes, const lv_cudnn_job *job); /* reads no pointer */
    const char *(*run)(const lv_cudnn_job *job);
    const char *(*gather)(void *to, const void *from, lvsa_strides strides, const lvsa_run *run,
                          int count, int64_t heads, int64_t d, void *stream);
    /* `count` rows of `width` numbers, each where `stride` says. */
    const char *(*spread)(float *to, int64_t stride, const float *from, int64_t width,
                          int64_t count, void *stream);
} lv_cudnn_table;

#define LV_CUDNN_SYMBOL "lv_cudnn_module_table"
LVSA_API const lv_cudnn_table *lv_cudnn_module_table(void);

#ifdef __cplusplus
}
#endif
#endif
