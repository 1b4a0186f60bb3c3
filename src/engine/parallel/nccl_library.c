/* nccl_library.c: finds NCCL and its functions. */
#include "engine/parallel/nccl_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* 2.7 is the first with ncclSend(). */
enum { OLDEST = 2700 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lv_nccl_library library;
static int loaded;

typedef struct symbol {
    const char *name;
    size_t offset; /* of its pointer in lv_nccl_library */
} symbol;

static const symbol symbols[] = {
    {"ncclGetVersion", offsetof(lv_nccl_library, get_version)},
    {"ncclGetUniqueId", offsetof(lv_nccl_library, get_unique_id)},
    {"ncclCommInitRank", offsetof(lv_nccl_library, init_rank)},
    {"ncclCommDestroy", offsetof(lv_nccl_library, destroy)},
    {"ncclCommAbort", offsetof(lv_nccl_library, abort)},
    {"ncclCommGetAsyncError", offsetof(lv_nccl_library, get_async_error)},
    {"ncclGroupStart", offsetof(lv_nccl_library, group_start)},
    {"ncclGroupEnd", offsetof(lv_nccl_library, group_end)},
    {"ncclSend", offsetof(lv_nccl_library, send)},
    {"ncclRecv", offsetof(lv_nccl_library, receive)},
    {"ncclGetErrorString", offsetof(lv_nccl_library, get_error_string)},
};

static lvsa_status find_functions(void *file)
{
    int version = 0;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *at = dlsym(file, symbols[i].name);
        if (!at)
            return lv_fail(LVSA_ERR_UNSUPPORTED,
                           "libnccl.so.2 has no %s: NCCL 2.7 or newer is wanted", symbols[i].name);
        memcpy((char *)&library + symbols[i].offset, &at, sizeof at);
    }
    if (library.get_version(&version) != LV_NCCL_SUCCESS || version < OLDEST)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "libnccl.so.2 is of version %d: 2.7 (%d) or newer is wanted", version,
                       OLDEST);
    return LVSA_OK;
}

static lvsa_status load(void)
{
    void *file = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!file)
        return lv_fail(LVSA_ERR_UNSUPPORTED,
                       "NCCL can't be loaded (%s): install it, or name its folder in "
                       "LD_LIBRARY_PATH (pip's is site-packages/nvidia/nccl/lib)",
                       dlerror());
    lvsa_status s = find_functions(file);
    if (s != LVSA_OK) dlclose(file);
    loaded = s == LVSA_OK;
    return s;
}

lvsa_status lv_nccl_library_get(const lv_nccl_library **out)
{
    pthread_mutex_lock(&lock);
    lvsa_status s = loaded ? LVSA_OK : load();
    pthread_mutex_unlock(&lock);
    *out = s == LVSA_OK ? &library : NULL;
    return s;
}
