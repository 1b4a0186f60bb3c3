/* vae.h: latents to frames.
 *
 *     frames [F, r*Y, r*X, 3] = decode(latents z [C, T, Y, X])        F = 1 + k*(T - 1)
 *
 * One latent frame at a time: what a decoder has to know of the frames before lies in device
 * memory of a fixed size, so a video may be of any length, and its frames are handed on as they
 * come.
 *
 * A family is one file and one lv_vae_class. It says what is computed, in the operations of
 * engine/runtime/ops.h, never where. Tiles, clamping and pixels are vae.c's, the same for all. */
#ifndef LV_FLOW_VAE_VAE_H
#define LV_FLOW_VAE_VAE_H

#include "engine/parallel/rows.h"
#include "engine/runtime/device.h"

typedef struct lv_vae lv_vae;

/* A frame in host memory, valid during the call. */
typedef struct lv_frame {
    int64_t index; /* from 0 */
    int64_t height, width;
    const uint8_t *rgb;  /* [height, width, 3], 0 .. 255                         */
    const float *values; /* the same, -1 .. 1, for a sink that wants it, or NULL */
} lv_frame;

/* Whatever isn't LVSA_OK ends the decoding, which returns it. */
typedef struct lv_frame_sink {
    lvsa_status (*call)(void *user, const lv_frame *frame);
    void *user;
    bool values; /* wants the numbers too, of a picture that isn't shared */
} lv_frame_sink;

/* Pictures larger than a tile are decoded in overlapping squares of `size` latents, one every
 * `stride`, blended where they overlap. That changes the picture a little (diffusers'
 * enable_tiling() gives the same one) and needs less scratch, but every tile remembers its own
 * past: (size / stride)^2 of what the picture's is. Wan 2.1 at 480 x 832 in tiles of 32, one every
 * 24, takes 7.0 GB instead of 4.9. size 0: no tiles.
 *
 * Or its rows are dealt to ranks, all of which decode together. That is the picture of one, but for
 * rounding: before every convolution a rank is sent the row beyond its own on either side, and the
 * keys and values of the one attention are gathered. Rank 0's sink gets the frames. */
typedef struct lv_vae_tiling {
    int64_t size, stride;
    lv_comm *comm; /* NULL: no rows are dealt; otherwise size is 0 */
} lv_vae_tiling;

/* Called after a stage of a step, when a decoder is compared with another implementation: "conv_in"
 * 0, "up" 3. `frame` [1, y, x, c] is of the device, valid during the call. */
typedef struct lv_vae_probe {
    lvsa_status (*call)(void *user, const char *stage, int index, lv_tensor frame);
    void *user;
} lv_vae_probe;

/* Opens a vae/ directory of a diffusers-layout checkpoint; its config.json names the class. Fails
 * with LVSA_ERR_IO, LVSA_ERR_FORMAT, LVSA_ERR_SHAPE, LVSA_ERR_UNSUPPORTED (another class, or an
 * option of it that isn't there yet) or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_vae_open(lv_vae **out, lv_device *device, const char *directory);
void lv_vae_close(lv_vae **vae);

/* Bytes of device memory that decoding latents of Y x X takes besides the weights, for any T. */
lvsa_status lv_vae_measure(size_t *bytes, lv_vae *vae, int64_t height, int64_t width,
                           const lv_vae_tiling *tiling);

/* Decodes z f32 [C, T, Y, X], of the device, as the denoiser leaves it. `tiling` may be NULL.
 * Fails with LVSA_ERR_SHAPE (latents of another model), LVSA_ERR_ARGUMENT (tiles that don't cover
 * the picture, more ranks than rows), LVSA_ERR_MEMORY, LVSA_ERR_NUMBER (a NaN), or what the sink
 * says. */
lvsa_status lv_vae_decode(lv_vae *vae, lv_tensor z, const lv_vae_tiling *tiling,
                          const lv_frame_sink *sink);

/* ---- what a family provides ------------------------------------------------------------------ */

/* One latent frame through the decoder. */
typedef struct lv_vae_step {
    int64_t t;        /* which; steps come in order                                               */
    lv_tensor latent; /* [1, Y, X, C], scaled and shifted; shared, with the rows beyond           */
    lv_tensor past;   /* [class->past()], activations; zeros before step 0, then this step's own  */
    lv_tensor frames; /* out, f32: [t ? k : 1, r*Y, r*X, 3], not clamped; shared, of r*Y rows that
                         are this rank's own, and as many beyond as the latent has                */
    const lv_rows *rows; /* NULL: the picture isn't shared                                        */
} lv_vae_step;

typedef struct lv_vae_class {
    const char *name; /* "_class_name" in config.json */
    lvsa_status (*open)(lv_vae **out, lv_device *device, const char *directory);
    void (*close)(lv_vae *vae);
    /* Numbers to remember between the steps of a picture of Y x X latents and, where it is shared,
     * `beyond` rows of others. */
    int64_t (*past)(const lv_vae *vae, int64_t height, int64_t width, int64_t beyond);
    lvsa_status (*step)(lv_vae *vae, lv_exec *e, const lv_vae_step *step);
} lv_vae_class;

/* Members that others read; a family's own follow in its file. */
struct lv_vae {
    const lv_vae_class *class;
    lv_device *device;
    int64_t channels;         /* C                                              */
    int64_t spatial;          /* r, pixels along the edge of a latent           */
    int64_t temporal;         /* k, frames of every latent frame but the first  */
    lv_tensor scale, shift;   /* f32 [C]: latent * scale + shift is decoded     */
    size_t unknown;           /* tensors in the files that nobody asked for ... */
    const char *unknown_name; /* ... and the first of them                      */
    lv_vae_probe probe;       /* call NULL: none                                */
};

extern const lv_vae_class lv_vae_wan_class; /* wan.c */

#endif
