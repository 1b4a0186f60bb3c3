/* pattern.c: from flags in latent units to a plan's options. */
#include "pattern.h"

lvsa_plan_options pattern_options(const pattern_settings *s)
{
    lvsa_plan_options o = LVSA_PLAN_OPTIONS_INIT;
    o.latent_frames = s->latent_frames.value;
    o.patches_per_frame = s->patches.value;
    o.window = s->window.value;
    o.first_anchors = s->first.value;
    o.keyframe_interval = s->interval.from == FROM_FLAG ? s->interval.value : LVSA_INTERVAL_AUTO;
    o.reference_latent_frames = s->reference.value;
    o.sparsity_scale = s->scale.value;
    o.expand_window = s->expand.value;
    o.rotation = s->rotation.value;
    return o;
}

double pattern_flops(double frame_pairs, int patches, int heads, int head_dim)
{
    return 4.0 * head_dim * heads * patches * (double)patches * frame_pairs;
}
