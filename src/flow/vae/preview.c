/* preview.c: least squares of decoded pictures on their latents.
 *
 * The latents are random, in squares of 8 x 8 and of 4 x 4 points: those of videos have flat parts,
 * and a decoder answers them with more colour than white noise, from which a preview would have two
 * fifths of the frames' contrast. */
#include "flow/vae/preview.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum {
    COLOURS = 3,
    PICTURES = 2, /* that are decoded ...                 */
    EDGE = 24,    /* ... each of so many by many latents */
    POINTS = EDGE * EDGE
};

static const int squares[] = {8, 4}; /* latents along an edge that have one value */
enum { SIZES = sizeof squares / sizeof squares[0] };

struct lv_preview {
    int64_t channels; /* C                               */
    float weight[];   /* [C + 1, 3], 0 .. 255; last bias */
};

/* ---- pictures to learn from ------------------------------------------------------------------ */

/* Uniform in -1 .. 1 (splitmix64). */
static float next_random(uint64_t *state)
{
    uint64_t bits = *state += 0x9e3779b97f4a7c15u;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    return (float)(int32_t)(uint32_t)(bits >> 32) * 0x1p-31f;
}

/* z [C, 1, EDGE, EDGE] of variance 1, as latents have it, the same share of it in each size. */
static void make_latents(float *z, int64_t channels, uint64_t *state)
{
    const float height = sqrtf(3.0f / SIZES); /* the variance of -1 .. 1 is 1/3 */
    memset(z, 0, (size_t)channels * POINTS * sizeof *z);
    for (int64_t c = 0; c < channels; c++, z += POINTS)
        for (int size = 0; size < SIZES; size++) {
            const int square = squares[size];
            for (int y = 0; y < EDGE; y += square)
                for (int x = 0; x < EDGE; x += square) {
                    const float value = height * next_random(state);
                    for (int i = 0; i < square * square; i++)
                        z[(y + i / square) * EDGE + x + i % square] += value;
                }
        }
}

/* Puts the mean colour of every latent's pixels into user, [POINTS, 3]. */
static lvsa_status take_means(void *user, const lv_frame *f)
{
    float *mean = user;
    const int64_t r = f->width / EDGE;
    const float share = 255.0f * 0.5f / (float)(r * r);
    for (int64_t y = 0; y < f->height; y++)
        for (int64_t x = 0; x < f->width; x++)
            for (int k = 0; k < COLOURS; k++)
                mean[(y / r * EDGE + x / r) * COLOURS + k] +=
                    share * (f->values[(y * f->width + x) * COLOURS + k] + 1.0f);
    return LVSA_OK;
}

static lvsa_status decode(float *colours, lv_vae *vae, const float *z)
{
    lv_device *device = vae->device;
    const size_t bytes = (size_t)vae->channels * POINTS * sizeof *z;
    const lv_frame_sink sink = {take_means, colours, .values = true};
    void *memory;
    memset(colours, 0, COLOURS * POINTS * sizeof *colours);
    LV_TRY(device->allocate(device, &memory, bytes));
    lvsa_status s = device->upload(device, memory, z, bytes);
    if (s == LVSA_OK)
        s = lv_vae_decode(
            vae, lv_tensor_view(memory, LVSA_F32, 4, LV_SHAPE(vae->channels, 1, EDGE, EDGE)), NULL,
            &sink);
    device->release(device, memory);
    return s;
}

/* ---- least squares --------------------------------------------------------------------------- */

/* a [n, n] += sum over points of f f', b [n, 3] += of f colour', where f = (z, 1) and n = C + 1; of
 * a, rows up to the diagonal only. */
static void sum_products(double *a, double *b, const float *z, const float *colours, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int p = 0; p < POINTS; p++) {
            const double left = i < n - 1 ? (double)z[i * POINTS + p] : 1.0;
            for (int64_t j = 0; j <= i; j++)
                a[i * n + j] += left * (j < n - 1 ? (double)z[j * POINTS + p] : 1.0);
            for (int k = 0; k < COLOURS; k++)
                b[i * COLOURS + k] += left * (double)colours[p * COLOURS + k];
        }
}

/* a = L L' in place, rows up to the diagonal. */
static void factor(double *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (int64_t k = 0; k < j; k++) sum -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
}

/* b = x of L L' x = b, for each colour. */
static void solve(double *b, const double *l, int64_t n)
{
    for (int k = 0; k < COLOURS; k++) {
        double *x = b + k;
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < i; j++) x[i * COLOURS] -= l[i * n + j] * x[j * COLOURS];
            x[i * COLOURS] /= l[i * n + i];
        }
        for (int64_t i = n; i-- > 0;) {
            for (int64_t j = i + 1; j < n; j++) x[i * COLOURS] -= l[j * n + i] * x[j * COLOURS];
            x[i * COLOURS] /= l[i * n + i];
        }
    }
}

/* ---- fitting --------------------------------------------------------------------------------- */

static lvsa_status out_of_memory(const lv_vae *vae)
{
    return lv_fail(LVSA_ERR_MEMORY, "a preview of %lld latent channels doesn't fit in memory",
                   (long long)vae->channels);
}

static lvsa_status fit(lv_preview *p, lv_vae *vae, float *z, float *colours)
{
    const double ridge = 1e-3 * PICTURES * POINTS; /* where values are fewer than channels */
    const int64_t n = p->channels + 1;
    uint64_t state = 0;
    double *a = lv_zalloc_array((size_t)(n * n), sizeof *a);
    double *b = lv_zalloc_array((size_t)(n * COLOURS), sizeof *b);
    lvsa_status s = a && b ? LVSA_OK : out_of_memory(vae);
    for (int i = 0; i < PICTURES && s == LVSA_OK; i++) {
        make_latents(z, p->channels, &state);
        s = decode(colours, vae, z);
        if (s == LVSA_OK) sum_products(a, b, z, colours, n);
    }
    if (s == LVSA_OK) {
        for (int64_t i = 0; i < n - 1; i++) a[i * n + i] += ridge;
        factor(a, n);
        solve(b, a, n);
        for (int64_t i = 0; i < n * COLOURS; i++) p->weight[i] = (float)b[i];
    }
    lv_free(b);
    lv_free(a);
    return s;
}

lvsa_status lv_preview_fit(lv_preview **out, lv_vae *vae)
{
    const size_t channels = (size_t)vae->channels; /* lv_vae_open() has bounded it */
    lv_preview *p = lv_zalloc(sizeof *p + (channels + 1) * COLOURS * sizeof *p->weight);
    float *z = lv_zalloc_array(channels * POINTS, sizeof *z);
    float *colours = lv_zalloc_array(COLOURS * POINTS, sizeof *colours);
    lvsa_status s = p && z && colours ? LVSA_OK : out_of_memory(vae);
    if (s == LVSA_OK) {
        p->channels = vae->channels;
        s = fit(p, vae, z, colours);
    }
    lv_free(colours);
    lv_free(z);
    if (s != LVSA_OK) lv_preview_free(&p);
    *out = p;
    return s;
}

void lv_preview_free(lv_preview **preview)
{
    if (!preview) return;
    lv_free(*preview);
    *preview = NULL;
}

lvsa_status lv_preview_measure(size_t *bytes, lv_vae *vae)
{
    LV_TRY(lv_vae_measure(bytes, vae, EDGE, EDGE, NULL));
    *bytes += (size_t)vae->channels * POINTS * sizeof(float);
    return LVSA_OK;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static uint8_t byte_of(float value)
{
    if (!(value > 0.0f)) return 0;
    return value < 255.0f ? (uint8_t)(value + 0.5f) : 255;
}

void lv_preview_draw(uint8_t *rgb, const lv_preview *p, const float *z, const float *v, float step,
                     const int64_t shape[4])
{
    enum { CHUNK = 256 /* points whose sums stay in the nearest cache */ };
    const int64_t points = shape[1] * shape[2] * shape[3];
    for (int64_t from = 0; from < points; from += CHUNK) {
        const int64_t count = points - from < CHUNK ? points - from : CHUNK;
        float sum[COLOURS][CHUNK];
        for (int k = 0; k < COLOURS; k++)
            for (int64_t j = 0; j < count; j++) sum[k][j] = p->weight[p->channels * COLOURS + k];
        for (int64_t c = 0; c < p->channels; c++) {
            const float *zc = z + c * points + from, *vc = v + c * points + from;
            for (int k = 0; k < COLOURS; k++) {
                const float weight = p->weight[c * COLOURS + k];
                for (int64_t j = 0; j < count; j++) sum[k][j] += weight * (zc[j] + step * vc[j]);
            }
        }
        for (int64_t j = 0; j < count; j++)
            for (int k = 0; k < COLOURS; k++) *rgb++ = byte_of(sum[k][j]);
    }
}
