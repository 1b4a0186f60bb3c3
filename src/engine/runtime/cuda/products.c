/* products.c: dense layers: what of bias, gate and sum cuBLASLt does itself, and what is made ready
 * for it. */
#include "base/mem.h"
#include "engine/runtime/cuda/cuda.h"

/* Numbers of an operand in one call of cuBLASLt, whose kernels count some of them in 32 bits. */
static const int64_t MOST_NUMBERS = INT32_MAX;

/* What one dense layer multiplies and adds. */
typedef struct layer {
    lv_tensor out, x, w;
    lv_tensor b, gate; /* f32 [O] or no tensors          */
    bool gelu, add;    /* add: to what is in out already */
} layer;

/* Every row begins at a multiple of so many bytes; 16 are the most that a kernel asks for. */
static int32_t align_of(const layer *l)
{
    const size_t bytes = lv_dtype_bytes(l->w.dtype);
    const size_t inner = (size_t)l->w.shape[1] * bytes, columns = (size_t)l->w.shape[0] * bytes;
    int32_t align = 16;
    while (inner % (size_t)align || columns % (size_t)align ||
           (uintptr_t)l->x.data % (size_t)align || (uintptr_t)l->w.data % (size_t)align ||
           (uintptr_t)l->out.data % (size_t)align)
        align /= 2;
    return align;
}

/* The bias in the type of the product, and gate and weights in one, from the arena. */
static lvsa_status prepare(lv_exec *e, layer *l)
{
    const int64_t columns = l->w.shape[0], inner = l->w.shape[1];
    lv_tensor w = l->w, b = l->b;
    if (l->gate.rank) LV_TRY(lv_take(&w, e, l->w.dtype, 2, LV_SHAPE(columns, inner)));
    if (l->b.rank && (l->gate.rank || l->w.dtype != LVSA_F32))
        LV_TRY(lv_take(&b, e, l->w.dtype, 1, LV_SHAPE(columns)));
    if (!e->arena.measuring && (w.data != l->w.data || b.data != l->b.data))
        LV_CUDA_ENQUEUE(e, gate_weights, w, b, l->w, l->b, l->gate);
    l->w = w, l->b = b;
    return LVSA_OK;
}

/* Rows first .. first + count - 1. */
static lvsa_status multiply(lv_exec *e, const layer *l, int64_t first, int64_t count)
{
    lv_cuda_device *device = (lv_cuda_device *)e->device;
    const lv_cuda_algorithm *how;
    const lv_cuda_product p = {.rows = count,
                               .columns = l->w.shape[0],
                               .inner = l->w.shape[1],
                               .dtype = l->w.dtype,
                               .align = align_of(l),
                               .bias = l->b.rank != 0,
                               .gelu = l->gelu,
                               .add = l->add};
    if (device->base.dry) return LVSA_OK;
    LV_TRY(lv_cuda_find_plan(&how, device, &p));
    if (e->arena.measuring) return LVSA_OK;
    LV_CUDA_ENQUEUE(e, multiply, &p, how, lv_tensor_rows(l->out, first, count).data,
                    lv_tensor_rows(l->x, first, count).data, l->w.data, l->b.data);
    return LVSA_OK;
}

static lvsa_status run(lv_exec *e, layer l)
{
    const int64_t rows = l.x.shape[0];
    const int64_t widest = l.w.shape[0] > l.w.shape[1] ? l.w.shape[0] : l.w.shape[1];
    const int64_t most = MOST_NUMBERS / (widest > 0 ? widest : 1);
    if (l.x.dtype != l.w.dtype || l.out.dtype != l.w.dtype)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: a dense layer of types %d and %d with weights of type %d: one "
                       "type is wanted",
                       (int)l.x.dtype, (int)l.out.dtype, (int)l.w.dtype);
    size_t mark = lv_arena_mark(&e->arena);
    LV_TRY(prepare(e, &l));
    for (int64_t first = 0; first < rows; first += most)
        LV_TRY(multiply(e, &l, first, rows - first < most ? rows - first : most));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

lvsa_status lv_cuda_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                           lv_activation f)
{
    const layer l = {.out = out, .x = x, .w = w, .b = b, .gelu = f == LV_GELU_TANH};
    LV_TRY(run(e, l));
    if (f == LV_SILU && !e->arena.measuring) /* no epilogue of cuBLASLt */
        LV_CUDA_ENQUEUE(e, activate, out, out, f);
    return LVSA_OK;
}

lvsa_status lv_cuda_linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                               lv_tensor gate)
{
    const layer l = {.out = x, .x = y, .w = w, .b = b, .gate = gate, .add = true};
    return run(e, l);
}
