/* generate.c: one rank of a video that several make; generate.sh starts them. Rank 0 makes each
 * video alone as well, and compares: latents within 1e-5 of the largest, frames within 1/255.
 * On GPUs, whose bf16 is rounded otherwise in other shapes, the latents' error is to be 1/20 of the
 * largest at most, and the frames' PSNR 35 dB at least.
 * usage: generate make MODEL               a model of 12 heads, which 1 to 4 ranks divide
 *        generate MODEL SCRATCH [fail]     fail: the last rank's model isn't there
 *        generate MODEL SCRATCH cuda       a GPU each */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lvsa/lvsa.h>

#include "base/error.h"
#include "flow/synth/synth.h"

static lvsa_ranks *ranks;
static int rank, size;
static lvsa_device device = LVSA_DEVICE_CPU;

/* As a program ends that fails: with its sentence, and with all the others. */
static void stop(const char *format, ...) LV_PRINTF(1, 2);
static void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "rank %d: ", rank);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (ranks) lvsa_ranks_abort(ranks, 3);
    exit(3);
}

static void want(lvsa_status s, const char *what)
{
    if (s != LVSA_OK) stop("%s: %s", what, lvsa_last_error());
}

/* ---- a video, kept --------------------------------------------------------------------------- */

typedef struct video {
    float *latents;
    size_t count;
    uint8_t *rgb; /* [frames, bytes of one] */
    size_t bytes;
    int frames, previews;
    const char *state; /* where the first step's is to be kept, or NULL */
} video;

/* The callbacks of all ranks; only the first one's may be called. */
static void check_called(void)
{
    if (rank != 0) stop("a callback was called");
}

static int take_latents(void *user, const float *latents, const int64_t shape[4])
{
    video *v = user;
    check_called();
    v->count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    v->latents = malloc(v->count * sizeof *latents);
    if (!v->latents) stop("no memory");
    memcpy(v->latents, latents, v->count * sizeof *latents);
    return 0;
}

static int take_frame(void *user, const lvsa_frame *f)
{
    video *v = user;
    check_called();
    v->bytes = (size_t)f->width * (size_t)f->height * 3;
    v->rgb = realloc(v->rgb, v->bytes * (size_t)(f->index + 1));
    if (!v->rgb) stop("no memory");
    memcpy(v->rgb + v->bytes * (size_t)f->index, f->rgb, v->bytes);
    v->frames = f->index + 1;
    return 0;
}

static int take_progress(void *user, const lvsa_progress *p)
{
    (void)user, (void)p;
    check_called();
    return 0;
}

static int take_state(void *user, const lvsa_state *state)
{
    const video *v = user;
    lvsa_state_info info = {.size = sizeof info};
    check_called();
    want(lvsa_state_get_info(&info, state), "a state");
    if (v->state && info.steps_done == 1) want(lvsa_state_write(v->state, state, NULL), v->state);
    return 0;
}

static int take_preview(void *user, const lvsa_preview *p)
{
    video *v = user;
    check_called();
    v->previews = p->step;
    return 0;
}

static void take_message(void *user, const char *line)
{
    (void)user, (void)line;
    check_called();
}

/* How ranks share. */
typedef struct mode {
    const char *name;
    lvsa_sequence sequence;
    int cfg, vae;
} mode;

static const mode usual = {"auto", LVSA_SEQUENCE_AUTO, 0, 0};

static lvsa_status make(video *v, const char *model, lvsa_job job, lvsa_ranks *with, mode m)
{
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *p;
    o.model = model, o.device = device, o.threads = 1, o.ranks = with;
    if (with) o.sequence = m.sequence, o.cfg_parallel = m.cfg, o.vae_parallel = m.vae;
    want(lvsa_pipeline_open(&p, &o), "opening");
    job.on_latents = take_latents, job.on_frame = take_frame, job.on_progress = take_progress;
    job.on_state = take_state, job.on_preview = take_preview, job.on_message = take_message;
    job.user = v;
    lvsa_status s = lvsa_generate(p, &job);
    lvsa_pipeline_close(&p);
    return s;
}

static void compare(const video *a, const video *b, const char *name, const char *how)
{
    const bool exact = device == LVSA_DEVICE_CPU;
    float largest = 0.0f, worst = 0.0f;
    double squares = 0.0;
    int off = 0;
    if (a->count != b->count || a->frames != b->frames || a->bytes != b->bytes || a->frames < 1 ||
        a->previews != b->previews)
        stop("%s: videos of other sizes", name);
    for (size_t i = 0; i < a->count; i++) {
        largest = fmaxf(largest, fabsf(a->latents[i]));
        worst = fmaxf(worst, fabsf(a->latents[i] - b->latents[i]));
    }
    const size_t bytes = a->bytes * (size_t)a->frames;
    for (size_t i = 0; i < bytes; i++) {
        const int by = abs(a->rgb[i] - b->rgb[i]);
        squares += (double)by * by;
        if (by > off) off = by;
    }
    const double psnr = 10.0 * log10(255.0 * 255.0 * (double)bytes / fmax(squares, 1e-3));
    printf("%d ranks, %s, %s: latents within %.1e of the largest, frames within %d/255, %.1f dB\n",
           size, how, name, (double)(worst / largest), off, psnr);
    if (!(worst <= (exact ? 1e-5f : 5e-2f) * largest) || (exact ? off > 1 : psnr < 35.0))
        stop("%s, %s: another video", how, name);
}

static void release(video *v)
{
    free(v->latents);
    free(v->rgb);
}

/* ---- what is made ---------------------------------------------------------------------------- */

static lvsa_job small_job(void)
{
    lvsa_job job = LVSA_JOB_INIT;
    job.prompt = "a red fox", job.frames = 41, job.height = 32, job.width = 48; /* T = 11 */
    job.steps = 3, job.seed = 7, job.plan.reference_latent_frames = 5, job.plan.window = 1;
    return job;
}

/* Alone, which rank 0 does while the others wait for it; and by all, in each of the ways, up to a
 * name that is none. Odd numbers of ranks are no two groups. */
static void check_job(const char *model, const lvsa_job *job, const char *name, const mode *m)
{
    video alone = {.latents = NULL};
    if (rank == 0) want(make(&alone, model, *job, NULL, usual), name);
    for (; m->name; m++) {
        video together = {.latents = NULL};
        if (m->cfg && size % 2 != 0) continue;
        want(make(&together, model, *job, ranks, *m), name);
        if (rank == 0) compare(&alone, &together, name, m->name);
        release(&together);
    }
    release(&alone);
}

/* What one process has left after its first step, all go on from. */
static void check_resuming(const char *model, const char *scratch, mode m)
{
    char path[512];
    video alone = {.latents = NULL}, together = {.latents = NULL};
    lvsa_state *state;
    lvsa_job job = small_job();
    snprintf(path, sizeof path, "%s/state-%d.safetensors", scratch, size);
    alone.state = path;
    if (rank == 0) want(make(&alone, model, job, NULL, usual), "a run alone");
    want(lvsa_ranks_broadcast(ranks, path, sizeof path), "waiting for the state");
    want(lvsa_state_open(&state, path), path);
    job.state = state;
    want(make(&together, model, job, ranks, m), "a run gone on with");
    lvsa_state_close(&state);
    if (rank == 0) {
        alone.previews = together.previews; /* of the steps that were left */
        compare(&alone, &together, "gone on with", m.name);
    }
    release(&alone);
    release(&together);
}

/* By all, each of which says so. */
static void refuse(const char *model, const lvsa_job *job, mode m, const char *words)
{
    video none = {.latents = NULL};
    if (make(&none, model, *job, ranks, m) == LVSA_OK) stop("%s: not refused", words);
    if (!strstr(lvsa_last_error(), words)) stop("\"%s\": %s is wanted", lvsa_last_error(), words);
}

static void check_options(const char *model)
{
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *none;
    o.model = model, o.sequence = (lvsa_sequence)3;
    if (lvsa_pipeline_open(&none, &o) == LVSA_OK || !strstr(lvsa_last_error(), "sequence 3"))
        stop("sequence 3: not refused");
}

static void check_refusals(const char *model)
{
    lvsa_job job = small_job();
    char words[64];
    const mode by_heads = {"Ulysses", LVSA_SEQUENCE_ULYSSES, 0, 0};
    const mode in_groups = {"groups", LVSA_SEQUENCE_AUTO, 1, 0};
    if (size == 5) refuse(model, &job, by_heads, "12 heads and 5 ranks");
    if (size == 5) refuse(model, &job, by_heads, "to 1, 2, 3, 4, 6 or 12 ranks");
    snprintf(words, sizeof words, "with %d rank", size);
    if (size % 2 != 0) refuse(model, &job, in_groups, words);
    job.guidance = 1.0;
    refuse(model, &job, in_groups, "guidance 1:");
    job = small_job();
    job.frames = 5; /* T = 2 */
    if (size > 2) refuse(model, &job, usual, "2 latent frames");
    job = small_job();
    job.height = 16;
    const mode rows = {"rows", LVSA_SEQUENCE_AUTO, 0, 1};
    if (size > 2) refuse(model, &job, rows, "for 2 rows of latents");
}

/* ---- the model ------------------------------------------------------------------------------- */

static lv_synth_part part(const char *name, const char *stem, lvsa_dtype dtype,
                          void (*list)(lv_synth_list *, const lv_synth_sizes *),
                          const lv_synth_sizes *sizes)
{
    lv_synth_part p = {.part = name, .stem = stem, .dtype = dtype};
    list(&p.list, sizes);
    want(lv_synth_lay_out(&p, INT64_MAX), name);
    return p;
}

static void make_model(const char *directory)
{
    static const lv_synth_sizes sizes = {"test", 12,  16,   2,    256, 64, 4,     16,
                                         2,      128, 4000, 4352, 8,   1,  500000};
    lv_synth_job job = {
        .directory = directory, .sizes = &sizes, .seed = 1, .threads = 1, .parts = 3};
    job.part[0] = part("transformer", "diffusion_pytorch_model", LVSA_BF16,
                       lv_synth_list_transformer, &sizes);
    job.part[1] = part("text_encoder", "model", LVSA_BF16, lv_synth_list_text_encoder, &sizes);
    job.part[2] = part("vae", "diffusion_pytorch_model", LVSA_F32, lv_synth_list_vae, &sizes);
    want(lv_synth_write(&job, 0), "the model");
    for (int i = 0; i < job.parts; i++) lv_synth_part_free(&job.part[i]);
}

int main(int argc, char **argv)
{
    static const mode halo = {"halo", LVSA_SEQUENCE_HALO, 0, 0};
    static const mode all[] = {{"halo", LVSA_SEQUENCE_HALO, 0, 0},
                               {"Ulysses", LVSA_SEQUENCE_ULYSSES, 0, 0},
                               {"halo in two groups", LVSA_SEQUENCE_HALO, 1, 0},
                               {"Ulysses in two groups", LVSA_SEQUENCE_ULYSSES, 1, 0},
                               {"Ulysses, all decode", LVSA_SEQUENCE_ULYSSES, 0, 1},
                               {"halo in two groups, all decode", LVSA_SEQUENCE_HALO, 1, 1},
                               {NULL, LVSA_SEQUENCE_AUTO, 0, 0}};
    static const mode both[] = {{"halo", LVSA_SEQUENCE_HALO, 0, 0},
                                {"Ulysses", LVSA_SEQUENCE_ULYSSES, 0, 0},
                                {NULL, LVSA_SEQUENCE_AUTO, 0, 0}};
    static const mode any[] = {{"auto", LVSA_SEQUENCE_AUTO, 0, 0},
                               {NULL, LVSA_SEQUENCE_AUTO, 0, 0}};
    if (argc < 3) stop("MODEL SCRATCH is wanted");
    if (strcmp(argv[1], "make") == 0) {
        make_model(argv[2]);
        return 0;
    }
    const char *model = argv[1], *scratch = argv[2];
    want(lvsa_ranks_open(&ranks), "ranks");
    rank = lvsa_ranks_get_rank(ranks), size = lvsa_ranks_get_size(ranks);
    const bool gpus = argc > 3 && strcmp(argv[3], "cuda") == 0;
    if (gpus) device = LVSA_DEVICE_CUDA;
    if (argc > 3 && !gpus && rank == size - 1) model = "/nowhere";

    check_refusals(model);
    check_options(model);
    if (size <= 4) {
        lvsa_job job = small_job();
        check_job(model, &job, "sparse", all);
        job.late_rotation = 1, job.plan.first_anchors = 2, job.plan.expand_window = 0;
        job.riflex.scale = 2.0, job.guidance = 1.0;
        check_job(model, &job, "sparse, plain windows, RIFLEx, no guidance", both);
        job = small_job();
        job.plan.window = 0, job.hold_keyframes = 1, job.plan.rotation = 1;
        check_job(model, &job, "anchors alone, held", any);
        job.hold_keyframes = 0;
        check_job(model, &job, "anchors alone, moved before the first step", both);
        job.sparsity = LVSA_SPARSITY_OFF;
        check_job(model, &job, "dense", all);
        check_resuming(model, scratch, size % 2 ? all[1] : all[3]);
        check_resuming(model, scratch, halo);
    }
    lvsa_ranks_close(&ranks);
    return 0;
}
