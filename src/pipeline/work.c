/* work.c: what a job's caller is told, and the end of a job. */
#include "pipeline/work.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/runtime/profile.h"

lvsa_status lv_work_cancelled(void)
{
    return lv_fail(LVSA_ERR_CANCELLED, "a callback ended the job");
}

lvsa_status lv_work_report(lv_work *w, lvsa_phase phase, int done, int total)
{
    if (phase != w->phase || done == 0) {
        w->phase_start = lv_clock_seconds();
        lv_profile_set_stage(w->p->device, (int)phase);
    }
    w->phase = phase;
    const lvsa_progress progress = {phase, done, total, lv_clock_seconds() - w->phase_start};
    if (w->job->on_progress && w->job->on_progress(w->job->user, &progress))
        return lv_work_cancelled();
    return LVSA_OK;
}

void lv_work_say(const lv_work *w, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!w->job->on_message) return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    w->job->on_message(w->job->user, line);
}

lvsa_status lv_work_warn(const lv_work *w, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (w->job->strict) return lv_fail(LVSA_ERR_ARGUMENT, "%s (refused: the job is strict)", line);
    lv_work_say(w, "%s", line);
    return LVSA_OK;
}

void lv_work_release(lv_work *w)
{
    lv_exec_end(&w->exec);
    lv_schedule_free(&w->schedule);
    lv_free(w->preview);
    json_decref(w->machine);
    json_decref(w->description);
    lv_free(w->away);
    lv_free(w->velocity);
    lv_free(w->latents);
    for (int i = 0; i < LV_MODEL_TEXTS; i++) {
        lv_free(w->embedding[i]);
        lv_free(w->ids[i]);
    }
    lv_free(w->part_bytes);
    lv_free(w->parts);
    lv_free(w->part);
    lv_sequence_free(&w->sequence);
    lv_comm_close(&w->group);
    lvsa_plan_free(&w->dense_plan);
    lvsa_plan_free(&w->plan);
}
