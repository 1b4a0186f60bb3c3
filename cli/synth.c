/* synth.c: `lvsa synth`: a checkpoint of random weights. */
#include <lvsa/lvsa_synth.h>

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "interrupt.h"

typedef struct synth_options {
    int_setting name;
    text_setting directory, parts;
    whole_setting seed;
    int_setting layers, threads, force;
} synth_options;

typedef struct synth_settings {
    common_settings common; /* first: see run_command() */
    synth_options synth;
} synth_settings;

static const char *synth_name(int index) { return lvsa_synth_name(index); }

/* clang-format off */
static const option synth_table[] = {
    {"name", 0, OPTION_CHOICE, offsetof(synth_options, name), "NAME", .choice = synth_name,
     .operand = 1, .help = "whose layout and sizes; the name of the option may be left out"},
    {"output", 'o', OPTION_TEXT, offsetof(synth_options, directory), "DIR", .operand = 1,
     .help = "directory to make; here too the option's name may be left out"},
    {"parts", 0, OPTION_TEXT, offsetof(synth_options, parts), "LIST",
     .fallback = "transformer,text_encoder,vae",
     .help = "only the weights of these; all else is always written"},
    {"layers", 0, OPTION_INT, offsetof(synth_options, layers), "N", .lo = 0, .hi = 1000,
     .fallback = "0",
     .help = "blocks of the transformer, 0 for all: a pass of few tells what one of all takes"},
    {"seed", 's', OPTION_WHOLE, offsetof(synth_options, seed), "N", .fallback = "0",
     .help = "of the weights"},
    {"threads", 't', OPTION_INT, offsetof(synth_options, threads), "N", .lo = 0, .hi = 4096,
     .fallback = "0", .help = "that write, 0 for one a processor"},
    {"force", 'f', OPTION_FLAG, offsetof(synth_options, force), NULL,
     .help = "replace the files of a directory that exists"},
    {.name = NULL}};
/* clang-format on */

static const option_group synth_groups[] = {
    {"The checkpoint", synth_table, offsetof(synth_settings, synth)},
    {"Talk", common_options, offsetof(synth_settings, common)},
    {NULL, NULL, 0}};

static const struct {
    const char *name;
    unsigned bit;
} part_names[] = {{"transformer", LVSA_SYNTH_TRANSFORMER},
                  {"text_encoder", LVSA_SYNTH_TEXT_ENCODER},
                  {"vae", LVSA_SYNTH_VAE}};
enum { PART_NAMES = sizeof part_names / sizeof part_names[0] };

/* "vae,transformer" */
static exit_code read_parts(unsigned *out, const char *list)
{
    *out = 0;
    for (const char *at = list; *at;) {
        const size_t length = strcspn(at, ",");
        int i = 0;
        while (i < PART_NAMES && (strlen(part_names[i].name) != length ||
                                  memcmp(part_names[i].name, at, length) != 0))
            i++;
        if (i == PART_NAMES)
            return complain(CODE_USAGE,
                            "--parts %.60s: transformer, text_encoder and vae are "
                            "wanted, commas between",
                            list);
        *out |= part_names[i].bit;
        at += length;
        at += *at == ',';
    }
    return *out ? CODE_DONE : complain(CODE_USAGE, "--parts \"\": at least one is wanted");
}

static int on_progress(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    return interrupt_count() > 0;
}

static exit_code run_synth(const void *settings)
{
    const synth_options *s = &((const synth_settings *)settings)->synth;
    lvsa_synth_options o = LVSA_SYNTH_OPTIONS_INIT;
    int64_t bytes;
    if (s->name.from != FROM_FLAG || !s->directory.value)
        return complain(CODE_USAGE, "a NAME and a DIR are wanted: lvsa synth wan2.1-1.3b DIR");
    TRY(read_parts(&o.parts, s->parts.value));
    o.name = lvsa_synth_name(s->name.value);
    o.directory = s->directory.value;
    o.seed = s->seed.value;
    o.layers = s->layers.value;
    o.threads = s->threads.value;
    o.replace = s->force.value;
    o.on_progress = on_progress;
    interrupt_catch();
    const double begin = clock_seconds();
    const lvsa_status status = lvsa_synth_write(&bytes, &o);
    if (status == LVSA_ERR_CANCELLED)
        return complain(CODE_INTERRUPTED, "interrupted; nothing of the checkpoint is left");
    TRY(complain_status(status));
    const double seconds = clock_seconds() - begin;
    note(TALK_NORMAL, "%.4g GB in %.2f s, %.2f GB/s", 1e-9 * (double)bytes, seconds,
         1e-9 * (double)bytes / seconds);
    puts(o.directory);
    return CODE_DONE;
}

static const char *const synth_examples[] = {"lvsa synth wan2.1-1.3b random",
                                             "the smallest Wan 2.1, 15 GB",
                                             "lvsa synth wan2.1-14b random --parts transformer,vae",
                                             "without the text encoder's 11 GB",
                                             "lvsa synth tiny random",
                                             "a few MB, for tests of programs",
                                             NULL};

const command synth_command = {
    .name = "synth",
    .summary = "write a checkpoint with random weights, of a real one's size",
    .details =
        "Makes a directory that loads and runs as a published checkpoint of this name does, in "
        "bf16 (the VAE in f32), with random numbers for weights: to measure speed and memory "
        "without a download. The same seed makes the same files. Its videos are noise.",
    .examples = synth_examples,
    .groups = synth_groups,
    .settings_size = sizeof(synth_settings),
    .run = run_synth};
