/* lvsa.h: long videos from diffusion transformers. This header brings in all of lvsa.
 *
 * What a model says about a video's shape comes first: planning needs no weights. Then the
 * pipeline, which makes videos. */
#ifndef LVSA_H
#define LVSA_H

#include <lvsa/lvsa_attention.h>
#include <lvsa/lvsa_status.h>
#include <lvsa/lvsa_synth.h>
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
    int fps;                     /* and its frames a second                                       */
} lvsa_geometry;

/* The name of the index-th known family, NULL past the last. Static. */
LVSA_API const char *lvsa_family_name(int index);

/* The geometry of a family. Fails with LVSA_ERR_ARGUMENT, and says which families there are. */
LVSA_API lvsa_status lvsa_geometry_from_family(lvsa_geometry *out, const char *family);

/* The geometry of the diffusers-layout checkpoint in a directory, from its JSON files; reads no
 * weights. What the directory's lvsa.json says (see lvsa_pipeline_job_defaults()) goes before the
 * family's numbers. Fails with LVSA_ERR_IO or LVSA_ERR_FORMAT, and names the file. */
LVSA_API lvsa_status lvsa_geometry_from_model(lvsa_geometry *out, const char *directory);

/* The pattern that this checkpoint's lvsa.json asks for, or the usual one, with its training
 * horizon and without a video's two sizes. *hold_keyframes is 1 where the keyframes are to stay
 * where they are at all steps. Fails as lvsa_geometry_from_model() does. */
LVSA_API lvsa_status lvsa_plan_options_from_model(lvsa_plan_options *out, int *hold_keyframes,
                                                  const char *directory);

/* T and P of a video. `frames` is cut to the model's grid (4k + 1): *used_frames says what is left.
 * Fails with LVSA_ERR_SHAPE where the height or width is no multiple of what a patch covers. */
LVSA_API lvsa_status lvsa_geometry_latent(int *latent_frames, int *patches_per_frame,
                                          int *used_frames, const lvsa_geometry *g, int frames,
                                          int height, int width);

/* ---- what a checkpoint holds ---------------------------------------------------------------- */

/* One part of a checkpoint that has weights. */
typedef struct lvsa_model_part {
    char name[32];       /* the folder: "transformer"                                            */
    char class_name[64]; /* as model_index.json has it: "WanTransformer3DModel"                  */
    char dtypes[48];     /* of its tensors, most parameters first: "BF16, F32"                   */
    int64_t parameters;
    int64_t bytes; /* of its tensors in the files */
    int files;
} lvsa_model_part;

enum { LVSA_MODEL_PARTS = 8 };

typedef struct lvsa_model_info {
    size_t size; /* sizeof(lvsa_model_info), set by the caller */
    lvsa_geometry geometry;
    int parts;
    lvsa_model_part part[LVSA_MODEL_PARTS]; /* in model_index.json's order */
} lvsa_model_info;

/* Fills *out, which owns nothing, from the JSON files and the headers of the weight files of the
 * diffusers-layout checkpoint in a directory; no weights are read. Fails with LVSA_ERR_IO or
 * LVSA_ERR_FORMAT, and names the file, or LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_model_get_info(lvsa_model_info *out, const char *directory);

/* ---- generating ------------------------------------------------------------------------------
 *
 *     lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
 *     o.model = "Wan2.1-T2V-1.3B-Diffusers";
 *     lvsa_pipeline *p;
 *     if (lvsa_pipeline_open(&p, &o) != LVSA_OK) puts(lvsa_last_error());
 *     lvsa_job job = LVSA_JOB_INIT;
 *     job.prompt = "a red fox in the snow", job.frames = 321, job.on_frame = write_frame;
 *     if (lvsa_generate(p, &job) != LVSA_OK) puts(lvsa_last_error());
 *     lvsa_pipeline_close(&p);
 */

/* The processes that a launcher like mpirun has started with this one, its ranks 0 .. size - 1, to
 * make videos together. Each opens a pipeline of the same options and generates the same job; the
 * callbacks of rank 0 alone are called, and its prompts and noise are everyone's. The video is that
 * of one process, but for rounding. A rank whose call fails or is cancelled calls
 * lvsa_ranks_abort(), or the others would wait for it.
 *     mpirun -n 4 program         on CPUs or GPUs: by MPI, whose module is loaded for it
 *     torchrun --no-python --nproc_per_node=4 program, or srun program
 *                                 on GPUs: by NCCL, which is loaded for it
 * On GPUs each takes the one of its place among the processes of its host, and they send each other
 * memory through NCCL. Ranks of torchrun and srun meet at a port of rank 0's host, MASTER_PORT + 1
 * or one made of the job's number, unless LVSA_COMM_PORT says another. */
typedef struct lvsa_ranks lvsa_ranks;

/* Without a launcher this process is the only one. Once in a process. Fails with
 * LVSA_ERR_UNSUPPORTED (no module, or not the launcher's MPI; no NCCL, or no GPU),
 * LVSA_ERR_ARGUMENT, LVSA_ERR_DEVICE or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_ranks_open(lvsa_ranks **out);
/* When all pipelines are closed; waits for the other ranks. Takes NULL and a pointer to NULL. */
LVSA_API void lvsa_ranks_close(lvsa_ranks **ranks);
LVSA_API int lvsa_ranks_get_rank(const lvsa_ranks *ranks);
LVSA_API int lvsa_ranks_get_size(const lvsa_ranks *ranks);
/* data of rank 0 to all; all call it. Fails with LVSA_ERR_DEVICE. */
LVSA_API lvsa_status lvsa_ranks_broadcast(lvsa_ranks *ranks, void *data, size_t bytes);
/* Ends all of them at once, with this exit code. Returns where there is only one, and without MPI,
 * where the others end as soon as they see that this process has, which it then should. */
LVSA_API void lvsa_ranks_abort(lvsa_ranks *ranks, int code);

/* A checkpoint and the device it runs on. One pipeline, one thread at a time; two may run at
 * once. */
typedef struct lvsa_pipeline lvsa_pipeline;

/* What the dense layers of a transformer's blocks multiply. */
typedef enum lvsa_precision {
    LVSA_PRECISION_AUTO = 0, /* as the device computes: f32 on the CPU, bf16 on a GPU          */
    LVSA_PRECISION_FP8 = 1   /* weights and activations rounded to e4m3, 8 bits with a scale a
                                row, sums in f32: faster, half the memory, and other frames.
                                GPUs from sm_90 on                                              */
} lvsa_precision;

typedef struct lvsa_pipeline_options {
    size_t size;        /* sizeof(lvsa_pipeline_options): set by LVSA_PIPELINE_OPTIONS_INIT       */
    const char *model;  /* directory of a diffusers-layout checkpoint                             */
    lvsa_device device;
    int threads;        /* CPU threads; 0: as many as OpenMP would take                           */
    int gpu;            /* which one, from 0                                                      */
    int offload;        /* 1: the transformer's blocks stay in the host's memory and come to the
                           GPU one after the other; slower where it waits for them, and it needs
                           two blocks' memory instead of all. The CPU takes no notice             */
    lvsa_ranks *ranks;  /* to make videos with; NULL: alone. Borrowed until it is closed          */
    lvsa_sequence sequence; /* how they come by each other's frames in self-attention             */
    int cfg_parallel;   /* 1: one half of the ranks computes the pass of the prompt, the other the
                           one that guidance leads away from; an even number of them              */
    int vae_parallel;   /* 1: all ranks decode, each some rows of every frame; 0: rank 0 does     */
    lvsa_precision precision;
} lvsa_pipeline_options;

#define LVSA_PIPELINE_OPTIONS_INIT                                                                 \
    {sizeof(lvsa_pipeline_options), NULL, LVSA_DEVICE_CPU, 0, 0, 0, NULL, LVSA_SEQUENCE_AUTO, 0,   \
     0, LVSA_PRECISION_AUTO}

/* Opens a checkpoint: reads its configuration and tokenizer; weights are read when they are needed.
 * Fails with LVSA_ERR_ARGUMENT, LVSA_ERR_IO, LVSA_ERR_FORMAT, LVSA_ERR_UNSUPPORTED (a family that
 * can only be planned, a device that isn't there, a precision that it hasn't got), LVSA_ERR_DEVICE
 * or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_pipeline_open(lvsa_pipeline **out, const lvsa_pipeline_options *options);
LVSA_API void lvsa_pipeline_close(lvsa_pipeline **pipeline);

/* What it runs on: the CPU or CUDA. */
LVSA_API lvsa_device lvsa_pipeline_get_device(const lvsa_pipeline *pipeline);

/* The shape of the pipeline's videos. Borrowed. */
LVSA_API const lvsa_geometry *lvsa_pipeline_get_geometry(const lvsa_pipeline *pipeline);

/* When frames attend to some frames only. */
typedef enum lvsa_sparsity {
    LVSA_SPARSITY_AUTO = 0, /* above the training horizon */
    LVSA_SPARSITY_ON = 1,   /* wherever the plan says so  */
    LVSA_SPARSITY_OFF = 2   /* never: dense attention     */
} lvsa_sparsity;

/* RIFLEx: one temporal frequency is lowered, so that long videos don't repeat. */
typedef struct lvsa_riflex {
    double scale; /* s: the period becomes s training horizons; 1 or 0: off                     */
    int index;    /* k of the frequency; -1: the one whose period is nearest to the horizon     */
    int frames;   /* the horizon in latent frames; 0: the plan's reference                      */
} lvsa_riflex;

typedef enum lvsa_phase {
    LVSA_PHASE_TEXT = 0,    /* the prompts are encoded */
    LVSA_PHASE_LOAD = 1,    /* the model is loaded     */
    LVSA_PHASE_DENOISE = 2, /* `total` steps           */
    LVSA_PHASE_DECODE = 3   /* `total` frames          */
} lvsa_phase;

/* Where a job stands: `done` of `total` in this phase, which began `seconds` ago. */
typedef struct lvsa_progress {
    lvsa_phase phase;
    int done, total;
    double seconds;
} lvsa_progress;

/* One frame: rows of red, green and blue bytes, 3 * width a row. Valid during the call. */
typedef struct lvsa_frame {
    int index; /* from 0 */
    int width, height;
    const uint8_t *rgb;
} lvsa_frame;

/* What the video is going to be, as far as can be told after a step, and without decoding it: a
 * small video of a pixel a latent, its colours a linear guess. Valid during the call. */
typedef struct lvsa_preview {
    int step, steps; /* so many steps are done, of so many */
    int frames, width, height;
    const uint8_t *rgb; /* [frames, height, width, 3] */
} lvsa_preview;

/* A run after one of its steps: see "going on later". */
typedef struct lvsa_state lvsa_state;

/* What to make. All pointers are borrowed for the call. */
typedef struct lvsa_job {
    size_t size;                 /* sizeof(lvsa_job): set by LVSA_JOB_INIT                        */
    const char *prompt;          /* UTF-8; cleaned as diffusers does without ftfy                 */
    const char *negative_prompt; /* NULL: ""                                                      */
    int frames, height, width;   /* in pixels; 0: the model's usual. Frames are cut to the grid   */
    int steps;                   /* denoising steps >= 1                                          */
    double guidance;             /* scale of classifier-free guidance; <= 1: none                 */
    double flow_shift;           /* 0: the checkpoint's                                           */
    int text_tokens;             /* rows the text is padded to, end token included; 0: the most   */
    uint64_t seed;               /* of the initial noise, the same video as in diffusers          */
    lvsa_sparsity sparsity;
    lvsa_plan_options plan;      /* its two sizes are filled in; reference 0: the model's         */
    int hold_keyframes;          /* 1: the keyframe grid stays at plan.rotation                   */
    int late_rotation;           /* 1: steps 0 and 1 share a rotation, as the scripts of the
                                    Python implementation have it; 0: step i takes i mod interval */
    lvsa_backend backend;        /* of the self-attention                                         */
    int attention_fp8;           /* 1: its products in fp8, see lvsa_attention                    */
    lvsa_riflex riflex;
    const float *noise;          /* f32 [C, T, Y, X] to start from in place of the seed's, or NULL:
                                    sizes as on_latents has them, of Wan 16, (frames - 1) / 4 + 1,
                                    height / 8 and width / 8                                      */
    const lvsa_state *state;     /* to go on from, where one was left; NULL: begin with noise     */
    int strict;                  /* 1: what a message would warn of ends the job instead          */

    /* All on the calling thread; any may be NULL. What returns non-zero ends the job: it fails with
     * LVSA_ERR_CANCELLED, and the sentence of a call that failed in a callback is gone. */
    int (*on_progress)(void *user, const lvsa_progress *progress);
    int (*on_latents)(void *user, const float *latents, const int64_t shape[4]); /* C, T, Y, X */
    int (*on_frame)(void *user, const lvsa_frame *frame);
    int (*on_preview)(void *user, const lvsa_preview *preview); /* after each step */
    int (*on_state)(void *user, const lvsa_state *state); /* after each step; valid in the call   */
    void (*on_message)(void *user, const char *line); /* what a log would hold, without a newline */
    void *user;
} lvsa_job;

#define LVSA_JOB_INIT                                                                              \
    {sizeof(lvsa_job), "", NULL, 0, 0, 0, 50, 5.0, 0.0, 0, 0, LVSA_SPARSITY_AUTO,                  \
     LVSA_PLAN_OPTIONS_INIT, 0, 0, LVSA_BACKEND_AUTO, 0, {0.0, -1, 0}, NULL, NULL, 0, NULL, NULL,  \
     NULL, NULL, NULL, NULL, NULL}

/* Fills in what the checkpoint's lvsa.json says, or its family's table: sizes, steps, guidance,
 * flow shift, negative prompt (borrowed from the pipeline) and pattern. Everything else stays.
 *     {"frames": 161, "height": 480, "width": 832, "fps": 16, "steps": 40, "guidance": 5,
 *      "flow_shift": 3, "negative_prompt": "...", "reference_latent_frames": 21,
 *      "pattern": {"window_size": 12, "n_first_frames": 4, "key_frame_interval": 16,
 *                  "sparsity_scale": 1, "expand_window": true, "rotate_keyframes": true,
 *                  "trained_opening": false}}
 * Any key may be missing; the pattern's lengths are in frames of the video, and an interval of
 * "auto" is LVSA_INTERVAL_AUTO. lvsa_pipeline_open() has refused values that make no sense. */
LVSA_API void lvsa_pipeline_job_defaults(lvsa_job *job, const lvsa_pipeline *pipeline);

/* What a job will take. All memory is in bytes, of the device, and includes the weights; of a GPU
 * also what is taken of it already. */
typedef struct lvsa_forecast {
    size_t size;               /* sizeof(lvsa_forecast), set by the caller                        */
    int frames, height, width; /* of the video that will be made                                  */
    int latent_frames;         /* T                                                               */
    int sparse;                /* 0: every frame attends to every frame                           */
    int ranks;                 /* that share the memory: on the CPU all of this machine           */
    int64_t text;              /* while the prompts are encoded, by one of them                   */
    int64_t denoise;           /* of each                                                         */
    int64_t decode;            /* of each that decodes                                            */
    int64_t needed;            /* the most of the three, of all ranks                             */
    int64_t available;         /* what the machine can give to this process now; 0: unknown;
                                  of a GPU all that it has                                        */
    int64_t state;             /* of the largest state that on_state is given, in a file          */
    int64_t latents;           /* of the last one: the latents alone                              */
} lvsa_forecast;

/* Forecasts a job, by measuring its passes without computing them; only JSON files and the headers
 * of weight files are read. Tells on_message what lvsa_generate() would, and fails as it would
 * before its first step. Says nothing about whether the memory will do. */
LVSA_API lvsa_status lvsa_pipeline_forecast(lvsa_forecast *out, lvsa_pipeline *pipeline,
                                            const lvsa_job *job);

/* Makes one video: its frames go to on_frame, in order, as they are decoded.
 * Fails with LVSA_ERR_ARGUMENT or LVSA_ERR_SHAPE before anything is computed (LVSA_ERR_ARGUMENT too
 * for a state that another job, other weights or another version has left), LVSA_ERR_UNSUPPORTED
 * (the back end can't compute here), LVSA_ERR_IO, LVSA_ERR_FORMAT, LVSA_ERR_MEMORY,
 * LVSA_ERR_DEVICE, LVSA_ERR_NUMBER (the model gave a number that is none) or
 * LVSA_ERR_CANCELLED. */
LVSA_API lvsa_status lvsa_generate(lvsa_pipeline *pipeline, const lvsa_job *job);

/* ---- going on later ---------------------------------------------------------------------------
 *
 * A state is a run after one of its steps: latents, what the schedule keeps, the texts' embeddings,
 * and all that the frames depend on. on_state may write it to a file:
 *
 *     static int keep(void *user, const lvsa_state *s) { return lvsa_state_write(user, s, NULL); }
 *
 * Opened again, on any day, it goes into the same job, and the video is to the bit what it would
 * have been:
 *
 *     if (lvsa_state_open(&state, "run.safetensors") == LVSA_OK) job.state = state;
 *
 * After the last step it holds the latents alone, which only have to be decoded: sizes, texts and
 * sampling of the job don't count then, and any lvsa can do it with any model of their family.
 */

typedef struct lvsa_state_info {
    size_t size;           /* sizeof(lvsa_state_info), set by the caller                         */
    int steps_done, steps; /* equal: there is only decoding to do; both 0: of another program    */
    int64_t shape[4];      /* of the latents: C, T, Y, X                                         */
    const char *version;   /* of the lvsa that wrote it; NULL: another program                   */
    const char *note;      /* as lvsa_state_write() was given it, or NULL; both the state's own  */
} lvsa_state_info;

/* Opens a state's file, and checks all of it. Takes any .safetensors with latents too, as
 * diffusers' output_type="latent" has them: a tensor "latents", or the only one, [C, T, Y, X] or
 * with a 1 before, f32, f16 or bf16. The file stays open and may meanwhile be replaced, but not
 * written to. The caller closes *out; it may go into many jobs, one after another. Fails with
 * LVSA_ERR_IO, LVSA_ERR_FORMAT or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_state_open(lvsa_state **out, const char *path);
LVSA_API void lvsa_state_close(lvsa_state **state);

/* Fails with LVSA_ERR_ARGUMENT where out->size isn't set. */
LVSA_API lvsa_status lvsa_state_get_info(lvsa_state_info *out, const lvsa_state *state);

/* Puts a state and a note, UTF-8 or NULL, into a file, which is replaced in one piece: whoever
 * opens it, even after a power cut, finds this state or what was there before. Fails with
 * LVSA_ERR_IO, LVSA_ERR_ARGUMENT (the note is no UTF-8; latents of another program) or
 * LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_state_write(const char *path, const lvsa_state *state, const char *note);

/* ---- video files ------------------------------------------------------------------------------
 *
 * The end of the name chooses the format:
 *     clip.mp4        H.264, of a quality that the eye can't tell from the frames; an odd width or
 *                     height becomes even, its last column or row twice
 *     clip.webm       VP9 of about the same quality
 *     clip.y4m        YUV4MPEG2, uncompressed 4:2:0; every player and encoder reads it
 *     out_%04d.png    one picture a frame, numbered from 0
 * The first two need the libav module, liblvsa_av.so, and are encoded in a thread of their own.
 */

typedef struct lvsa_video lvsa_video;

typedef struct lvsa_video_format {
    size_t size;         /* sizeof(lvsa_video_format): set by LVSA_VIDEO_FORMAT_INIT        */
    int width, height;   /* in pixels                                                       */
    int rate, scale;     /* frames a second, as a fraction: 16 / 1, 30000 / 1001            */
    int frames;          /* how many are going to be written; 0: not known                  */
    int replace;         /* 1: what the files' names held is lost; 0: that is LVSA_ERR_IO   */
    const char *comment; /* UTF-8, for .mp4 and .webm to keep (the others can't), or NULL.
                            Borrowed by the call that opens                                 */
} lvsa_video_format;

#define LVSA_VIDEO_FORMAT_INIT {sizeof(lvsa_video_format), 0, 0, 16, 1, 0, 0, NULL}

/* Opens a writer. Its file is made beside its place, and moved there by lvsa_video_finish(): what
 * was there before stays until then; pipes and devices are written to as they are. Fails with
 * LVSA_ERR_ARGUMENT (no known end of name, a pattern without a single number, a size or rate below
 * 1), LVSA_ERR_UNSUPPORTED (a format that isn't in this build, no libav module, a size that an
 * encoder refuses), LVSA_ERR_IO (the place can't be written to, or holds a file that may not be
 * replaced) or LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_video_open(lvsa_video **out, const char *path,
                                     const lvsa_video_format *format);

/* Writes the next frame, height rows of 3 * width bytes. Fails with LVSA_ERR_IO (a full disk, ...)
 * or LVSA_ERR_MEMORY; with .mp4 and .webm it may be an earlier frame that this call tells of. */
LVSA_API lvsa_status lvsa_video_write(lvsa_video *video, const uint8_t *rgb);

/* Ends the file, moves it to its place and closes the writer. Fails as lvsa_video_write() does, and
 * with LVSA_ERR_IO where a file has come to the place that may not be replaced; the place is then
 * as it was, and nothing of the video is left. */
LVSA_API lvsa_status lvsa_video_finish(lvsa_video **video);

/* Closes the writer; nothing of the video is left. Takes NULL and a pointer to NULL. */
LVSA_API void lvsa_video_abort(lvsa_video **video);

/* The comment that a video file was written with; *out is NULL where it has none. The caller frees
 * it with lvsa_video_comment_free(). Any thread. Fails with LVSA_ERR_ARGUMENT (no known end of
 * name), LVSA_ERR_UNSUPPORTED (no libav module), LVSA_ERR_IO, LVSA_ERR_FORMAT or
 * LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_video_read_comment(char **out, const char *path);
LVSA_API void lvsa_video_comment_free(char **text);

/* ---- contact sheets ---------------------------------------------------------------------------
 *
 * Some of a video's frames, evenly spaced, on one picture, a .png. It takes the same memory for
 * any length. One sheet, one thread at a time.
 */

typedef struct lvsa_sheet lvsa_sheet;

typedef struct lvsa_sheet_format {
    size_t size;       /* sizeof(lvsa_sheet_format): set by LVSA_SHEET_FORMAT_INIT           */
    int frames;        /* of the video                                                       */
    int width, height; /* of its frames, or as wide to high                                  */
    int replace;       /* 1: what the path held is lost; 0: that is LVSA_ERR_IO              */
} lvsa_sheet_format;

#define LVSA_SHEET_FORMAT_INIT {sizeof(lvsa_sheet_format), 0, 0, 0, 0}

/* Begins an empty sheet. `path` is where lvsa_sheet_write() will put it, or NULL; nothing is made
 * there yet. Fails with LVSA_ERR_ARGUMENT, LVSA_ERR_UNSUPPORTED (a build without libpng),
 * LVSA_ERR_IO (the place can't be written to, or holds a file that may not be replaced) or
 * LVSA_ERR_MEMORY; *out is then NULL. */
LVSA_API lvsa_status lvsa_sheet_open(lvsa_sheet **out, const char *path,
                                     const lvsa_sheet_format *format);
LVSA_API void lvsa_sheet_close(lvsa_sheet **sheet);

/* Draws a frame where it belongs on the sheet; most belong nowhere and are passed over. Frames may
 * be of any size and come in any order; one that comes again is drawn again. LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_sheet_add(lvsa_sheet *sheet, const lvsa_frame *frame);

/* Puts the sheet, as it is, into its file, which is replaced in one piece: whoever opens it finds
 * this sheet or what was there before. May be called again and again. Fails with
 * LVSA_ERR_ARGUMENT (there's no path), LVSA_ERR_IO or LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_sheet_write(lvsa_sheet *sheet);

/* The bytes of a .png. */
typedef struct lvsa_png {
    int width, height;
    const uint8_t *data;
    size_t bytes;
} lvsa_png;

/* The sheet as it is, in memory: borrowed until the sheet's next call. LVSA_ERR_MEMORY. */
LVSA_API lvsa_status lvsa_sheet_get_png(lvsa_png *out, lvsa_sheet *sheet);

#ifdef __cplusplus
}
#endif
#endif
