/* device.c: opening a device, and what all devices share. */
#include "engine/runtime/device.h"

#include "base/mem.h"
#include "engine/runtime/cpu/cpu.h"
#include "engine/runtime/cuda/cuda.h"
#include "engine/runtime/profile.h"

lvsa_status lv_device_open(lv_device **out, lvsa_device kind, int which)
{
    *out = NULL;
    return kind == LVSA_DEVICE_CPU ? lv_cpu_device_open(out, which)
                                   : lv_cuda_device_open(out, which);
}

lvsa_status lv_device_open_auto(lv_device **out, int gpu, int threads)
{
    lvsa_status s = lv_device_open(out, LVSA_DEVICE_CUDA, gpu);
    return s == LVSA_ERR_UNSUPPORTED ? lv_device_open(out, LVSA_DEVICE_CPU, threads) : s;
}

void lv_device_close(lv_device **device)
{
    if (!device || !*device) return;
    lv_profile_free(*device);
    (*device)->close(*device);
    *device = NULL;
}

/* ---- counting only --------------------------------------------------------------------------- */

static lvsa_status count(lv_device *device, void **out, size_t bytes)
{
    static const char nothing;
    device->counted += lv_round_up(bytes, LV_CACHE_LINE);
    *out = (void *)(uintptr_t)&nothing;
    return LVSA_OK;
}

static void forget(lv_device *device, void *memory) { (void)device, (void)memory; }

static lvsa_status copy_nothing(lv_device *device, void *to, const void *from, size_t bytes)
{
    (void)device, (void)to, (void)from, (void)bytes;
    return LVSA_OK;
}

lvsa_status lv_device_open_dry(lv_device **out, const lv_device *device)
{
    LV_TRY(lv_device_open(out, device->kind,
                          device->kind == LVSA_DEVICE_CPU ? device->threads : device->index));
    lv_device *d = *out;
    d->dry = true;
    d->overhead = device->overhead, d->offload = device->offload, d->fp8 = device->fp8;
    d->allocate = count, d->release = forget;
    d->upload = d->download = copy_nothing;
    d->upload_as = NULL, d->find_tiles = NULL;
    return LVSA_OK;
}

/* ---- passes ---------------------------------------------------------------------------------- */

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
