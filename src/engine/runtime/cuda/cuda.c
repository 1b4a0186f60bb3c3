/* cuda.c: the device: memory, copies, tiles. */
#include "engine/runtime/cuda/cuda.h"

#include <string.h>

#ifdef LVSA_HAVE_OPENMP
#include <omp.h>
#endif

#include "base/mem.h"
#include "engine/attention/tiles.h"

/* Rows of a pass: tiles of 128 rows are whole waves then, whatever the columns; 33,792 on an H100.
 * Yet the feed-forward part's scratch is less than q, k and v of a long video. */
enum { ROWS_A_PROCESSOR = 256, MOST_TILES = 256 };

/* The mark of follow(), behind those of offloading. */
enum { FOLLOWED = 2 };

/* Threads that copy to a GPU, and what one copies at a time. */
enum { COPY_THREADS = 8, PIECE = 1 << 20 };

static lvsa_status use(const lv_cuda_device *d)
{
    return lv_cuda_check(d->cuda->use(d->gpu), "choosing the GPU");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static lvsa_status allocate(lv_device *device, void **out, size_t bytes)
{
    const double MIB = 1048576.0;
    lv_cuda_device *d = (lv_cuda_device *)device;
    size_t total = 0, available = 0;
    LV_TRY(use(d));
    const char *failure = d->cuda->allocate(d->gpu, out, bytes);
    if (!failure) return LVSA_OK;
    d->cuda->get_memory(d->gpu, &total, &available);
    return lv_fail(
        LVSA_ERR_MEMORY,
        "device cuda: %.0f MiB more are wanted, %.0f of its %.0f MiB are left (%s): make "
        "fewer or smaller frames%s, or use device cpu",
        (double)bytes / MIB, (double)available / MIB, (double)total / MIB, failure,
        device->offload ? "" : ", offload the transformer");
}

static void release(lv_device *device, void *memory)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    if (!d->cuda->use(d->gpu)) d->cuda->release(d->gpu, memory);
}

/* One thread copies a mapped file at a tenth of what the bus to a GPU moves; some do at half. */
static void copy_by_threads(char *to, const char *from, size_t bytes)
{
    const size_t pieces = (bytes + PIECE - 1) / PIECE;
#ifdef LVSA_HAVE_OPENMP
    const int most = omp_get_max_threads(), threads = most < COPY_THREADS ? most : COPY_THREADS;
#pragma omp parallel for schedule(static) num_threads(threads) if (pieces > 1)
#endif
    for (size_t i = 0; i < pieces; i++) {
        const size_t at = i * PIECE, left = bytes - at;
        memcpy(to + at, from + at, left < PIECE ? left : PIECE);
    }
}

/* Through pinned memory, a piece copied into it while others leave it. An e4m3 matrix goes in whole
 * rows, other tensors in any pieces. */
static lvsa_status send(const lv_cuda_device *d, lv_cuda *gpu, lv_tensor to, const char *from,
                        lvsa_dtype type)
{
    const int64_t count = lv_tensor_count(to);
    if (to.dtype != LV_E4M3) to = lv_tensor_view(to.data, to.dtype, 1, &count);
    const size_t row = (size_t)lv_tensor_row(to) * lv_dtype_bytes(type);
    const int64_t most = row ? (int64_t)(LV_CUDA_STAGE / row) : 0, rows = to.shape[0];
    void *stage;
    LV_TRY(use(d));
    if (most == 0)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: a weight's row of %zu bytes: 1 to %d are wanted; use device "
                       "cpu",
                       row, LV_CUDA_STAGE);
    for (int64_t first = 0, some; first < rows; first += some, from += (size_t)some * row) {
        some = rows - first < most ? rows - first : most;
        LV_TRY(lv_cuda_check(d->cuda->get_stage(gpu, &stage), "copying to the device"));
        copy_by_threads(stage, from, (size_t)some * row);
        LV_TRY(lv_cuda_check(d->cuda->send_stage(gpu, lv_tensor_rows(to, first, some), type),
                             "copying to the device"));
    }
    return LVSA_OK;
}

static lvsa_status upload_as(lv_device *device, lv_tensor to, const void *from, lvsa_dtype type)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    return send(d, d->gpu, to, from, type);
}

static lvsa_status download(lv_device *device, void *to, const void *from, size_t bytes)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    LV_TRY(use(d));
    return lv_cuda_check(d->cuda->download(d->gpu, to, from, bytes), "copying from the device");
}

static lvsa_status fetch(lv_device *device, int slot, const void *from, size_t bytes)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    LV_TRY(use(d));
    return lv_cuda_check(d->cuda->fetch(d->gpu, slot, from, bytes), "copying from the device");
}

static lvsa_status await(lv_device *device, const void **out, int slot)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    LV_TRY(use(d));
    return lv_cuda_check(d->cuda->await(d->gpu, out, slot), "copying from the device");
}

static lvsa_status stamp(lv_device *device, int index)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    LV_TRY(use(d));
    return lv_cuda_check(d->cuda->stamp(d->gpu, index), "timing");
}

static lvsa_status elapsed(lv_device *device, double *seconds, int count)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device;
    LV_TRY(use(d));
    return lv_cuda_check(d->cuda->elapsed(d->gpu, seconds, count), "timing");
}

/* Bytes are moved as f32 and bf16 numbers of the same type are: unchanged. */
static lvsa_status upload(lv_device *device, void *to, const void *from, size_t bytes)
{
    const bool words = bytes % 4 == 0;
    const lvsa_dtype type = words ? LVSA_F32 : LVSA_BF16;
    const int64_t count = (int64_t)(bytes / (words ? 4 : 2));
    return upload_as(device, lv_tensor_view(to, type, 1, &count), from, type);
}

/* ---- beside the work ------------------------------------------------------------------------- */

static lvsa_status open_aside(lv_cuda_device *d)
{
    LV_TRY(use(d));
    if (d->aside) return LVSA_OK;
    return lv_cuda_check(d->cuda->open(&d->aside, d->base.index), "opening the GPU again");
}

static lvsa_status upload_aside(lv_device *device, lv_tensor to, const void *from, lvsa_dtype type)
{
    lv_cuda_device *d = (lv_cuda_device *)device;
    LV_TRY(open_aside(d));
    return send(d, d->aside, to, from, type);
}

static lvsa_status mark(lv_device *device, bool aside, int slot)
{
    lv_cuda_device *d = (lv_cuda_device *)device;
    LV_TRY(open_aside(d));
    return lv_cuda_check(d->cuda->mark(aside ? d->aside : d->gpu, slot), "marking");
}

static lvsa_status wait(lv_device *device, bool aside, int slot)
{
    lv_cuda_device *d = (lv_cuda_device *)device;
    LV_TRY(open_aside(d));
    return lv_cuda_check(d->cuda->wait(aside ? d->aside : d->gpu, aside ? d->gpu : d->aside, slot),
                         "waiting");
}

static lvsa_status follow(lv_device *device, lv_device *other)
{
    const lv_cuda_device *d = (const lv_cuda_device *)device, *o = (const lv_cuda_device *)other;
    LV_TRY(use(d));
    LV_TRY(lv_cuda_check(d->cuda->mark(o->gpu, FOLLOWED), "marking"));
    return lv_cuda_check(d->cuda->wait(d->gpu, o->gpu, FOLLOWED), "waiting");
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static void free_tiles(lv_cuda_device *d)
{
    while (d->tile_count > 0) lvsa_tiles_free(&d->tiles[--d->tile_count].tiles);
}

static lvsa_status make_tiles(lvsa_tiles **out, lv_cuda_device *d, const lvsa_attention *call)
{
    *out = NULL;
    if (d->tile_count == MOST_TILES) {
        LV_TRY(lv_cuda_check(d->cuda->synchronize(d->gpu), "waiting"));
        free_tiles(d);
    }
    if (d->tile_count == d->tile_capacity) {
        size_t capacity = d->tile_capacity ? 2 * d->tile_capacity : 16;
        lv_cuda_tiles *tiles = lv_grow_array(d->tiles, d->tile_capacity, capacity, sizeof *tiles);
        if (!tiles) return lv_fail(LVSA_ERR_MEMORY, "%zu tables of tiles: no memory", capacity);
        d->tiles = tiles, d->tile_capacity = capacity;
    }
    return lvsa_tiles_create(out, call);
}

/* A denoising loop comes by a few patterns again and again. */
static lvsa_status find_tiles(lv_device *device, const lvsa_tiles **out, const lvsa_attention *call)
{
    lv_cuda_device *d = (lv_cuda_device *)device;
    lvsa_tiles *made;
    *out = NULL;
    LV_TRY(use(d));
    const uint64_t pattern = lv_tiles_fingerprint(call);
    for (size_t i = 0; i < d->tile_count && !*out; i++)
        if (d->tiles[i].pattern == pattern && d->tiles[i].backend == call->backend)
            *out = d->tiles[i].tiles;
    if (*out) return LVSA_OK;
    LV_TRY(make_tiles(&made, d, call));
    d->tiles[d->tile_count++] = (lv_cuda_tiles){pattern, call->backend, made};
    *out = made;
    return LVSA_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void close_device(lv_device *device)
{
    lv_cuda_device *d = (lv_cuda_device *)device;
    if (d->gpu) d->cuda->use(d->gpu);
    free_tiles(d);
    lv_free(d->tiles);
    lv_cuda_free_plans(d);
    if (d->aside) d->cuda->close(d->aside);
    if (d->gpu) d->cuda->close(d->gpu);
    lv_free(d);
}

/* Dense products of bf16 and e4m3, and memory, as NVIDIA's data sheets have them for the SXM cards.
 */
static void state_peaks(lv_device *d, const char *name)
{
    static const struct {
        const char *name;
        double flops, e4m3_flops, bytes;
    } cards[] = {{"H100 80GB HBM3", 989e12, 1979e12, 3.35e12},
                 {"H200", 989e12, 1979e12, 4.8e12},
                 {"A100", 312e12, 0.0, 2.04e12}};
    for (size_t i = 0; i < sizeof cards / sizeof cards[0]; i++)
        if (strstr(name, cards[i].name))
            d->peak_flops = cards[i].flops, d->peak_e4m3_flops = cards[i].e4m3_flops,
            d->peak_bytes = cards[i].bytes;
}

static lvsa_status open_gpu(lv_cuda_device *d, const lv_cuda_table *table, int index)
{
    size_t total, available;
    lv_cuda_gpu gpu;
    const char *failure = table->get_gpu(&gpu, index);
    if (failure)
        return lv_fail(LVSA_ERR_UNSUPPORTED, "device cuda:%d: %s; use another, or device cpu",
                       index, failure);
    state_peaks(&d->base, gpu.name);
    d->capability = 10 * gpu.major + gpu.minor;
    d->base.takes_e4m3 = d->capability >= 90; /* cuBLASLt scales rows from there on */
    d->base.rows = (int64_t)gpu.processors * ROWS_A_PROCESSOR;
    LV_TRY(lv_cuda_check(d->cuda->open(&d->gpu, index), "opening the GPU"));
    LV_TRY(lv_cuda_check(d->cuda->get_memory(d->gpu, &total, &available), "asking the GPU"));
    d->base.stream = d->cuda->get_stream(d->gpu);
    d->base.memory = total, d->base.overhead = total - available;
    return LVSA_OK;
}

lvsa_status lv_cuda_device_open(lv_device **out, int index)
{
    const lv_cuda_table *table;
    *out = NULL;
    LV_TRY(lv_cuda_get_table(&table));
    if (!table->ops)
        return lv_fail(
            LVSA_ERR_UNSUPPORTED,
            "device cuda: the module found has no operations for models; use device cpu");
    lv_cuda_device *d = lv_zalloc(sizeof *d);
    if (!d) return lv_fail(LVSA_ERR_MEMORY, "a device: %zu bytes don't fit in memory", sizeof *d);
    d->cuda = table->ops;
    d->base = (lv_device){.kind = LVSA_DEVICE_CUDA,
                          .index = index,
                          .dtype = LVSA_BF16,
                          .ops = &lv_cuda_ops_table,
                          .allocate = allocate,
                          .release = release,
                          .upload = upload,
                          .upload_as = upload_as,
                          .download = download,
                          .fetch = fetch,
                          .await = await,
                          .stamp = stamp,
                          .elapsed = elapsed,
                          .find_tiles = find_tiles,
                          .upload_aside = upload_aside,
                          .mark = mark,
                          .wait = wait,
                          .follow = follow,
                          .close = close_device};
    lvsa_status s = open_gpu(d, table, index);
    if (s != LVSA_OK) close_device(&d->base);
    else *out = &d->base;
    return s;
}
