/* forecast.c: memory in words. */
#include "forecast.h"

#include <stdbool.h>
#include <stdio.h>

enum { EACH_TEXT = 48 };

const char *forecast_bytes(char text[FORECAST_BYTES_TEXT], int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024.0;
    int i = 0;
    for (; value >= 1000.0 && i < 5; i++) value /= 1024.0;
    snprintf(text, FORECAST_BYTES_TEXT, "%.1f %s", value, units[i]);
    return text;
}

/* What the memory is of. */
static const char *owner(lvsa_device device)
{
    return device == LVSA_DEVICE_CUDA ? "GPU" : "machine";
}

/* A GPU's is all that it has, and what others hold of it is part of what is needed. */
static const char *left_of(lvsa_device device) { return device == LVSA_DEVICE_CUDA ? "" : " left"; }

/* Of several processes that share the memory. */
static const char *in_each(char text[EACH_TEXT], const lvsa_forecast *f)
{
    *text = '\0';
    if (f->ranks > 1) snprintf(text, EACH_TEXT, " in each of %d processes", f->ranks);
    return text;
}

void forecast_print(const lvsa_forecast *f, lvsa_device device, int fps)
{
    char text[FORECAST_BYTES_TEXT], each[EACH_TEXT];
    printf("video        %d frame%s of %dx%d, %.2f s at %d a second\n", f->frames,
           f->frames == 1 ? "" : "s", f->width, f->height, (double)f->frames / fps, fps);
    printf("attention    %s over %d latent frame%s\n", f->sparse ? "sparse" : "dense",
           f->latent_frames, f->latent_frames == 1 ? "" : "s");
    printf("memory       %s", forecast_bytes(text, f->needed));
    if (f->available)
        printf(", the %s has %s%s", owner(device), forecast_bytes(text, f->available),
               left_of(device));
    printf("\n  text       %s\n", forecast_bytes(text, f->text));
    printf("  denoising  %s%s\n", forecast_bytes(text, f->denoise), in_each(each, f));
    printf("  decoding   %s\n", forecast_bytes(text, f->decode));
}

/* Bytes of the same job with so many frames; -1 where it can't be forecast. */
static int64_t needed_for(lvsa_pipeline *pipeline, const lvsa_job *job, int frames)
{
    lvsa_forecast f = {.size = sizeof f};
    lvsa_job other = *job;
    other.frames = frames, other.on_message = NULL;
    return lvsa_pipeline_forecast(&f, pipeline, &other) == LVSA_OK ? f.needed : -1;
}

/* The most frames that fit, within 3 %; 0: not one. */
static int find_fitting(const lvsa_forecast *f, lvsa_pipeline *pipeline, const lvsa_job *job)
{
    const int factor = lvsa_pipeline_get_geometry(pipeline)->temporal_factor;
    int fits = 0, too_many = f->latent_frames; /* latent frames */
    while (too_many - fits > 1 + fits / 32) {
        const int middle = fits + (too_many - fits) / 2;
        const int64_t needed = needed_for(pipeline, job, (middle - 1) * factor + 1);
        if (needed < 0) return 0;
        if (needed <= f->available) fits = middle;
        else too_many = middle;
    }
    return fits ? (fits - 1) * factor + 1 : 0;
}

void forecast_note(const lvsa_forecast *f, lvsa_device device)
{
    char needed[FORECAST_BYTES_TEXT], left[FORECAST_BYTES_TEXT];
    if (f->available)
        note(TALK_NORMAL, "needs %s of memory, the %s has %s", forecast_bytes(needed, f->needed),
             owner(device), forecast_bytes(left, f->available));
    else note(TALK_NORMAL, "needs %s of memory", forecast_bytes(needed, f->needed));
}

/* Whether the same job fits with the transformer in the machine's memory. */
static bool offload_helps(const lvsa_forecast *f, lvsa_device device,
                          const lvsa_pipeline_options *options, const lvsa_job *job)
{
    lvsa_pipeline_options with = *options;
    lvsa_pipeline *other;
    if (options->offload || device == LVSA_DEVICE_CPU) return false;
    with.offload = 1;
    if (lvsa_pipeline_open(&other, &with) != LVSA_OK) return false;
    const int64_t needed = needed_for(other, job, f->frames);
    lvsa_pipeline_close(&other);
    return needed >= 0 && needed <= f->available;
}

exit_code forecast_check(const lvsa_forecast *f, lvsa_pipeline *pipeline,
                         const lvsa_pipeline_options *options, const lvsa_job *job)
{
    char needed[FORECAST_BYTES_TEXT], text[FORECAST_BYTES_TEXT], denoise[FORECAST_BYTES_TEXT],
        decode[FORECAST_BYTES_TEXT], left[FORECAST_BYTES_TEXT], each[EACH_TEXT], way[128];
    const lvsa_device device = lvsa_pipeline_get_device(pipeline);
    if (f->available == 0 || f->needed <= f->available) return CODE_DONE;
    if (job->state)
        return complain(CODE_MEMORY,
                        "the rest of the run needs %s of memory, and the %s has %s%s; end what "
                        "else runs, or go on where there is more",
                        forecast_bytes(needed, f->needed), owner(device),
                        forecast_bytes(left, f->available), left_of(device));
    const int frames = f->text > f->available ? 0 : find_fitting(f, pipeline, job);
    const bool offload = f->text <= f->available && offload_helps(f, device, options, job);
    if (frames > 0)
        snprintf(way, sizeof way, "%s--num-frames %d would fit",
                 offload ? "it would fit with --offload; without, " : "", frames);
    else if (offload) snprintf(way, sizeof way, "it would fit with --offload");
    else if (f->text > f->available)
        snprintf(way, sizeof way, "the text encoder alone is too large for it");
    else
        snprintf(way, sizeof way, "not one frame fits: make --height and --width smaller%s",
                 f->ranks > 1 ? ", or start fewer processes" : "");
    return complain(
        CODE_MEMORY,
        "%d frame%s of %dx%d need%s %s of memory (text %s, denoising %s%s, decoding %s), and "
        "the %s has %s%s; %s",
        f->frames, f->frames == 1 ? "" : "s", f->width, f->height, f->frames == 1 ? "s" : "",
        forecast_bytes(needed, f->needed), forecast_bytes(text, f->text),
        forecast_bytes(denoise, f->denoise), in_each(each, f), forecast_bytes(decode, f->decode),
        owner(device), forecast_bytes(left, f->available), left_of(device), way);
}
