/* decode.c: `lvsa decode`: latents become a video. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "state.h"

typedef struct decode_options {
    text_setting latents, model, output;
    int_setting fps, force;
} decode_options;

typedef struct decode_settings {
    common_settings common; /* first: see run_command() */
    decode_options decode;
    machine_settings machine;
    sharing_settings sharing;
    picture_settings pictures;
    tell_settings tell;
} decode_settings;

enum { MOST_FPS = 1000 };

/* clang-format off */
static const option decode_table[] = {
    {"latents", 0, OPTION_TEXT, offsetof(decode_options, latents), "FILE", .operand = 1,
     .help = "a .safetensors of --output-latent, or with a tensor \"latents\" [C, T, Y, X] as "
             "diffusers gives them; the name of the option may be left out"},
    {"model", 'm', OPTION_TEXT, offsetof(decode_options, model), "DIR",
     .help = "directory of the checkpoint whose decoder it is (without it: as the file says)"},
    {"output", 'o', OPTION_TEXT, offsetof(decode_options, output), "FILE",
     .help = "the video, as of lvsa generate (without it: the latents' name and .y4m)"},
    {"fps", 0, OPTION_INT, offsetof(decode_options, fps), "N", .lo = 1, .hi = MOST_FPS,
     .help = "frames a second (without it: as the file says, or the model's usual)"},
    {"force", 'f', OPTION_FLAG, offsetof(decode_options, force), NULL,
     .help = "replace a file that is there"},
    {.name = NULL}};
/* clang-format on */

static const option_group decode_groups[] = {
    {"The latents, and a video", decode_table, offsetof(decode_settings, decode)},
    {"The machine", machine_options, offsetof(decode_settings, machine)},
    {"Several processes, by mpirun, srun or torchrun", sharing_options + 2,
     offsetof(decode_settings, sharing)},
    {"Pictures of it", picture_options + 1, offsetof(decode_settings, pictures)},
    {"What is told", tell_options, offsetof(decode_settings, tell)},
    {"Talk", common_options, offsetof(decode_settings, common)},
    {NULL, NULL, 0}};

/* "fox.y4m" of "fox.safetensors"; NULL: no memory. */
static char *usual_name(const char *latents)
{
    const char *dot = strrchr(latents, '.');
    const size_t length = dot && !strchr(dot, '/') ? (size_t)(dot - latents) : strlen(latents);
    char *name = malloc(length + sizeof ".y4m");
    if (name) sprintf(name, "%.*s.y4m", (int)length, latents);
    return name;
}

/* What made the latents makes the video, but for what the command line says. NULL: no record. */
static char *make_comment(const state_file *f, const generate_settings *g)
{
    json_t *record = json_deep_copy(f->record), *options = json_object_get(record, "options");
    json_object_del(record, "files");
    if (g->job.make.model.from == FROM_FLAG && options)
        json_object_set_new(options, "model", json_string(g->job.make.model.value));
    if (g->job.video.fps.from == FROM_FLAG && options)
        json_object_set_new(options, "fps", json_integer(g->job.video.fps.value));
    char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;
    json_decref(record);
    return text;
}

static exit_code decode(const decode_settings *s, const state_file *f, const char *output)
{
    const decode_options *d = &s->decode;
    char sentence[512];
    generate_settings g = {.common = s->common};
    if (f->info.steps_done < f->info.steps)
        return complain(CODE_FAILED,
                        "%s: a run after step %d of %d, still noise; lvsa resume goes on with it",
                        f->path, f->info.steps_done, f->info.steps);
    if (options_parse(&g, generate_command.groups, 0, NULL, sentence, sizeof sentence) != PARSE_RUN)
        return complain(CODE_USAGE, "%s", sentence);
    g.machine = s->machine, g.sharing = s->sharing, g.pictures = s->pictures, g.tell = s->tell;
    g.job.make.model = d->model, g.job.video.fps = d->fps;
    g.file = (file_settings){.output = {FROM_FLAG, output}, .force = d->force};
    if (f->record) TRY(record_apply(&g, generate_command.groups, f->record, f->path));
    if (!g.job.make.model.value)
        return complain(CODE_USAGE,
                        "%s doesn't say which model it is of: give --model, a directory", f->path);
    char *comment = make_comment(f, &g);
    exit_code code =
        run_make(&(run_task){.s = &g, .state = f->state, .decode = 1, .comment = comment});
    free(comment);
    return code;
}

static exit_code run_decode(const void *settings)
{
    const decode_settings *s = settings;
    const char *latents = s->decode.latents.value;
    state_file f;
    if (!latents) return complain(CODE_USAGE, "which latents? Give a .safetensors");
    char *usual = usual_name(latents);
    exit_code code = usual ? state_open(&f, latents) : CODE_MEMORY;
    if (code == CODE_DONE)
        code = decode(s, &f, s->decode.output.value ? s->decode.output.value : usual);
    if (usual) state_close(&f);
    else complain(code, "a name doesn't fit in memory");
    free(usual);
    return code;
}

static const char *const decode_examples[] = {
    "lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p 'a red fox' --output-latent fox.safetensors",
    "a video, and its latents",
    "lvsa decode fox.safetensors -o fox.webm",
    "the same video once more, without its steps",
    "lvsa decode latents.safetensors -m Wan2.1-T2V-1.3B-Diffusers -o fox.mp4",
    "what another program has made",
    NULL};

const command decode_command = {
    .name = "decode",
    .summary = "make a video of latents",
    .details = "Decodes latents that a run has kept, with --output-latent or because its video "
               "couldn't be written, or that another program has made. The video says what made "
               "it, as if lvsa generate had written it.",
    .examples = decode_examples,
    .groups = decode_groups,
    .settings_size = sizeof(decode_settings),
    .computes = true,
    .shares = true,
    .run = run_decode};
