/* lvsa.h: long videos from diffusion transformers. This header brings in all of lvsa.
 *
 * What a model says about a video's shape comes first: planning needs no weights. */
#ifndef LVSA_H
#define LVSA_H

#include <lvsa/lvsa_attention.h>
#include <lvsa/lvsa_status.h>
#include <lvsa/lvsa_version.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How pixels and frames become tokens in one model, and how long its training videos were. */
typedef struct lvsa_geometry {
    size_t size;                 /* sizeof(lvsa_geometry), set by the caller                      */
    const char *family;          /* e.g. "wan2.1-1.3b"; static                                    */
    int temporal_factor;         /* pixel frames a latent frame (but for the first, which is one) */
    int pixels_per_patch;        /* edge of the square of pixels that one token stands for        */
    int pad_to_patch;            /* 1: an odd latent edge is padded to a whole patch (Cosmos 3)   */
    int reference_latent_frames; /* training horizon R                                            */
    int layers, heads, head_dim; /* of the self-attention over video tokens                       */
    int frames, height, width;   /* the model's usual video, in pixels                            */
} lvsa_geometry;

/* The name of the index-th known family, NULL past the last. Static. */
LVSA_API const char *lvsa_family_name(int index);

/* The geometry of a family. Fails with LVSA_ERR_ARGUMENT, and says which families there are. */
LVSA_API lvsa_status lvsa_geometry_from_family(lvsa_geometry *out, const char *family);

/* The geometry of the diffusers-layout checkpoint in a directory, from its JSON files; reads no
 * weights. Fails with LVSA_ERR_IO or LVSA_ERR_FORMAT, and names the file. */
LVSA_API lvsa_status lvsa_geometry_from_model(lvsa_geometry *out, const char *directory);

/* T and P of a video. `frames` is cut to the model's grid (4k + 1): *used_frames says what is left.
 * Fails with LVSA_ERR_SHAPE where the height or width is no multiple of what a patch covers. */
LVSA_API lvsa_status lvsa_geometry_latent(int *latent_frames, int *patches_per_frame,
                                          int *used_frames, const lvsa_geometry *g, int frames,
                                          int height, int width);

#ifdef __cplusplus
}
#endif
#endif
