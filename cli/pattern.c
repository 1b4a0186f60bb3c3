/* pattern.c: from flags to a plan's options. */
#include "pattern.h"

/* clang-format off */
const option pixel_pattern_options[] = {
    {"window-size", 0, OPTION_INT, offsetof(pixel_pattern_settings, window), "N", .lo = 0,
     .hi = 4.0 * PATTERN_MOST_FRAMES, .environment = "LVSA_WINDOW_SIZE",
     .help = "frames of the window on each side, e.g. 12"},
    {"n-first-frames", 0, OPTION_INT, offsetof(pixel_pattern_settings, first), "N", .lo = 0,
     .hi = 4.0 * PATTERN_MOST_FRAMES, .environment = "LVSA_N_FIRST_FRAMES",
     .help = "leading frames that all attend to, e.g. 4"},
    {"key-frame-interval", 0, OPTION_INT, offsetof(pixel_pattern_settings, interval), "N",
     .lo = 0, .hi = 4.0 * PATTERN_MOST_FRAMES, .fallback = "16",
     .environment = "LVSA_KEY_FRAME_INTERVAL",
     .help = "a keyframe every N frames, 0 for none, in place of the automatic choice"},
    {"auto-keyframes", 0, OPTION_FLAG, offsetof(pixel_pattern_settings, automatic), NULL,
     .fallback = "1", .environment = "LVSA_AUTO_KEYFRAMES",
     .help = "choose the interval that keeps the training videos' budget, unless one is given"},
    {.name = NULL}};
/* clang-format on */

lvsa_plan_options pattern_options(const pattern_settings *s, lvsa_plan_options base)
{
    base.latent_frames = s->latent_frames.value;
    base.patches_per_frame = s->patches.value;
    if (s->window.from) base.window = s->window.value;
    if (s->first.from) base.first_anchors = s->first.value;
    if (s->interval.from == FROM_FLAG) base.keyframe_interval = s->interval.value;
    if (s->reference.from || !base.reference_latent_frames)
        base.reference_latent_frames = s->reference.value;
    if (s->scale.from) base.sparsity_scale = s->scale.value;
    if (s->expand.from) base.expand_window = s->expand.value;
    if (s->opening.from) base.trained_opening = s->opening.value;
    base.rotation = s->rotation.value;
    return base;
}

exit_code pattern_pixel_counts(int *out, origin pixel, const char *pixel_name, origin latent,
                               const char *latent_name)
{
    *out = pixel > latent;
    if (pixel == FROM_FLAG && latent == FROM_FLAG)
        return complain(CODE_USAGE, "%s and %s say the same thing in two units; give one",
                        pixel_name, latent_name);
    return CODE_DONE;
}

/* Frames of the video in whole latent frames. */
static exit_code to_latent(int *out, const char *name, int frames, int factor, int strict)
{
    *out = frames / factor;
    if (frames % factor == 0) return CODE_DONE;
    return warn(strict, "%s %d: cut to %d, %d latent", name, frames, *out * factor, *out);
}

static exit_code apply_interval(lvsa_plan_options *o, const pixel_pattern_settings *p,
                                const int_setting *latent, int factor, int strict)
{
    int pixel;
    TRY(pattern_pixel_counts(&pixel, p->interval.from, "--key-frame-interval", latent->from,
                             "--latent-interval"));
    const origin given = pixel ? p->interval.from : latent->from;
    if (!given && !p->automatic.from) return CODE_DONE;
    if (p->automatic.value && p->automatic.from >= given) {
        o->keyframe_interval = LVSA_INTERVAL_AUTO;
        if (given)
            return warn(strict,
                        "--auto-keyframes: the keyframe interval that was given isn't used");
    } else if (pixel || !latent->from) {
        if (p->interval.value > 0 && p->interval.value < factor)
            return complain(
                CODE_USAGE,
                "--key-frame-interval %d: less than one latent frame; give %d or more, or 0 "
                "for no keyframes",
                p->interval.value, factor);
        TRY(to_latent(&o->keyframe_interval, "--key-frame-interval", p->interval.value, factor,
                      strict));
    }
    return CODE_DONE;
}

exit_code pattern_apply_pixels(lvsa_plan_options *o, const pixel_pattern_settings *p,
                               const pattern_settings *latent, int factor, int strict)
{
    static const pattern_settings none;
    int pixel;
    if (!latent) latent = &none;
    TRY(pattern_pixel_counts(&pixel, p->window.from, "--window-size", latent->window.from,
                             "--latent-window"));
    if (pixel) TRY(to_latent(&o->window, "--window-size", p->window.value, factor, strict));
    TRY(pattern_pixel_counts(&pixel, p->first.from, "--n-first-frames", latent->first.from,
                             "--latent-first"));
    if (pixel)
        TRY(to_latent(&o->first_anchors, "--n-first-frames", p->first.value, factor, strict));
    return apply_interval(o, p, &latent->interval, factor, strict);
}

double pattern_flops(double frame_pairs, int patches, int heads, int head_dim)
{
    return 4.0 * head_dim * heads * patches * (double)patches * frame_pairs;
}

const char *attention_dtype_name(int index)
{
    return index == 0 ? "auto" : index == 1 ? "fp8" : NULL;
}

const char *backend_name(int index)
{
    return index <= LVSA_BACKEND_REF ? lvsa_backend_name((lvsa_backend)index) : NULL;
}

const char *sequence_name(int index) { return lvsa_sequence_name((lvsa_sequence)index); }
