/* writer.c: .mp4 and .webm: frames wait in a short queue for a thread that encodes them, so that
 * the next ones are decoded meanwhile. */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "flow/media/av/module.h"
#include "flow/media/writer.h"
#include "flow/media/yuv.h"

enum { QUEUE = 3 /* frames: one that comes in, one in between, one that is encoded */ };

typedef struct film {
    lvsa_video base;
    const lv_av_table *av;
    lv_file *file; /* the encoder opens it once more, by its name */
    char *path;
    lv_yuv yuv;
    size_t frame;    /* bytes that come in                         */
    uint8_t *frames; /* [QUEUE, frame]                             */
    pthread_t thread;
    bool running;

    /* The thread's alone from its start to its end. */
    lv_av_encoder *encoder;
    uint8_t *planes; /* [yuv.size] */

    /* Under the lock. frames[first ...] are full; `count` of them, round the end to the start. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int first, count;
    bool ending;   /* no more will come                         */
    bool dropping; /* and those that are here aren't wanted     */
    lvsa_status failed;
    lv_av_why why; /* of failed */
} film;

/* ---- the thread ------------------------------------------------------------------------------ */

/* The next frame, NULL at the end. */
static const uint8_t *wait_for_frame(film *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->count == 0 && !f->ending) pthread_cond_wait(&f->changed, &f->lock);
    const bool end = f->dropping || f->count == 0;
    const uint8_t *frame = f->frames + (size_t)f->first * f->frame;
    pthread_mutex_unlock(&f->lock);
    return end ? NULL : frame;
}

static void drop_frame(film *f, lvsa_status s, const lv_av_why *why)
{
    pthread_mutex_lock(&f->lock);
    f->first = (f->first + 1) % QUEUE;
    f->count--;
    f->failed = s;
    f->why = *why;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void *encode(void *user)
{
    film *f = user;
    lvsa_status s = LVSA_OK;
    for (const uint8_t *frame; s == LVSA_OK && (frame = wait_for_frame(f));) {
        lv_av_why why = {""};
        lv_yuv_convert(f->planes, frame, &f->yuv);
        s = f->av->write(f->encoder, f->planes, &why);
        drop_frame(f, s, &why);
    }
    return NULL;
}

/* Signals are the caller's threads' to handle. */
static lvsa_status start_thread(film *f)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&f->thread, NULL, encode, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    f->running = code == 0;
    return f->running ? LVSA_OK
                      : lv_fail(LVSA_ERR_MEMORY, "%s: no thread: %s", f->path, strerror(code));
}

static void end_thread(film *f, bool dropping)
{
    if (!f->running) return;
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    f->dropping = dropping;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    f->running = false;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static lvsa_status fail_here(const film *f, lvsa_status s, const lv_av_why *why)
{
    return lv_fail(s, "%s: %s", f->path, why->text);
}

static void film_free(lvsa_video *video)
{
    film *f = (film *)video;
    end_thread(f, true);
    if (f->encoder) f->av->close(&f->encoder);
    lv_file_abort(&f->file);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    lv_free(f->planes);
    lv_free(f->frames);
    lv_free(f->path);
    lv_free(f);
}

static void film_remove(lvsa_video *video)
{
    film *f = (film *)video;
    end_thread(f, true);
    f->av->close(&f->encoder);
    lv_file_abort(&f->file);
}

static lvsa_status make_film(film **out, const char *path, const lvsa_video_format *format)
{
    film *f = lv_zalloc(sizeof *f);
    *out = f;
    if (!f) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its writer", path);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->yuv = lv_yuv_make(format->width, format->height, LV_YUV_LEFT);
    f->frame = (size_t)format->width * (size_t)format->height * 3;
    f->path = lv_strndup(path, strlen(path));
    f->frames = lv_zalloc_array(QUEUE, f->frame);
    f->planes = lv_zalloc(f->yuv.size);
    if (f->path && f->frames && f->planes) return LVSA_OK;
    return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for %d frames of %zu bytes", path, QUEUE,
                   f->frame);
}

static lvsa_status start_film(film *f, const lvsa_video_format *format, lv_av_container container)
{
    lv_av_why why = {""};
    const lv_av_video v = {container,     format->width, format->height, format->rate,
                           format->scale, f->yuv.bt709,  format->comment};
    lvsa_status s = f->av->open(&f->encoder, &v, &why);
    if (s != LVSA_OK) return fail_here(f, s, &why);
    LV_TRY(lv_file_create(&f->file, f->path));
    s = f->av->start(f->encoder, lv_file_get_name(f->file), &why);
    if (s != LVSA_OK) return fail_here(f, s, &why);
    return start_thread(f);
}

static lvsa_status film_open(lvsa_video **out, const char *path, const lvsa_video_format *format,
                             lv_av_container container)
{
    const lv_av_table *av;
    film *f;
    LV_TRY(lv_video_check_free(path, format->replace));
    lvsa_status s = lv_av_get_table(&av);
    if (s != LVSA_OK) return lv_fail_in(s, "%s", path);
    s = make_film(&f, path, format);
    if (f) f->av = av;
    if (s == LVSA_OK) s = start_film(f, format, container);
    if (s == LVSA_OK) *out = &f->base;
    else if (f) film_free(&f->base);
    return s;
}

static lvsa_status mp4_open(lvsa_video **out, const char *path, const lvsa_video_format *format)
{
    return film_open(out, path, format, LV_AV_MP4);
}

static lvsa_status webm_open(lvsa_video **out, const char *path, const lvsa_video_format *format)
{
    return film_open(out, path, format, LV_AV_WEBM);
}

static lvsa_status film_write(lvsa_video *video, const uint8_t *rgb)
{
    film *f = (film *)video;
    pthread_mutex_lock(&f->lock);
    while (f->count == QUEUE && f->failed == LVSA_OK) pthread_cond_wait(&f->changed, &f->lock);
    const lvsa_status s = f->failed;
    uint8_t *to = f->frames + (size_t)((f->first + f->count) % QUEUE) * f->frame;
    pthread_mutex_unlock(&f->lock);
    if (s != LVSA_OK) return fail_here(f, s, &f->why); /* the thread has ended with it */
    memcpy(to, rgb, f->frame);                         /* nobody else's until it is counted */
    pthread_mutex_lock(&f->lock);
    f->count++;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return LVSA_OK;
}

static lvsa_status film_finish(lvsa_video *video)
{
    film *f = (film *)video;
    end_thread(f, false);
    lv_av_why why = f->why;
    lvsa_status s = f->failed;
    if (s == LVSA_OK) s = f->av->finish(f->encoder, &why);
    if (s != LVSA_OK) return fail_here(f, s, &why);
    return lv_video_place(&f->file, f->path, video->format.replace);
}

/* ---- comments -------------------------------------------------------------------------------- */

typedef struct comment {
    char *text;
    bool found;
} comment;

static void keep(void *user, const char *text)
{
    comment *c = user;
    c->found = true;
    c->text = lv_strndup(text, strlen(text));
}

static lvsa_status film_read_comment(char **out, const char *path)
{
    const lv_av_table *av;
    comment c = {NULL, false};
    lv_av_why why = {""};
    lvsa_status s = lv_av_get_table(&av);
    if (s != LVSA_OK) return lv_fail_in(s, "%s", path);
    s = av->read_comment(path, keep, &c, &why);
    *out = c.text;
    if (s != LVSA_OK) return lv_fail(s, "%s: %s", path, why.text);
    if (c.found && !c.text) return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its comment", path);
    return LVSA_OK;
}

const lv_video_writer lv_video_mp4 = {
    .extension = ".mp4",
    .example = "clip.mp4",
    .open = mp4_open,
    .write = film_write,
    .finish = film_finish,
    .remove = film_remove,
    .free = film_free,
    .read_comment = film_read_comment,
};

const lv_video_writer lv_video_webm = {
    .extension = ".webm",
    .example = "clip.webm",
    .open = webm_open,
    .write = film_write,
    .finish = film_finish,
    .remove = film_remove,
    .free = film_free,
    .read_comment = film_read_comment,
};
