/* denoise.c: from noise to latents, a step at a time. */
#include <string.h>

#include "base/mem.h"
#include "flow/schedule/noise.h"
#include "pipeline/work.h"

void lv_work_find_latents(lv_work *w)
{
    w->shape[0] = w->p->model->channels;
    w->shape[2] = w->height * w->p->model->patch / w->p->geometry.pixels_per_patch;
    w->shape[3] = w->width * w->p->model->patch / w->p->geometry.pixels_per_patch;
    w->count = (size_t)(w->shape[0] * w->shape[1] * w->shape[2] * w->shape[3]);
    memcpy(w->own, w->shape, sizeof w->own);
    if (w->sequence) w->own[1] = w->sequence->frames;
    w->own_count = w->count / (size_t)w->shape[1] * (size_t)w->own[1];
}

lvsa_status lv_work_make_latents(lv_work *w)
{
    lv_work_find_latents(w);
    w->latents = lv_zalloc_array(w->count, sizeof *w->latents);
    w->velocity = lv_zalloc_array(w->count, sizeof *w->velocity);
    w->away = lv_zalloc_array(w->count, sizeof *w->away);
    if (!w->latents || !w->velocity || !w->away)
        return lv_fail(LVSA_ERR_MEMORY, "%zu latents don't fit in memory three times", w->count);
    LV_TRY(lv_work_make_parts(w));
    if (w->job->state) return lv_work_take_latents(w);
    if (w->job->noise) {
        memcpy(w->latents, w->job->noise, w->count * sizeof *w->latents);
    } else {
        lv_noise noise;
        lv_noise_seed(&noise, w->job->seed);
        lv_noise_fill(&noise, w->latents, w->count);
    }
    return lv_work_send_latents(w);
}

/* One pass: velocity[text] of the latents, on its way to the host; see await_velocity(). Of two
 * groups both velocities. */
static lvsa_status predict(lv_work *w, float *const velocity[], const lv_step *step)
{
    lv_model *m = w->p->model;
    lv_device *device = w->p->device;
    LV_TRY(m->class->forward(m, &w->exec, w->v, w->z, step));
    if (w->exec.arena.measuring) return LVSA_OK;
    LV_TRY(lv_work_gather(w));
    const size_t bytes = (size_t)lv_tensor_count(w->all) * sizeof(float);
    if (device->fetch) return device->fetch(device, step->text, w->all.data, bytes);
    if (!w->parts) return device->download(device, velocity[step->text], w->all.data, bytes);
    LV_TRY(device->download(device, w->parts, w->all.data, bytes));
    lv_work_arrange(w->group ? velocity : velocity + step->text, w, w->parts);
    return LVSA_OK;
}

/* found[text]: where the velocity is when it has come, velocity[text] or the device's memory. */
static lvsa_status await_velocity(const float **found, lv_work *w, float *const velocity[],
                                  int text)
{
    lv_device *device = w->p->device;
    const void *memory;
    if (!device->fetch) return LVSA_OK;
    LV_TRY(device->await(device, &memory, text));
    if (w->p->ranks) LV_TRY(lv_comm_check(w->p->ranks));
    if (w->part_bytes) lv_work_arrange(w->group ? velocity : velocity + text, w, memory);
    else found[text] = memory;
    return LVSA_OK;
}

/* v = away + guidance * (toward - away); v may be either. */
static void lead_away(float *v, const float *toward, const float *away, size_t count,
                      float guidance)
{
#ifdef LVSA_HAVE_OPENMP
#pragma omp parallel for simd schedule(static) if (count >= LV_WORK_PARALLEL)
#endif
    for (size_t j = 0; j < count; j++) v[j] = away[j] + guidance * (toward[j] - away[j]);
}

/* With guidance the second pass is asked for before the first has come. */
static lvsa_status run_passes(lv_work *w, lv_step *step)
{
    float *const velocity[] = {w->velocity, w->away};
    const float *found[] = {w->velocity, w->away};
    for (step->text = w->first_text; step->text < w->end_text; step->text++)
        LV_TRY(predict(w, velocity, step));
    for (int text = w->first_text; text < w->end_text; text++)
        LV_TRY(await_velocity(found, w, velocity, text));
    if (w->texts == 2)
        lead_away(w->velocity, found[0], found[1], w->count, (float)w->job->guidance);
    else if (found[0] != w->velocity) memcpy(w->velocity, found[0], w->count * sizeof **found);
    return LVSA_OK;
}

/* The passes' scratch from its start: the latents and what becomes of them, then a pass's own. */
static lvsa_status take_latents(lv_work *w)
{
    LV_TRY(lv_take(&w->z, &w->exec, LVSA_F32, 4, w->own));
    LV_TRY(lv_take(&w->v, &w->exec, LVSA_F32, 4, w->own));
    return lv_work_take_all(w);
}

lvsa_status lv_work_measure_passes(lv_work *w)
{
    lv_step step = {.runs = w->plan ? lvsa_plan_get_runs(w->plan) : NULL,
                    .backend = w->job->backend,
                    .attention_fp8 = w->job->attention_fp8,
                    .riflex = w->riflex.pair >= 0 ? &w->riflex : NULL,
                    .sequence = w->sequence};
    w->exec = lv_exec_measure(w->p->device);
    LV_TRY(take_latents(w));
    for (step.text = w->first_text; step.text < w->end_text; step.text++)
        LV_TRY(predict(w, NULL, &step));
    return LVSA_OK;
}

/* To where step i wants the keyframes. */
static lvsa_status move_keyframes(lv_work *w, int i)
{
    LV_TRY(lvsa_plan_set_step(w->plan, i));
    return w->sequence ? lv_sequence_update(w->sequence) : LVSA_OK;
}

/* A GPU's tiles depend on where the keyframes are, and are made while memory is measured; and what
 * a rank receives takes more memory in some places than in others. So one pass is measured for
 * every place, and no step has to wait for tiles or lacks memory. */
static lvsa_status measure_rotations(lv_work *w)
{
    lvsa_plan_info info = {.size = sizeof info};
    if (!w->plan || w->job->hold_keyframes || !(w->p->device->find_tiles || w->sequence))
        return LVSA_OK;
    size_t peak = w->exec.arena.peak;
    LV_TRY(lvsa_plan_get_info(&info, w->plan));
    for (int i = 1; i < info.keyframe_interval && i < w->job->steps; i++) {
        LV_TRY(move_keyframes(w, i));
        LV_TRY(lv_work_measure_passes(w));
        if (w->exec.arena.peak > peak) peak = w->exec.arena.peak;
    }
    w->exec.arena.peak = peak;
    return LVSA_OK;
}

lvsa_status lv_work_prepare_passes(lv_work *w)
{
    if (w->plan && !w->job->hold_keyframes) LV_TRY(move_keyframes(w, 0));
    LV_TRY(lv_work_measure_passes(w));
    LV_TRY(measure_rotations(w));
    LV_TRY(lv_exec_begin(&w->exec));
    return take_latents(w);
}

lvsa_status lv_work_find_velocity(lv_work *w, lv_step *step, float timestep, int i)
{
    const lvsa_job *job = w->job;
    *step = (lv_step){.timestep = timestep,
                      .backend = job->backend,
                      .attention_fp8 = job->attention_fp8,
                      .sequence = w->sequence};
    if (w->riflex.pair >= 0) step->riflex = &w->riflex;
    if (w->plan) {
        if (!job->hold_keyframes)
            LV_TRY(move_keyframes(w, job->late_rotation && i > 0 ? i - 1 : i));
        step->runs = lvsa_plan_get_runs(w->plan);
    }
    LV_TRY(w->p->device->upload(w->p->device, w->z.data, lv_work_get_own(w),
                                w->own_count * sizeof(float)));
    return run_passes(w, step);
}

/* Moves the latents from sigma[i] to sigma[i + 1]. */
static lvsa_status denoise_step(lv_work *w, int i)
{
    lv_step step;
    LV_TRY(lv_work_find_velocity(w, &step, lv_schedule_get_timesteps(w->schedule)[i], i));
    lv_work_draw_preview(w, i);
    LV_TRY(lv_schedule_step(w->schedule, w->latents, w->velocity, i));
    return lv_work_check_numbers(w, &step, i);
}

lvsa_status lv_work_denoise(lv_work *w)
{
    const int steps = w->job->steps;
    LV_TRY(lv_work_prepare_preview(w));
    LV_TRY(lv_work_make_schedule(w, w->count));
    LV_TRY(lv_work_take_history(w));
    LV_TRY(lv_work_prepare_passes(w));
    LV_TRY(lv_work_report(w, LVSA_PHASE_DENOISE, w->first_step, steps));
    for (int i = w->first_step; i < steps; i++) {
        LV_TRY(denoise_step(w, i));
        LV_TRY(lv_work_report(w, LVSA_PHASE_DENOISE, i + 1, steps));
        LV_TRY(lv_work_show_state(w));
        LV_TRY(lv_work_show_preview(w, i + 1));
    }
    if (w->job->on_latents && w->job->on_latents(w->job->user, w->latents, w->shape))
        return lv_work_cancelled();
    return LVSA_OK;
}
