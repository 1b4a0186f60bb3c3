/* ops.c: checks an operation's shapes and hands it to the device. */
#include "engine/runtime/ops.h"

#include "base/mem.h"
#include "engine/runtime/device.h"

/* Numbers are neither read nor written while memory is being measured. */
#define RUN(op, ...) return e->arena.measuring ? LVSA_OK : e->ops->op(e, __VA_ARGS__)

/* The same for operations that get ready while memory is being measured: the device chooses how it
 * will multiply, so that the real pass finds everything made. */
#define RUN_OR_PREPARE(op, ...) return e->ops->op(e, __VA_ARGS__)

static lvsa_status misfit(const char *op, lv_tensor out, lv_tensor in)
{
    return lv_fail(LVSA_ERR_SHAPE,
                   "%s: [%lld, %lld, %lld, %lld] from [%lld, %lld, %lld, %lld] doesn't fit", op,
                   (long long)out.shape[0], (long long)out.shape[1], (long long)out.shape[2],
                   (long long)out.shape[3], (long long)in.shape[0], (long long)in.shape[1],
                   (long long)in.shape[2], (long long)in.shape[3]);
}

/* A vector of `count` f32, or no tensor. */
static bool is_vector(lv_tensor t, int64_t count)
{
    return t.rank == 0 || (t.dtype == LVSA_F32 && lv_tensor_count(t) == count);
}

static bool same_count(lv_tensor a, lv_tensor b)
{
    return lv_tensor_count(a) == lv_tensor_count(b);
}

lvsa_status lv_take(lv_tensor *out, lv_exec *e, lvsa_dtype dtype, int rank, const int64_t *shape)
{
    *out = lv_tensor_view(NULL, dtype, rank, shape);
    size_t bytes = lv_dtype_bytes(dtype);
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || !lv_mul(&bytes, bytes, (size_t)shape[i]))
            return lv_fail(LVSA_ERR_MEMORY, "a tensor of %lld x ...: too large",
                           (long long)shape[0]);
    return lv_arena_take(&out->data, &e->arena, bytes);
}

lvsa_status lv_op_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                         lv_activation f)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != w.shape[0] || x.shape[1] != w.shape[1] ||
        !is_vector(b, w.shape[0]))
        return misfit("linear", out, x);
    RUN_OR_PREPARE(linear, out, x, w, b, f);
}

lvsa_status lv_op_linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                             lv_tensor gate)
{
    if (x.shape[0] != y.shape[0] || x.shape[1] != w.shape[0] || y.shape[1] != w.shape[1] ||
        !is_vector(b, w.shape[0]) || !is_vector(gate, w.shape[0]))
        return misfit("linear_add", x, y);
    RUN_OR_PREPARE(linear_add, x, y, w, b, gate);
}

lvsa_status lv_op_layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm)
{
    int64_t width = x.shape[1];
    if (out.shape[0] != x.shape[0] || out.shape[1] != width || !is_vector(norm->weight, width) ||
        !is_vector(norm->bias, width) || !is_vector(norm->scale, width) ||
        !is_vector(norm->shift, width))
        return misfit("layer_norm", out, x);
    RUN(layer_norm, out, x, norm);
}

lvsa_status lv_op_rms_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight, float eps)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != x.shape[1] || !is_vector(weight, x.shape[1]))
        return misfit("rms_norm", out, x);
    RUN(rms_norm, out, x, weight, eps);
}

lvsa_status lv_op_norm_rope(lv_exec *e, lv_tensor x, lv_tensor weight, float eps,
                            const lv_rope *rope, int64_t first, int64_t head_dim)
{
    if (x.shape[1] % head_dim != 0 || !is_vector(weight, x.shape[1]))
        return misfit("norm_rope", x, weight);
    if (rope) {
        int64_t pairs =
            rope->cosine[0].shape[1] + rope->cosine[1].shape[1] + rope->cosine[2].shape[1];
        if (2 * pairs != head_dim || first < 0 ||
            first + x.shape[0] > rope->frames * rope->height * rope->width)
            return misfit("norm_rope", x, rope->cosine[0]);
    }
    RUN(norm_rope, x, weight, eps, rope, first, head_dim);
}

lvsa_status lv_op_attention(lv_exec *e, lvsa_attention *call)
{
    static const _Alignas(64) char placeholder; /* measuring: sizes are checked, nothing is read */
    size_t mark = lv_arena_mark(&e->arena);
    call->size = sizeof *call;
    call->dtype = e->dtype;
    call->device = e->device->kind;
    call->threads = e->device->threads;
    call->stream = e->device->stream;
    lvsa_attention checked = *call;
    if (e->arena.measuring) {
        checked.q = checked.out = (void *)(uintptr_t)&placeholder;
        for (int i = 0; i < checked.sources; i++)
            checked.source[i].k = checked.source[i].v = &placeholder;
    }
    if (e->device->find_tiles)
        LV_TRY(e->device->find_tiles(e->device, &call->tiles, &checked));
    LV_TRY(lvsa_attention_workspace(&call->workspace_size, &checked));
    LV_TRY(lv_arena_take(&call->workspace, &e->arena, call->workspace_size));
    lvsa_status s = e->arena.measuring ? LVSA_OK : lvsa_attention_run(call);
    lv_arena_release(&e->arena, mark);
    return s;
}

lvsa_status lv_op_attention_biased(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v,
                                   lv_tensor bias, int64_t heads, float scale)
{
    if (out.shape[0] != q.shape[0] || out.shape[1] != q.shape[1] || k.shape[0] != v.shape[0] ||
        k.shape[1] != q.shape[1] || v.shape[1] != q.shape[1] || q.shape[1] % heads != 0 ||
        !is_vector(bias, heads * q.shape[0] * k.shape[0]))
        return misfit("attention_biased", out, q);
    size_t mark = lv_arena_mark(&e->arena);
    void *scratch;
    LV_TRY(lv_arena_take(&scratch, &e->arena, e->ops->attention_biased_scratch(e, k.shape[0])));
    lv_arena_release(&e->arena, mark); /* until the next take */
    RUN(attention_biased, out, q, k, v, bias, heads, scale, scratch);
}

/* By the library's call, dense. */
static lvsa_status attend_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v)
{
    const int64_t points = q.shape[0], width = q.shape[1];
    const lvsa_strides s = {.batch = points * width, .token = width, .head = width};
    lvsa_attention call = {.batch = 1,
                           .queries = points,
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = width,
                           .q = q.data,
                           .q_strides = s,
                           .out = out.data,
                           .out_strides = s,
                           .sources = 1,
                           .backend = LVSA_BACKEND_NATIVE};
    call.source[0] = (lvsa_source){
        .k = k.data, .v = v.data, .k_strides = s, .v_strides = s, .tokens = points};
    return lv_op_attention(e, &call);
}

lvsa_status lv_op_attention_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v)
{
    if (!same_count(out, q) || !same_count(out, k) || !same_count(out, v) ||
        out.shape[1] != q.shape[1] || k.shape[1] != q.shape[1] || v.shape[1] != q.shape[1])
        return misfit("attention_picture", out, q);
    if (!e->ops->attention_picture) return attend_picture(e, out, q, k, v);
    const size_t mark = lv_arena_mark(&e->arena);
    void *scratch;
    LV_TRY(lv_arena_take(&scratch, &e->arena,
                         e->ops->attention_picture_scratch(e, q.shape[0], q.shape[1])));
    lv_arena_release(&e->arena, mark); /* until the next take */
    RUN(attention_picture, out, q, k, v, scratch);
}

lvsa_status lv_op_add(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    if (!same_count(out, a) || lv_tensor_count(b) < 1 || lv_tensor_count(a) % lv_tensor_count(b))
        return misfit("add", out, a);
    RUN(add, out, a, b);
}

lvsa_status lv_op_gelu_multiply(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    if (!same_count(out, a) || !same_count(a, b)) return misfit("gelu_multiply", out, a);
    RUN(gelu_multiply, out, a, b);
}

lvsa_status lv_op_activate(lv_exec *e, lv_tensor out, lv_tensor a, lv_activation f)
{
    if (!same_count(out, a)) return misfit("activate", out, a);
    RUN(activate, out, a, f);
}

lvsa_status lv_op_combine(lv_exec *e, lv_tensor out, int terms, const float *factor,
                          const lv_tensor *in)
{
    if (terms < 1 || terms > 6) return lv_fail(LVSA_ERR_SHAPE, "combine: %d terms; 1 to 6", terms);
    for (int i = 0; i < terms; i++)
        if (!same_count(out, in[i])) return misfit("combine", out, in[i]);
    RUN(combine, out, terms, factor, in);
}

lvsa_status lv_op_patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    if (z.shape[2] % py || z.shape[3] % px || out.shape[1] != z.shape[0] * py * px ||
        out.shape[0] != z.shape[1] * (z.shape[2] / py) * (z.shape[3] / px))
        return misfit("patchify", out, z);
    RUN(patchify, out, z, py, px);
}

lvsa_status lv_op_unpatchify(lv_exec *e, lv_tensor z, lv_tensor x, int64_t py, int64_t px)
{
    if (z.shape[2] % py || z.shape[3] % px || x.shape[1] != z.shape[0] * py * px ||
        x.shape[0] != z.shape[1] * (z.shape[2] / py) * (z.shape[3] / px))
        return misfit("unpatchify", z, x);
    RUN(unpatchify, z, x, py, px);
}

lvsa_status lv_op_conv(lv_exec *e, lv_tensor out, const lv_tensor *in, lv_tensor w, lv_tensor b,
                       bool add)
{
    for (int64_t t = 0; t < w.shape[1]; t++)
        if (in[t].shape[0] != 1 || out.shape[0] != 1 || in[t].shape[1] != out.shape[1] ||
            in[t].shape[2] != out.shape[2] || in[t].shape[3] != w.shape[4] ||
            out.shape[3] != w.shape[0] || w.shape[2] % 2 == 0 || w.shape[3] % 2 == 0 ||
            !is_vector(b, w.shape[0]))
            return misfit("conv", out, in[t]);
    size_t mark = lv_arena_mark(&e->arena);
    void *scratch;
    LV_TRY(lv_arena_take(&scratch, &e->arena, e->ops->conv_scratch(e, out, w)));
    lv_arena_release(&e->arena, mark); /* until the next take */
    RUN_OR_PREPARE(conv, out, in, w, b, add, scratch);
}

lvsa_status lv_op_channel_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight,
                               lv_activation f)
{
    if (!same_count(out, x) || !is_vector(weight, x.shape[x.rank - 1]))
        return misfit("channel_norm", out, x);
    RUN(channel_norm, out, x, weight, f);
}

lvsa_status lv_op_upsample(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != 2 * x.shape[1] ||
        out.shape[2] != 2 * x.shape[2] || out.shape[3] != x.shape[3])
        return misfit("upsample", out, x);
    RUN(upsample, out, x);
}

lvsa_status lv_op_split_frames(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (out.shape[0] != 2 * x.shape[0] || out.shape[1] != x.shape[1] ||
        out.shape[2] != x.shape[2] || 2 * out.shape[3] != x.shape[3])
        return misfit("split_frames", out, x);
    RUN(split_frames, out, x);
}

lvsa_status lv_op_take_frame(lv_exec *e, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                             lv_tensor shift)
{
    if (lv_tensor_count(out) != z.shape[0] * z.shape[2] * z.shape[3] || t < 0 || t >= z.shape[1] ||
        !is_vector(scale, z.shape[0]) || !is_vector(shift, z.shape[0]))
        return misfit("take_frame", out, z);
    RUN(take_frame, out, z, t, scale, shift);
}

static bool fits(lv_tensor picture, int64_t y, int64_t x, const lv_blend *b)
{
    return y >= 0 && x >= 0 && y + b->height <= picture.shape[1] &&
           x + b->width <= picture.shape[2];
}

lvsa_status lv_op_blend(lv_exec *e, lv_tensor to, lv_tensor from, const lv_blend *blend)
{
    if (to.shape[0] != from.shape[0] || to.shape[3] != from.shape[3] || to.dtype != from.dtype ||
        !fits(to, blend->to_y, blend->to_x, blend) ||
        !fits(from, blend->from_y, blend->from_x, blend))
        return misfit("blend", to, from);
    RUN(blend, to, from, blend);
}

lvsa_status lv_op_pixels(lv_exec *e, void *rgb, lv_tensor frames)
{
    if (frames.dtype != LVSA_F32) return misfit("pixels", frames, frames);
    RUN(pixels, rgb, frames);
}

lvsa_status lv_op_copy(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (!same_count(out, x)) return misfit("copy", out, x);
    RUN(copy, out, x);
}

lvsa_status lv_op_zero(lv_exec *e, lv_tensor out) { RUN(zero, out); }
