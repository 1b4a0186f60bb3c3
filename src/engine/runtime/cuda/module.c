/* module.c: loads the CUDA module, and says why where it can't. */
#include "engine/runtime/cuda/module.h"

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/module.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const lv_cuda_table *loaded; /* stays so until the process ends */

static lvsa_status check_table(const lv_cuda_table *t)
{
    const uint32_t bytes[] = {t->size, t->attention_size, t->ops_size};
    const size_t wanted[] = {sizeof *t, sizeof(lvsa_attention), sizeof(lv_cuda_ops)};
    for (int i = 0; i < 3; i++)
        LV_TRY(lv_module_check_build("device cuda: the module", t->abi, bytes[i], LV_CUDA_ABI,
                                     wanted[i]));
    lv_cuda_gpu gpu;
    const char *failure = t->get_gpu(&gpu, -1);
    if (failure) return lv_fail(LVSA_ERR_UNSUPPORTED, "device cuda: %s; use device cpu", failure);
    if (gpu.major < 8)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "device cuda: %s is sm_%d%d, the module's code is for sm_80 (A100) and "
                       "newer; use device cpu",
                       gpu.name, gpu.major, gpu.minor);
    return LVSA_OK;
}

static lvsa_status load(void)
{
    void *symbol;
    lvsa_status s = lv_module_load(&symbol, "cuda", LV_CUDA_SYMBOL);
    if (s != LVSA_OK) return lv_fail_in(s, "device cuda");
    const lv_cuda_table *(*get)(void);
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from void * to a function */
    const lv_cuda_table *table = get();
    LV_TRY(check_table(table));
    loaded = table;
    return LVSA_OK;
}

lvsa_status lv_cuda_get_table(const lv_cuda_table **out)
{
    pthread_mutex_lock(&lock);
    lvsa_status s = loaded ? LVSA_OK : load();
    *out = loaded;
    pthread_mutex_unlock(&lock);
    return s;
}

lvsa_status lv_cuda_check(const char *failure, const char *what)
{
    return failure ? lv_fail(LVSA_ERR_DEVICE, "device cuda: %s: %s", what, failure) : LVSA_OK;
}
