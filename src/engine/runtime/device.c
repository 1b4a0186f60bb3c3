/* device.c: opening a device, and what all devices share. */
#include "engine/runtime/device.h"

#include "engine/runtime/cpu/cpu.h"

lvsa_status lv_device_open(lv_device **out, lvsa_device kind, int threads)
{
    *out = NULL;
    if (kind != LVSA_DEVICE_CPU)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: this build computes on the CPU only; use device cpu");
    return lv_cpu_device_open(out, threads);
}

void lv_device_close(lv_device **device)
{
    if (!device || !*device) return;
    (*device)->close(*device);
    *device = NULL;
}

lv_exec lv_exec_measure(lv_device *device)
{
    return (lv_exec){
        .device = device, .ops = device->ops, .dtype = device->dtype, .arena = {.measuring = true}};
}

lvsa_status lv_exec_begin(lv_exec *e)
{
    void *block;
    size_t size = e->arena.peak;
    LV_TRY(e->device->allocate(e->device, &block, size));
    e->arena = (lv_arena){.block = block, .size = size};
    return LVSA_OK;
}

void lv_exec_end(lv_exec *e)
{
    if (e->arena.block) e->device->release(e->device, e->arena.block);
    e->arena = (lv_arena){.measuring = true};
}
