/* run.c: one run: a job is made, forecast, run, and its frames go into a file. */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "forecast.h"
#include "interrupt.h"
#include "mask.h"
#include "profile.h"
#include "progress.h"
#include "together.h"

/* ---- options that runs share ----------------------------------------------------------------- */

/* clang-format off */
const option machine_options[] = {
    {"device", 0, OPTION_TEXT, offsetof(machine_settings, device), "NAME", .fallback = "auto",
     .help = "what computes: cpu, cuda, cuda:1 for the second GPU, or a GPU where there is one"},
    {"threads", 't', OPTION_INT, offsetof(machine_settings, threads), "N", .lo = 0, .hi = 1024,
     .fallback = "0", .help = "CPU threads, 0 for as many as OpenMP takes"},
    {"offload", 0, OPTION_FLAG, offsetof(machine_settings, offload), NULL,
     .help = "keep the transformer in the machine's memory: two blocks at a time on the GPU"},
    {.name = NULL}};

const option sharing_options[] = {
    {"sequence-parallel", 0, OPTION_CHOICE, offsetof(sharing_settings, sequence), "HOW",
     .choice = sequence_name, .fallback = "auto",
     .help = "how they share attention: each sends the frames that others need, or they deal the "
             "heads; auto is what lvsa plan --ranks says"},
    {"cfg-parallel", 0, OPTION_FLAG, offsetof(sharing_settings, cfg), NULL,
     .help = "one half of them follows the prompt, the other computes what guidance leads away "
             "from"},
    {"vae-parallel", 0, OPTION_FLAG, offsetof(sharing_settings, vae), NULL,
     .help = "all of them decode, each some rows of every frame (without it: the first one)"},
    {.name = NULL}};

const option tell_options[] = {
    {"strict", 0, OPTION_FLAG, offsetof(tell_settings, strict), NULL,
     .help = "refuse what would only be warned of"},
    {"time-log", 0, OPTION_FLAG, offsetof(tell_settings, times), NULL,
     .environment = "LVSA_STEP_TIME_LOG", .help = "a line with each stage's and step's time"},
    {"memory-log", 0, OPTION_FLAG, offsetof(tell_settings, memory), NULL,
     .environment = "LVSA_MEM_LOG",
     .help = "a line with the most of the machine's memory used up to each step"},
    {"profile", 0, OPTION_FLAG, offsetof(tell_settings, profile), NULL,
     .help = "time every operation, and say what each kind of them took"},
    {.name = NULL}};
/* clang-format on */

/* ---- one run --------------------------------------------------------------------------------- */

typedef struct run {
    const run_task *task;
    const generate_settings *s; /* the task's                           */
    lvsa_pipeline *pipeline;
    lvsa_job job;
    char *record; /* of the job; NULL: there is none             */
    keep keep;
    int first_step; /* that is still to do */
    char *prompt;   /* of a file, or NULL                          */
    char *path;     /* of the video                                */
    lvsa_forecast forecast;
    lvsa_plan *plan; /* for its mask; NULL: dense, or none is wanted */
    lvsa_video *video;
    pictures pictures;
    progress progress;
    lvsa_progress at;    /* the last that was reported                  */
    double start, stage; /* when the run began; a stage, or a step of it, ended last */
    lvsa_status failure; /* of the writer                               */
    char sentence[1024]; /* and its words                               */
} run;

static void on_message(void *user, const char *line)
{
    run *r = user;
    progress_clear(&r->progress);
    if (*line == '[') say(TALK_NORMAL, "%s", line);
    else note(TALK_NORMAL, "%s", line);
}

static exit_code show_mask(const run *r, int step)
{
    const sparse_settings *a = &r->s->job.sparse;
    enum { COMPACT = 16 };
    if (!r->plan || r->job.hold_keyframes) step = 0;
    if (!r->plan) return CODE_DONE;
    TRY(complain_status(
        lvsa_plan_set_step(r->plan, r->job.late_rotation && step ? step - 1 : step)));
    return mask_print(stderr, r->plan, a->mask.value ? 0 : COMPACT);
}

/* What environment and flags ask to be logged at the end of a step. */
static void log_step(run *r, const lvsa_progress *now)
{
    struct rusage usage;
    r->stage = clock_seconds();
    if (r->s->tell.times.value)
        say(TALK_NORMAL, "[LVSA-TIME] step=%d dt=%.3fs", now->done,
            now->seconds - (r->at.phase == now->phase ? r->at.seconds : 0.0));
    if (r->s->tell.memory.value && getrusage(RUSAGE_SELF, &usage) == 0)
        say(TALK_NORMAL, "[LVSA-MEM] step=%d peak=%.3fGiB", now->done,
            (double)usage.ru_maxrss / (1024.0 * 1024.0));
}

/* What has just ended, NULL where nothing has: getting ready comes before the first step. */
static const char *ended_stage(const run *r, const lvsa_progress *now)
{
    const bool whole = now->done == now->total;
    switch (now->phase) {
    case LVSA_PHASE_TEXT: return now->done == 0 ? "open" : whole ? "text" : NULL;
    case LVSA_PHASE_LOAD: return whole ? "load" : NULL;
    case LVSA_PHASE_DENOISE: return r->at.phase != now->phase ? "prepare" : NULL;
    case LVSA_PHASE_DECODE: return whole ? "decode" : NULL;
    }
    return NULL;
}

static void log_stage(run *r, const lvsa_progress *now)
{
    const char *stage = ended_stage(r, now);
    const double time = clock_seconds();
    if (!stage) return;
    progress_clear(&r->progress);
    say(TALK_NORMAL, "[LVSA-TIME] %s dt=%.3fs, %.3fs after the start", stage, time - r->stage,
        time - r->start);
    r->stage = time;
}

static int on_progress(void *user, const lvsa_progress *now)
{
    run *r = user;
    const bool step = now->phase == LVSA_PHASE_DENOISE;
    progress_show(&r->progress, now);
    if (r->s->tell.times.value) log_stage(r, now);
    if (step && now->done > 0 && (r->s->tell.times.value || r->s->tell.memory.value)) {
        progress_clear(&r->progress);
        log_step(r, now);
    }
    if (step && now->done < now->total && r->s->job.sparse.compact.from &&
        r->s->job.sparse.compact.value) {
        progress_clear(&r->progress);
        if (show_mask(r, now->done) != CODE_DONE) return 1;
    }
    r->at = *now;
    /* After a step on_state() comes, saves it and ends the run. */
    return interrupt_count() > 0 && !(step && now->done > r->first_step);
}

static int on_state(void *user, const lvsa_state *state)
{
    run *r = user;
    return keep_step(&r->keep, state, interrupt_count() > 0);
}

static int on_frame(void *user, const lvsa_frame *frame)
{
    run *r = user;
    r->failure = lvsa_video_write(r->video, frame->rgb);
    if (r->failure == LVSA_OK) r->failure = pictures_add_frame(&r->pictures, frame);
    if (r->failure == LVSA_OK) return 0;
    snprintf(r->sentence, sizeof r->sentence, "%s", lvsa_last_error());
    return 1;
}

static int on_preview(void *user, const lvsa_preview *preview)
{
    run *r = user;
    if (pictures_add_preview(&r->pictures, preview) == LVSA_OK) return 0;
    progress_clear(&r->progress);
    return warn(r->s->tell.strict.value, "no more previews: %s", lvsa_last_error()) != CODE_DONE;
}

/* ---- before it ------------------------------------------------------------------------------- */

static exit_code find_path(run *r)
{
    const file_settings *f = &r->s->file;
    const char *folder = f->folder.value ? f->folder.value : "";
    char usual[64];
    snprintf(usual, sizeof usual, "video-%llu.y4m", (unsigned long long)r->job.seed);
    if (f->output.value && f->name.value)
        return complain(CODE_USAGE, "--output and --output-name both name the file; give one");
    const char *name = f->output.value ? f->output.value : f->name.value ? f->name.value : usual;
    const size_t size = strlen(folder) + strlen(name) + 2;
    r->path = malloc(size);
    if (!r->path) return complain(CODE_MEMORY, "a name of %zu bytes doesn't fit in memory", size);
    if (*folder && *name == '/')
        return complain(CODE_USAGE, "--output-dir %s and %s both say where; give one", folder,
                        name);
    snprintf(r->path, size, "%s%s%s", folder, *folder ? "/" : "", name);
    return CODE_DONE;
}

static exit_code write_record(run *r)
{
    const record_run facts = {
        .model = r->s->job.make.model.value,
        .device = lvsa_pipeline_get_device(r->pipeline) == LVSA_DEVICE_CPU ? "cpu" : "cuda",
        .precision = precision_name(r->s->job.sampling.precision.value),
        .fps = job_fps(&r->s->job, r->pipeline),
        .job = &r->job,
        .geometry = lvsa_pipeline_get_geometry(r->pipeline),
        .forecast = &r->forecast};
    return r->task->decode ? CODE_DONE : record_write(&r->record, &facts);
}

static exit_code open_keep(run *r)
{
    const keep_run facts = {.s = &r->s->keep,
                            .video = r->path,
                            .resumed = r->task->state_path,
                            .step = r->first_step,
                            .steps = r->job.steps,
                            .model = r->task->model ? r->task->model : r->s->job.make.model.value,
                            .record = r->record,
                            .forecast = &r->forecast,
                            .progress = &r->progress,
                            .force = r->s->file.force.value,
                            .strict = r->s->tell.strict.value};
    return keep_open(&r->keep, &facts);
}

static exit_code open_video(run *r)
{
    lvsa_video_format format = LVSA_VIDEO_FORMAT_INIT;
    format.width = r->forecast.width, format.height = r->forecast.height;
    format.rate = job_fps(&r->s->job, r->pipeline);
    format.frames = r->forecast.frames;
    format.replace = r->s->file.force.value;
    format.comment = r->task->decode ? r->task->comment : r->record;
    return complain_status(lvsa_video_open(&r->video, r->path, &format));
}

static exit_code open_pictures(run *r)
{
    const pictures_plan plan = {.settings = &r->s->pictures,
                                .video = r->path,
                                .forecast = &r->forecast,
                                .steps = r->job.steps,
                                .replace = r->s->file.force.value,
                                .strict = r->s->tell.strict.value};
    return pictures_open(&r->pictures, &plan);
}

/* The pattern that the job will make, to be drawn. */
static exit_code make_plan(run *r)
{
    lvsa_plan_options o = r->job.plan;
    const lvsa_geometry *g = lvsa_pipeline_get_geometry(r->pipeline);
    const sparse_settings *a = &r->s->job.sparse;
    int frames;
    if (!r->forecast.sparse || (!a->mask.value && !a->compact.from)) return CODE_DONE;
    lvsa_status status =
        lvsa_geometry_latent(&o.latent_frames, &o.patches_per_frame, &frames, g, r->forecast.frames,
                             r->forecast.height, r->forecast.width);
    if (status == LVSA_OK) status = lvsa_plan_create(&r->plan, &o);
    TRY(complain_status(status));
    return a->compact.from && a->compact.value && !a->mask.value ? CODE_DONE : show_mask(r, 0);
}

static exit_code make_job(run *r)
{
    const run_task *t = r->task;
    lvsa_state_info info = {.size = sizeof info};
    r->job = (lvsa_job)LVSA_JOB_INIT;
    r->job.strict = r->s->tell.strict.value;
    if (!t->decode) TRY(job_make(&r->job, &r->prompt, &r->s->job, r->pipeline, r->job.strict));
    r->job.state = t->state;
    if (t->state) TRY(complain_status(lvsa_state_get_info(&info, t->state)));
    r->first_step = info.steps_done;
    return CODE_DONE;
}

/* "auto", "cpu", "cuda" or "cuda:N". */
static exit_code read_device(lvsa_pipeline_options *o, const char *name)
{
    char *end = NULL;
    const int numbered = strncmp(name, "cuda:", 5) == 0 && name[5] >= '0' && name[5] <= '9';
    const long gpu = numbered ? strtol(name + 5, &end, 10) : 0;
    o->gpu = gpu < 1024 ? (int)gpu : 1024; /* nobody has so many: opening says so */
    o->device = strcmp(name, "auto") == 0  ? LVSA_DEVICE_AUTO
                : strcmp(name, "cpu") == 0 ? LVSA_DEVICE_CPU
                                           : LVSA_DEVICE_CUDA;
    if (o->device != LVSA_DEVICE_CUDA || strcmp(name, "cuda") == 0 || (numbered && *end == '\0'))
        return CODE_DONE;
    return complain(CODE_USAGE, "--device %s: auto, cpu, cuda or cuda:N is wanted", name);
}

/* What one process can't do isn't worth a refusal; two groups of it are, and the library does. */
static exit_code check_sharing(const generate_settings *s)
{
    const char *name = s->sharing.vae.value        ? "--vae-parallel"
                       : s->sharing.sequence.value ? "--sequence-parallel"
                                                   : NULL;
    return name ? together_warn_alone(name, s->tell.strict.value) : CODE_DONE;
}

/* Everything that can be known before the first step. */
static exit_code prepare(run *r)
{
    const generate_settings *s = r->s;
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    o.model = r->task->model ? r->task->model : s->job.make.model.value;
    o.threads = s->machine.threads.value;
    o.offload = s->machine.offload.value;
    o.precision = (lvsa_precision)s->job.sampling.precision.value;
    o.ranks = together_get_ranks();
    o.sequence = (lvsa_sequence)s->sharing.sequence.value;
    o.cfg_parallel = s->sharing.cfg.value, o.vae_parallel = s->sharing.vae.value;
    TRY(read_device(&o, s->machine.device.value));
    if (!r->task->decode) TRY(job_check(&s->job));
    TRY(pictures_check(&s->pictures));
    TRY(complain_model(lvsa_pipeline_open(&r->pipeline, &o)));
    TRY(check_sharing(s));
    if (o.offload && lvsa_pipeline_get_device(r->pipeline) == LVSA_DEVICE_CPU)
        TRY(warn(s->tell.strict.value,
                 "--offload: the CPU computes, and has nothing to offload to"));
    TRY(make_job(r));
    if (!together_is_first()) return CODE_DONE;
    TRY(find_path(r));
    r->job.user = r;
    if (s->pictures.every.value) r->job.on_preview = on_preview;
    if (s->file.dry_run.value) r->job.on_message = on_message;
    TRY(complain_model(lvsa_pipeline_forecast(&r->forecast, r->pipeline, &r->job)));
    TRY(make_plan(r));
    if (s->file.dry_run.value)
        forecast_print(&r->forecast, lvsa_pipeline_get_device(r->pipeline),
                       job_fps(&s->job, r->pipeline));
    else forecast_note(&r->forecast, lvsa_pipeline_get_device(r->pipeline));
    return forecast_check(&r->forecast, r->pipeline, &o, &r->job);
}

static void describe(const run *r)
{
    const lvsa_job *j = &r->job;
    const lvsa_forecast *f = &r->forecast;
    note(TALK_VERBOSE, "%d frames of %dx%d at %d a second, %d steps, guidance %g, into %s",
         f->frames, f->width, f->height, job_fps(&r->s->job, r->pipeline), j->steps, j->guidance,
         r->path);
    if (j->flow_shift > 0.0) note(TALK_VERBOSE, "flow shift %g", j->flow_shift);
    if (j->negative_prompt) note(TALK_VERBOSE, "away from: %s", j->negative_prompt);
}

/* ---- and it ---------------------------------------------------------------------------------- */

static exit_code interrupted(const run *r, const char *advice)
{
    static const char *const doing[] = {"encoding the text", "loading the model", "step", "frame"};
    if (!advice) advice = "nothing was saved";
    if (r->at.phase == LVSA_PHASE_TEXT || r->at.phase == LVSA_PHASE_LOAD)
        return complain(CODE_INTERRUPTED, "interrupted while %s; %s", doing[r->at.phase], advice);
    return complain(CODE_INTERRUPTED, "interrupted after %s %d of %d; %s", doing[r->at.phase],
                    r->at.done, r->at.total, advice);
}

/* Why there is no video, and what makes one of the work that was done. */
static exit_code explain(const run *r, lvsa_status status)
{
    const bool stopped =
        status == LVSA_ERR_CANCELLED && r->failure == LVSA_OK && interrupt_count() > 0;
    const int done = stopped && r->at.phase == LVSA_PHASE_DENOISE ? r->at.done : -1;
    /* What gave a number that is none would give it again. */
    char *advice = status == LVSA_ERR_NUMBER
                       ? NULL
                       : keep_advice(&r->keep, done, r->failure != LVSA_OK);
    exit_code code = CODE_FAILED; /* a mask, a preview or a state, which has said why */
    if (stopped) code = interrupted(r, advice);
    else if (r->failure != LVSA_OK) complain(code, "%s", r->sentence);
    else if (status != LVSA_ERR_CANCELLED) code = complain_status(status);
    if (advice && !stopped) note(TALK_QUIET, "%s", advice);
    free(advice);
    return code;
}

static exit_code end_video(run *r)
{
    r->failure = lvsa_video_finish(&r->video);
    if (r->failure == LVSA_OK) return CODE_DONE;
    snprintf(r->sentence, sizeof r->sentence, "%s", lvsa_last_error());
    return explain(r, r->failure);
}

/* A table a stage that computed something. */
static exit_code show_profile(const run *r)
{
    static const char *const stages[] = {"text", "loading", "denoising", "decoding"};
    lvsa_profile p = {.size = sizeof p};
    if (!r->s->tell.profile.value) return CODE_DONE;
    TRY(complain_status(lvsa_pipeline_get_profile(&p, r->pipeline)));
    for (int phase = 0; phase < LVSA_PROFILE_PHASES; phase++) {
        int rows = 0;
        for (int i = 0; i < p.rows; i++) rows += (int)p.row[i].phase == phase;
        if (rows == 0) continue;
        say(TALK_QUIET, "%s: %.2f s", stages[phase], p.seconds[phase]);
        profile_print(stderr, &p, (lvsa_phase)phase);
    }
    return CODE_DONE;
}

static exit_code generate(run *r)
{
    if (r->s->tell.profile.value) TRY(complain_status(lvsa_pipeline_start_profile(r->pipeline)));
    r->job.on_progress = on_progress;
    r->job.on_frame = on_frame;
    r->job.on_message = on_message;
    r->job.on_state = on_state;
    if (!r->task->decode) describe(r);
    lvsa_status status = lvsa_generate(r->pipeline, &r->job);
    progress_clear(&r->progress);
    if (status != LVSA_OK) return explain(r, status);
    TRY(end_video(r));
    const exit_code kept = keep_finish(&r->keep), code = pictures_finish(&r->pictures);
    puts(r->path);
    TRY(show_profile(r));
    return code == CODE_DONE ? kept : code;
}

exit_code run_make(const run_task *task)
{
    const generate_settings *s = task->s;
    run r = {.task = task,
             .s = s,
             .keep = {.lock = -1, .room = -1},
             .forecast = {.size = sizeof r.forecast},
             .progress = progress_begin(),
             .start = clock_seconds()};
    r.stage = r.start;
    /* --backend holds it by now; for a job of --from the library would read it again, and the
     * frames would depend on more than the options. */
    unsetenv("LVSA_BACKEND");
    exit_code code = prepare(&r);
    if (code == CODE_DONE && !together_is_first())
        code = together_complain(lvsa_generate(r.pipeline, &r.job));
    else if (code == CODE_DONE && !s->file.dry_run.value) {
        interrupt_catch();
        code = write_record(&r);
        if (code == CODE_DONE) code = open_pictures(&r);
        if (code == CODE_DONE) code = open_video(&r);
        if (code == CODE_DONE && !task->decode) code = open_keep(&r);
        if (code == CODE_DONE && (!task->decode || s->sharing.vae.value)) code = together_go();
        if (code == CODE_DONE) code = generate(&r);
    }
    lvsa_video_abort(&r.video);
    keep_close(&r.keep);
    pictures_close(&r.pictures);
    lvsa_plan_free(&r.plan);
    lvsa_pipeline_close(&r.pipeline);
    free(r.path);
    free(r.record);
    free(r.prompt);
    return code;
}
