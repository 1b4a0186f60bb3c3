/* generate.c: a video from a prompt, by the library alone.
 * Build: cc generate.c $(pkg-config --cflags --libs lvsa)
 * Run:   ./a.out models/tiny-wan "a red circle moving right on a white background" circle.y4m */
#include <stdio.h>

#include <lvsa/lvsa.h>

typedef struct output {
    lvsa_video *video;
    char failure[512]; /* why a frame couldn't be written; "": none failed */
} output;

static int on_progress(void *user, const lvsa_progress *p)
{
    (void)user;
    if (p->phase == LVSA_PHASE_DENOISE) fprintf(stderr, "step %d of %d\n", p->done, p->total);
    return 0;
}

static int on_frame(void *user, const lvsa_frame *frame)
{
    output *o = user;
    if (lvsa_video_write(o->video, frame->rgb) == LVSA_OK) return 0;
    snprintf(o->failure, sizeof o->failure, "%s", lvsa_last_error());
    return 1; /* ends the job with LVSA_ERR_CANCELLED, whose sentence says no more than that */
}

static lvsa_status make(output *o, lvsa_pipeline *pipeline, const char *prompt, const char *path)
{
    lvsa_job job = LVSA_JOB_INIT;
    lvsa_pipeline_job_defaults(&job, pipeline); /* the checkpoint's sizes, steps and pattern */
    job.prompt = prompt, job.seed = 1;
    job.on_progress = on_progress, job.on_frame = on_frame, job.user = o;

    lvsa_forecast forecast = {.size = sizeof forecast};
    lvsa_status s = lvsa_pipeline_forecast(&forecast, pipeline, &job);
    if (s != LVSA_OK) return s;
    fprintf(stderr, "%d frames of %dx%d, %.1f MB of memory\n", forecast.frames, forecast.width,
            forecast.height, 1e-6 * (double)forecast.needed);

    lvsa_video_format format = LVSA_VIDEO_FORMAT_INIT;
    format.width = forecast.width, format.height = forecast.height;
    format.rate = lvsa_pipeline_get_geometry(pipeline)->fps;
    s = lvsa_video_open(&o->video, path, &format);
    if (s == LVSA_OK) s = lvsa_generate(pipeline, &job);
    if (s == LVSA_OK) s = lvsa_video_finish(&o->video);
    lvsa_video_abort(&o->video); /* of what wasn't finished nothing is left */
    return s;
}

int main(int argc, char **argv)
{
    lvsa_pipeline_options options = LVSA_PIPELINE_OPTIONS_INIT;
    lvsa_pipeline *pipeline;
    output o = {.video = NULL};
    if (argc != 4) {
        fprintf(stderr, "usage: generate MODEL PROMPT VIDEO\n");
        return 2;
    }
    options.model = argv[1], options.device = LVSA_DEVICE_AUTO;
    lvsa_status s = lvsa_pipeline_open(&pipeline, &options);
    if (s == LVSA_OK) s = make(&o, pipeline, argv[2], argv[3]);
    if (s != LVSA_OK) fprintf(stderr, "%s\n", o.failure[0] ? o.failure : lvsa_last_error());
    lvsa_pipeline_close(&pipeline);
    return s == LVSA_OK ? 0 : 1;
}
