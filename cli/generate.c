/* generate.c: `lvsa generate`: a prompt becomes a video file. */
#include "run.h"

/* clang-format off */
static const option file_options[] = {
    {"output", 'o', OPTION_TEXT, offsetof(file_settings, output), "FILE",
     .help = "the video: clip.mp4, .webm, .y4m, or out_%04d.png for a picture a frame (without it: "
             "video-SEED.y4m)"},
    {"output-dir", 0, OPTION_TEXT, offsetof(file_settings, folder), "DIR",
     .help = "where it is written (without it: here)"},
    {"output-name", 0, OPTION_TEXT, offsetof(file_settings, name), "NAME",
     .help = "its name there, as -o has it"},
    {"force", 'f', OPTION_FLAG, offsetof(file_settings, force), NULL,
     .help = "replace a file that is there"},
    {"dry-run", 0, OPTION_FLAG, offsetof(file_settings, dry_run), NULL,
     .help = "print what the video would need, and stop"},
    {.name = NULL}};
/* clang-format on */

static const option_group generate_groups[] = {
    {"What to make", make_options, offsetof(generate_settings, job.make)},
    {"How long and how large", video_options, offsetof(generate_settings, job.video)},
    {"Sampling", sampling_options, offsetof(generate_settings, job.sampling)},
    {"Sparse attention, in frames of the video", pixel_pattern_options,
     offsetof(generate_settings, job.pattern)},
    {"Sparse attention", sparse_options, offsetof(generate_settings, job.sparse)},
    {"The machine", machine_options, offsetof(generate_settings, machine)},
    {"Several processes, by mpirun, srun or torchrun", sharing_options,
     offsetof(generate_settings, sharing)},
    {"The file", file_options, offsetof(generate_settings, file)},
    {"Keeping the work", keep_options, offsetof(generate_settings, keep)},
    {"Pictures of it", picture_options, offsetof(generate_settings, pictures)},
    {"What is told", tell_options, offsetof(generate_settings, tell)},
    {"Talk", common_options, offsetof(generate_settings, common)},
    {NULL, NULL, 0}};

static exit_code run_generate(const void *settings)
{
    generate_settings s = *(const generate_settings *)settings;
    json_t *record = NULL;
    const char *source = s.job.make.source.value;
    exit_code code = source ? record_read(&record, source) : CODE_DONE;
    if (record) code = record_apply(&s, generate_groups, record, source);
    if (code == CODE_DONE) code = run_make(&(run_task){.s = &s});
    json_decref(record);
    return code;
}

static const char *const generate_examples[] = {
    "lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p 'a red fox in the snow' -o fox.mp4",
    "the model's usual length and size",
    "lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p 'a red fox' --seconds 20 --seed 7 -o fox.y4m",
    "four times the length it was trained on, with sparse attention",
    "lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p '' --num-frames 481 --dry-run",
    "what that would need",
    "lvsa generate --from fox.mp4 --seed 8 -o other.mp4",
    "the run that made fox.mp4, with another seed",
    "mpirun -n 4 lvsa generate -m Wan2.1-T2V-1.3B-Diffusers -p 'a red fox' --vae-parallel",
    "by four processes together, each with a GPU of its own or on the CPU",
    NULL};

const command generate_command = {
    .name = "generate",
    .summary = "make a video from a prompt",
    .details =
        "Makes a video with a text-to-video model and prints the path of its file. Above the "
        "length that the model was trained on, frames attend to some frames only (lvsa plan "
        "shows which), with keyframes that move on with each step; below it attention is dense. "
        "What no option says is taken from the environment, then from lvsa.json in the model's "
        "directory, then from the family's usual numbers. Ctrl-C lets the step end, saves the run "
        "and says how to go on with it; latents are saved before they are decoded, beside the "
        "video unless an option says where, and removed when it is done.",
    .examples = generate_examples,
    .groups = generate_groups,
    .settings_size = sizeof(generate_settings),
    .computes = true,
    .shares = true,
    .run = run_generate};
