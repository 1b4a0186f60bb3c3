/* job.c: from options to a job. */
#include "job.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "together.h"

/* ---- options --------------------------------------------------------------------------------- */

enum { MOST_EDGE = 1 << 16, MOST_VIDEO = 4 * PATTERN_MOST_FRAMES, MOST_FPS = 1000 };

static const char *phase_name(int index)
{
    return index == 0 ? "index" : index == 1 ? "script" : NULL;
}

static const char *when_name(int index) { return index == 0 ? "once" : index == 1 ? "step" : NULL; }

const char *precision_name(int index)
{
    static const char *const precisions[] = {"auto", "fp8"};
    return index <= LVSA_PRECISION_FP8 ? precisions[index] : NULL;
}

/* clang-format off */
const option make_options[] = {
    {"model", 'm', OPTION_TEXT, offsetof(make_settings, model), "DIR",
     .help = "directory of a diffusers-layout checkpoint"},
    {"prompt", 'p', OPTION_TEXT, offsetof(make_settings, prompt), "TEXT",
     .help = "what the video shows"},
    {"prompt-file", 0, OPTION_TEXT, offsetof(make_settings, prompt_file), "FILE",
     .help = "read the prompt from a file, - for the standard input"},
    {"negative-prompt", 'n', OPTION_TEXT, offsetof(make_settings, negative_prompt), "TEXT",
     .help = "what guidance leads away from (without it: lvsa.json's, or nothing)"},
    {"from", 0, OPTION_TEXT, offsetof(make_settings, source), "FILE",
     .help = "repeat the run that made this .mp4, .webm or .safetensors, but for what other "
             "options say"},
    {.name = NULL}};

const option video_options[] = {
    {"num-frames", 0, OPTION_INT, offsetof(video_settings, frames), "N", .lo = 1, .hi = MOST_VIDEO,
     .aliases = "frames video-frames",
     .help = "frames of the video, cut to the model's grid (without it: the model's usual)"},
    {"seconds", 0, OPTION_NUMBER, offsetof(video_settings, seconds), "S", .lo = 0, .hi = 86400,
     .help = "its length, in place of --num-frames, up to the next of the model's grid"},
    {"height", 'H', OPTION_INT, offsetof(video_settings, height), "PIXELS", .lo = 1,
     .hi = MOST_EDGE, .help = "height of the video (without it: the model's usual)"},
    {"width", 'W', OPTION_INT, offsetof(video_settings, width), "PIXELS", .lo = 1, .hi = MOST_EDGE,
     .help = "width of the video (without it: the model's usual)"},
    {"fps", 0, OPTION_INT, offsetof(video_settings, fps), "N", .lo = 1, .hi = MOST_FPS,
     .help = "frames a second (without it: the model's usual)"},
    {.name = NULL}};

const option sampling_options[] = {
    {"steps", 0, OPTION_INT, offsetof(sampling_settings, steps), "N", .lo = 1, .hi = 1000,
     .help = "denoising steps (without it: the model's usual)"},
    {"guidance", 0, OPTION_NUMBER, offsetof(sampling_settings, guidance), "X", .lo = 0, .hi = 1000,
     .aliases = "guidance-scale cfg-scale",
     .help = "how strongly the prompt counts; 1 and below: no guidance, twice as fast"},
    {"flow-shift", 0, OPTION_NUMBER, offsetof(sampling_settings, flow_shift), "X", .lo = 0.001,
     .hi = 1000, .help = "shift of the noise levels (without it: the checkpoint's)"},
    {"seed", 'S', OPTION_WHOLE, offsetof(sampling_settings, seed), "N",
     .help = "of the noise (without it: a random one, which is told)"},
    {"dtype", 0, OPTION_CHOICE, offsetof(sampling_settings, precision), "TYPE",
     .choice = precision_name, .fallback = "auto",
     .help = "what the blocks' dense layers multiply: the device's own type, or fp8, 8 bits on a "
             "GPU from sm_90 on: faster, half the weights' memory, not quite the same frames"},
    {"riflex", 0, OPTION_FLAG, offsetof(sampling_settings, riflex), NULL,
     .help = "lower one temporal frequency, where the video is longer than the training's"},
    {"riflex-s", 0, OPTION_NUMBER, offsetof(sampling_settings, riflex_scale), "S", .lo = 0.001,
     .hi = 1000, .help = "its period in training lengths (without it: the video's)"},
    {"riflex-k", 0, OPTION_INT, offsetof(sampling_settings, riflex_index), "K", .lo = 0, .hi = 1000,
     .help = "which frequency (without it: the one whose period is nearest to the training's)"},
    {"riflex-train-len", 0, OPTION_INT, offsetof(sampling_settings, riflex_frames), "R", .lo = 1,
     .hi = PATTERN_MOST_FRAMES, .help = "latent frames of the training (without it: the model's)"},
    {.name = NULL}};

const option sparse_options[] = {
    {"lvsa", 0, OPTION_FLAG, offsetof(sparse_settings, sparse), NULL,
     .help = "sparse attention even for a short video (without it: from the training length on)"},
    {"dense", 0, OPTION_FLAG, offsetof(sparse_settings, dense), NULL,
     .help = "dense attention, however long the video is"},
    {"rotate-keyframes", 0, OPTION_FLAG, offsetof(sparse_settings, rotate), NULL, .fallback = "1",
     .environment = "LVSA_ROTATE_KEYFRAMES", .help = "move the keyframes on with each step"},
    {"rotation-phase", 0, OPTION_CHOICE, offsetof(sparse_settings, phase), "HOW",
     .choice = phase_name, .fallback = "index",
     .help = "by the step's index, or as the Python scripts do, a step later"},
    {"sparsity-scale", 0, OPTION_NUMBER, offsetof(sparse_settings, scale), "X", .lo = 0.001,
     .hi = 1000, .environment = "LVSA_SPARSITY_SCALE",
     .help = "the automatic interval's budget is the training length times this, 1 unless given"},
    {"reference-latent-frames", 0, OPTION_INT, offsetof(sparse_settings, reference), "R", .lo = 1,
     .hi = PATTERN_MOST_FRAMES, .environment = "LVSA_REFERENCE_LATENT_FRAMES",
     .help = "latent frames of the training videos (without it: the model's)"},
    {"expand-window", 0, OPTION_FLAG, offsetof(sparse_settings, expand), NULL, .fallback = "1",
     .environment = "LVSA_EXPAND_WINDOW", .help = "widen windows past the anchors inside them"},
    {"trained-opening", 0, OPTION_FLAG, offsetof(sparse_settings, opening), NULL,
     .environment = "LVSA_TRAINED_OPENING",
     .help = "the first frames, as many as in training, attend to one another alone: a clean "
             "beginning"},
    {"backend", 0, OPTION_CHOICE, offsetof(sparse_settings, backend), "NAME",
     .choice = backend_name, .fallback = "auto", .environment = "LVSA_BACKEND",
     .help = "what computes the attention"},
    {"flashinfer", 0, OPTION_FLAG, offsetof(sparse_settings, flashinfer), NULL,
     .help = "--backend flashinfer"},
    {"attention-dtype", 0, OPTION_CHOICE, offsetof(sparse_settings, attention_dtype), "TYPE",
     .choice = attention_dtype_name, .fallback = "auto",
     .help = "what its products multiply; fp8 is quicker and less exact, on an H100 or H200"},
    {"show-mask", 0, OPTION_FLAG, offsetof(sparse_settings, mask), NULL,
     .environment = "LVSA_MASK_LOG",
     .help = "draw the pattern as text: G anchor, W window, X both, . neither"},
    {"show-mask-compact", 0, OPTION_CHOICE, offsetof(sparse_settings, compact), "WHEN",
     .choice = when_name, .bare = "once", .help = "draw some of its rows, once or at each step"},
    {"balanced", 0, OPTION_REFUSED,
     .help = "every number of processes gives the same video here, so there is nothing to balance"},
    {.name = NULL}};
/* clang-format on */

/* ---- before the model ------------------------------------------------------------------------ */

exit_code job_check(const job_settings *s)
{
    if (!s->make.model.value) return complain(CODE_USAGE, "which model? Give --model, a directory");
    if (s->make.prompt.value && s->make.prompt_file.value)
        return complain(CODE_USAGE, "--prompt and --prompt-file both say the prompt; give one");
    if (!s->make.prompt.value && !s->make.prompt_file.value)
        return complain(CODE_USAGE, "what shall the video show? Give --prompt or --prompt-file");
    if (s->video.frames.from && s->video.seconds.from)
        return complain(CODE_USAGE, "--num-frames and --seconds both say the length; give one");
    if (s->sparse.sparse.value && s->sparse.dense.value)
        return complain(CODE_USAGE, "--lvsa and --dense exclude each other; give one");
    if (s->sparse.flashinfer.value && s->sparse.backend.from == FROM_FLAG &&
        s->sparse.backend.value != LVSA_BACKEND_FLASHINFER)
        return complain(CODE_USAGE, "--flashinfer and --backend %s exclude each other; give one",
                        backend_name(s->sparse.backend.value));
    return CODE_DONE;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

/* All of a file, as text. */
static exit_code read_text(char **out, FILE *file, const char *name)
{
    enum { MOST = 1 << 20 };
    char *text = malloc(MOST + 1);
    if (!text) return complain(CODE_MEMORY, "%s: a prompt doesn't fit in memory", name);
    errno = 0;
    size_t length = fread(text, 1, MOST + 1, file);
    exit_code code = CODE_DONE;
    if (ferror(file)) code = complain(CODE_FAILED, "%s: %s", name, strerror(errno));
    else if (length > MOST)
        code = complain(CODE_USAGE, "%s: a prompt of %d bytes at most is wanted", name, MOST);
    else if (memchr(text, 0, length))
        code = complain(CODE_USAGE, "%s: no text: it holds a byte 0", name);
    if (code != CODE_DONE) {
        free(text);
        return code;
    }
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) length--;
    text[length] = '\0';
    *out = text;
    return CODE_DONE;
}

static exit_code read_prompt(char **out, const char *path)
{
    if (strcmp(path, "-") == 0) return read_text(out, stdin, "standard input");
    FILE *file = fopen(path, "r");
    if (!file) return complain(CODE_FAILED, "%s: %s", path, strerror(errno));
    exit_code code = read_text(out, file, path);
    fclose(file);
    return code;
}

/* ---- numbers --------------------------------------------------------------------------------- */

int job_fps(const job_settings *s, const lvsa_pipeline *p)
{
    return s->video.fps.from ? s->video.fps.value : lvsa_pipeline_get_geometry(p)->fps;
}

static exit_code find_length(lvsa_job *job, const job_settings *s, const lvsa_pipeline *p)
{
    const lvsa_geometry *g = lvsa_pipeline_get_geometry(p);
    if (s->video.frames.from) job->frames = s->video.frames.value;
    if (!s->video.seconds.from) return CODE_DONE;
    const int fps = job_fps(s, p), factor = g->temporal_factor;
    const double wanted = ceil(s->video.seconds.value * fps - 1e-6);
    if (wanted > MOST_VIDEO)
        return complain(CODE_USAGE, "--seconds %g: %.0f frames; %d at most are wanted",
                        s->video.seconds.value, wanted, MOST_VIDEO);
    const int latent = wanted > 1.0 ? ((int)wanted - 1 + factor - 1) / factor : 0;
    job->frames = latent * factor + 1;
    note(TALK_NORMAL, "--seconds %g: %d frame%s at %d a second", s->video.seconds.value,
         job->frames, job->frames == 1 ? "" : "s", fps);
    return CODE_DONE;
}

/* Any 32 bits: a number that can be typed again. */
static uint64_t random_seed(void)
{
    uint32_t seed;
    FILE *file = fopen("/dev/urandom", "rb");
    if (!file || fread(&seed, sizeof seed, 1, file) != 1) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        seed = (uint32_t)t.tv_sec * 2654435761u ^ (uint32_t)t.tv_nsec ^ (uint32_t)getpid();
    }
    if (file) fclose(file);
    return seed;
}

static void find_sampling(lvsa_job *job, const sampling_settings *s)
{
    if (s->steps.from) job->steps = s->steps.value;
    if (s->guidance.from) job->guidance = s->guidance.value;
    if (s->flow_shift.from) job->flow_shift = s->flow_shift.value;
    job->seed = s->seed.from ? s->seed.value : random_seed();
    if (together_is_first())
        note(s->seed.from ? TALK_NORMAL : TALK_QUIET, "seed %" PRIu64, job->seed);
}

/* Without a scale the period is the video's own length; a video that is no longer than the
 * training's needs none. */
static exit_code find_riflex(lvsa_job *job, const sampling_settings *s, const lvsa_geometry *g,
                             int strict)
{
    const int said = s->riflex_scale.from || s->riflex_index.from || s->riflex_frames.from;
    if (s->riflex.from ? !s->riflex.value : !said) return CODE_DONE;
    const int horizon =
        s->riflex_frames.from ? s->riflex_frames.value : job->plan.reference_latent_frames;
    const int latent_frames = (job->frames - 1) / g->temporal_factor + 1;
    if (latent_frames <= horizon)
        return warn(strict,
                    "--riflex: %d latent frames are no more than the training's %d; not used",
                    latent_frames, horizon);
    job->riflex.scale =
        s->riflex_scale.from ? s->riflex_scale.value : (double)latent_frames / horizon;
    job->riflex.index = s->riflex_index.from ? s->riflex_index.value : -1;
    job->riflex.frames = horizon;
    return CODE_DONE;
}

static exit_code find_pattern(lvsa_job *job, const job_settings *s, const lvsa_geometry *g,
                              int strict)
{
    const sparse_settings *a = &s->sparse;
    TRY(pattern_apply_pixels(&job->plan, &s->pattern, NULL, g->temporal_factor, strict));
    if (a->scale.from) job->plan.sparsity_scale = a->scale.value;
    if (a->reference.from) job->plan.reference_latent_frames = a->reference.value;
    if (a->expand.from) job->plan.expand_window = a->expand.value;
    if (a->opening.from) job->plan.trained_opening = a->opening.value;
    if (a->rotate.from) job->hold_keyframes = !a->rotate.value;
    job->late_rotation = a->phase.value;
    const bool no_lvsa = a->sparse.from && !a->sparse.value;
    job->sparsity = a->dense.value || no_lvsa ? LVSA_SPARSITY_OFF
                    : a->sparse.value         ? LVSA_SPARSITY_ON
                                              : LVSA_SPARSITY_AUTO;
    job->attention_fp8 = a->attention_dtype.value;
    job->backend = a->flashinfer.value ? LVSA_BACKEND_FLASHINFER : (lvsa_backend)a->backend.value;
    return CODE_DONE;
}

exit_code job_make(lvsa_job *job, char **prompt, const job_settings *s,
                   const lvsa_pipeline *pipeline, int strict)
{
    const lvsa_geometry *g = lvsa_pipeline_get_geometry(pipeline);
    *job = (lvsa_job)LVSA_JOB_INIT;
    lvsa_pipeline_job_defaults(job, pipeline);
    job->strict = strict;
    /* The prompt and the seed of the first process are everyone's. */
    if (s->make.prompt_file.value && together_is_first())
        TRY(read_prompt(prompt, s->make.prompt_file.value));
    job->prompt = *prompt ? *prompt : s->make.prompt.value ? s->make.prompt.value : "";
    if (s->make.negative_prompt.value) job->negative_prompt = s->make.negative_prompt.value;
    if (s->video.height.from) job->height = s->video.height.value;
    if (s->video.width.from) job->width = s->video.width.value;
    TRY(find_length(job, s, pipeline));
    TRY(find_pattern(job, s, g, strict));
    TRY(find_riflex(job, &s->sampling, g, strict));
    find_sampling(job, &s->sampling);
    return CODE_DONE;
}
