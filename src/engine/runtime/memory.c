/* memory.c: a device's memory, for programs that bring their own tensors. */
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/mem.h"
#include "engine/runtime/cuda/module.h"

static lvsa_status check_device(lvsa_device device)
{
    if (device == LVSA_DEVICE_CPU || device == LVSA_DEVICE_CUDA) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT, "device %d: LVSA_DEVICE_CPU or LVSA_DEVICE_CUDA is wanted",
                   (int)device);
}

static lvsa_status get_cuda_info(lvsa_device_info *out)
{
    const lv_cuda_table *cuda;
    lv_cuda_gpu gpu;
    LV_TRY(lv_cuda_get_table(&cuda));
    LV_TRY(lv_cuda_check(cuda->get_gpu(&gpu, -1), "asking the GPU"));
    snprintf(out->name, sizeof out->name, "%s, sm_%d%d, driver for CUDA %d.%d", gpu.name, gpu.major,
             gpu.minor, gpu.driver / 1000, gpu.driver % 1000 / 10);
    out->memory = gpu.memory;
    return LVSA_OK;
}

lvsa_status lvsa_device_get_info(lvsa_device_info *out, lvsa_device device)
{
    if (out->size != sizeof *out)
        return lv_fail(LVSA_ERR_ARGUMENT, "lvsa_device_info of %zu bytes, %zu wanted: set its size",
                       out->size, sizeof *out);
    LV_TRY(check_device(device));
    *out = (lvsa_device_info){.size = sizeof *out};
    if (device == LVSA_DEVICE_CUDA) return get_cuda_info(out);
    snprintf(out->name, sizeof out->name, "cpu, %s", lv_cpu_isa_name(lv_cpu_find_isa()));
    out->memory = (int64_t)lv_machine_available();
    return LVSA_OK;
}

lvsa_status lvsa_device_alloc(void **out, lvsa_device device, size_t bytes)
{
    *out = NULL;
    LV_TRY(check_device(device));
    if (bytes == 0) bytes = 1;
    const char *failure = NULL;
    if (device == LVSA_DEVICE_CUDA) {
        const lv_cuda_table *cuda;
        LV_TRY(lv_cuda_get_table(&cuda));
        failure = cuda->allocate(out, bytes);
    } else *out = lv_zalloc_aligned(bytes);
    if (*out) return LVSA_OK;
    return lv_fail(LVSA_ERR_MEMORY, "%zu bytes don't fit in the device's memory%s%s", bytes,
                   failure ? ": " : "", failure ? failure : "");
}

void lvsa_device_free(void **memory, lvsa_device device)
{
    if (!memory || !*memory) return;
    const lv_cuda_table *cuda;
    if (device != LVSA_DEVICE_CUDA) lv_free(*memory);
    else if (lv_cuda_get_table(&cuda) == LVSA_OK) cuda->release(*memory);
    *memory = NULL;
}

lvsa_status lvsa_device_copy(void *to, const void *from, size_t bytes, lvsa_device device)
{
    const lv_cuda_table *cuda;
    LV_TRY(check_device(device));
    if (bytes == 0) return LVSA_OK;
    if (device == LVSA_DEVICE_CPU) {
        memcpy(to, from, bytes);
        return LVSA_OK;
    }
    LV_TRY(lv_cuda_get_table(&cuda));
    return lv_cuda_check(cuda->copy(to, from, bytes), "a copy");
}

lvsa_status lvsa_device_synchronize(lvsa_device device, void *stream)
{
    const lv_cuda_table *cuda;
    LV_TRY(check_device(device));
    if (device == LVSA_DEVICE_CPU) return LVSA_OK;
    LV_TRY(lv_cuda_get_table(&cuda));
    return lv_cuda_check(cuda->synchronize(stream), "what was enqueued");
}
