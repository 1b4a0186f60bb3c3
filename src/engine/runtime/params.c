/* params.c: from a file's view to a device's tensor. */
#include "engine/runtime/params.h"

#include <string.h>

#include "base/half.h"
#include "base/mem.h"

enum { ALIGNMENT = 256 }; /* of a weight on the device, in bytes */

/* Numbers from which on waking other threads pays. */
enum { PARALLEL = 1 << 16 };

/* A group of which two repeats are on the device, repeat i in slot i mod 2. */
typedef struct turns {
    lv_weight_group group; /* repeat 0: there is none */
    int held[2];           /* repeats, -1: none       */
} turns;

struct lv_params {
    lv_device *device;
    turns turns;
    void **blocks; /* [count] memory on the device */
    size_t count, capacity;
};

lvsa_status lv_params_create(lv_params **out, lv_device *device)
{
    *out = lv_zalloc(sizeof **out);
    if (!*out)
        return lv_fail(LVSA_ERR_MEMORY, "weights: %zu bytes don't fit in memory", sizeof **out);
    (*out)->device = device;
    return LVSA_OK;
}

void lv_params_free(lv_params **params)
{
    if (!params || !*params) return;
    lv_params *p = *params;
    while (p->count > 0) p->device->release(p->device, p->blocks[--p->count]);
    lv_free(p->blocks);
    lv_free(p);
    *params = NULL;
}

/* Device memory that is freed with the parameters. */
static lvsa_status allocate(void **out, lv_params *p, size_t bytes)
{
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 8;
        void **blocks = lv_grow_array(p->blocks, p->capacity, capacity, sizeof *blocks);
        if (!blocks)
            return lv_fail(LVSA_ERR_MEMORY, "a list of %zu weights doesn't fit in memory",
                           capacity);
        p->blocks = blocks;
        p->capacity = capacity;
    }
    LV_TRY(p->device->allocate(p->device, out, bytes));
    p->blocks[p->count++] = *out;
    return LVSA_OK;
}

/* The shape on the device; a kernel's is [O, kt, ky, kx, I]. */
static lv_tensor shape_of(const lv_weight *w, lvsa_dtype dtype)
{
    int64_t s[LV_MAX_RANK] = {1, 1, 1, 1, 1};
    bool vector = true;
    for (int i = 0; i < w->rank && i < LV_MAX_RANK; i++) {
        s[i] = (int64_t)w->shape[i];
        if (i > 0 && s[i] != 1) vector = false;
    }
    if (vector) return lv_tensor_view(NULL, LVSA_F32, 1, s);
    if (w->rank == 2) return lv_tensor_view(NULL, dtype, 2, s);
    if (w->rank == 4) return lv_tensor_view(NULL, dtype, 5, LV_SHAPE(s[0], 1, s[2], s[3], s[1]));
    if (w->rank == 5) return lv_tensor_view(NULL, dtype, 5, LV_SHAPE(s[0], s[2], s[3], s[4], s[1]));
    return lv_tensor_view(NULL, LVSA_F32, w->rank, s);
}

/* to[o][k][i] = from[o][i][k]. */
static void channels_last(float *to, const float *from, int64_t outputs, int64_t points,
                          int64_t inputs)
{
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) if (outputs * points * inputs >= PARALLEL)
#endif
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = 0; k < points; k++)
            for (int64_t i = 0; i < inputs; i++)
                to[(o * points + k) * inputs + i] = from[(o * inputs + i) * points + k];
}

static void narrow(void *to, const float *from, size_t count, lvsa_dtype dtype)
{
    uint16_t *half = to;
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for schedule(static) if (count >= PARALLEL)
#endif
    for (size_t i = 0; i < count; i++)
        half[i] = dtype == LVSA_BF16 ? lv_f32_to_bf16(from[i]) : lv_f32_to_f16(from[i]);
}

/* The weight as the device wants it, in host memory `wide` (and `laid`), each of w->count f32. */
static const void *convert(float *wide, float *laid, const lv_weight *w, lv_tensor t)
{
    const float *from = wide;
    lv_weight_to_f32(wide, w, 0, w->count);
    if (t.rank == 5) {
        channels_last(laid, wide, t.shape[0], t.shape[1] * t.shape[2] * t.shape[3], t.shape[4]);
        from = laid;
    }
    if (t.dtype == LVSA_F32) return from;
    void *to = from == wide ? (void *)laid : (void *)wide;
    narrow(to, from, w->count, t.dtype);
    return to;
}

/* The file's own bytes are what the device computes with. */
static bool is_as_it_is(const lv_param *param)
{
    return param->file.dtype == param->t.dtype && param->t.rank != 5 &&
           lv_weight_is_aligned(&param->file);
}

/* Bytes of the weight's numbers on the device, from one place of weights to the next. */
static size_t numbers_of(const lv_param *param)
{
    return lv_round_up(param->file.count * lv_dtype_bytes(param->t.dtype), ALIGNMENT);
}

/* The same with an e4m3 matrix's scales, which stand behind its numbers. */
static size_t slot_of(const lv_param *param)
{
    const size_t rows = param->t.dtype == LV_E4M3 ? (size_t)param->t.shape[0] : 0;
    return numbers_of(param) + lv_round_up(rows * sizeof *param->t.scale, ALIGNMENT);
}

static void place(lv_param *param, void *at)
{
    param->t.data = at;
    if (param->t.dtype == LV_E4M3)
        param->t.scale = (float *)(void *)((char *)at + numbers_of(param));
}

/* Bytes that the weight takes of the device, none where it is used in the file. */
static size_t room_of(const lv_params *p, const lv_param *param)
{
    if (is_as_it_is(param) && p->device->kind == LVSA_DEVICE_CPU && !p->device->dry) return 0;
    return slot_of(param);
}

/* The weights of one repeat at their places, in tensors that have them already. */
static lvsa_status upload_aside(lv_params *p, const lv_param *param)
{
    const lv_weight *w = &param->file;
    lv_device *device = p->device;
    const size_t bytes = w->count * lv_dtype_bytes(param->t.dtype);
    if (device->upload_aside) return device->upload_aside(device, param->t, w->data, w->dtype);
    if (param->t.dtype == LV_E4M3) return device->upload_as(device, param->t, w->data, w->dtype);
    float *wide = lv_zalloc_array(w->count, 2 * sizeof *wide);
    if (!wide) return lv_fail(LVSA_ERR_MEMORY, "converting %zu weights: no memory", w->count);
    lvsa_status s =
        device->upload(device, param->t.data, convert(wide, wide + w->count, w, param->t), bytes);
    lv_free(wide);
    return s;
}

/* Brings the weight to `room`; NULL: it is used in the file. */
static lvsa_status upload(lv_params *p, lv_param *param, void *room)
{
    const lv_weight *w = &param->file;
    lv_device *device = p->device;
    const size_t bytes = w->count * lv_dtype_bytes(param->t.dtype);
    place(param, room ? room : (void *)(uintptr_t)w->data);
    if (!room || device->dry) return LVSA_OK;
    if (is_as_it_is(param)) return device->upload(device, room, w->data, bytes);
    if (device->upload_as && param->t.rank != 5)
        return device->upload_as(device, param->t, w->data, w->dtype);

    float *wide = lv_zalloc_array(w->count, 2 * sizeof *wide);
    if (!wide) return lv_fail(LVSA_ERR_MEMORY, "converting %zu weights: no memory", w->count);
    lvsa_status s =
        device->upload(device, room, convert(wide, wide + w->count, w, param->t), bytes);
    lv_free(wide);
    return s;
}

static lv_param *get_param(const lv_weight_group *g, int block, size_t i)
{
    char *at = (char *)g->to + (size_t)block * g->stride + g->specs[i].offset;
    return (lv_param *)(void *)(at - offsetof(lv_param, file));
}

lvsa_status lv_params_load(lv_params *params, lv_weights *weights, const lv_weight_group *group,
                           lvsa_dtype dtype)
{
    size_t total = 0;
    void *memory = NULL;
    LV_TRY(lv_weights_bind(weights, group));
    for (int block = 0; block < group->repeat; block++)
        for (size_t i = 0; i < group->spec_count; i++) {
            lv_param *param = get_param(group, block, i);
            param->t = shape_of(&param->file, dtype);
            total += room_of(params, param);
        }
    /* One piece: a GPU gives memory in pages of 2 MiB. */
    if (total > 0) LV_TRY(allocate(&memory, params, total));
    for (int block = 0; block < group->repeat; block++)
        for (size_t i = 0; i < group->spec_count; i++) {
            lv_param *param = get_param(group, block, i);
            const size_t room = room_of(params, param);
            LV_TRY(upload(params, param, room ? memory : NULL));
            if (room == 0) continue;
            memory = (char *)memory + room;
            lv_weights_drop(weights, &param->file);
        }
    return LVSA_OK;
}

/* ---- in turns -------------------------------------------------------------------------------- */

lvsa_status lv_params_load_in_turns(lv_params *params, lv_weights *weights,
                                    const lv_weight_group *group, lvsa_dtype dtype)
{
    size_t room = 0;
    void *memory = NULL;
    LV_TRY(lv_weights_bind(weights, group));
    for (int block = 0; block < group->repeat; block++)
        for (size_t i = 0; i < group->spec_count; i++) {
            lv_param *param = get_param(group, block, i);
            param->t = shape_of(&param->file, dtype);
            if (param->t.rank == 5)
                return lv_fail(LVSA_ERR_UNSUPPORTED, "%s: a convolution can't be offloaded",
                               group->specs[i].name);
        }
    for (size_t i = 0; i < group->spec_count; i++) room += slot_of(get_param(group, 0, i));
    LV_TRY(allocate(&memory, params, 2 * room));
    for (int block = 0; block < group->repeat; block++) {
        char *at = (char *)memory + (size_t)(block % 2) * room;
        for (size_t i = 0; i < group->spec_count; i++) {
            lv_param *param = get_param(group, block, i);
            place(param, at);
            at += slot_of(param);
        }
    }
    params->turns = (turns){.group = *group, .held = {-1, -1}};
    return LVSA_OK;
}

/* Begins to bring a repeat to its slot, behind the work that was left with the slot's last one. */
static lvsa_status bring(lv_params *p, int index)
{
    turns *t = &p->turns;
    const int slot = index % 2;
    if (t->held[slot] == index) return LVSA_OK;
    t->held[slot] = -1;
    if (p->device->wait) LV_TRY(p->device->wait(p->device, true, slot));
    for (size_t i = 0; i < t->group.spec_count; i++)
        LV_TRY(upload_aside(p, get_param(&t->group, index, i)));
    if (p->device->mark) LV_TRY(p->device->mark(p->device, true, slot));
    t->held[slot] = index;
    return LVSA_OK;
}

lvsa_status lv_params_enter(lv_params *p, int index)
{
    if (p->turns.group.repeat == 0) return LVSA_OK;
    LV_TRY(bring(p, index));
    return p->device->wait ? p->device->wait(p->device, false, index % 2) : LVSA_OK;
}

lvsa_status lv_params_leave(lv_params *p, int index)
{
    if (p->turns.group.repeat == 0) return LVSA_OK;
    if (p->device->mark) LV_TRY(p->device->mark(p->device, false, index % 2));
    return bring(p, (index + 1) % p->turns.group.repeat);
}
