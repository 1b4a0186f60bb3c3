/* module.h: the FlashInfer module, liblvsa_flashinfer.so.<major version>: FlashInfer's
 * block-sparse kernels (https://github.com/flashinfer-ai/flashinfer), compiled from its headers.
 * The library loads it when a call asks for the back end.
 *
 * Also read by the module (CUDA C++). */
#ifndef LV_ENGINE_ATTENTION_FLASHINFER_MODULE_H
#define LV_ENGINE_ATTENTION_FLASHINFER_MODULE_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_attention.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts the changes of what is below. */
enum { LV_FLASHINFER_ABI = 1 };

/* One batch item, in bf16. Keys lie in one row, cut into pages; query frame f attends to pages
 * indices[indptr[f]] .. indices[indptr[f + 1] - 1], one at least. */
typedef struct lv_flashinfer_job {
    const void *q, *k, *v;
    void *out;
    float *lse; /* [frames * frame_rows, heads], base 2; or NULL */
    lvsa_strides q_strides, k_strides, v_strides, out_strides;
    int frames, frame_rows, heads, kv_heads, head_dim; /* head_dim: 64 or 128            */
    int page;                                          /* rows of one                    */
    const int32_t *indptr, *indices;                   /* of the host: [frames + 1], ..  */
    float scale;
    void *ints; /* of the device: lv_flashinfer_ints() bytes    */
    size_t ints_size;
    void *stream;
    int sm80; /* by the kernel of every card                  */
} lv_flashinfer_job;

typedef struct lv_flashinfer_table {
    uint32_t abi, size;
    /* All return NULL, or a static text that says what failed. */
    const char *(*run)(const lv_flashinfer_job *job);
    /* The rows of `run`, `count` of them, of [rows, heads, d] of 2 bytes, side by side at `to`. */
    const char *(*gather)(void *to, const void *from, lvsa_strides strides, const lvsa_run *run,
                          int count, int64_t heads, int64_t d, void *stream);
    /* [rows, heads] in base 2 to [heads, rows] in base e. */
    const char *(*turn_lse)(float *to, const float *from, int64_t rows, int64_t heads,
                            void *stream);
} lv_flashinfer_table;

/* Bytes of integers that a job needs on the device, `indices` of them its pages: FlashInfer lists
 * eight numbers for every tile of 64 query rows or more, of every head. */
static inline size_t lv_flashinfer_ints(int64_t frames, int64_t frame_rows, int64_t heads,
                                        int64_t indices)
{
    const int64_t tiles = frames * ((frame_rows + 63) / 64 + 1) * heads;
    return (size_t)(8 * tiles + 4 * (frames + 1) + indices) * sizeof(int32_t) + (1 << 16);
}

#define LV_FLASHINFER_SYMBOL "lv_flashinfer_module_table"
LVSA_API const lv_flashinfer_table *lv_flashinfer_module_table(void);

#ifdef __cplusplus
}
#endif
#endif
