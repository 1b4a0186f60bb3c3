/* cpu.h: the CPU as a device: f32 activations, OpenMP threads. */
#ifndef LV_ENGINE_RUNTIME_CPU_CPU_H
#define LV_ENGINE_RUNTIME_CPU_CPU_H

#include "engine/runtime/device.h"

lvsa_status lv_cpu_device_open(lv_device **out, int threads);

/* How many threads an operation of so many multiplications (or numbers touched) takes: one where
 * waking the others would cost more than it saves. */
int lv_cpu_threads(const lv_exec *e, int64_t work);

/* One function, compiled for each instruction set; the machine that runs it chooses. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(LVSA_NO_CLONES)
#define LV_CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LV_CPU_CLONES
#endif

/* ---- products: nearly all of the work, through oneDNN (onednn.c) or plain (plain.c) --------- */

/* What happens to the products: c = gate * f(sum + bias), then + c where add is set. */
typedef struct lv_epilogue {
    lv_tensor bias; /* [columns] or no tensor */
    lv_activation f;
    lv_tensor gate; /* [columns] or no tensor */
    bool add;
} lv_epilogue;

/* c[rows, columns] from a[rows, inner] and b[columns, inner], all row-major f32. */
lvsa_status lv_cpu_matmul(lv_exec *e, float *c, const float *a, const float *b, int64_t rows,
                          int64_t columns, int64_t inner, const lv_epilogue *epilogue);

/* Whatever products keep between calls; NULL is nothing. */
void lv_cpu_matmul_free(void *state);

/* conv.c: lv_op_conv() as products. */
size_t lv_cpu_conv_scratch(lv_exec *e, lv_tensor out, lv_tensor w);
lvsa_status lv_cpu_conv(lv_exec *e, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                        bool add, void *scratch);

typedef struct lv_cpu_device {
    lv_device base;
    void *matmul; /* what products keep */
} lv_cpu_device;

extern const lv_ops lv_cpu_ops;

#endif
