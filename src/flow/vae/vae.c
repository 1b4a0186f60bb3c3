/* vae.c: from a whole video's latents to pixels: which decoder, which tiles or which of the ranks'
 * rows, frame by frame. */
#include "flow/vae/vae.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "engine/pattern/pattern.h"

static const lv_vae_class *const classes[] = {&lv_vae_wan_class};
enum { CLASSES = sizeof classes / sizeof classes[0] };

lvsa_status lv_vae_open(lv_vae **out, lv_device *device, const char *directory)
{
    char path[4096];
    json_t *root;
    const char *name = "";
    *out = NULL;
    LV_TRY(lv_json_load_in(&root, path, sizeof path, directory, "config.json"));
    lvsa_status s = lv_json_get_string(&name, root, "_class_name", path);
    const lv_vae_class *found = NULL;
    for (int i = 0; i < CLASSES && !found; i++)
        if (strcmp(name, classes[i]->name) == 0) found = classes[i];
    if (s == LVSA_OK && !found)
        s = lv_fail(LVSA_ERR_UNSUPPORTED, "%s: \"_class_name\" is \"%s\"; %s is wanted", path, name,
                    classes[0]->name);
    json_decref(root);
    return s == LVSA_OK ? found->open(out, device, directory) : s;
}

void lv_vae_close(lv_vae **vae)
{
    if (vae && *vae) (*vae)->class->close(*vae);
    if (vae) *vae = NULL;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* A part of the picture that is decoded by itself. */
typedef struct tile {
    int64_t y, x, height, width; /* in latents                                        */
    lv_tensor past;              /* see lv_vae_step                                   */
    lv_tensor pixels;            /* [k, r*height, r*width, 3] f32; see lv_vae_step    */
} tile;

typedef struct decoding {
    lv_vae *vae;
    lv_exec e;
    lv_tensor z;           /* [C, T, Y, X] f32                                      */
    int64_t height, width; /* Y, X                                                  */
    int64_t size, stride;  /* of a tile, in latents                                 */
    int64_t columns, count;
    lv_rows *rows;        /* this rank's, the only tile then; NULL: not shared       */
    tile *tiles;          /* [count], row by row                                     */
    lv_tensor picture;    /* [k, r*Y, r*X, 3] f32; of a single tile, its pixels      */
    uint8_t *bytes;       /* of the picture's frames, see lv_op_pixels()             */
    uint8_t *whole;       /* those of all ranks' rows, all their last words behind;
                             not shared: `bytes`; of ranks but the first: NULL       */
    void *memory;         /* of the device: all of the above                         */
    float *values;        /* [r*Y, r*X, 3], one frame in host memory, if wanted      */
    uint8_t *host;        /* the bytes in host memory, where nothing can be fetched  */
    lv_message *messages; /* [(ranks + 1) * (k + 1)] of a step's bytes               */
} decoding;

static bool is_first(const decoding *d) { return !d->rows || d->rows->comm->rank == 0; }
static int count_ranks(const decoding *d) { return d->rows ? d->rows->comm->size : 1; }

/* Numbers of a frame, [r*Y, r*X, 3]. */
static int64_t frame_size(const decoding *d)
{
    return 3 * d->vae->spatial * d->height * d->vae->spatial * d->width;
}

/* Bytes of `frames` of them, and a word a rank; see lv_op_pixels(). */
static size_t count_whole(const decoding *d, int64_t frames)
{
    return lv_pixels_bytes(frames * frame_size(d)) +
           (size_t)(count_ranks(d) - 1) * sizeof(uint32_t);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static lvsa_status make_tiles(decoding *d, const lv_vae_tiling *tiling)
{
    int64_t rows = 1;
    d->columns = 1;
    d->size = d->stride = d->height > d->width ? d->height : d->width;
    if (tiling && tiling->size != 0) {
        if (tiling->stride < 1 || tiling->stride > tiling->size)
            return lv_fail(LVSA_ERR_ARGUMENT,
                           "VAE tiles of %lld latents, one every %lld: a stride of 1 to the tile's "
                           "size is wanted",
                           (long long)tiling->size, (long long)tiling->stride);
        if (d->size > tiling->size) {
            d->size = tiling->size, d->stride = tiling->stride;
            rows = (d->height + d->stride - 1) / d->stride;
            d->columns = (d->width + d->stride - 1) / d->stride;
        }
    }
    if (tiling && tiling->comm && tiling->comm->size > 1)
        LV_TRY(lv_rows_create(&d->rows, tiling->comm, d->height));
    d->count = rows * d->columns;
    d->tiles = lv_zalloc_array((size_t)d->count, sizeof *d->tiles);
    if (!d->tiles)
        return lv_fail(LVSA_ERR_MEMORY, "%lld VAE tiles don't fit in memory", (long long)d->count);
    for (int64_t i = 0; i < d->count; i++) {
        tile *t = &d->tiles[i];
        t->y = i / d->columns * d->stride, t->x = i % d->columns * d->stride;
        t->height = least(d->size, d->height - t->y);
        t->width = least(d->size, d->width - t->x);
    }
    if (d->rows) {
        d->tiles->y = d->rows->first - d->rows->above;
        d->tiles->height = d->rows->count + lv_rows_beyond(d->rows);
    }
    return LVSA_OK;
}

/* A tensor at *at, which moves on; NULL where only bytes are counted. */
static lv_tensor place(char *base, size_t *at, lvsa_dtype dtype, int rank, const int64_t *shape)
{
    lv_tensor t = lv_tensor_view(base ? base + *at : NULL, dtype, rank, shape);
    *at += lv_round_up((size_t)lv_tensor_count(t) * lv_dtype_bytes(dtype), LV_CACHE_LINE);
    return t;
}

/* Lays the tensors out from `base` on (NULL: only counts) and says how many bytes they take. */
static size_t lay_out(decoding *d, char *base)
{
    const lv_vae *v = d->vae;
    const int64_t r = v->spatial, beyond = lv_rows_beyond(d->rows);
    size_t bytes = 0;
    for (int64_t i = 0; i < d->count; i++) {
        tile *t = &d->tiles[i];
        const int64_t own = t->height - beyond;
        const int64_t past = v->class->past(v, own, t->width, beyond);
        t->past = place(base, &bytes, d->e.dtype, 1, &past);
        t->pixels = place(base, &bytes, LVSA_F32, 4,
                          LV_SHAPE(v->temporal, r * own + beyond, r * t->width, 3));
    }
    d->picture = d->tiles[0].pixels;
    if (d->count > 1)
        d->picture =
            place(base, &bytes, LVSA_F32, 4, LV_SHAPE(v->temporal, r * d->height, r * d->width, 3));
    d->bytes = base ? (uint8_t *)base + bytes : NULL;
    bytes += lv_round_up(lv_pixels_bytes(lv_tensor_count(d->picture)), LV_CACHE_LINE);
    d->whole = d->bytes;
    if (!d->rows) return bytes;
    d->whole = base && is_first(d) ? (uint8_t *)base + bytes : NULL;
    return bytes + (is_first(d) ? lv_round_up(count_whole(d, v->temporal), LV_CACHE_LINE) : 0);
}

/* Blends the tile with those above and to the left of it, already blended themselves, and puts
 * what lies before the next tiles into the picture. */
static lvsa_status compose_tile(decoding *d, int64_t index, int64_t frames)
{
    const int64_t r = d->vae->spatial, row = index / d->columns, column = index % d->columns;
    const int64_t overlap = d->size - d->stride;
    const tile *t = &d->tiles[index], *above = t - d->columns, *left = t - 1;
    const lv_tensor pixels = lv_tensor_rows(t->pixels, 0, frames);
    if (row > 0 && overlap > 0) {
        const int64_t shared = least(overlap, t->height);
        LV_TRY(lv_op_blend(&d->e, pixels, lv_tensor_rows(above->pixels, 0, frames),
                           &(lv_blend){.from_y = r * (above->height - shared),
                                       .height = r * shared,
                                       .width = r * t->width,
                                       .ramp = LV_RAMP_Y}));
    }
    if (column > 0 && overlap > 0) {
        const int64_t shared = least(overlap, t->width);
        LV_TRY(lv_op_blend(&d->e, pixels, lv_tensor_rows(left->pixels, 0, frames),
                           &(lv_blend){.from_x = r * (left->width - shared),
                                       .height = r * t->height,
                                       .width = r * shared,
                                       .ramp = LV_RAMP_X}));
    }
    return lv_op_blend(&d->e, lv_tensor_rows(d->picture, 0, frames), pixels,
                       &(lv_blend){.to_y = r * t->y,
                                   .to_x = r * t->x,
                                   .height = r * least(d->stride, t->height),
                                   .width = r * least(d->stride, t->width)});
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* Latent frame t to the picture's first frames. */
static lvsa_status decode_step(decoding *d, int64_t t)
{
    lv_vae *v = d->vae;
    lv_exec *e = &d->e;
    const int64_t frames = t ? v->temporal : 1;
    const size_t mark = lv_arena_mark(&e->arena);
    lv_tensor all;
    LV_TRY(lv_take(&all, e, e->dtype, 4, LV_SHAPE(1, d->height, d->width, v->channels)));
    LV_TRY(lv_op_take_frame(e, all, d->z, t, v->scale, v->shift));
    for (int64_t i = 0; i < d->count; i++) {
        const tile *part = &d->tiles[i];
        const size_t tile_mark = lv_arena_mark(&e->arena);
        lv_vae_step step = {.t = t,
                            .latent = all,
                            .past = part->past,
                            .frames = lv_tensor_rows(part->pixels, 0, frames),
                            .rows = d->rows};
        if (d->count > 1 || d->rows) {
            LV_TRY(lv_take(&step.latent, e, e->dtype, 4,
                           LV_SHAPE(1, part->height, part->width, v->channels)));
            LV_TRY(lv_op_blend(e, step.latent, all,
                               &(lv_blend){.from_y = part->y,
                                           .from_x = part->x,
                                           .height = part->height,
                                           .width = part->width}));
        }
        LV_TRY(v->class->step(v, e, &step));
        lv_arena_release(&e->arena, tile_mark);
    }
    if (d->count > 1)
        for (int64_t i = 0; i < d->count; i++) LV_TRY(compose_tile(d, i, frames));
    lv_arena_release(&e->arena, mark);
    return LVSA_OK;
}

/* Own rows of each frame, and then the last word, for the first rank. */
static int list_sent(const decoding *d, lv_message *m, int64_t frames)
{
    const lv_tensor own = lv_rows_own(d->rows, lv_tensor_rows(d->picture, 0, 1));
    const size_t line = (size_t)(3 * d->picture.shape[2]);
    const size_t frame = line * (size_t)d->picture.shape[1], bytes = line * (size_t)own.shape[1];
    uint8_t *at = d->bytes + line * (size_t)d->rows->above;
    for (int64_t i = 0; i < frames; i++, at += frame) m[i] = (lv_message){0, at, bytes};
    uint8_t *end = d->bytes + lv_pixels_bytes(frames * (int64_t)frame) - sizeof(uint32_t);
    m[frames] = (lv_message){0, end, sizeof(uint32_t)};
    return (int)frames + 1;
}

/* The same of all ranks, at its place in the whole. */
static int list_received(const decoding *d, lv_message *m, int64_t frames)
{
    const int ranks = count_ranks(d);
    const size_t frame = (size_t)frame_size(d), row = frame / (size_t)d->height;
    uint8_t *words = d->whole + lv_pixels_bytes(frames * (int64_t)frame) - sizeof(uint32_t);
    for (int r = 0; r < ranks; r++, words += sizeof(uint32_t)) {
        const int64_t first = lv_share_first(d->height, r, ranks);
        const int64_t count = lv_share_first(d->height, r + 1, ranks) - first;
        for (int64_t i = 0; i < frames; i++)
            *m++ = (lv_message){r, d->whole + (size_t)i * frame + (size_t)first * row,
                                (size_t)count * row};
        *m++ = (lv_message){r, words, sizeof(uint32_t)};
    }
    return ranks * ((int)frames + 1);
}

static lvsa_status gather(decoding *d, int64_t frames)
{
    lv_comm *comm = d->rows->comm;
    const int sent = list_sent(d, d->messages, frames);
    lv_message *received = d->messages + sent;
    const int count = is_first(d) ? list_received(d, received, frames) : 0;
    LV_TRY(lv_comm_begin(comm, d->vae->device, d->messages, sent, received, count));
    return lv_comm_wait(comm, d->vae->device);
}

/* The bytes of a step's frames begin their way to the host; those of ranks to the first one's. */
static lvsa_status send(decoding *d, int64_t t)
{
    const int64_t frames = t ? d->vae->temporal : 1;
    lv_device *device = d->vae->device;
    LV_TRY(lv_op_pixels(&d->e, d->bytes, lv_tensor_rows(d->picture, 0, frames)));
    if (d->rows) LV_TRY(gather(d, frames));
    if (!is_first(d)) return LVSA_OK;
    return device->fetch ? device->fetch(device, (int)(t % 2), d->whole, count_whole(d, frames))
                         : device->download(device, d->host, d->whole, count_whole(d, frames));
}

/* Of the words behind the frames' bytes. */
static bool has_nan(const decoding *d, const uint8_t *bytes, int64_t frames)
{
    uint32_t nans = 0;
    const uint8_t *words = bytes + lv_pixels_bytes(frames * frame_size(d)) - sizeof nans;
    for (int r = 0; r < count_ranks(d) && !nans; r++, words += sizeof nans)
        memcpy(&nans, words, sizeof nans);
    return nans != 0;
}

/* Waits for them and hands them on. */
static lvsa_status hand_on(decoding *d, int64_t t, const lv_frame_sink *sink)
{
    const int64_t k = d->vae->temporal, frames = t ? k : 1, count = frame_size(d);
    const int64_t first = t ? 1 + k * (t - 1) : 0;
    lv_device *device = d->vae->device;
    const void *bytes = d->host;
    if (device->fetch) LV_TRY(device->await(device, &bytes, (int)(t % 2)));
    if (d->rows) LV_TRY(lv_comm_check(d->rows->comm));
    if (has_nan(d, bytes, frames))
        return lv_fail(LVSA_ERR_NUMBER,
                       "frame %lld%s: the VAE gave a NaN; its weights or the latents are damaged",
                       (long long)first, frames > 1 ? " or one of the next" : "");
    for (int64_t i = 0; i < frames; i++) {
        if (d->values)
            LV_TRY(device->download(device, d->values, lv_tensor_rows(d->picture, i, 1).data,
                                    (size_t)count * sizeof *d->values));
        const lv_frame frame = {.index = first + i,
                                .height = d->vae->spatial * d->height,
                                .width = d->vae->spatial * d->width,
                                .rgb = (const uint8_t *)bytes + i * count,
                                .values = d->values};
        LV_TRY(sink->call(sink->user, &frame));
    }
    return LVSA_OK;
}

/* Of a rank that hands nothing on: until its work is done, and the memory may go. */
static lvsa_status await_all(decoding *d)
{
    uint32_t word;
    LV_TRY(d->vae->device->download(d->vae->device, &word, d->bytes, sizeof word));
    return lv_comm_check(d->rows->comm);
}

/* A device that can fetch computes the next frames while the last ones are handed on; numbers are
 * taken from where the next frames' will be, so who wants them waits. */
static lvsa_status decode_all(decoding *d, const lv_frame_sink *sink)
{
    const int64_t steps = d->z.shape[1];
    const int behind = d->vae->device->fetch && !d->values ? 1 : 0;
    for (int64_t t = 0; t < steps + behind; t++) {
        if (t < steps) {
            LV_TRY(decode_step(d, t));
            LV_TRY(send(d, t));
        }
        if (t >= behind && is_first(d)) LV_TRY(hand_on(d, t - behind, sink));
    }
    return is_first(d) ? LVSA_OK : await_all(d);
}

/* Tiles, and the pass that measures: of a frame that isn't the first, which takes most. */
static lvsa_status measure(decoding *d, lv_vae *vae, int64_t height, int64_t width,
                           const lv_vae_tiling *tiling)
{
    *d =
        (decoding){.vae = vae, .e = lv_exec_measure(vae->device), .height = height, .width = width};
    d->z = lv_tensor_view(NULL, LVSA_F32, 4, LV_SHAPE(vae->channels, 2, height, width));
    LV_TRY(make_tiles(d, tiling));
    lay_out(d, NULL);
    return decode_step(d, 1);
}

static void release(decoding *d)
{
    lv_exec_end(&d->e);
    if (d->memory) d->vae->device->release(d->vae->device, d->memory);
    lv_free(d->messages);
    lv_free(d->values);
    lv_free(d->host);
    lv_free(d->tiles);
    lv_rows_free(&d->rows);
}

lvsa_status lv_vae_measure(size_t *bytes, lv_vae *vae, int64_t height, int64_t width,
                           const lv_vae_tiling *tiling)
{
    decoding d;
    lvsa_status s = measure(&d, vae, height, width, tiling);
    if (s == LVSA_OK) *bytes = lay_out(&d, NULL) + d.e.arena.peak;
    release(&d);
    return s;
}

static lvsa_status allocate(decoding *d, bool values)
{
    lv_device *device = d->vae->device;
    LV_TRY(device->allocate(device, &d->memory, lay_out(d, NULL)));
    lay_out(d, d->memory);
    const size_t messages = (size_t)((count_ranks(d) + 1) * (d->vae->temporal + 1));
    const bool host = is_first(d) && !device->fetch;
    if (values) d->values = lv_zalloc_array((size_t)frame_size(d), sizeof *d->values);
    if (host) d->host = lv_zalloc(count_whole(d, d->vae->temporal));
    if (d->rows) d->messages = lv_zalloc_array(messages, sizeof *d->messages);
    if ((values && !d->values) || (host && !d->host) || (d->rows && !d->messages))
        return lv_fail(LVSA_ERR_MEMORY, "a frame of %lld x %lld pixels doesn't fit in memory",
                       (long long)(d->vae->spatial * d->width),
                       (long long)(d->vae->spatial * d->height));
    LV_TRY(lv_exec_begin(&d->e));
    for (int64_t i = 0; i < d->count; i++) LV_TRY(lv_op_zero(&d->e, d->tiles[i].past));
    return LVSA_OK;
}

lvsa_status lv_vae_decode(lv_vae *vae, lv_tensor z, const lv_vae_tiling *tiling,
                          const lv_frame_sink *sink)
{
    if (z.rank != 4 || z.dtype != LVSA_F32 || z.shape[0] != vae->channels || lv_tensor_count(z) < 1)
        return lv_fail(LVSA_ERR_SHAPE,
                       "latents [%lld, %lld, %lld, %lld]: this VAE decodes [%lld, T, Y, X]; it "
                       "belongs to another model",
                       (long long)z.shape[0], (long long)z.shape[1], (long long)z.shape[2],
                       (long long)z.shape[3], (long long)vae->channels);
    decoding d;
    lvsa_status s = measure(&d, vae, z.shape[2], z.shape[3], tiling);
    d.z = z;
    if (s == LVSA_OK) s = allocate(&d, sink->values && !d.rows);
    if (s == LVSA_OK) s = decode_all(&d, sink);
    release(&d);
    return s;
}
