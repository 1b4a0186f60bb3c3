/* plan.c: `lvsa plan`: which frames attend to which, and what that saves. */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "mask.h"
#include "pattern.h"
#include "ranks.h"

/* ---- options --------------------------------------------------------------------------------- */

/* What users of pixels say; each has its counterpart in latent units. */
typedef struct pixel_settings {
    text_setting model;
    int_setting family;
    int_setting frames, height, width;
} pixel_settings;

typedef struct output_settings {
    int_setting step;
    int_setting heads, head_dim, layers, ranks;
    int_setting mask, json, force;
    text_setting mask_out;
} output_settings;

typedef struct plan_settings {
    common_settings common; /* first: see run_command() */
    pixel_settings pixel;
    pixel_pattern_settings pixel_pattern;
    pattern_settings latent;
    output_settings output;
} plan_settings;

#define DEFAULT_FAMILY "wan2.1-1.3b" /* of pixels without a model */
enum {
    MOST_EDGE = 1 << 16,
    MOST_RANKS = 4096,
    USUAL_FACTOR = 4,
    USUAL_HEADS = 12,
    USUAL_HEAD_DIM = 128
};

/* clang-format off */
static const option pixel_options[] = {
    {"model", 'm', OPTION_TEXT, offsetof(pixel_settings, model), "DIR",
     .help = "checkpoint directory, whose lvsa.json's pattern goes before the defaults here; only "
             "JSON files are read"},
    {"family", 0, OPTION_CHOICE, offsetof(pixel_settings, family), "NAME",
     .choice = lvsa_family_name, .help = "model family, in place of a checkpoint"},
    {"num-frames", 0, OPTION_INT, offsetof(pixel_settings, frames), "N", .lo = 1,
     .hi = 4.0 * PATTERN_MOST_FRAMES, .aliases = "frames video-frames",
     .help = "frames of the video, cut to 4k + 1 (without it: the model's usual)"},
    {"height", 'H', OPTION_INT, offsetof(pixel_settings, height), "PIXELS", .lo = 1,
     .hi = MOST_EDGE, .help = "height of the video (without it: the model's usual)"},
    {"width", 'W', OPTION_INT, offsetof(pixel_settings, width), "PIXELS", .lo = 1, .hi = MOST_EDGE,
     .help = "width of the video (without it: the model's usual)"},
    {.name = NULL}};

static const option latent_options[] = {PATTERN_OPTIONS(NULL, NULL, NULL), {.name = NULL}};

static const option output_options[] = {
    {"step", 0, OPTION_INT, offsetof(output_settings, step), "N", .lo = 0, .hi = INT_MAX,
     .help = "the plan at denoising step N, in place of --rotation-offset"},
    {"heads", 0, OPTION_INT, offsetof(output_settings, heads), "N", .lo = 1, .hi = 1 << 20,
     .help = "attention heads (without it: the model's, or 12)"},
    {"head-dim", 0, OPTION_INT, offsetof(output_settings, head_dim), "N", .lo = 1, .hi = 1 << 20,
     .help = "head size (without it: the model's, or 128)"},
    {"layers", 0, OPTION_INT, offsetof(output_settings, layers), "N", .lo = 1, .hi = 1 << 20,
     .help = "attention layers (without it: the model's)"},
    {"ranks", 0, OPTION_INT, offsetof(output_settings, ranks), "N", .lo = 1, .hi = MOST_RANKS,
     .help = "what N GPUs or processes would have of it, and send each other"},
    {"mask", 0, OPTION_FLAG, offsetof(output_settings, mask), NULL, .aliases = "show-mask",
     .help = "draw the pattern as text: G anchor, W window, X both, . neither"},
    {"mask-out", 0, OPTION_TEXT, offsetof(output_settings, mask_out), "FILE",
     .help = "draw it as a picture, .svg or .png"},
    {"force", 'f', OPTION_FLAG, offsetof(output_settings, force), NULL,
     .help = "replace a picture that is there"},
    {"json", 0, OPTION_FLAG, offsetof(output_settings, json), NULL,
     .help = "print one JSON object, windows and block CSR and all, in place of the table"},
    {.name = NULL}};
/* clang-format on */

static const option_group plan_groups[] = {
    {"The video", pixel_options, offsetof(plan_settings, pixel)},
    {"The pattern, in frames of the video", pixel_pattern_options,
     offsetof(plan_settings, pixel_pattern)},
    {"The same in latent units", latent_options, offsetof(plan_settings, latent)},
    {"What is shown", output_options, offsetof(plan_settings, output)},
    {"Talk", common_options, offsetof(plan_settings, common)},
    {NULL, NULL, 0}};

/* ---- from settings to a plan ----------------------------------------------------------------- */

typedef struct request {
    lvsa_plan_options options;
    lvsa_geometry geometry;      /* family NULL: none, all is said in latent units */
    bool assumed;                /* the geometry: nobody named the model */
    int hold_keyframes;          /* the model's: no step moves them */
    int heads, head_dim, layers; /* layers 0: unknown */
} request;

static exit_code find_geometry(request *r, const plan_settings *s)
{
    const pixel_settings *p = &s->pixel;
    r->geometry = (lvsa_geometry){.size = sizeof r->geometry};
    if (p->model.value && p->family.from)
        return complain(CODE_USAGE, "--model and --family both name the model; give one");
    if (p->model.value)
        return complain_model(lvsa_geometry_from_model(&r->geometry, p->model.value));
    if (!p->family.from && !p->frames.from && !p->height.from && !p->width.from) return CODE_DONE;

    const char *family = p->family.from ? lvsa_family_name(p->family.value) : DEFAULT_FAMILY;
    TRY(complain_status(lvsa_geometry_from_family(&r->geometry, family)));
    r->assumed = !p->family.from;
    return CODE_DONE;
}

/* T and P: from pixels where the geometry is known and latent numbers don't take their place. */
static exit_code find_sizes(request *r, const plan_settings *s)
{
    const pixel_settings *p = &s->pixel;
    const lvsa_geometry *g = &r->geometry;
    int frames_count, edges_count;
    TRY(pattern_pixel_counts(&frames_count, p->frames.from, "--num-frames",
                             s->latent.latent_frames.from, "--latent-frames"));
    TRY(pattern_pixel_counts(&edges_count, p->height.from ? p->height.from : p->width.from,
                             p->height.from ? "--height" : "--width", s->latent.patches.from,
                             "--patches-per-frame"));

    const bool latent_frames = s->latent.latent_frames.from && !frames_count;
    const bool patches = s->latent.patches.from && !edges_count;
    if (!g->family && !latent_frames)
        return complain(CODE_USAGE, "how long is the video? Give --num-frames, --latent-frames, "
                                    "--family or --model");
    if (!g->family && !patches)
        return complain(CODE_USAGE, "how large is a frame? Give --patches-per-frame, --height and "
                                    "--width, --family or --model");
    if (!g->family) return CODE_DONE;

    int frames = p->frames.from ? p->frames.value : g->frames, used, latent, all;
    TRY(complain_status(lvsa_geometry_latent(&latent, &all, &used, g, frames,
                                             p->height.from ? p->height.value : g->height,
                                             p->width.from ? p->width.value : g->width)));
    if (!latent_frames) r->options.latent_frames = latent;
    if (!patches) r->options.patches_per_frame = all;
    if (!latent_frames && used != frames)
        note(TALK_NORMAL, "--num-frames %d: cut to %d, the nearest below that is %dk + 1", frames,
             used, g->temporal_factor);
    return CODE_DONE;
}

static exit_code find_pattern(request *r, const plan_settings *s)
{
    TRY(pattern_apply_pixels(&r->options, &s->pixel_pattern, &s->latent,
                             r->geometry.family ? r->geometry.temporal_factor : USUAL_FACTOR, 0));
    if (!s->latent.reference.from)
        r->options.reference_latent_frames = r->geometry.reference_latent_frames;
    if (r->options.keyframe_interval == LVSA_INTERVAL_AUTO && !r->options.reference_latent_frames)
        return complain(
            CODE_USAGE,
            "how long were the training videos? Give --reference-latent-frames (Wan 21, "
            "HunyuanVideo 33), --family or --model, or an interval");
    if (s->output.step.from && s->latent.rotation.from)
        return complain(CODE_USAGE,
                        "--step and --rotation-offset both move the keyframes; give one");
    return CODE_DONE;
}

static exit_code understand(request *r, const plan_settings *s)
{
    lvsa_plan_options base = LVSA_PLAN_OPTIONS_INIT;
    *r = (request){.options = base};
    TRY(find_geometry(r, s));
    if (s->pixel.model.value)
        TRY(complain_model(
            lvsa_plan_options_from_model(&base, &r->hold_keyframes, s->pixel.model.value)));
    r->options = pattern_options(&s->latent, base);
    TRY(find_sizes(r, s));
    TRY(find_pattern(r, s));

    const lvsa_geometry *g = &r->geometry;
    const output_settings *o = &s->output;
    r->heads = o->heads.from ? o->heads.value : g->family ? g->heads : USUAL_HEADS;
    r->head_dim = o->head_dim.from ? o->head_dim.value : g->family ? g->head_dim : USUAL_HEAD_DIM;
    r->layers = o->layers.from ? o->layers.value : g->layers;
    return CODE_DONE;
}

/* ---- the lines people grep for --------------------------------------------------------------- */

static void talk_about(const request *r, const lvsa_plan *plan, const lvsa_plan_info *i)
{
    const int frames = i->latent_frames, reference = r->options.reference_latent_frames;
    if (r->assumed)
        note(TALK_NORMAL, "assumed --family %s, trained on %d latent frames", r->geometry.family,
             r->geometry.reference_latent_frames);
    if (reference)
        say(TALK_NORMAL,
            "[LVSA] reference_latent_frames=%d  target_latent_frames=%d  extension_ratio=%.2fx",
            reference, frames, (double)frames / reference);
    if (r->options.keyframe_interval == LVSA_INTERVAL_AUTO)
        say(TALK_NORMAL, "[LVSA] --auto-keyframes: computed key_frame_interval=%d (latent frames)",
            i->keyframe_interval);
    say(TALK_NORMAL,
        "[LVSA] total_lat_frames=%d local_seq=%lld rank0_frames~[0,%d] window=%d n_first=%d kfi=%d "
        "global_count=%d attended_per_frame=%d/%d",
        frames, (long long)frames * i->patches_per_frame, frames - 1, r->options.window,
        r->options.first_anchors, i->keyframe_interval, i->anchors, i->attended_max, frames);
    const lvsa_window *w = lvsa_plan_get_windows(plan);
    for (int f = 0; f < frames; f++)
        say(TALK_VERBOSE, "[LVSA] frame %d: window=[%d,%d] attended=%d", f, w[f].first, w[f].last,
            lvsa_plan_get_attended(plan)[f]);
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct scaled {
    double value;
    const char *unit;
} scaled;

static scaled scale_flops(double flops)
{
    static const char *const units[] = {"FLOP",  "kFLOP", "MFLOP", "GFLOP",
                                        "TFLOP", "PFLOP", "EFLOP"};
    int i = 0;
    for (; flops >= 1000.0 && i < 6; i++) flops /= 1000.0;
    return (scaled){flops, units[i]};
}

static void print_flops(const char *name, double flops, int layers)
{
    scaled one = scale_flops(flops), all = scale_flops(flops * layers);
    printf("  %-10s %.4g %s a layer", name, one.value, one.unit);
    if (layers) printf(", %.4g %s in %d layers", all.value, all.unit, layers);
    putchar('\n');
}

static void print_table(const request *r, const lvsa_plan_info *i)
{
    const lvsa_plan_options *o = &r->options;
    const int frames = i->latent_frames, patches = i->patches_per_frame;
    const double all = (double)frames * frames, kept = (double)i->attended_sum;

    if (r->geometry.family) printf("model        %s\n", r->geometry.family);
    printf("video        %d latent frames x %d patches = %lld tokens\n", frames, patches,
           (long long)frames * patches);
    if (o->reference_latent_frames)
        printf("reference    %d latent frames, extended %.2fx\n", o->reference_latent_frames,
               (double)frames / o->reference_latent_frames);
    if (i->budget) printf("budget       %d latent frames a query\n", i->budget);
    else printf("budget       none, the interval was given\n");
    if (i->keyframe_interval)
        printf("kfi          %d (%s), rotation %d\n", i->keyframe_interval,
               i->budget ? "automatic" : "given", i->rotation);
    else printf("kfi          none, only the first frames are anchors\n");
    printf("window       %d on each side%s\n", o->window,
           o->expand_window && o->window ? ", expanded" : "");
    printf("anchors      %d\n", i->anchors);
    if (i->opening) printf("opening      %d frames, as in training\n", i->opening);
    printf("attended     %d min, %d max, %.2f avg of %d frames\n", i->attended_min, i->attended_max,
           kept / frames, frames);
    printf("sparsity     %.1f %% of frame pairs are skipped%s\n", 100.0 * (1.0 - kept / all),
           i->dense ? ": dense" : "");
    printf("attention    %d heads x %d\n", r->heads, r->head_dim);
    print_flops("dense", pattern_flops(all, patches, r->heads, r->head_dim), r->layers);
    print_flops("sparse", pattern_flops(kept, patches, r->heads, r->head_dim), r->layers);
    printf("  %-10s %.2fx\n", "ratio", all / kept);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void print_ints(const char *key, const int32_t *values, int64_t count)
{
    printf("\"%s\":[", key);
    for (int64_t i = 0; i < count; i++) printf("%s%d", i ? "," : "", values[i]);
    putchar(']');
}

static void print_windows(const char *key, const lvsa_window *w, int frames)
{
    printf("\"%s\":[", key);
    for (int f = 0; f < frames; f++) printf("%s[%d,%d]", f ? "," : "", w[f].first, w[f].last);
    putchar(']');
}

/* The fewest digits that read back as the same number, and always as a real one: 0.7, 1.0. */
static void print_real(const char *key, double value)
{
    char text[32];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && digits++ < 17);
    printf("\"%s\":%s%s", key, text, strpbrk(text, ".e") ? "" : ".0");
}

/* Renumbers indices [pairs] into the list of frames that anybody attends to, *used of them. */
static exit_code compact(int *used, int32_t *indices, int64_t pairs, int frames)
{
    int32_t *place = calloc((size_t)frames, sizeof *place);
    if (!place) return complain(CODE_MEMORY, "a list of %d frames doesn't fit in memory", frames);
    for (int64_t i = 0; i < pairs; i++) place[indices[i]] = 1;
    *used = 0;
    for (int f = 0; f < frames; f++)
        if (place[f]) place[f] = (*used)++;
    for (int64_t i = 0; i < pairs; i++) indices[i] = place[indices[i]];
    free(place);
    return CODE_DONE;
}

/* The keys and their order are those of tests/golden/pattern.json, which knows no opening. */
static void print_object(const request *r, const lvsa_plan *plan, const lvsa_plan_info *i)
{
    const lvsa_plan_options *o = &r->options;
    printf("{\"latent_frames\":%d,\"patches_per_frame\":%d,\"window\":%d,\"n_first\":%d,",
           i->latent_frames, i->patches_per_frame, o->window, o->first_anchors);
    if (o->reference_latent_frames) printf("\"reference\":%d,", o->reference_latent_frames);
    else printf("\"reference\":null,");
    print_real("sparsity_scale", o->sparsity_scale);
    printf(",\"offset\":%d,\"expand_window\":%s,", i->rotation,
           o->expand_window ? "true" : "false");
    if (o->trained_opening) printf("\"trained_opening\":true,");
    if (o->keyframe_interval == LVSA_INTERVAL_AUTO) printf("\"interval\":null,");
    else printf("\"interval\":%d,", o->keyframe_interval);
    printf("\"kfi\":%d,", i->keyframe_interval);
    print_ints("globals", lvsa_plan_get_anchors(plan), i->anchors);
    putchar(',');
    print_windows("window_bounds", lvsa_plan_get_windows(plan), i->latent_frames);
    putchar(',');
    print_ints("attended", lvsa_plan_get_attended(plan), i->latent_frames);
}

static exit_code print_json(const request *r, const lvsa_plan *plan, const lvsa_plan_info *i,
                            const rank_shares *shares)
{
    if (i->attended_sum > INT32_MAX)
        return complain(CODE_USAGE, "--json of %lld pairs of frames: %d at most; use fewer frames",
                        (long long)i->attended_sum, INT32_MAX);
    int32_t *indptr = calloc((size_t)i->latent_frames + 1, sizeof *indptr);
    int32_t *indices = calloc((size_t)i->attended_sum, sizeof *indices);
    exit_code code = indptr && indices
                         ? CODE_DONE
                         : complain(CODE_MEMORY, "%lld pairs of frames don't fit in memory",
                                    (long long)i->attended_sum);
    int used = 0;
    if (code == CODE_DONE) {
        code = complain_status(lvsa_plan_write_csr(plan, indptr, indices));
        if (code == CODE_DONE) code = compact(&used, indices, i->attended_sum, i->latent_frames);
    }
    if (code == CODE_DONE) {
        print_object(r, plan, i);
        printf(",\"csr\":{");
        print_ints("indptr", indptr, i->latent_frames + 1);
        putchar(',');
        print_ints("indices", indices, i->attended_sum);
        printf(",\"compact_frames\":%d}", used);
        if (shares->layer.ranks) {
            putchar(',');
            ranks_print_json(shares);
        }
        puts("}");
    }
    free(indices);
    free(indptr);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static exit_code show(const request *r, const plan_settings *s, const lvsa_plan *plan,
                      mask_format format)
{
    lvsa_plan_info info = {.size = sizeof info};
    TRY(complain_status(lvsa_plan_get_info(&info, plan)));
    talk_about(r, plan, &info);

    rank_shares shares = {.of = NULL};
    if (s->output.ranks.from)
        TRY(ranks_find(&shares, plan, s->output.ranks.value, r->heads, r->head_dim));
    exit_code code = CODE_DONE;
    if (s->output.json.value) code = print_json(r, plan, &info, &shares);
    else print_table(r, &info);
    if (shares.layer.ranks && !s->output.json.value) ranks_print(&shares);
    ranks_release(&shares);
    TRY(code);
    if (s->output.mask.value) {
        putchar('\n');
        TRY(mask_print(stdout, plan, 0));
    }
    if (!s->output.mask_out.value) return CODE_DONE;

    char title[128];
    snprintf(title, sizeof title, "T = %d, kfi = %d, W = %d", info.latent_frames,
             info.keyframe_interval, r->options.window);
    TRY(mask_write(s->output.mask_out.value, format, plan, title));
    note(TALK_NORMAL, "wrote %s", s->output.mask_out.value);
    return CODE_DONE;
}

static exit_code run_plan(const void *settings)
{
    const plan_settings *s = settings;
    mask_format format = MASK_SVG;
    if (s->output.json.value && s->output.mask.value)
        return complain(CODE_USAGE, "--json and --mask both print; draw with --mask-out");
    if (s->output.mask_out.value)
        TRY(mask_check(&format, s->output.mask_out.value, s->output.force.value));
    request r;
    TRY(understand(&r, s));

    lvsa_plan *plan;
    lvsa_status status = lvsa_plan_create(&plan, &r.options);
    if (status == LVSA_OK && s->output.step.from && !r.hold_keyframes)
        status = lvsa_plan_set_step(plan, s->output.step.value);
    exit_code code = status == LVSA_OK ? show(&r, s, plan, format) : complain_status(status);
    lvsa_plan_free(&plan);
    return code;
}

static const char *const plan_examples[] = {
    "lvsa plan --num-frames 321 --height 480 --width 832",
    "what LVSA would do for 20 seconds of Wan 2.1 at 480p",
    "lvsa plan --family hunyuanvideo-1.5 --num-frames 257 --mask-out mask.svg",
    "the same for HunyuanVideo, with a picture",
    "lvsa plan --latent-frames 81 --patches-per-frame 1560 --reference-latent-frames 21 --mask",
    "in latent units, with a picture in text",
    "lvsa plan --num-frames 321 --ranks 4",
    "what each of four GPUs would compute, send and receive",
    NULL};

const command plan_command = {
    .name = "plan",
    .summary = "show which frames attend to which, and what that saves",
    .details = "Shows the attention pattern of a video without loading a model: how many frames "
               "each frame attends to, which are anchors, and what attention costs with and "
               "without it. Sizes are given in pixels and frames of the video or, flag by flag, "
               "in latent units.",
    .examples = plan_examples,
    .groups = plan_groups,
    .settings_size = sizeof(plan_settings),
    .run = run_plan};
