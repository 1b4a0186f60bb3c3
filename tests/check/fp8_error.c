/* fp8_error.c: no test, a measurement: what fp8 changes of a video. One job twice on the CPU, in
 * f32 and with the blocks' dense layers multiplying e4m3 as a GPU does, sums in f32. Prints how far
 * latents and frames are apart, and writes both videos, OUT-f32.y4m and OUT-fp8.y4m.
 *
 *     fp8_error MODEL PROMPT SEED OUT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/e4m3.h"
#include "pipeline/work.h"

typedef struct made {
    float *latents;
    size_t count;
    uint8_t *frames; /* [bytes] */
    size_t bytes;
    lvsa_video *video;
} made;

static void check(lvsa_status s)
{
    if (s == LVSA_OK) return;
    fprintf(stderr, "%s\n", lvsa_last_error());
    exit(1);
}

static int on_latents(void *user, const float *latents, const int64_t shape[4])
{
    made *m = user;
    m->count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    m->latents = malloc(m->count * sizeof *latents);
    if (!m->latents) return 1;
    memcpy(m->latents, latents, m->count * sizeof *latents);
    return 0;
}

static int on_frame(void *user, const lvsa_frame *f)
{
    made *m = user;
    const size_t bytes = (size_t)f->width * (size_t)f->height * 3;
    uint8_t *frames = realloc(m->frames, m->bytes + bytes);
    if (!frames) return 1;
    memcpy(frames + m->bytes, f->rgb, bytes);
    m->frames = frames, m->bytes += bytes;
    return lvsa_video_write(m->video, f->rgb) != LVSA_OK;
}

static void make(made *m, char **argv, bool fp8)
{
    lvsa_pipeline_options o = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *p;
    lvsa_job job = LVSA_JOB_INIT;
    lvsa_video_format format = LVSA_VIDEO_FORMAT_INIT;
    char path[4096];
    o.model = argv[1];
    check(lvsa_pipeline_open(&p, &o));
    if (fp8) e4m3_install(p->device);
    lvsa_pipeline_job_defaults(&job, p);
    job.prompt = argv[2], job.seed = strtoull(argv[3], NULL, 10);
    job.on_latents = on_latents, job.on_frame = on_frame, job.user = m;
    format.width = job.width, format.height = job.height, format.replace = 1;
    snprintf(path, sizeof path, "%s-%s.y4m", argv[4], fp8 ? "fp8" : "f32");
    check(lvsa_video_open(&m->video, path, &format));
    check(lvsa_generate(p, &job));
    check(lvsa_video_finish(&m->video));
    lvsa_pipeline_close(&p);
}

int main(int argc, char **argv)
{
    made a = {0}, b = {0};
    double square = 0.0, off = 0.0, least = INFINITY, most = -INFINITY, wrong = 0.0;
    if (argc != 5) return fprintf(stderr, "fp8_error MODEL PROMPT SEED OUT\n"), 2;
    make(&a, argv, false);
    make(&b, argv, true);
    for (size_t i = 0; i < a.count; i++) {
        const double x = a.latents[i], d = b.latents[i] - x;
        square += x * x, off += d * d;
        least = fmin(least, x), most = fmax(most, x);
    }
    for (size_t i = 0; i < a.bytes; i++) {
        const double d = (double)a.frames[i] - b.frames[i];
        wrong += d * d;
    }
    printf("%s: latents %.1f dB of their range, %.1f %% off; frames %.1f dB\n", argv[2],
           10.0 * log10((most - least) * (most - least) * (double)a.count / off),
           100.0 * sqrt(off / square), 10.0 * log10(255.0 * 255.0 * (double)a.bytes / wrong));
    free(a.latents), free(a.frames), free(b.latents), free(b.frames);
    return 0;
}
