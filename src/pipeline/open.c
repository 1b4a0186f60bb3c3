/* open.c: a pipeline from a checkpoint's directory. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "pipeline/work.h"

enum { THREADS_MOST = 1024 };

/* The families that can generate. */
static const struct {
    const char *family;
    const lv_model_class *class;
} generators[] = {{"wan2.1-1.3b", &lv_wan_class}, {"wan2.1-14b", &lv_wan_class}};

static lvsa_status find_class(lvsa_pipeline *p)
{
    for (size_t i = 0; i < sizeof generators / sizeof generators[0]; i++)
        if (strcmp(p->geometry.family, generators[i].family) == 0) {
            p->class = generators[i].class;
            return LVSA_OK;
        }
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   "%s: a %s checkpoint; this version generates with wan2.1-1.3b and wan2.1-14b",
                   p->directory, p->geometry.family);
}

lvsa_status lv_pipeline_find_part(char path[LV_PATH_MOST], const lvsa_pipeline *p, const char *part)
{
    return lv_path_join(path, LV_PATH_MOST, p->directory, part);
}

/* A rank's GPU is that of its place among the ranks of its host. */
static lvsa_status find_gpu(int *gpu, const lvsa_pipeline_options *o)
{
    *gpu = o->gpu;
    if (!o->ranks || o->ranks->size == 1) return LVSA_OK;
    *gpu = lv_comm_find_gpu(o->ranks);
    if (o->gpu == 0) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "GPU %d for each of %d ranks: each takes one of its own; name none, and let "
                   "CUDA_VISIBLE_DEVICES say which there are",
                   o->gpu, o->ranks->size);
}

static lvsa_status open_device(lvsa_pipeline *p, const lvsa_pipeline_options *o)
{
    int gpu;
    LV_TRY(find_gpu(&gpu, o));
    switch (o->device) {
    case LVSA_DEVICE_CPU: return lv_device_open(&p->device, o->device, o->threads);
    case LVSA_DEVICE_CUDA: return lv_device_open(&p->device, o->device, gpu);
    case LVSA_DEVICE_AUTO: return lv_device_open_auto(&p->device, gpu, o->threads);
    }
    return lv_fail(LVSA_ERR_ARGUMENT, "device %d: there is no such", (int)o->device);
}

static lvsa_status choose_precision(lvsa_pipeline *p, const lvsa_pipeline_options *o)
{
    p->device->fp8 = o->precision == LVSA_PRECISION_FP8;
    if ((unsigned)o->precision > LVSA_PRECISION_FP8)
        return lv_fail(LVSA_ERR_ARGUMENT, "precision %d: there is no such", (int)o->precision);
    if (!p->device->fp8 || p->device->takes_e4m3) return LVSA_OK;
    return lv_fail(LVSA_ERR_UNSUPPORTED,
                   p->device->kind == LVSA_DEVICE_CPU
                       ? "fp8: the CPU computes in fp32; a GPU from sm_90 on has it: use that, or "
                         "--dtype auto"
                       : "fp8: this GPU is older than sm_90, from which on cuBLAS has it; use "
                         "--dtype auto");
}

static lvsa_status open_parts(lvsa_pipeline *p, const lvsa_pipeline_options *o)
{
    char path[LV_PATH_MOST];
    p->geometry.size = sizeof p->geometry;
    LV_TRY(lv_model_read(&p->geometry, &p->defaults, o->model));
    LV_TRY(find_class(p));
    LV_TRY(open_device(p, o));
    p->ranks = o->ranks;
    if (!lvsa_sequence_name(o->sequence))
        return lv_fail(LVSA_ERR_ARGUMENT, "sequence %d: there is no such", (int)o->sequence);
    p->sequence = o->sequence, p->cfg_parallel = o->cfg_parallel, p->vae_parallel = o->vae_parallel;
    p->device->offload = o->offload && p->device->kind == LVSA_DEVICE_CUDA;
    LV_TRY(choose_precision(p, o));
    p->schedule = LV_SCHEDULE_OPTIONS_INIT;
    LV_TRY(lv_pipeline_find_part(path, p, "scheduler/scheduler_config.json"));
    LV_TRY(lv_schedule_options_from_json(&p->schedule, path));
    LV_TRY(lv_pipeline_find_part(path, p, "tokenizer"));
    return lv_tokenizer_open(&p->tokenizer, path);
}

lvsa_status lvsa_pipeline_open(lvsa_pipeline **out, const lvsa_pipeline_options *o)
{
    *out = NULL;
    if (o->size != sizeof *o || !o->model || o->threads < 0 || o->threads > THREADS_MOST ||
        o->gpu < 0)
        return lv_fail(LVSA_ERR_ARGUMENT,
                       "lvsa_pipeline_options: start with LVSA_PIPELINE_OPTIONS_INIT, give a model "
                       "directory, 0 to %d threads, and a GPU from 0 on",
                       THREADS_MOST);
    lvsa_pipeline *p = lv_zalloc(sizeof *p);
    if (p) p->directory = lv_strndup(o->model, strlen(o->model));
    lvsa_status s = p && p->directory
                        ? open_parts(p, o)
                        : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a pipeline", o->model);
    if (s != LVSA_OK) lvsa_pipeline_close(&p);
    *out = p;
    return s;
}

void lvsa_pipeline_close(lvsa_pipeline **pipeline)
{
    if (!pipeline || !*pipeline) return;
    lvsa_pipeline *p = *pipeline;
    lv_preview_free(&p->preview);
    lv_vae_close(&p->vae);
    lv_model_close(&p->model);
    lv_tokenizer_close(&p->tokenizer);
    lv_device_close(&p->device);
    lv_defaults_release(&p->defaults);
    lv_free(p->directory);
    lv_free(p);
    *pipeline = NULL;
}

lvsa_device lvsa_pipeline_get_device(const lvsa_pipeline *p) { return p->device->kind; }

const lvsa_geometry *lvsa_pipeline_get_geometry(const lvsa_pipeline *p) { return &p->geometry; }

void lvsa_pipeline_job_defaults(lvsa_job *job, const lvsa_pipeline *p)
{
    const lv_defaults *d = &p->defaults;
    job->frames = p->geometry.frames;
    job->height = p->geometry.height;
    job->width = p->geometry.width;
    job->steps = d->steps;
    job->guidance = d->guidance;
    job->flow_shift = d->flow_shift;
    job->negative_prompt = d->negative_prompt;
    job->plan = d->plan;
    job->plan.reference_latent_frames = p->geometry.reference_latent_frames;
    job->hold_keyframes = d->hold_keyframes;
}
