/* resume.c: `lvsa resume`: a run that was left goes on. */
#define _DEFAULT_SOURCE /* realpath() */
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "state.h"

typedef struct resume_options {
    text_setting from, model, output;
    number_setting every;
    int_setting force;
} resume_options;

typedef struct resume_settings {
    common_settings common; /* first: see run_command() */
    resume_options resume;
    machine_settings machine;
    sharing_settings sharing;
    picture_settings pictures;
    tell_settings tell;
} resume_settings;

/* clang-format off */
static const option resume_table[] = {
    {"from", 0, OPTION_TEXT, offsetof(resume_options, from), "PATH", .operand = 1,
     .help = "what --checkpoint or an interrupted run has left: a folder or a file; the name of "
             "the option may be left out"},
    {"output", 'o', OPTION_TEXT, offsetof(resume_options, output), "FILE",
     .help = "the video (without it: where the run would have put it)"},
    {"model", 'm', OPTION_TEXT, offsetof(resume_options, model), "DIR",
     .help = "directory of the same checkpoint, where it has moved"},
    {"checkpoint-every", 0, OPTION_NUMBER, offsetof(resume_options, every), "SECONDS", .lo = 0,
     .hi = 86400, .fallback = "60",
     .help = "save the run at most once in so many seconds; 0: after each step"},
    {"force", 'f', OPTION_FLAG, offsetof(resume_options, force), NULL,
     .help = "replace a file that is there"},
    {.name = NULL}};
/* clang-format on */

static const option_group resume_groups[] = {
    {"The run", resume_table, offsetof(resume_settings, resume)},
    {"The machine", machine_options, offsetof(resume_settings, machine)},
    {"Several processes, by mpirun, srun or torchrun", sharing_options,
     offsetof(resume_settings, sharing)},
    {"Pictures of it", picture_options, offsetof(resume_settings, pictures)},
    {"What is told", tell_options, offsetof(resume_settings, tell)},
    {"Talk", common_options, offsetof(resume_settings, common)},
    {NULL, NULL, 0}};

/* The settings that the run began with; but for what the result doesn't depend on. */
static exit_code find_settings(generate_settings *g, const resume_settings *s, const state_file *f,
                               bool is_folder)
{
    char sentence[512];
    const resume_options *r = &s->resume;
    if (options_parse(g, generate_command.groups, 0, NULL, sentence, sizeof sentence) != PARSE_RUN)
        return complain(CODE_USAGE, "%s", sentence);
    g->machine = s->machine, g->sharing = s->sharing, g->pictures = s->pictures, g->tell = s->tell;
    g->file = (file_settings){.force = r->force};
    g->file.output.value = r->output.value ? r->output.value : state_find_file(f, "output");
    g->keep = (keep_settings){.every = r->every};
    if (is_folder) g->keep.checkpoint.value = r->from.value;
    if (f->info.steps_done < f->info.steps)
        g->keep.latents.value = state_find_file(f, "output-latent");
    TRY(record_apply(g, generate_command.groups, f->record, f->path));
    if (!g->job.make.model.value) g->job.make.model = r->model; /* its name was no UTF-8 */
    return CODE_DONE;
}

/* Latents fit any model's decoder, and are removed when the video is done. */
static exit_code check_decoder(const resume_options *r, const state_file *f)
{
    char given[PATH_MAX], kept[PATH_MAX];
    const char *model = state_find_file(f, "model");
    if (!r->model.value || !model || !realpath(model, kept) || !realpath(r->model.value, given) ||
        strcmp(given, kept) == 0)
        return CODE_DONE;
    return complain(CODE_USAGE,
                    "--model %s: only decoding is left of the run, which was begun with %s; lvsa "
                    "decode makes a video of its latents with another",
                    r->model.value, kept);
}

static exit_code go_on(const resume_settings *s, const state_file *f)
{
    const resume_options *r = &s->resume;
    const bool is_folder = strcmp(f->path, r->from.value) != 0;
    generate_settings g = {.common = s->common};
    const bool done = f->info.steps_done == f->info.steps;
    if (f->record && !done && !r->output.value && !state_find_file(f, "output"))
        return complain(CODE_USAGE,
                        "%s: the name of its video isn't kept, for it is no UTF-8: give --output",
                        f->path);
    if (!f->record || (done && !state_find_file(f, "output")))
        return complain(CODE_FAILED,
                        "%s: latents, and no run that could go on; lvsa decode makes a video of "
                        "them",
                        f->path);
    if (done) TRY(check_decoder(r, f));
    TRY(find_settings(&g, s, f, is_folder));
    if (!done)
        note(TALK_NORMAL, "going on after step %d of %d, into %s", f->info.steps_done,
             f->info.steps, g.file.output.value);
    else
        note(TALK_NORMAL, "all %d steps are done; decoding into %s", f->info.steps,
             g.file.output.value);
    return run_make(
        &(run_task){.s = &g,
                    .state = f->state,
                    .state_path = f->path,
                    .model = r->model.value ? r->model.value : state_find_file(f, "model")});
}

/* Frees the path. A pattern of pictures can't be looked for. */
static exit_code show_done(const char *from, char *video)
{
    exit_code code = CODE_DONE;
    if (access(video, F_OK) != 0 && !strchr(video, '%'))
        code = complain(CODE_FAILED,
                        "%s: the run is done, and its video isn't at %s any more; make it again "
                        "with lvsa generate",
                        from, video);
    else {
        note(TALK_NORMAL, "%s: the run is done, and this is its video", from);
        puts(video);
    }
    free(video);
    return code;
}

static exit_code run_resume(const void *settings)
{
    const resume_settings *s = settings;
    const char *from = s->resume.from.value;
    state_file f;
    if (!from) return complain(CODE_USAGE, "which run? Give the folder or file that it has left");
    char *video = keep_find_video(from);
    if (video) return show_done(from, video);
    exit_code code = state_open(&f, from);
    if (code == CODE_DONE) code = go_on(s, &f);
    state_close(&f);
    return code;
}

static const char *const resume_examples[] = {
    "lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p 'a red fox' -o fox.mp4 --checkpoint fox.run",
    "a run that saves itself once a minute",
    "lvsa resume fox.run",
    "goes on with it, after Ctrl-C or a power cut, and makes fox.mp4",
    "lvsa resume fox.unfinished.safetensors",
    "the same for a run without --checkpoint that Ctrl-C has ended",
    NULL};

const command resume_command = {
    .name = "resume",
    .summary = "go on with a run that was left",
    .details =
        "Goes on after the last step that was saved, with the options that the run began with, and "
        "makes the same video to the bit. The model has to be the same and lvsa of the same "
        "version. A run that is done is said to be so, and nothing is written.",
    .examples = resume_examples,
    .groups = resume_groups,
    .settings_size = sizeof(resume_settings),
    .computes = true,
    .shares = true,
    .run = run_resume};
