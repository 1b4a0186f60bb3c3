/* bench_model.c: `lvsa bench dit` and `lvsa bench vae`: a model's parts alone. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lvsa/lvsa_profile.h>

#include "command.h"
#include "job.h"
#include "profile.h"
#include "together.h"

typedef struct model_options {
    text_setting model;
    int_setting frames, height, width;
    int_setting device, threads, sparsity, backend, precision, attention_dtype, offload, guidance;
    int_setting sequence, cfg, repeat, json;
} model_options;

typedef struct bench_model_settings {
    common_settings common; /* first: see run_command() */
    model_options model;
} bench_model_settings;

enum { MOST_EDGE = 1 << 16, MOST_VIDEO = 1 << 22 };

static const char *device_name(int index)
{
    return index == LVSA_DEVICE_CPU ? "cpu" : index == LVSA_DEVICE_CUDA ? "cuda" : NULL;
}

static const char *sparsity_name(int index)
{
    static const char *const names[] = {"auto", "on", "off"};
    return index <= LVSA_SPARSITY_OFF ? names[index] : NULL;
}

/* clang-format off */
#define MODEL_OPTIONS                                                                              \
    {"model", 'm', OPTION_TEXT, offsetof(model_options, model), "DIR", .operand = 1,               \
     .help = "directory of a diffusers-layout checkpoint, see lvsa synth; the name of the option " \
             "may be left out"},                                                                   \
    {"num-frames", 0, OPTION_INT, offsetof(model_options, frames), "N", .lo = 1,                   \
     .hi = MOST_VIDEO, .aliases = "frames video-frames",                                           \
     .help = "frames of the video (without it: the model's usual)"},                               \
    {"height", 'H', OPTION_INT, offsetof(model_options, height), "PIXELS", .lo = 1,                \
     .hi = MOST_EDGE, .help = "its height (without it: the model's usual)"},                       \
    {"width", 'W', OPTION_INT, offsetof(model_options, width), "PIXELS", .lo = 1,                  \
     .hi = MOST_EDGE, .help = "its width (without it: the model's usual)"},                        \
    {"device", 0, OPTION_CHOICE, offsetof(model_options, device), "NAME", .choice = device_name,   \
     .fallback = "cpu", .help = "where it is computed"},                                           \
    {"threads", 't', OPTION_INT, offsetof(model_options, threads), "N", .lo = 0, .hi = 1024,       \
     .fallback = "0", .help = "CPU threads, 0 for as many as OpenMP takes"}
#define MEASURE_OPTIONS(runs)                                                                      \
    {"repeat", 0, OPTION_INT, offsetof(model_options, repeat), "N", .lo = 1, .hi = 10000,          \
     .fallback = runs, .help = "runs that are measured, after one that isn't"},                    \
    {"json", 0, OPTION_FLAG, offsetof(model_options, json), NULL,                                  \
     .help = "print one JSON object in place of the tables"},                                      \
    {.name = NULL}

static const option dit_table[] = {
    MODEL_OPTIONS,
    {"sparse", 0, OPTION_CHOICE, offsetof(model_options, sparsity), "WHEN", .choice = sparsity_name,
     .fallback = "auto", .help = "whether frames attend to some frames only; auto is above the "
                                 "model's training length"},
    {"backend", 0, OPTION_CHOICE, offsetof(model_options, backend), "NAME", .choice = backend_name,
     .fallback = "auto", .environment = "LVSA_BACKEND", .help = "what computes the attention"},
    {"dtype", 0, OPTION_CHOICE, offsetof(model_options, precision), "TYPE",
     .choice = precision_name, .fallback = "auto",
     .help = "what the blocks' dense layers multiply: the device's own type, or 8 bits on a GPU"},
    {"attention-dtype", 0, OPTION_CHOICE, offsetof(model_options, attention_dtype), "TYPE",
     .choice = attention_dtype_name, .fallback = "auto",
     .help = "what its products multiply: as lvsa generate has it"},
    {"offload", 0, OPTION_FLAG, offsetof(model_options, offload), NULL,
     .help = "keep the blocks in the machine's memory: two at a time on the GPU"},
    {"guidance", 0, OPTION_FLAG, offsetof(model_options, guidance), NULL,
     .help = "two passes a step, as with guidance"},
    {"sequence-parallel", 0, OPTION_CHOICE, offsetof(model_options, sequence), "HOW",
     .choice = sequence_name, .fallback = "auto",
     .help = "of several processes: as lvsa generate has it"},
    {"cfg-parallel", 0, OPTION_FLAG, offsetof(model_options, cfg), NULL,
     .help = "of several processes: one half of them computes each of --guidance's passes"},
    MEASURE_OPTIONS("5")};
static const option vae_table[] = {MODEL_OPTIONS, MEASURE_OPTIONS("3")};
/* clang-format on */

#define GROUPS(table)                                                                              \
    {                                                                                              \
        {"The model, and what is measured", table, offsetof(bench_model_settings, model)},         \
            {"Talk", common_options, offsetof(bench_model_settings, common)},                      \
        {                                                                                          \
            NULL, NULL, 0                                                                          \
        }                                                                                          \
    }
static const option_group dit_groups[] = GROUPS(dit_table);
static const option_group vae_groups[] = GROUPS(vae_table);

/* ---- measuring ------------------------------------------------------------------------------- */

typedef struct result {
    lvsa_bench_info info;
    lvsa_profile profile;
    lvsa_phase phase;
    double *seconds; /* [runs], sorted */
    int runs;
    const char *device, *precision;
} result;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const result *r)
{
    return 0.5 * (r->seconds[(r->runs - 1) / 2] + r->seconds[r->runs / 2]);
}

static void print_text(const result *r)
{
    const lvsa_bench_info *i = &r->info;
    const char *unit = r->phase == LVSA_PHASE_DECODE ? "video"
                       : i->passes == 2              ? "step of two passes"
                                                     : "pass";
    printf("%s: %d frames of %dx%d, %d latent frames x %d tokens%s, %s%s\n", i->family, i->frames,
           i->width, i->height, i->latent_frames, i->patches_per_frame,
           r->phase == LVSA_PHASE_DECODE ? ""
           : i->sparse                   ? ", sparse"
                                         : ", dense",
           r->device, strcmp(r->precision, "fp8") == 0 ? ", fp8" : "");
    if (i->ranks > 1)
        printf("%d processes%s%s%s; what the first one sees:\n", i->ranks,
               i->groups > 1 ? ", half of them for each pass" : "",
               i->ranks > i->groups ? ", " : "",
               i->ranks > i->groups ? lvsa_sequence_name(i->sequence) : "");
    printf(
        "a %s: %.4f s median, %.4f s best of %d; %.3g GB besides the weights, which took %.2f s\n",
        unit, median(r), r->seconds[0], r->runs, 1e-9 * (double)i->scratch, i->load_seconds);
    if (r->phase == LVSA_PHASE_DECODE)
        printf("%.2f ms a frame, %.1f frames a second\n", 1e3 * median(r) / i->frames,
               i->frames / median(r));
    printf("one more, every operation timed:\n");
    profile_print(stdout, &r->profile, r->phase);
}

static exit_code print_json(const result *r)
{
    const lvsa_bench_info *i = &r->info;
    json_t *kinds = json_object();
    for (int k = 0; k < r->profile.rows; k++) {
        const lvsa_profile_row *row = &r->profile.row[k];
        json_object_set_new(kinds, row->kind,
                            json_pack("{s:I,s:f,s:f,s:f}", "calls", (json_int_t)row->calls, "ms",
                                      1e3 * row->seconds, "flops", row->flops, "bytes",
                                      row->bytes));
    }
    json_t *object = json_pack(
        "{s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:b,s:i,s:i,s:i,s:s,s:I,s:f,s:f,s:f,s:i,s:f,s:o}",
        "family", i->family, "device", r->device, "dtype", r->precision, "frames", i->frames,
        "height", i->height, "width", i->width, "latent_frames", i->latent_frames,
        "patches_per_frame", i->patches_per_frame, "sparse", i->sparse, "passes", i->passes,
        "ranks", i->ranks, "groups", i->groups, "sequence", lvsa_sequence_name(i->sequence),
        "scratch_bytes", (json_int_t)i->scratch, "load_s", i->load_seconds, "median_s", median(r),
        "best_s", r->seconds[0], "runs", r->runs, "timed_s",
        r->profile.seconds[r->phase], "operations", kinds);
    if (!object) return complain(CODE_MEMORY, "a JSON object doesn't fit in memory");
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
    return CODE_DONE;
}

/* What would fail in all processes is said by the first. */
static exit_code begin(const lvsa_bench_options *o)
{
    lvsa_geometry geometry = {.size = sizeof geometry};
    if (!together_is_first()) return CODE_DONE;
    TRY(complain_model(lvsa_geometry_from_model(&geometry, o->model)));
    return together_go();
}

static exit_code run_bench(const void *settings, lvsa_phase phase,
                           lvsa_status (*bench)(lvsa_bench_info *, double *, lvsa_profile *,
                                                const lvsa_bench_options *))
{
    const model_options *s = &((const bench_model_settings *)settings)->model;
    lvsa_bench_options o = LVSA_BENCH_OPTIONS_INIT;
    result r = {.info = {.size = sizeof r.info},
                .profile = {.size = sizeof r.profile},
                .phase = phase,
                .runs = s->repeat.value,
                .device = device_name(s->device.value),
                .precision = precision_name(s->precision.value)};
    if (!s->model.value)
        return complain(CODE_USAGE, "a model is wanted: give a DIR; lvsa synth makes one");
    o.model = s->model.value;
    o.device = (lvsa_device)s->device.value, o.threads = s->threads.value;
    o.frames = s->frames.value, o.height = s->height.value, o.width = s->width.value;
    o.sparsity = (lvsa_sparsity)s->sparsity.value, o.backend = (lvsa_backend)s->backend.value;
    o.precision = (lvsa_precision)s->precision.value;
    o.attention_fp8 = s->attention_dtype.value;
    o.repeat = r.runs, o.offload = s->offload.value;
    o.guidance = s->guidance.value, o.ranks = together_get_ranks();
    o.sequence = (lvsa_sequence)s->sequence.value, o.cfg_parallel = s->cfg.value;
    if (s->sequence.value) TRY(together_warn_alone("--sequence-parallel", 0));
    TRY(begin(&o));
    r.seconds = calloc((size_t)r.runs, sizeof *r.seconds);
    if (!r.seconds) return complain(CODE_MEMORY, "%d times don't fit in memory", r.runs);
    exit_code code = complain_model(bench(&r.info, r.seconds, &r.profile, &o));
    if (code == CODE_DONE && together_is_first()) {
        qsort(r.seconds, (size_t)r.runs, sizeof *r.seconds, compare);
        if (s->json.value) code = print_json(&r);
        else print_text(&r);
    }
    free(r.seconds);
    return code;
}

static exit_code run_bench_dit(const void *settings)
{
    return run_bench(settings, LVSA_PHASE_DENOISE, lvsa_bench_transformer);
}

static exit_code run_bench_vae(const void *settings)
{
    return run_bench(settings, LVSA_PHASE_DECODE, lvsa_bench_decoder);
}

static const char *const dit_examples[] = {
    "lvsa synth wan2.1-1.3b random --parts transformer", "a model to measure, if there is none",
    "lvsa bench dit random --device cuda --num-frames 321", "20 seconds of video on a GPU", NULL};

static const char *const vae_examples[] = {
    "lvsa synth wan2.1-1.3b random --parts vae", "a model to measure, if there is none",
    "lvsa bench vae random --device cuda --num-frames 321", "20 seconds of video on a GPU", NULL};

const command bench_dit_command = {
    .name = "bench dit",
    .summary = "measure a transformer's forward pass, operation by operation",
    .details =
        "Runs forward passes of a checkpoint's transformer over random latents and a random text, "
        "a denoising step each, and prints what a pass takes; then times every operation of one "
        "more: FLOPs are those of products, and of the pairs of tokens that attend to each other, "
        "bytes those of the tensors, each read or written once. Several processes, started as lvsa "
        "generate has it, share the passes; exchange is then what waiting for others took.",
    .examples = dit_examples,
    .groups = dit_groups,
    .settings_size = sizeof(bench_model_settings),
    .computes = true,
    .shares = true,
    .run = run_bench_dit};

const command bench_vae_command = {
    .name = "bench vae",
    .summary = "measure a decoder, operation by operation",
    .details =
        "Decodes videos of random latents to bytes in memory and prints what one takes; then "
        "times every operation of one more, as bench dit does.",
    .examples = vae_examples,
    .groups = vae_groups,
    .settings_size = sizeof(bench_model_settings),
    .computes = true,
    .run = run_bench_vae};
