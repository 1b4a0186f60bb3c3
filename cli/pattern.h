/* pattern.h: the options that say a pattern, for all commands that make a plan: in latent units, or
 * in frames of the video as its users know them. */
#ifndef CLI_PATTERN_H
#define CLI_PATTERN_H

#include <limits.h>

#include "options.h"
#include "talk.h"

typedef struct pattern_settings {
    int_setting latent_frames, patches;
    int_setting window, first, interval;
    int_setting reference;
    number_setting scale;
    int_setting expand, opening;
    int_setting rotation;
} pattern_settings;

#define PATTERN_MOST_FRAMES (1 << 20) /* what lvsa_plan_create() takes */

/* The rows of a table; the arguments are the defaults, or NULL, of the three that a command may
 * know. */
/* clang-format off */
#define PATTERN_OPTIONS(frames_default, patches_default, reference_default)                       \
    {"latent-frames", 0, OPTION_INT, offsetof(pattern_settings, latent_frames), "T", .lo = 1,     \
     .hi = PATTERN_MOST_FRAMES, .fallback = frames_default,                                       \
     .environment = "LVSA_TOTAL_LATENT_FRAMES", .help = "latent frames of the video"},            \
    {"patches-per-frame", 0, OPTION_INT, offsetof(pattern_settings, patches), "P", .lo = 1,       \
     .hi = INT_MAX, .fallback = patches_default, .environment = "LVSA_PATCHES_PER_FRAME",         \
     .help = "patches (tokens) a latent frame"},                                                  \
    {"latent-window", 0, OPTION_INT, offsetof(pattern_settings, window), "W", .lo = 0,            \
     .hi = PATTERN_MOST_FRAMES, .fallback = "3",                                                  \
     .help = "latent frames of the window on each side, 0 for no window"},                        \
    {"latent-first", 0, OPTION_INT, offsetof(pattern_settings, first), "N", .lo = 0,              \
     .hi = PATTERN_MOST_FRAMES, .fallback = "1",                                                  \
     .help = "leading latent frames that all attend to"},                                         \
    {"latent-interval", 0, OPTION_INT, offsetof(pattern_settings, interval), "K", .lo = 0,        \
     .hi = PATTERN_MOST_FRAMES,                                                                   \
     .help = "a keyframe every K latent frames, 0 for none (without it: automatic)"},             \
    {"reference-latent-frames", 0, OPTION_INT, offsetof(pattern_settings, reference), "R",        \
     .lo = 1, .hi = PATTERN_MOST_FRAMES, .fallback = reference_default,                           \
     .environment = "LVSA_REFERENCE_LATENT_FRAMES",                                               \
     .help = "latent frames of the model's training videos"},                                     \
    {"sparsity-scale", 0, OPTION_NUMBER, offsetof(pattern_settings, scale), "X", .lo = 0.001,     \
     .hi = 1000, .fallback = "1", .environment = "LVSA_SPARSITY_SCALE",                           \
     .help = "the automatic interval's budget is R times this"},                                  \
    {"expand-window", 0, OPTION_FLAG, offsetof(pattern_settings, expand), NULL, .fallback = "1",  \
     .environment = "LVSA_EXPAND_WINDOW", .help = "widen windows past the anchors inside them"},  \
    {"trained-opening", 0, OPTION_FLAG, offsetof(pattern_settings, opening), NULL,                \
     .environment = "LVSA_TRAINED_OPENING",                                                       \
     .help = "the first R latent frames attend to one another alone, as in training"},            \
    {"rotation-offset", 0, OPTION_INT, offsetof(pattern_settings, rotation), "O", .lo = 0,        \
     .hi = INT_MAX, .fallback = "0", .help = "latent frames by which the keyframes are moved"}
/* clang-format on */

/* The plan's options by these flags; what none says is the base's, such as
 * LVSA_PLAN_OPTIONS_INIT. */
lvsa_plan_options pattern_options(const pattern_settings *s, lvsa_plan_options base);

typedef struct pixel_pattern_settings {
    int_setting window, first, interval, automatic;
} pixel_pattern_settings;

extern const option pixel_pattern_options[]; /* the last one's name is NULL */

/* Whether the pixel flag counts; two flags for one thing are one too many. */
exit_code pattern_pixel_counts(int *out, origin pixel, const char *pixel_name, origin latent,
                               const char *latent_name);

/* Puts what the pixel flags say into a plan's options, where no latent flag says it (NULL: there
 * are none). `factor` frames of the video are a latent frame; what is no multiple is cut, with a
 * note, or refused where `strict`. */
exit_code pattern_apply_pixels(lvsa_plan_options *o, const pixel_pattern_settings *pixel,
                               const pattern_settings *latent, int factor, int strict);

/* FLOPs of one layer's attention: two products of D multiply-adds for each of the P*P token pairs
 * of each pair of frames, in each head. */
double pattern_flops(double frame_pairs, int patches, int heads, int head_dim);

/* The choices of --attention-dtype: auto is 0, fp8 is 1; of --backend and --sequence-parallel, as
 * their enums have them. NULL past the last. */
const char *attention_dtype_name(int index);
const char *backend_name(int index);
const char *sequence_name(int index);

#endif
