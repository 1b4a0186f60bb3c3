/* lvsa_attention.h: which frames attend to which, and the attention that follows it.
 *
 * LVSA is frame-granular: a video of T latent frames with P patches (tokens) a frame is a sequence
 * of S = T*P tokens, and frame f's tokens f*P .. f*P+P-1 attend to whole frames only:
 *   anchors   the first frames and every keyframe, the same for all; the keyframe grid moves on by
 *             one frame each denoising step;
 *   window    the neighbours of f.
 * With first anchors n, interval k, rotation r, half-width W and training horizon R, all in latent
 * frames (LVSA, arXiv 2605.31057; LongVideoSparseAttention 1.2.0, lvsa/sparse_attention.py):
 *   anchors   G = {0 .. n-1} and {(r + i*k) mod T, 0 <= i < ceil(T/k)}
 *   window    [f-W, f+W], moved into [0, T-1] at the ends; none for W = 0. Expanded: then a frame
 *             wider, left and right in turns, until it holds min(2W+1, T-|G|) frames that are no
 *             anchors
 *   k = AUTO  with a budget b = max(n+1, floor(R * scale)) and m = 2W+n: 1, which is dense, where
 *             T <= b, else the larger of the widest spacing with at least max(n, b - min(2W+1, T))
 *             anchors at rotation 0 and ceil((T-m) / max(b-m, 1))
 * A plan holds the pattern of one video at one denoising step. The attention call takes tensors and
 * the plan's runs; it needs no plan when everything attends to everything.
 *
 *     lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
 *     o.latent_frames = 81, o.patches_per_frame = 1560, o.reference_latent_frames = 21;
 *     lvsa_plan *plan;
 *     if (lvsa_plan_create(&plan, &o) != LVSA_OK) puts(lvsa_last_error());
 *     for (int step = 0; step < steps; step++) {
 *         lvsa_plan_set_step(plan, step);
 *         ... lvsa_attention_run() with lvsa_plan_get_runs(plan) in every layer ...
 *     }
 *     (On a GPU the runs need tiles as well, made once a rotation: see lvsa_tiles below.)
 *     lvsa_plan_free(&plan);
 *
 * Letters: B batch, T latent frames, P patches a frame, S tokens, H heads, D head size.
 */
#ifndef LVSA_ATTENTION_H
#define LVSA_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the plan ------------------------------------------------------------------------------- */

/* The pattern of one video. Read-only calls may run at once; a call that moves it may not. */
typedef struct lvsa_plan lvsa_plan;

#define LVSA_INTERVAL_AUTO (-1) /* the interval that keeps the training horizon's budget */
#define LVSA_INTERVAL_NONE 0    /* no keyframes: only the first anchors                  */

typedef struct lvsa_plan_options {
    size_t size;                 /* sizeof(lvsa_plan_options): set by LVSA_PLAN_OPTIONS_INIT      */
    int latent_frames;           /* T >= 1                                                        */
    int patches_per_frame;       /* P >= 1; T*P must stay below 2^31                              */
    int window;                  /* half-width W in latent frames; 0: no window at all            */
    int first_anchors;           /* leading frames that all attend to; 0 .. T (more is cut to T)  */
    int keyframe_interval;       /* every how many frames a keyframe, AUTO or NONE                */
    int reference_latent_frames; /* training horizon R, needed for AUTO: Wan 21, HunyuanVideo 33  */
    double sparsity_scale;       /* AUTO: the budget is R times this; > 0                         */
    int expand_window;           /* widen windows past anchors until 2W+1 frames are no anchors   */
    int rotation;                /* offset of the keyframe grid to begin with, in frames, >= 0    */
    int trained_opening;         /* the first R frames attend to one another alone, as in training;
                                    R is then needed. Not in the reference                        */
} lvsa_plan_options;

/* The defaults; the two sizes and, for AUTO, the reference are the caller's. */
#define LVSA_PLAN_OPTIONS_INIT                                                                     \
    {sizeof(lvsa_plan_options), 0, 0, 3, 1, LVSA_INTERVAL_AUTO, 0, 1.0, 1, 0, 0}

/* Makes a plan and gives it in *out; the caller frees it with lvsa_plan_free().
 * Fails with LVSA_ERR_ARGUMENT (a value out of range; a pattern in which some frame would attend to
 * nothing) or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_plan_create(lvsa_plan **out, const lvsa_plan_options *options);

/* Frees the plan and sets *plan to NULL. Takes NULL and a pointer to NULL. */
LVSA_API void lvsa_plan_free(lvsa_plan **plan);

/* Moves the keyframe grid to where denoising step `step` (>= 0) wants it: rotation = step mod
 * interval. Views got before show the new pattern or are void: get them again. Allocates nothing.
 * Fails with LVSA_ERR_ARGUMENT; the plan is then as it was. */
LVSA_API lvsa_status lvsa_plan_set_step(lvsa_plan *plan, int step);

/* The same for an offset taken as it is (>= 0): keyframes at (rotation + i*interval) mod T. */
LVSA_API lvsa_status lvsa_plan_set_rotation(lvsa_plan *plan, int rotation);

typedef struct lvsa_plan_info {
    size_t size;           /* sizeof(lvsa_plan_info), set by the caller                           */
    int latent_frames;     /* T                                                                   */
    int patches_per_frame; /* P                                                                   */
    int budget;            /* frames a query may attend to under AUTO; 0 when it isn't AUTO       */
    int keyframe_interval; /* the one in force; 1 under AUTO: every frame is an anchor            */
    int rotation;          /* the offset in force                                                 */
    int anchors;           /* |G|                                                                 */
    int opening;           /* leading frames whose window, all of these, is all they attend to    */
    int attended_min;      /* fewest frames that a frame attends to                               */
    int attended_max;      /* most                                                                */
    int64_t attended_sum;  /* over all frames: block pairs, and the length of the CSR's indices   */
    int dense;             /* 1 when every frame attends to every frame                           */
} lvsa_plan_info;

/* Fills *out, whose size the caller has set. Fails with LVSA_ERR_ARGUMENT on an unknown size. */
LVSA_API lvsa_status lvsa_plan_get_info(lvsa_plan_info *out, const lvsa_plan *plan);

/* Frames first .. last; empty where last < first (then last = first - 1). */
typedef struct lvsa_window {
    int32_t first, last;
} lvsa_window;

/* Views into the plan: borrowed, valid until the plan moves or is freed. */
LVSA_API const int32_t *lvsa_plan_get_anchors(const lvsa_plan *plan);     /* [|G|], ascending */
LVSA_API const lvsa_window *lvsa_plan_get_windows(const lvsa_plan *plan); /* [T]              */
LVSA_API const int32_t *lvsa_plan_get_attended(const lvsa_plan *plan);    /* [T], in frames   */

/* Block CSR in true frame numbers, written where the caller says: frame f attends to frames
 * indices[indptr[f]] .. indices[indptr[f + 1] - 1], ascending.
 * indptr: [T + 1]; indices: [attended_sum], see lvsa_plan_get_info(). Fails with LVSA_ERR_ARGUMENT
 * where that sum is more than an int32_t holds; nothing is then written. */
LVSA_API lvsa_status lvsa_plan_write_csr(const lvsa_plan *plan, int32_t *indptr, int32_t *indices);

/* ---- runs: what a kernel walks -------------------------------------------------------------- */

/* `count` consecutive rows of K and V from row `start` on; count >= 1. */
typedef struct lvsa_run {
    int32_t start, count;
} lvsa_run;

/* The rows each query frame attends to: frame f has runs list[offsets[f]] up to, not including,
 * list[offsets[f + 1]], ascending, no two touching. Its queries are rows f*P .. f*P+P-1. */
typedef struct lvsa_runs {
    int32_t frames;            /* T, query frames                                                 */
    int32_t patches_per_frame; /* P, query rows a frame                                           */
    const int32_t *offsets;    /* [frames + 1]                                                    */
    const lvsa_run *list;
} lvsa_runs;

/* The plan's frames as runs of tokens, neighbouring frames merged. Borrowed, like the views
 * above. */
LVSA_API const lvsa_runs *lvsa_plan_get_runs(const lvsa_plan *plan);

/* ---- a video over many ranks ----------------------------------------------------------------- */

/* What one of N ranks (processes, GPUs) has of a plan. Rank r owns the whole frames r*T/N up to,
 * not including, (r + 1)*T/N: queries, keys and values of their tokens. Shards differ by a frame at
 * most. They are dealt by frames and not by attended pairs, because the dense layers cost the same
 * for each frame, an expanded window gives each frame the same number of pairs, and so the frames
 * of a rank, and its memory, are the same at every step.
 *
 * Once a layer a rank is sent the keys and values of the frames that its queries attend to and
 * others own, and computes
 *     attention(own queries; source 0: own rows with its local runs,
 *                            source 1: received rows with its received runs)
 * which is what one rank alone would have computed for them. */
typedef struct lvsa_shard lvsa_shard;

/* How ranks come by what their self-attention needs of each other's frames. */
typedef enum lvsa_sequence {
    LVSA_SEQUENCE_AUTO = 0,   /* what is expected to take less time                         */
    LVSA_SEQUENCE_HALO = 1,   /* as above, for any number of ranks                          */
    LVSA_SEQUENCE_ULYSSES = 2 /* each gets all frames of some heads; the ranks divide them  */
} lvsa_sequence;

/* "auto", "halo", "ulysses"; NULL for none of them. Static. */
LVSA_API const char *lvsa_sequence_name(lvsa_sequence sequence);

/* Makes the shard of one rank, 0 .. ranks - 1, and gives it in *out; the caller frees it with
 * lvsa_shard_free(), before the plan, which it looks at. Fails with LVSA_ERR_ARGUMENT (more ranks
 * than frames) or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_shard_create(lvsa_shard **out, const lvsa_plan *plan, int rank,
                                       int ranks);
LVSA_API void lvsa_shard_free(lvsa_shard **shard);

/* To be called when the plan has moved. Views got before show the new pattern or are void: get them
 * again. Allocates nothing. */
LVSA_API void lvsa_shard_update(lvsa_shard *shard);

typedef struct lvsa_shard_info {
    size_t size;             /* sizeof(lvsa_shard_info), set by the caller                   */
    int rank, ranks;
    int first_frame, frames; /* its own; the same at every step                              */
    int received_frames;     /* that others own                                              */
    int sent_frames;         /* of its own, each counted once for each rank that gets it     */
    int64_t attended_sum;    /* over its own frames: pairs of frames                         */
} lvsa_shard_info;

/* Fills *out, whose size the caller has set. Fails with LVSA_ERR_ARGUMENT on an unknown size. */
LVSA_API lvsa_status lvsa_shard_get_info(lvsa_shard_info *out, const lvsa_shard *shard);

/* Rows that go to a peer, of the own ones, or come from it, of the received ones. */
typedef struct lvsa_transfer {
    int32_t peer;
    lvsa_run rows;
} lvsa_transfer;

/* What is sent and received once a layer, by keys and values alike, *count of them: ascending by
 * peer, then by row. What a rank sends to a peer and what that one receives from it are the same
 * messages in the same order. Borrowed, valid until the shard is updated or freed. */
LVSA_API const lvsa_transfer *lvsa_shard_get_sends(int *count, const lvsa_shard *shard);
LVSA_API const lvsa_transfer *lvsa_shard_get_receives(int *count, const lvsa_shard *shard);

/* The frames in the received rows, P rows each: [received_frames], ascending. Borrowed. */
LVSA_API const int32_t *lvsa_shard_get_received(const lvsa_shard *shard);

/* The rows that its frames attend to, among its own and among the received ones. A frame may have
 * no runs in one of the two. Borrowed. */
LVSA_API const lvsa_runs *lvsa_shard_get_local_runs(const lvsa_shard *shard);
LVSA_API const lvsa_runs *lvsa_shard_get_received_runs(const lvsa_shard *shard);

/* A layer whose self-attention ranks share. */
typedef struct lvsa_shared_layer {
    int ranks, heads, head_dim;
    int number_bytes; /* of one element: 2 of bf16, 4 of fp32 */
} lvsa_shared_layer;

/* What one rank has of it, and sends and receives, in bytes. */
typedef struct lvsa_share {
    size_t size;                            /* sizeof(lvsa_share), set by the caller          */
    int first_frame, frames;                /* its own                                        */
    int64_t attended;                       /* over them, by halo: pairs of frames            */
    int64_t halo_sent, halo_received;
    int64_t ulysses_sent, ulysses_received; /* -1 where the ranks don't divide the heads      */
} lvsa_share;

/* Fails with LVSA_ERR_ARGUMENT (more ranks than frames, no such rank, a number below 1, a token of
 * more than 16 MiB) or LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_share_find(lvsa_share *out, const lvsa_plan *plan,
                                     const lvsa_shared_layer *layer, int rank);

/* What LVSA_SEQUENCE_AUTO takes, and why. */
typedef struct lvsa_sequence_choice {
    size_t size;            /* sizeof(lvsa_sequence_choice), set by the caller                */
    lvsa_sequence sequence; /* HALO or ULYSSES                                                */
    int64_t halo, ulysses;  /* bytes that a rank sends or receives at most; -1: it can't be   */
    double halo_balance;    /* attention of the busiest rank over the average's; by heads all
                               have the same                                                  */
} lvsa_sequence_choice;

/* By the plan as it is now. Fails as lvsa_share_find(). */
LVSA_API lvsa_status lvsa_sequence_choose(lvsa_sequence_choice *out, const lvsa_plan *plan,
                                          const lvsa_shared_layer *layer);

/* ---- the attention call --------------------------------------------------------------------- */

typedef enum lvsa_dtype { LVSA_F32 = 1, LVSA_F16 = 2, LVSA_BF16 = 3 } lvsa_dtype;

/* Where it runs; memory and stream belong to it. */
typedef enum lvsa_device {
    LVSA_DEVICE_CPU = 0,
    LVSA_DEVICE_CUDA = 1,
    LVSA_DEVICE_AUTO = 2 /* of pipelines alone: CUDA where it can be used, otherwise the CPU */
} lvsa_device;

typedef struct lvsa_device_info {
    size_t size;    /* sizeof(lvsa_device_info), set by the caller                            */
    char name[192]; /* "NVIDIA H100 80GB HBM3, sm_90, driver for CUDA 13.0", "cpu, avx512"    */
    int64_t memory; /* bytes: all of a GPU's; what a CPU's process can still get, 0: unknown  */
} lvsa_device_info;

/* Can the device be used, and what is it? A GPU needs the CUDA module, which is loaded at the first
 * call that names it; it is the calling thread's current GPU. Fails with LVSA_ERR_UNSUPPORTED (no
 * module, no driver, no GPU, a GPU before sm_80) or LVSA_ERR_DEVICE. Any thread. */
LVSA_API lvsa_status lvsa_device_get_info(lvsa_device_info *out, lvsa_device device);

/* Memory of a device, for programs without a compiler of its own. Free takes NULL and a pointer to
 * NULL. Copy goes in any direction between the device and the program, after what was enqueued on
 * the default stream, and is done when it returns. Synchronize waits for a stream (NULL: the
 * default one). Fail with LVSA_ERR_MEMORY, LVSA_ERR_DEVICE, or as lvsa_device_get_info(). */
LVSA_API lvsa_status lvsa_device_alloc(void **out, lvsa_device device, size_t bytes);
LVSA_API void lvsa_device_free(void **memory, lvsa_device device);
LVSA_API lvsa_status lvsa_device_copy(void *to, const void *from, size_t bytes, lvsa_device device);
LVSA_API lvsa_status lvsa_device_synchronize(lvsa_device device, void *stream);

/* What computes it. AUTO takes the environment's LVSA_BACKEND, and `native` without it. */
typedef enum lvsa_backend {
    LVSA_BACKEND_AUTO = 0,
    LVSA_BACKEND_NATIVE = 1,     /* "native": this library's own kernels                          */
    LVSA_BACKEND_SDPA = 2,       /* "sdpa": dense attention frame by frame; cuDNN's on CUDA       */
    LVSA_BACKEND_FLASHINFER = 3, /* "flashinfer": FlashInfer's block-sparse kernels, on CUDA      */
    LVSA_BACKEND_REF = 4         /* "ref": plain C in double precision, slow, for checking        */
} lvsa_backend;

/* The back end called `name`. Fails with LVSA_ERR_ARGUMENT, and says which names there are. */
LVSA_API lvsa_status lvsa_backend_from_name(lvsa_backend *out, const char *name);
LVSA_API const char *lvsa_backend_name(lvsa_backend backend);

/* Element strides of a [B, S, H, D] tensor whose D elements lie side by side. */
typedef struct lvsa_strides {
    int64_t batch, token, head;
} lvsa_strides;

#define LVSA_MAX_SOURCES 3
#define LVSA_MAX_HEAD_DIM 1024

/* One set of keys and values, [B, tokens, H_kv, D]: the local video, frames held elsewhere,
 * text. */
typedef struct lvsa_source {
    const void *k, *v;
    lvsa_strides k_strides, v_strides;
    int64_t tokens;        /* >= 0; a source of no tokens is left out                             */
    const lvsa_runs *runs; /* rows of this source each query frame attends to; NULL: all, for all */
    /* The last row counts as so many equal ones; 0 is 1. For padding: a prompt of 20 tokens, padded
     * to 512 with one and the same row, is 21 rows whose last counts 492 times. On a GPU such a
     * source is best the last one. */
    int64_t last_row_count;
} lvsa_source;

/* What a device's kernel wants to know of a call's runs, in the device's memory: which keys each
 * block of query rows walks. They depend on the number of queries, on the head size, on each
 * source's rows and runs, and on whether its last row counts more than once: made once a pattern,
 * they serve every layer, head count and data type.
 * A denoising loop makes them for all rotations beforehand; a step then only picks a pointer. */
typedef struct lvsa_tiles lvsa_tiles;

/* out[b,i,h] = sum over the kept j of all sources of softmax_j(scale * q[b,i,h] . k[b,j,g])
 * v[b,j,g] with g = h / (heads / kv_heads); a last row that counts n times is n such j.
 * Accumulated in fp32 (ref: fp64) whatever the storage. A query that attends to nothing gets 0, and
 * -INFINITY in lse. */
typedef struct lvsa_attention {
    size_t size;             /* sizeof(lvsa_attention), set by the caller; the rest starts as 0 */
    lvsa_dtype dtype;        /* of q, k, v and out                                              */
    int64_t batch;           /* B >= 1                                                          */
    int64_t queries;         /* Sq >= 1; frames * patches_per_frame of every runs               */
    int64_t heads, kv_heads; /* kv_heads divides heads                                          */
    int64_t head_dim;        /* D, 1 .. LVSA_MAX_HEAD_DIM                                       */

    const void *q;            /* [B, Sq, H, D]                                          */
    lvsa_strides q_strides;
    void *out;                /* [B, Sq, H, D], overlaps nothing                        */
    lvsa_strides out_strides;
    float *lse;               /* [B, H, Sq] natural log of the sum, contiguous, or NULL */
    double scale;             /* 0: 1 / sqrt(D)                                         */
    /* 1: both products are of 8 bits, Q and K in int8, V and weights in fp8 (e4m3), quicker and a
     * few percent off: of bf16 tensors of head size 64 or 128 on an sm_90 GPU, where runs take
     * whole frames and last rows count once. The tensors are rounded in the workspace; what isn't
     * finite makes NaN of those who attend to it. */
    int fp8;

    int sources; /* 1 .. LVSA_MAX_SOURCES */
    lvsa_source source[LVSA_MAX_SOURCES];

    lvsa_backend backend;
    lvsa_device device;
    void *stream;            /* cudaStream_t, NULL: the default one; NULL on the CPU    */
    const lvsa_tiles *tiles; /* of these runs; a GPU needs them, the CPU takes NULL too */
    int threads;             /* CPU threads; 0: as many as OpenMP would take            */
    void *workspace;         /* scratch, 64-byte aligned, of the call's device          */
    size_t workspace_size;   /* bytes; lvsa_attention_workspace() says how many         */
} lvsa_attention;

/* Makes the tiles of a call that is complete but for tiles and workspace, and gives them in *out;
 * the caller frees them with lvsa_tiles_free() when nothing enqueued uses them any more. Allocates
 * on the device and waits for a copy: not for the loop. Fails as lvsa_attention_run() would; *out
 * is then NULL. */
LVSA_API lvsa_status lvsa_tiles_create(lvsa_tiles **out, const lvsa_attention *call);
LVSA_API void lvsa_tiles_free(lvsa_tiles **tiles);

/* Bytes of scratch that lvsa_attention_run() needs for this call; may be 0. Reads no tensor, and
 * needs no tiles. Fails as lvsa_attention_run() would, so that "can it run?" is answered
 * beforehand. */
LVSA_API lvsa_status lvsa_attention_workspace(size_t *bytes, const lvsa_attention *call);

/* The kernel that would run this call, e.g. "attn_f32_avx512". Fails as lvsa_attention_run(). */
LVSA_API lvsa_status lvsa_attention_kernel(const char **name, const lvsa_attention *call);

/* Computes the attention. Allocates nothing; on CUDA it only enqueues on the stream. (Back ends
 * sdpa and flashinfer plan on the host in each call, in some memory of their own.) Calls that share
 * no output and no workspace may run at once. Results don't depend on the number of threads.
 * Fails with LVSA_ERR_ARGUMENT, _SHAPE, _MEMORY (the workspace), _UNSUPPORTED or _DEVICE. */
LVSA_API lvsa_status lvsa_attention_run(const lvsa_attention *call);

#ifdef __cplusplus
}
#endif
#endif
