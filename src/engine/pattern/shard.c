/* shard.c: what one of N ranks has of a plan: whole frames of its own, what it is sent and sends,
 * and the runs of its queries over the two.
 *
 *     frames      0 ... first | first ... end | end ... T - 1
 *     rows of     received    | local         | received, right behind the others
 *
 * A rank needs what its windows span, and the anchors unless all its frames are of a trained
 * opening; nothing else of other ranks. */
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "engine/pattern/pattern.h"

/* Runs of all own frames over one source. */
typedef struct run_list {
    lvsa_runs runs; /* the view of the two below      */
    int32_t *offsets;
    lvsa_run *list;
    int32_t count; /* of the list, while it's written */
} run_list;

typedef struct transfer_list {
    lvsa_transfer *list;
    int count;
} transfer_list;

struct lvsa_shard {
    const lvsa_plan *plan;
    int rank, ranks;
    int frames, patches; /* T, P                                               */
    int opening;         /* frames that don't attend to the anchors            */
    int first, end;      /* own frames, the end not included                   */
    int received_frames, sent_frames;
    uint8_t *is_anchor; /* [T]                                                */
    int32_t *place;     /* [T], a received frame's first row                  */
    int32_t *received;  /* [T - own]                                          */
    transfer_list send, receive;
    run_list local_runs, received_runs;
};

static int first_frame(const lvsa_shard *s, int rank)
{
    return (int)lv_share_first(s->frames, rank, s->ranks);
}

/* Memory for every rotation: a frame has at most `most` runs in all, and among n frames no more
 * than every second can begin one. */
static bool allocate_runs(run_list *r, const lvsa_shard *s, int among, int most)
{
    const size_t own = (size_t)(s->end - s->first);
    const int apart = (among + 1) / 2;
    r->offsets = lv_zalloc_array(own + 1, sizeof *r->offsets);
    r->list = lv_zalloc_array(own * (size_t)(most < apart ? most : apart), sizeof *r->list);
    r->runs = (lvsa_runs){.frames = s->end - s->first,
                          .patches_per_frame = s->patches,
                          .offsets = r->offsets,
                          .list = r->list};
    return r->offsets && r->list;
}

static lvsa_status allocate(lvsa_shard *s)
{
    const int own = s->end - s->first, others = s->frames - own;
    const int most = lv_plan_get_most_runs(s->plan);
    const size_t frames = (size_t)s->frames, sends = (size_t)(own + 1) / 2 * (size_t)s->ranks;
    s->is_anchor = lv_zalloc_array(frames, sizeof *s->is_anchor);
    s->place = lv_zalloc_array(frames, sizeof *s->place);
    s->received = lv_zalloc_array((size_t)others, sizeof *s->received);
    s->send.list = lv_zalloc_array(sends, sizeof *s->send.list);
    s->receive.list = lv_zalloc_array((size_t)others, sizeof *s->receive.list);
    const bool runs = allocate_runs(&s->local_runs, s, own, most) &&
                      allocate_runs(&s->received_runs, s, others, most);
    if (!runs || !s->is_anchor || !s->place || !s->received || !s->send.list || !s->receive.list)
        return lv_fail(LVSA_ERR_MEMORY, "a shard of %d of %d latent frames doesn't fit in memory",
                       own, s->frames);
    return LVSA_OK;
}

/* ---- what goes where ------------------------------------------------------------------------- */

/* What a rank's frames attend to. */
typedef struct need {
    lvsa_window span; /* of their windows */
    bool anchors;
} need;

/* A window holds its own frame, so that those of consecutive frames leave no gap between them;
 * where windows are empty, frame .. frame - 1, the span has own frames only. */
static need find_need(const lvsa_shard *s, int rank)
{
    const lvsa_window *window = lvsa_plan_get_windows(s->plan);
    const int first = first_frame(s, rank), end = first_frame(s, rank + 1);
    lvsa_window span = window[first];
    for (int f = first + 1; f < end; f++) {
        if (window[f].first < span.first) span.first = window[f].first;
        if (window[f].last > span.last) span.last = window[f].last;
    }
    return (need){span, end > s->opening};
}

static bool is_needed(const lvsa_shard *s, need n, int frame)
{
    return (n.anchors && s->is_anchor[frame]) || (frame >= n.span.first && frame <= n.span.last);
}

/* One more frame for a peer, from row `row` on; `joined` to the last one. */
static void add_frame(transfer_list *t, const lvsa_shard *s, int peer, int32_t row, bool joined)
{
    if (joined) t->list[t->count - 1].rows.count += s->patches;
    else t->list[t->count++] = (lvsa_transfer){peer, {row, s->patches}};
}

/* Messages with the frames of `owner` that a rank needs. Both sides of a transfer come here, so
 * that they see the same messages: consecutive frames are one. Returns the number of frames. */
static int list_frames(transfer_list *t, const lvsa_shard *s, int peer, int owner, need n)
{
    const int first = first_frame(s, owner), end = first_frame(s, owner + 1);
    int count = 0;
    for (int f = first; f < end; f++) {
        if (!is_needed(s, n, f)) continue;
        const int32_t row = owner == s->rank ? (f - first) * s->patches : s->place[f];
        add_frame(t, s, peer, row, f > first && is_needed(s, n, f - 1));
        count++;
    }
    return count;
}

static void place_received(lvsa_shard *s, need n)
{
    s->received_frames = 0;
    for (int f = 0; f < s->frames; f++) {
        if ((f >= s->first && f < s->end) || !is_needed(s, n, f)) continue;
        s->place[f] = s->received_frames * s->patches;
        s->received[s->received_frames++] = f;
    }
}

static void list_transfers(lvsa_shard *s)
{
    const need own = find_need(s, s->rank);
    place_received(s, own);
    s->send.count = s->receive.count = s->sent_frames = 0;
    for (int peer = 0; peer < s->ranks; peer++) {
        if (peer == s->rank) continue;
        list_frames(&s->receive, s, peer, peer, own);
        s->sent_frames += list_frames(&s->send, s, peer, s->rank, find_need(s, peer));
    }
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* Rows start .. start + count - 1 for the frame whose runs begin at `begin`; what touches its last
 * run becomes part of it: between two received frames there may be others in the video. */
static void add_rows(run_list *r, int32_t begin, int32_t start, int32_t count)
{
    lvsa_run *last = r->count > begin ? &r->list[r->count - 1] : NULL;
    if (last && last->start + last->count == start) last->count += count;
    else r->list[r->count++] = (lvsa_run){start, count};
}

/* One run of a frame's, in rows of the video: what lies before, among and behind the own ones. */
static void split_run(lvsa_shard *s, lvsa_run run, int32_t local_begin, int32_t received_begin)
{
    const int32_t own = s->first * s->patches, own_end = s->end * s->patches;
    const int32_t end = run.start + run.count;
    if (run.start < own)
        add_rows(&s->received_runs, received_begin, s->place[run.start / s->patches],
                 (end < own ? end : own) - run.start);
    const int32_t from = run.start > own ? run.start : own, to = end < own_end ? end : own_end;
    if (from < to) add_rows(&s->local_runs, local_begin, from - own, to - from);
    const int32_t behind = run.start > own_end ? run.start : own_end;
    if (behind < end)
        add_rows(&s->received_runs, received_begin, s->place[behind / s->patches], end - behind);
}

static void split_runs(lvsa_shard *s)
{
    const lvsa_runs *video = lvsa_plan_get_runs(s->plan);
    run_list *local = &s->local_runs, *received = &s->received_runs;
    local->count = received->count = 0;
    for (int f = s->first; f < s->end; f++) {
        const int32_t local_begin = local->count, received_begin = received->count;
        local->offsets[f - s->first] = local_begin;
        received->offsets[f - s->first] = received_begin;
        for (int32_t i = video->offsets[f]; i < video->offsets[f + 1]; i++)
            split_run(s, video->list[i], local_begin, received_begin);
    }
    local->offsets[s->end - s->first] = local->count;
    received->offsets[s->end - s->first] = received->count;
}

void lvsa_shard_update(lvsa_shard *s)
{
    lvsa_plan_info info = {.size = sizeof info};
    (void)lvsa_plan_get_info(&info, s->plan); /* fails on a wrong size alone */
    const int32_t *anchors = lvsa_plan_get_anchors(s->plan);
    memset(s->is_anchor, 0, (size_t)s->frames);
    for (int i = 0; i < info.anchors; i++) s->is_anchor[anchors[i]] = 1;
    list_transfers(s);
    split_runs(s);
}

/* ---- the object ------------------------------------------------------------------------------ */

lvsa_status lvsa_shard_create(lvsa_shard **out, const lvsa_plan *plan, int rank, int ranks)
{
    lvsa_plan_info info = {.size = sizeof info};
    *out = NULL;
    LV_TRY(lvsa_plan_get_info(&info, plan));
    if (ranks < 1 || ranks > info.latent_frames)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "%d ranks for %d latent frames: a rank has whole frames, 1 to %d ranks are "
                       "wanted",
                       ranks, info.latent_frames, info.latent_frames);
    if (rank < 0 || rank >= ranks)
        return lv_fail(LVSA_ERR_ARGUMENT, "rank %d of %d: 0 to %d is wanted", rank, ranks,
                       ranks - 1);
    lvsa_shard *s = lv_zalloc(sizeof *s);
    if (!s) return lv_fail(LVSA_ERR_MEMORY, "a shard: %zu bytes don't fit in memory", sizeof *s);
    s->plan = plan;
    s->rank = rank, s->ranks = ranks;
    s->frames = info.latent_frames, s->patches = info.patches_per_frame;
    s->opening = info.opening;
    s->first = first_frame(s, rank), s->end = first_frame(s, rank + 1);
    lvsa_status status = allocate(s);
    if (status == LVSA_OK) lvsa_shard_update(s);
    else lvsa_shard_free(&s);
    *out = s;
    return status;
}

void lvsa_shard_free(lvsa_shard **shard)
{
    if (!shard || !*shard) return;
    lvsa_shard *s = *shard;
    lv_free(s->received_runs.list);
    lv_free(s->received_runs.offsets);
    lv_free(s->local_runs.list);
    lv_free(s->local_runs.offsets);
    lv_free(s->receive.list);
    lv_free(s->send.list);
    lv_free(s->received);
    lv_free(s->place);
    lv_free(s->is_anchor);
    lv_free(s);
    *shard = NULL;
}

lvsa_status lvsa_shard_get_info(lvsa_shard_info *out, const lvsa_shard *s)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_shard_info of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    *out = (lvsa_shard_info){.size = sizeof *out,
                             .rank = s->rank,
                             .ranks = s->ranks,
                             .first_frame = s->first,
                             .frames = s->end - s->first,
                             .received_frames = s->received_frames,
                             .sent_frames = s->sent_frames};
    const int32_t *attended = lvsa_plan_get_attended(s->plan);
    for (int f = s->first; f < s->end; f++) out->attended_sum += attended[f];
    return LVSA_OK;
}

const lvsa_transfer *lvsa_shard_get_sends(int *count, const lvsa_shard *s)
{
    *count = s->send.count;
    return s->send.list;
}

const lvsa_transfer *lvsa_shard_get_receives(int *count, const lvsa_shard *s)
{
    *count = s->receive.count;
    return s->receive.list;
}

const int32_t *lvsa_shard_get_received(const lvsa_shard *s) { return s->received; }
const lvsa_runs *lvsa_shard_get_local_runs(const lvsa_shard *s) { return &s->local_runs.runs; }

const lvsa_runs *lvsa_shard_get_received_runs(const lvsa_shard *s)
{
    return &s->received_runs.runs;
}
