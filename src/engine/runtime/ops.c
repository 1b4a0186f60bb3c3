/* ops.c: checks an operation's shapes and hands it to the device. */
#include "engine/runtime/ops.h"

#include "base/mem.h"
#include "engine/runtime/device.h"
#include "engine/runtime/profile.h"

/* Calls the device; where somebody asked how long operations take (profile.h), with its FLOPs, of
 * numbers of which type, and bytes, which aren't computed otherwise. */
#define CALL_OF(factors, kind, flops, bytes, op, ...)                                              \
    do {                                                                                           \
        lv_profile *profile_ = e->arena.measuring ? NULL : e->device->profile;                     \
        if (!profile_) return e->ops->op(e, __VA_ARGS__);                                          \
        LV_TRY(lv_profile_begin(profile_));                                                        \
        LV_TRY(e->ops->op(e, __VA_ARGS__));                                                        \
        return lv_profile_end(profile_, kind, factors, flops, bytes);                              \
    } while (0)

#define CALL(kind, flops, bytes, op, ...) CALL_OF(e->dtype, kind, flops, bytes, op, __VA_ARGS__)

/* Numbers are neither read nor written while memory is being measured. But products are called: the
 * device chooses how it will multiply, so that the real pass finds everything made. */
#define RUN(kind, flops, bytes, op, ...)                                                           \
    do {                                                                                           \
        if (e->arena.measuring) return LVSA_OK;                                                    \
        CALL(kind, flops, bytes, op, __VA_ARGS__);                                                 \
    } while (0)

static double size_of(lv_tensor t)
{
    return t.rank ? (double)lv_tensor_count(t) * (double)lv_dtype_bytes(t.dtype) : 0.0;
}

/* Of a product of `rows` with w. */
static double flops_of(int64_t rows, lv_tensor w)
{
    return 2.0 * (double)rows * (double)lv_tensor_count(w);
}

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

static bool is_e4m3(lv_tensor t) { return t.dtype == LV_E4M3; }
static bool is_of_one_kind(lv_tensor x, lv_tensor w) { return is_e4m3(x) == is_e4m3(w); }

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
    LV_TRY(lv_arena_take(&out->data, &e->arena, bytes));
    if (dtype != LV_E4M3) return LVSA_OK;
    void *scale;
    LV_TRY(lv_arena_take(&scale, &e->arena, (size_t)shape[0] * sizeof *out->scale));
    out->scale = scale;
    return LVSA_OK;
}

lvsa_status lv_op_linear(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor w, lv_tensor b,
                         lv_activation f)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != w.shape[0] || x.shape[1] != w.shape[1] ||
        !is_vector(b, w.shape[0]) || !is_of_one_kind(x, w) || (is_e4m3(out) && !is_e4m3(x)))
        return misfit("linear", out, x);
    CALL_OF(w.dtype, LV_KIND_LINEAR, flops_of(x.shape[0], w),
            size_of(out) + size_of(x) + size_of(w), linear, out, x, w, b, f);
}

lvsa_status lv_op_linear_add(lv_exec *e, lv_tensor x, lv_tensor y, lv_tensor w, lv_tensor b,
                             lv_tensor gate)
{
    if (x.shape[0] != y.shape[0] || x.shape[1] != w.shape[0] || y.shape[1] != w.shape[1] ||
        !is_vector(b, w.shape[0]) || !is_vector(gate, w.shape[0]) || !is_of_one_kind(y, w) ||
        is_e4m3(x))
        return misfit("linear_add", x, y);
    CALL_OF(w.dtype, LV_KIND_LINEAR, flops_of(y.shape[0], w),
            2 * size_of(x) + size_of(y) + size_of(w), linear_add, x, y, w, b, gate);
}

lvsa_status lv_op_layer_norm(lv_exec *e, lv_tensor out, lv_tensor x, const lv_layer_norm *norm)
{
    int64_t width = x.shape[1];
    if (out.shape[0] != x.shape[0] || out.shape[1] != width || !is_vector(norm->weight, width) ||
        !is_vector(norm->bias, width) || !is_vector(norm->scale, width) ||
        !is_vector(norm->shift, width))
        return misfit("layer_norm", out, x);
    RUN(LV_KIND_NORM, 0.0, size_of(out) + size_of(x), layer_norm, out, x, norm);
}

lvsa_status lv_op_rms_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight, float eps)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != x.shape[1] || !is_vector(weight, x.shape[1]))
        return misfit("rms_norm", out, x);
    RUN(LV_KIND_NORM, 0.0, size_of(out) + size_of(x), rms_norm, out, x, weight, eps);
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
    RUN(LV_KIND_NORM, 0.0, 2 * size_of(x), norm_rope, x, weight, eps, rope, first, head_dim);
}

/* Of the pairs that attend to each other. */
static double attention_flops(const lvsa_attention *call)
{
    double pairs = 0.0;
    for (int i = 0; i < call->sources; i++) {
        const lvsa_source *s = &call->source[i];
        if (!s->runs) pairs += (double)call->queries * (double)s->tokens;
        for (int r = 0; s->runs && r < s->runs->offsets[s->runs->frames]; r++)
            pairs += (double)s->runs->list[r].count * s->runs->patches_per_frame;
    }
    return 4.0 * pairs * (double)(call->batch * call->heads * call->head_dim);
}

static double attention_bytes(const lvsa_attention *call)
{
    double rows = 2.0 * (double)(call->queries * call->heads);
    for (int i = 0; i < call->sources; i++)
        rows += 2.0 * (double)(call->source[i].tokens * call->kv_heads);
    return rows * (double)(call->batch * call->head_dim) * (double)lv_dtype_bytes(call->dtype);
}

static lvsa_status run_attention(lv_exec *e, lvsa_attention *call)
{
    lv_profile *p = e->device->profile;
    if (!p) return lvsa_attention_run(call);
    LV_TRY(lv_profile_begin(p));
    LV_TRY(lvsa_attention_run(call));
    return lv_profile_end(p, LV_KIND_ATTENTION, call->fp8 ? LV_E4M3 : call->dtype,
                          attention_flops(call), attention_bytes(call));
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
    if (e->device->find_tiles) LV_TRY(e->device->find_tiles(e->device, &call->tiles, &checked));
    LV_TRY(lvsa_attention_workspace(&call->workspace_size, &checked));
    LV_TRY(lv_arena_take(&call->workspace, &e->arena, call->workspace_size));
    lvsa_status s = e->arena.measuring ? LVSA_OK : run_attention(e, call);
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
    RUN(LV_KIND_ATTENTION, 4.0 * (double)q.shape[0] * (double)lv_tensor_count(k),
        size_of(out) + size_of(q) + size_of(k) + size_of(v) + size_of(bias), attention_biased, out,
        q, k, v, bias, heads, scale, scratch);
}

/* By the library's call, dense. */
static lvsa_status attend_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k, lv_tensor v)
{
    const int64_t points = k.shape[0], width = q.shape[1];
    const lvsa_strides s = {.batch = points * width, .token = width, .head = width};
    lvsa_attention call = {.batch = 1,
                           .queries = q.shape[0],
                           .heads = 1,
                           .kv_heads = 1,
                           .head_dim = width,
                           .q = q.data,
                           .q_strides = s,
                           .out = out.data,
                           .out_strides = s,
                           .sources = 1,
                           .backend = LVSA_BACKEND_NATIVE};
    call.source[0] =
        (lvsa_source){.k = k.data, .v = v.data, .k_strides = s, .v_strides = s, .tokens = points};
    return lv_op_attention(e, &call);
}

lvsa_status lv_op_attention_picture(lv_exec *e, lv_tensor out, lv_tensor q, lv_tensor k,
                                    lv_tensor v)
{
    if (!same_count(out, q) || !same_count(k, v) || q.shape[0] > k.shape[0] ||
        out.shape[1] != q.shape[1] || k.shape[1] != q.shape[1] || v.shape[1] != q.shape[1])
        return misfit("attention_picture", out, q);
    if (!e->ops->attention_picture) return attend_picture(e, out, q, k, v);
    const size_t mark = lv_arena_mark(&e->arena);
    void *scratch;
    LV_TRY(lv_arena_take(&scratch, &e->arena,
                         e->ops->attention_picture_scratch(e, k.shape[0], k.shape[1])));
    lv_arena_release(&e->arena, mark); /* until the next take */
    RUN(LV_KIND_ATTENTION, 4.0 * (double)q.shape[0] * (double)lv_tensor_count(k),
        2 * size_of(q) + 2 * size_of(k), attention_picture, out, q, k, v, scratch);
}

lvsa_status lv_op_add(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    if (!same_count(out, a) || lv_tensor_count(b) < 1 || lv_tensor_count(a) % lv_tensor_count(b))
        return misfit("add", out, a);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(a) + size_of(b), add, out, a, b);
}

lvsa_status lv_op_gelu_multiply(lv_exec *e, lv_tensor out, lv_tensor a, lv_tensor b)
{
    if (!same_count(out, a) || !same_count(a, b)) return misfit("gelu_multiply", out, a);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(a) + size_of(b), gelu_multiply, out, a, b);
}

lvsa_status lv_op_activate(lv_exec *e, lv_tensor out, lv_tensor a, lv_activation f)
{
    if (!same_count(out, a)) return misfit("activate", out, a);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(a), activate, out, a, f);
}

lvsa_status lv_op_patchify(lv_exec *e, lv_tensor out, lv_tensor z, int64_t py, int64_t px)
{
    if (z.shape[2] % py || z.shape[3] % px || out.shape[1] != z.shape[0] * py * px ||
        out.shape[0] != z.shape[1] * (z.shape[2] / py) * (z.shape[3] / px))
        return misfit("patchify", out, z);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(z), patchify, out, z, py, px);
}

lvsa_status lv_op_unpatchify(lv_exec *e, lv_tensor z, lv_tensor x, int64_t py, int64_t px)
{
    if (z.shape[2] % py || z.shape[3] % px || x.shape[1] != z.shape[0] * py * px ||
        x.shape[0] != z.shape[1] * (z.shape[2] / py) * (z.shape[3] / px))
        return misfit("unpatchify", z, x);
    RUN(LV_KIND_OTHER, 0.0, size_of(z) + size_of(x), unpatchify, z, x, py, px);
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
    CALL(LV_KIND_CONV, flops_of(out.shape[1] * out.shape[2], w),
         (add ? 2 : 1) * size_of(out) + (double)w.shape[1] * size_of(in[0]) + size_of(w), conv, out,
         in, w, b, add, scratch);
}

lvsa_status lv_op_channel_norm(lv_exec *e, lv_tensor out, lv_tensor x, lv_tensor weight,
                               lv_activation f)
{
    if (!same_count(out, x) || !is_vector(weight, x.shape[x.rank - 1]))
        return misfit("channel_norm", out, x);
    RUN(LV_KIND_NORM, 0.0, size_of(out) + size_of(x), channel_norm, out, x, weight, f);
}

lvsa_status lv_op_upsample(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (out.shape[0] != x.shape[0] || out.shape[1] != 2 * x.shape[1] ||
        out.shape[2] != 2 * x.shape[2] || out.shape[3] != x.shape[3])
        return misfit("upsample", out, x);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(x), upsample, out, x);
}

lvsa_status lv_op_split_frames(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (out.shape[0] != 2 * x.shape[0] || out.shape[1] != x.shape[1] ||
        out.shape[2] != x.shape[2] || 2 * out.shape[3] != x.shape[3])
        return misfit("split_frames", out, x);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(x), split_frames, out, x);
}

lvsa_status lv_op_take_frame(lv_exec *e, lv_tensor out, lv_tensor z, int64_t t, lv_tensor scale,
                             lv_tensor shift)
{
    if (lv_tensor_count(out) != z.shape[0] * z.shape[2] * z.shape[3] || t < 0 || t >= z.shape[1] ||
        !is_vector(scale, z.shape[0]) || !is_vector(shift, z.shape[0]))
        return misfit("take_frame", out, z);
    RUN(LV_KIND_OTHER, 0.0, 2 * size_of(out), take_frame, out, z, t, scale, shift);
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
    RUN(LV_KIND_OTHER, 0.0, 2 * size_of(from), blend, to, from, blend);
}

lvsa_status lv_op_pixels(lv_exec *e, void *rgb, lv_tensor frames)
{
    if (frames.dtype != LVSA_F32) return misfit("pixels", frames, frames);
    RUN(LV_KIND_OTHER, 0.0, 2 * size_of(frames) + (double)lv_tensor_count(frames), pixels, rgb,
        frames);
}

lvsa_status lv_op_copy(lv_exec *e, lv_tensor out, lv_tensor x)
{
    if (!same_count(out, x) || (is_e4m3(out) && is_e4m3(x))) return misfit("copy", out, x);
    RUN(LV_KIND_OTHER, 0.0, size_of(out) + size_of(x), copy, out, x);
}

lvsa_status lv_op_zero(lv_exec *e, lv_tensor out)
{
    RUN(LV_KIND_OTHER, 0.0, size_of(out), zero, out);
}
