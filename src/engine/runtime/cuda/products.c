/* products.c: dense layers: what of bias, gate and sum cuBLASLt does itself, and what is made ready
 * for it. */
#include <string.h>

#include "base/mem.h"
#include "engine/runtime/cuda/cuda.h"

/* Numbers of an operand in one call of cuBLASLt, whose kernels count some of them in 32 bits. */
static const int64_t MOST_NUMBERS = INT32_MAX;

/* Rows of a call are a multiple of it, so that scales begin where vectors of 16 bytes do. */
enum { ROWS_TOGETHER = 64 };

/* What one dense layer multiplies and adds. */
typedef struct layer {
    lv_tensor out, x, w;
    lv_tensor b, gate; /* f32 [O] or no tensors          */
    bool gelu, add;    /* add: to what is in out already */
} layer;

static bool is_e4m3(const layer *l) { return l->w.dtype == LV_E4M3; }

/* Every row begins at a multiple of so many bytes; 16 are the most that a kernel asks for. */
static int32_t align_of(const layer *l)
{
    const size_t bytes = lv_dtype_bytes(l->w.dtype), out = lv_dtype_bytes(l->out.dtype);
    const size_t inner = (size_t)l->w.shape[1] * bytes, columns = (size_t)l->w.shape[0] * out;
    int32_t align = 16;
    while (inner % (size_t)align || columns % (size_t)align ||
           (uintptr_t)l->x.data % (size_t)align || (uintptr_t)l->w.data % (size_t)align ||
           (uintptr_t)l->out.data % (size_t)align)
        align /= 2;
    return align;
}

/* What gate and weights are together: a copy of the weights, or of their scales. */
static lvsa_status take_gated(lv_tensor *w, lv_exec *e, const layer *l)
{
    lv_tensor scale;
    if (!is_e4m3(l)) return lv_take(w, e, l->w.dtype, 2, l->w.shape);
    LV_TRY(lv_take(&scale, e, LVSA_F32, 1, l->w.shape));
    w->scale = scale.data;
    return LVSA_OK;
}

/* The bias in the type of the product, and gate and weights in one, from the arena. */
static lvsa_status prepare(lv_exec *e, layer *l)
{
    const lvsa_dtype bias = l->w.dtype == LVSA_F32 ? LVSA_F32 : LVSA_BF16;
    lv_tensor w = l->w, b = l->b;
    if (l->gate.rank) LV_TRY(take_gated(&w, e, l));
    if (l->b.rank && (l->gate.rank || bias != LVSA_F32))
        LV_TRY(lv_take(&b, e, bias, 1, LV_SHAPE(l->w.shape[0])));
    if (!e->arena.measuring && (l->gate.rank || b.data != l->b.data))
        LV_CUDA_ENQUEUE(e, gate_weights, w, b, l->w, l->b, l->gate);
    l->w = w, l->b = b;
    return LVSA_OK;
}

/* How the product of `count` rows is computed; all 0: not as e4m3. */
static lvsa_status find_plan(const lv_cuda_algorithm **how, lv_cuda_product *p, lv_exec *e,
                             const layer *l, int64_t count)
{
    *p = (lv_cuda_product){.rows = count,
                           .columns = l->w.shape[0],
                           .inner = l->w.shape[1],
                           .dtype = (int32_t)l->w.dtype,
                           .out_dtype = (int32_t)l->out.dtype,
                           .align = align_of(l),
                           .bias = l->b.rank != 0,
                           .gelu = l->gelu,
                           .add = l->add};
    return lv_cuda_find_plan(how, (lv_cuda_device *)e->device, p);
}

static bool is_none(const lv_cuda_algorithm *how)
{
    static const lv_cuda_algorithm none;
    return memcmp(how, &none, sizeof none) == 0;
}

static lvsa_status launch(lv_exec *e, const layer *l)
{
    lv_cuda_product p;
    const lv_cuda_algorithm *how;
    LV_TRY(find_plan(&how, &p, e, l, l->x.shape[0]));
    if (e->arena.measuring) return LVSA_OK;
    const lv_cuda_operands o = {.out = l->out.data,
                                .x = l->x.data,
                                .w = l->w.data,
                                .bias = l->b.data,
                                .x_scale = l->x.scale,
                                .w_scale = l->w.scale};
    LV_CUDA_ENQUEUE(e, multiply, &p, how, &o);
    return LVSA_OK;
}

/* The same numbers as bf16, from the arena. */
static lvsa_status take_wide(lv_tensor *t, lv_exec *e)
{
    const lv_tensor narrow = *t;
    LV_TRY(lv_take(t, e, LVSA_BF16, 2, narrow.shape));
    if (!e->arena.measuring) LV_CUDA_ENQUEUE(e, copy, *t, narrow);
    return LVSA_OK;
}

/* Rows first .. first + count - 1. */
static lvsa_status multiply(lv_exec *e, const layer *l, int64_t first, int64_t count)
{
    layer part = *l;
    lv_cuda_product p;
    const lv_cuda_algorithm *how;
    const size_t mark = lv_arena_mark(&e->arena);
    part.out = lv_tensor_rows(l->out, first, count), part.x = lv_tensor_rows(l->x, first, count);
    if (e->device->dry) return LVSA_OK;
    if (is_e4m3(l)) {
        LV_TRY(find_plan(&how, &p, e, &part, count));
        if (is_none(how)) { /* small ones, see find_algorithm() */
            LV_TRY(take_wide(&part.x, e));
            LV_TRY(take_wide(&part.w, e));
        }
    }
    LV_TRY(launch(e, &part));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

/* e4m3 makes bf16; other types make their own. */
static lvsa_status check_types(const layer *l)
{
    const bool e4m3 = is_e4m3(l);
    if (e4m3 && (l->w.shape[0] % 16 || l->w.shape[1] % 16))
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: a dense layer [%lld, %lld] in fp8: multiples of 16 are "
                       "wanted; use --dtype auto",
                       (long long)l->w.shape[0], (long long)l->w.shape[1]);
    if (l->x.dtype == l->w.dtype && l->out.dtype == (e4m3 ? LVSA_BF16 : l->w.dtype)) return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "device cuda: a dense layer of types %d and %d with weights of type %d: one "
                   "type is wanted",
                   (int)l->x.dtype, (int)l->out.dtype, (int)l->w.dtype);
}

static lvsa_status run(lv_exec *e, layer l)
{
    const int64_t rows = l.x.shape[0];
    const int64_t widest = l.w.shape[0] > l.w.shape[1] ? l.w.shape[0] : l.w.shape[1];
    const int64_t most = MOST_NUMBERS / (widest > 0 ? widest : 1) / ROWS_TOGETHER * ROWS_TOGETHER;
    LV_TRY(check_types(&l));
    if (most == 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: a dense layer [%lld, %lld]: %lld at most of each; use device "
                       "cpu",
                       (long long)l.w.shape[0], (long long)l.w.shape[1],
                       (long long)(MOST_NUMBERS / ROWS_TOGETHER));
    size_t mark = lv_arena_mark(&e->arena);
    LV_TRY(prepare(e, &l));
    for (int64_t first = 0; first < rows; first += most)
        LV_TRY(multiply(e, &l, first, rows - first < most ? rows - first : most));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

/* cuBLASLt has no e4m3 results with scales a row. What it would add as epilogues, bias and f, is as
 * well done in the pass that makes e4m3 of its bf16; half of the rows at a time, so that both take
 * no more memory than bf16 alone would. */
static lvsa_status narrow_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                                 lv_activation f)
{
    const int64_t rows = x.shape[0], half = e->device->rows / 2, most = rows < half ? rows : half;
    const size_t mark = lv_arena_mark(&e->arena);
    lv_tensor wide;
    LV_TRY(lv_take(&wide, e, LVSA_BF16, 2, LV_SHAPE(most, w.shape[0])));
    for (int64_t first = 0, count; first < rows; first += count) {
        count = rows - first < most ? rows - first : most;
        const layer l = {
            .out = lv_tensor_rows(wide, 0, count), .x = lv_tensor_rows(x, first, count), .w = w};
        LV_TRY(run(e, l));
        if (!e->arena.measuring)
            LV_CUDA_ENQUEUE(e, activate_rows, lv_tensor_rows(out, first, count), l.out, b, f);
    }
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

lvsa_status lv_cuda_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                           lv_activation f)
{
    if (out.dtype == LV_E4M3) return narrow_linear(e, out, x, w, b, f);
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
