/* module.c: loads the libav module, and says what to install where it can't. */
#include "flow/media/av/module.h"

#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/module.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const lv_av_table *loaded; /* stays so until the process ends */

static lvsa_status load(void)
{
    void *symbol;
    lvsa_status s = lv_module_load(&symbol, "av", LV_AV_SYMBOL);
    if (s != LVSA_OK)
        return lv_fail_in(s, "an .mp4 or .webm takes lvsa's libav module and FFmpeg's libraries "
                             "(package ffmpeg; where lvsa is built: libavformat-dev and "
                             "libavcodec-dev), a .y4m neither");
    const lv_av_table *(*get)(void);
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from void * to a function */
    const lv_av_table *table = get();
    LV_TRY(lv_module_check_build("the libav module", table->abi, table->size, LV_AV_ABI,
                                 sizeof *table));
    loaded = table;
    return LVSA_OK;
}

lvsa_status lv_av_get_table(const lv_av_table **out)
{
    pthread_mutex_lock(&lock);
    lvsa_status s = loaded ? LVSA_OK : load();
    *out = loaded;
    pthread_mutex_unlock(&lock);
    return s;
}
