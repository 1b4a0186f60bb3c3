/* plan.c: the pattern of one video at one rotation, as lists that kernels walk.
 *
 * Memory is taken once, for the rotation with the most anchors; moving the grid rewrites it in
 * place. The cost of a move is one copy of the anchors' runs a frame (15 runs at a budget of 21),
 * so it stays far under a layer's work even at T = 1000. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/pattern/pattern.h"

/* Three days of video at 16 frames a second; sums of a few fit an int. */
enum { MOST_FRAMES = 1 << 20 };

struct lvsa_plan {
    lvsa_plan_options options;
    int budget;   /* 0 when the interval isn't automatic */
    int interval; /* in force                            */
    int anchors;  /* |G|                                 */
    int opening;  /* frames made as in training          */
    int anchor_runs;
    int attended_min, attended_max;
    int64_t attended_sum;

    uint8_t *is_anchor;   /* [T]                                                             */
    int32_t *anchor;      /* [most anchors]                                                  */
    lvsa_run *anchor_run; /* [most anchors], neighbouring anchors merged, in tokens          */
    lvsa_window *window;  /* [T]                                                             */
    int32_t *attended;    /* [T]                                                             */
    int32_t *offsets;     /* [T + 1]                                                         */
    lvsa_run *list;       /* [T * most runs a frame]                                         */
    lvsa_runs runs;       /* the view of the last two                                        */
};

static lvsa_status check_options(const lvsa_plan_options *o)
{
    if (o->size != sizeof *o)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "lvsa_plan_options of %zu bytes, %zu wanted: set size with LVSA_PLAN_OPTIONS_INIT",
            o->size, sizeof *o);
    if (o->latent_frames < 1 || o->latent_frames > MOST_FRAMES)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d latent frames: 1 to %d is wanted", o->latent_frames,
                       MOST_FRAMES);
    if (o->patches_per_frame < 1)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d patches a frame: at least 1 is wanted",
                       o->patches_per_frame);
    if ((int64_t)o->latent_frames * o->patches_per_frame > INT32_MAX)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "%d latent frames of %d patches make %lld tokens: at most %d are supported; use fewer "
            "frames or a smaller picture",
            o->latent_frames, o->patches_per_frame,
            (long long)o->latent_frames * o->patches_per_frame, INT32_MAX);
    if (o->window < 0 || o->window > MOST_FRAMES)
        return lv_fail(LVSA_ERR_ARGUMENT, "window half-width %d: 0 to %d latent frames is wanted",
                       o->window, MOST_FRAMES);
    if (o->first_anchors < 0 || o->first_anchors > MOST_FRAMES)
        return lv_fail(LVSA_ERR_ARGUMENT, "%d first anchors: 0 to %d is wanted", o->first_anchors,
                       MOST_FRAMES);
    if (o->keyframe_interval < LVSA_INTERVAL_AUTO || o->keyframe_interval > MOST_FRAMES)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "keyframe interval %d: 1 to %d is wanted, 0 for none, -1 for automatic",
                       o->keyframe_interval, MOST_FRAMES);
    if (o->rotation < 0)
        return lv_fail(LVSA_ERR_ARGUMENT, "rotation %d: 0 or more is wanted", o->rotation);
    if (o->keyframe_interval == LVSA_INTERVAL_AUTO) {
        if (o->reference_latent_frames < 1)
            return lv_fail(
                LVSA_ERR_ARGUMENT,
                "%d reference latent frames: an automatic keyframe interval wants the length that "
                "the model was trained for; or give the interval",
                o->reference_latent_frames);
        if (!(o->sparsity_scale > 0.0) || isinf(o->sparsity_scale))
            return lv_fail(LVSA_ERR_ARGUMENT, "sparsity scale %g: a number above 0 is wanted",
                           o->sparsity_scale);
    }
    if (o->trained_opening && o->reference_latent_frames < 1)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "%d reference latent frames: an opening as in training wants the length that "
            "the model was trained for; or leave it out",
            o->reference_latent_frames);
    if (o->keyframe_interval == LVSA_INTERVAL_NONE && o->first_anchors == 0 && o->window == 0)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "no first anchors, no keyframes and window 0: a frame would attend to nothing; give "
            "one of the three");
    return LVSA_OK;
}

/* The most anchors that any rotation can have. */
static int most_anchors(const lvsa_plan *p)
{
    const lvsa_plan_options *o = &p->options;
    int64_t most = o->first_anchors;
    if (p->interval > 0) most += (o->latent_frames + (int64_t)p->interval - 1) / p->interval;
    return most < o->latent_frames ? (int)most : o->latent_frames;
}

int lv_plan_get_most_runs(const lvsa_plan *p)
{
    /* Anchors that don't touch leave a frame between them; the window adds one run at most. */
    const int anchors = most_anchors(p), apart = (p->options.latent_frames + 1) / 2;
    return (anchors < apart ? anchors : apart) + 1;
}

static lvsa_status allocate(lvsa_plan *p)
{
    size_t frames = (size_t)p->options.latent_frames, anchors = (size_t)most_anchors(p);
    size_t runs_a_frame = (size_t)lv_plan_get_most_runs(p);
    size_t runs;
    if (!lv_mul(&runs, frames, runs_a_frame) || runs > INT32_MAX)
        return lv_fail(
            LVSA_ERR_ARGUMENT,
            "%zu latent frames with %zu anchors: a pattern of that size isn't supported; use fewer "
            "keyframes",
            frames, anchors);

    p->is_anchor = lv_zalloc_array(frames, sizeof *p->is_anchor);
    p->anchor = lv_zalloc_array(anchors, sizeof *p->anchor);
    p->anchor_run = lv_zalloc_array(anchors, sizeof *p->anchor_run);
    p->window = lv_zalloc_array(frames, sizeof *p->window);
    p->attended = lv_zalloc_array(frames, sizeof *p->attended);
    p->offsets = lv_zalloc_array(frames + 1, sizeof *p->offsets);
    p->list = lv_zalloc_array(runs, sizeof *p->list);
    if (!p->is_anchor || !p->anchor || !p->anchor_run || !p->window || !p->attended ||
        !p->offsets || !p->list)
        return lv_fail(LVSA_ERR_MEMORY,
                       "a plan of %zu latent frames: %zu runs of %zu bytes don't fit in memory",
                       frames, runs, sizeof *p->list);
    p->runs = (lvsa_runs){.frames = p->options.latent_frames,
                          .patches_per_frame = p->options.patches_per_frame,
                          .offsets = p->offsets,
                          .list = p->list};
    return LVSA_OK;
}

static void list_anchors(lvsa_plan *p)
{
    const int32_t patches = p->options.patches_per_frame;
    p->anchors = p->anchor_runs = 0;
    for (int f = 0; f < p->options.latent_frames; f++) {
        if (!p->is_anchor[f]) continue;
        p->anchor[p->anchors++] = f;
        if (f > 0 && p->is_anchor[f - 1]) p->anchor_run[p->anchor_runs - 1].count += patches;
        else p->anchor_run[p->anchor_runs++] = (lvsa_run){f * patches, patches};
    }
}

/* Writes one frame's runs from `to` on: the anchors' runs, those that touch the window [first, end)
 * made one with it. *next is a hint: the anchor run where the last frame's window began. Returns
 * the end. */
static lvsa_run *write_runs(lvsa_run *to, const lvsa_run *anchor, int anchors, int32_t first,
                            int32_t end, int *next)
{
    if (first == end) {
        memcpy(to, anchor, (size_t)anchors * sizeof *to);
        return to + anchors;
    }
    int a = *next; /* the first anchor run that doesn't end before the window */
    while (a > 0 && anchor[a - 1].start + anchor[a - 1].count >= first) a--;
    while (a < anchors && anchor[a].start + anchor[a].count < first) a++;
    *next = a;

    memcpy(to, anchor, (size_t)a * sizeof *to);
    to += a;
    for (; a < anchors && anchor[a].start <= end; a++) {
        int32_t anchor_end = anchor[a].start + anchor[a].count;
        if (anchor[a].start < first) first = anchor[a].start;
        if (anchor_end > end) end = anchor_end;
    }
    *to++ = (lvsa_run){first, end - first};
    memcpy(to, anchor + a, (size_t)(anchors - a) * sizeof *to);
    return to + (anchors - a);
}

/* Everything that depends on the rotation. */
static void build(lvsa_plan *p)
{
    const lvsa_plan_options *o = &p->options;
    const int frames = o->latent_frames, patches = o->patches_per_frame;

    lv_pattern_mark_anchors(p->is_anchor, frames, o->first_anchors, p->interval, o->rotation);
    list_anchors(p);

    int wanted = frames - p->anchors;
    if (wanted > 2 * o->window + 1) wanted = 2 * o->window + 1;
    if (!o->expand_window || o->window == 0) wanted = 0;

    lvsa_run *to = p->list;
    int next = 0, others = 0; /* frames of the plain window that aren't anchors: it only moves on */
    lvsa_window counted = {0, -1};
    p->attended_min = INT_MAX, p->attended_max = 0, p->attended_sum = 0;
    for (int f = 0; f < frames; f++) {
        lvsa_window w = lv_pattern_plain_window(f, frames, o->window);
        while (counted.last < w.last) others += !p->is_anchor[++counted.last];
        while (counted.first < w.first) others -= !p->is_anchor[counted.first++];
        const bool opens = f < p->opening;
        if (opens) w = (lvsa_window){0, p->opening - 1};
        int attended =
            opens ? p->opening
                  : p->anchors + lv_pattern_expand_window(&w, p->is_anchor, frames, others, wanted);
        p->window[f] = w;
        p->attended[f] = attended;
        p->attended_sum += attended;
        if (attended < p->attended_min) p->attended_min = attended;
        if (attended > p->attended_max) p->attended_max = attended;

        p->offsets[f] = (int32_t)(to - p->list);
        to = write_runs(to, p->anchor_run, opens ? 0 : p->anchor_runs, w.first * patches,
                        (w.last + 1) * patches, &next);
    }
    p->offsets[frames] = (int32_t)(to - p->list);
}

lvsa_status lvsa_plan_create(lvsa_plan **out, const lvsa_plan_options *options)
{
    *out = NULL;
    LV_TRY(check_options(options));

    lvsa_plan *p = lv_zalloc(sizeof *p);
    if (!p) return lv_fail(LVSA_ERR_MEMORY, "a plan: %zu bytes don't fit in memory", sizeof *p);
    p->options = *options;
    if (options->trained_opening) p->opening = options->reference_latent_frames;
    if (p->opening > options->latent_frames) p->opening = options->latent_frames;
    p->interval = options->keyframe_interval;
    if (p->interval == LVSA_INTERVAL_AUTO) {
        p->budget = lv_pattern_budget(options->reference_latent_frames, options->sparsity_scale,
                                      options->first_anchors);
        p->interval = lv_pattern_auto_interval(options->latent_frames, options->window,
                                               options->first_anchors, p->budget);
    }
    lvsa_status s = allocate(p);
    if (s != LVSA_OK) {
        lvsa_plan_free(&p);
        return s;
    }
    build(p);
    *out = p;
    return LVSA_OK;
}

void lvsa_plan_free(lvsa_plan **plan)
{
    if (!plan || !*plan) return;
    lvsa_plan *p = *plan;
    lv_free(p->list);
    lv_free(p->offsets);
    lv_free(p->attended);
    lv_free(p->window);
    lv_free(p->anchor_run);
    lv_free(p->anchor);
    lv_free(p->is_anchor);
    lv_free(p);
    *plan = NULL;
}

lvsa_status lvsa_plan_set_rotation(lvsa_plan *plan, int rotation)
{
    if (rotation < 0)
        return lv_fail(LVSA_ERR_ARGUMENT, "rotation %d: 0 or more is wanted", rotation);
    if (rotation == plan->options.rotation) return LVSA_OK;
    plan->options.rotation = rotation;
    build(plan);
    return LVSA_OK;
}

lvsa_status lvsa_plan_set_step(lvsa_plan *plan, int step)
{
    if (step < 0) return lv_fail(LVSA_ERR_ARGUMENT, "denoising step %d: 0 or more is wanted", step);
    return lvsa_plan_set_rotation(plan, plan->interval > 0 ? step % plan->interval : 0);
}

lvsa_status lvsa_plan_get_info(lvsa_plan_info *out, const lvsa_plan *plan)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_plan_info of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    int64_t frames = plan->options.latent_frames;
    *out = (lvsa_plan_info){.size = sizeof *out,
                            .latent_frames = plan->options.latent_frames,
                            .patches_per_frame = plan->options.patches_per_frame,
                            .budget = plan->budget,
                            .keyframe_interval = plan->interval,
                            .rotation = plan->options.rotation,
                            .anchors = plan->anchors,
                            .opening = plan->opening,
                            .attended_min = plan->attended_min,
                            .attended_max = plan->attended_max,
                            .attended_sum = plan->attended_sum,
                            .dense = plan->attended_sum == frames * frames};
    return LVSA_OK;
}

const int32_t *lvsa_plan_get_anchors(const lvsa_plan *plan) { return plan->anchor; }
const lvsa_window *lvsa_plan_get_windows(const lvsa_plan *plan) { return plan->window; }
const int32_t *lvsa_plan_get_attended(const lvsa_plan *plan) { return plan->attended; }
const lvsa_runs *lvsa_plan_get_runs(const lvsa_plan *plan) { return &plan->runs; }

lvsa_status lvsa_plan_write_csr(const lvsa_plan *plan, int32_t *indptr, int32_t *indices)
{
    const int32_t patches = plan->options.patches_per_frame;
    if (plan->attended_sum > INT32_MAX)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "a CSR of %lld pairs of frames: %d at most; use fewer frames",
                       (long long)plan->attended_sum, INT32_MAX);
    int32_t written = 0;
    for (int f = 0; f < plan->options.latent_frames; f++) {
        indptr[f] = written;
        for (int32_t r = plan->offsets[f]; r < plan->offsets[f + 1]; r++)
            for (int32_t i = 0; i < plan->list[r].count / patches; i++)
                indices[written++] = plan->list[r].start / patches + i;
    }
    indptr[plan->options.latent_frames] = written;
    return LVSA_OK;
}
