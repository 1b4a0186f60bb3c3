/* files.c: the weight files of a checkpoint, written by several threads. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "flow/synth/synth.h"

#define UNFINISHED ".part" /* what the names of files end with until all are whole */

enum { CHUNK = 4 << 20 /* bytes a thread makes at a time */, MOST_THREADS = 64 };

lvsa_status lv_synth_path(char path[LV_SYNTH_PATH], const lv_synth_job *job, const char *name)
{
    if (snprintf(path, LV_SYNTH_PATH, "%s/%s", job->directory, name) < LV_SYNTH_PATH)
        return LVSA_OK;
    return lv_fail(LVSA_ERR_IO, "%.100s...: the path is too long", job->directory);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* The index of a tensor's file grows with the tensors, so a file's are one range of the list. */
lvsa_status lv_synth_lay_out(lv_synth_part *p, int64_t shard)
{
    const int64_t count = p->list.count;
    if (!p->list.failed) {
        p->place = lv_zalloc_array((size_t)count, sizeof *p->place);
        p->file_bytes = lv_zalloc_array((size_t)count, sizeof *p->file_bytes);
    }
    if (!p->place || !p->file_bytes)
        return lv_fail(LVSA_ERR_MEMORY, "%s: the list of its tensors doesn't fit in memory",
                       p->part);
    for (int64_t i = 0; i < count; i++) {
        const int64_t bytes = p->list.tensor[i].count * (int64_t)lv_dtype_bytes(p->dtype);
        if (p->files == 0 || p->file_bytes[p->files - 1] + bytes > shard) p->files++;
        p->place[i] = (lv_synth_place){p->files - 1, p->file_bytes[p->files - 1]};
        p->file_bytes[p->files - 1] += bytes;
        p->total += bytes;
    }
    return LVSA_OK;
}

void lv_synth_part_free(lv_synth_part *p)
{
    lv_synth_list_free(&p->list);
    lv_free(p->place);
    lv_free(p->file_bytes);
}

/* "transformer/diffusion_pytorch_model-00001-of-00002.safetensors" */
static void file_name(char *name, size_t size, const lv_synth_part *p, int file)
{
    if (p->files == 1) snprintf(name, size, "%s/%s.safetensors", p->part, p->stem);
    else
        snprintf(name, size, "%s/%s-%05d-of-%05d.safetensors", p->part, p->stem, file + 1,
                 p->files);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* A growing text; `bytes` NULL after a failure. */
typedef struct text {
    char *bytes;
    size_t length, capacity;
} text;

static void append(text *t, const char *words)
{
    const size_t more = strlen(words);
    if (!t->bytes) return;
    if (t->length + more + 1 > t->capacity) {
        char *grown = lv_grow_array(t->bytes, t->capacity, 2 * t->capacity + more, 1);
        if (!grown) {
            lv_free(t->bytes);
            t->bytes = NULL;
            return;
        }
        t->bytes = grown, t->capacity = 2 * t->capacity + more;
    }
    memcpy(t->bytes + t->length, words, more + 1);
    t->length += more;
}

static text text_begin(void)
{
    text t = {.bytes = lv_zalloc(1 << 16), .capacity = 1 << 16};
    return t;
}

static void append_tensor(text *t, const lv_synth_part *p, int64_t i)
{
    const lv_synth_tensor *w = &p->list.tensor[i];
    char line[2 * LV_SYNTH_NAME], shape[LV_SYNTH_NAME] = "";
    const int64_t begin = p->place[i].offset;
    for (int d = 0, at = 0; d < w->rank; d++)
        at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%lld", d ? "," : "",
                       (long long)w->shape[d]);
    snprintf(line, sizeof line, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", begin ? "," : "", w->name,
             p->dtype == LVSA_F32 ? "F32" : "BF16");
    append(t, line);
    append(t, shape);
    snprintf(line, sizeof line, "],\"data_offsets\":[%lld,%lld]}", (long long)begin,
             (long long)(begin + w->count * (int64_t)lv_dtype_bytes(p->dtype)));
    append(t, line);
}

/* The header of a file, with its length before it; the data begins at a multiple of 64. */
static lvsa_status make_header(text *t, const lv_synth_part *p, int file)
{
    *t = text_begin();
    append(t, "01234567{");
    for (int64_t i = 0; i < p->list.count; i++)
        if (p->place[i].file == file) append_tensor(t, p, i);
    append(t, "}");
    while (t->bytes && t->length % 64 != 0) append(t, " ");
    if (!t->bytes)
        return lv_fail(LVSA_ERR_MEMORY, "%s: a file's header doesn't fit in memory", p->part);
    for (int i = 0; i < 8; i++) t->bytes[i] = (char)((t->length - 8) >> 8 * i & 0xff);
    return LVSA_OK;
}

static lvsa_status write_index(lv_synth_job *job, const lv_synth_part *p)
{
    char line[2 * LV_SYNTH_PATH], file[LV_SYNTH_PATH];
    text t = text_begin();
    snprintf(line, sizeof line,
             "{\n  \"metadata\": {\n    \"total_size\": %lld\n  },\n"
             "  \"weight_map\": {",
             (long long)p->total);
    append(&t, line);
    for (int64_t i = 0; i < p->list.count; i++) {
        file_name(file, sizeof file, p, p->place[i].file);
        snprintf(line, sizeof line, "%s\n    \"%s\": \"%s\"", i ? "," : "", p->list.tensor[i].name,
                 strchr(file, '/') + 1);
        append(&t, line);
    }
    append(&t, "\n  }\n}\n");
    snprintf(line, sizeof line, "%s/%s.safetensors.index.json", p->part, p->stem);
    lvsa_status s = t.bytes ? lv_synth_write_text(job, line, t.bytes, t.length)
                            : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its index", p->part);
    lv_free(t.bytes);
    return s;
}

/* ---- what was made ------------------------------------------------------------------------- */

lvsa_status lv_synth_note_made(lv_synth_job *job, const char *path, bool file)
{
    lv_synth_made *made = lv_grow_array(job->made, job->mades, job->mades + 1, sizeof *made);
    if (made) job->made = made;
    if (made && (made[job->mades].path = lv_strndup(path, strlen(path)))) {
        made[job->mades++].file = file;
        return LVSA_OK;
    }
    remove(path);
    return lv_fail(LVSA_ERR_MEMORY, "%s: no memory for its name", path);
}

lvsa_status lv_synth_place_made(lv_synth_job *job)
{
    for (size_t i = 0; i < job->mades; i++) {
        lv_synth_made *m = &job->made[i];
        char path[LV_SYNTH_PATH];
        if (!m->file) continue;
        snprintf(path, sizeof path, "%.*s", (int)(strlen(m->path) - strlen(UNFINISHED)), m->path);
        if (rename(m->path, path) != 0)
            return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(errno));
    }
    return LVSA_OK;
}

void lv_synth_forget_made(lv_synth_job *job, bool remove_all)
{
    while (job->mades > 0) {
        char *path = job->made[--job->mades].path;
        if (remove_all) remove(path);
        lv_free(path);
    }
    lv_free(job->made);
    job->made = NULL;
}

/* ---- one file -------------------------------------------------------------------------------- */

/* A new file beside the place that lv_synth_place_made() gives it. */
static lvsa_status create(int *fd, char path[LV_SYNTH_PATH], lv_synth_job *job, const char *name)
{
    char beside[LV_SYNTH_PATH];
    if (snprintf(beside, sizeof beside, "%s" UNFINISHED, name) >= LV_SYNTH_PATH)
        return lv_fail(LVSA_ERR_IO, "%.100s...: the path is too long", name);
    LV_TRY(lv_synth_path(path, job, beside));
    unlink(path); /* of a process that was killed */
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*fd < 0) return lv_fail(LVSA_ERR_IO, "%s: can't be made: %s", path, strerror(errno));
    const lvsa_status s = lv_synth_note_made(job, path, true);
    if (s != LVSA_OK) close(*fd);
    return s;
}

/* Returns 0 or an errno. */
static int write_at(int fd, const void *data, size_t bytes, int64_t offset)
{
    for (const char *at = data; bytes > 0;) {
        const ssize_t n = pwrite(fd, at, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        at += n, offset += n, bytes -= (size_t)n;
    }
    return 0;
}

lvsa_status lv_synth_write_text(lv_synth_job *job, const char *name, const char *bytes,
                                size_t length)
{
    char path[LV_SYNTH_PATH];
    int fd;
    LV_TRY(create(&fd, path, job, name));
    int error = write_at(fd, bytes, length, 0);
    if (close(fd) != 0 && error == 0) error = errno;
    job->written += (int64_t)length;
    return error ? lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(error)) : LVSA_OK;
}

/* ---- all numbers ----------------------------------------------------------------------------- */

typedef struct open_file {
    int fd;
    int64_t begin; /* of the data */
} open_file;

/* What the threads share; the lock guards all that changes. */
typedef struct writing {
    const lv_synth_job *job;
    open_file *file; /* [files], part after part */
    int files;
    pthread_mutex_t lock;
    int part, first_file; /* where the next chunk begins: part, its first file, tensor, number */
    int64_t tensor, number;
    int64_t done, total; /* bytes */
    int error;           /* errno of the first write that failed */
    bool cancelled;
} writing;

typedef struct chunk {
    const lv_synth_part *part;
    const lv_synth_tensor *tensor;
    int64_t first, count, offset; /* numbers; bytes in the file */
    int fd;
} chunk;

/* False: nothing is left, or somebody has failed. */
static bool take_chunk(chunk *c, writing *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->part < w->job->parts && w->tensor == w->job->part[w->part].list.count) {
        w->first_file += w->job->part[w->part++].files;
        w->tensor = w->number = 0;
    }
    const bool left = w->part < w->job->parts && !w->error && !w->cancelled;
    if (left) {
        const lv_synth_part *p = &w->job->part[w->part];
        const lv_synth_tensor *t = &p->list.tensor[w->tensor];
        const lv_synth_place at = p->place[w->tensor];
        const int64_t size = (int64_t)lv_dtype_bytes(p->dtype), most = CHUNK / size;
        const open_file *f = &w->file[w->first_file + at.file];
        const int64_t count = t->count - w->number < most ? t->count - w->number : most;
        *c = (chunk){p, t, w->number, count, f->begin + at.offset + w->number * size, f->fd};
        w->number += count;
        if (w->number == t->count) w->number = 0, w->tensor++;
    }
    pthread_mutex_unlock(&w->lock);
    return left;
}

/* Tells of the progress, and notes where that is to be the end. */
static void report(writing *w, int64_t done)
{
    const lv_synth_job *job = w->job;
    if (!job->on_progress || !job->on_progress(job->user, done, w->total)) return;
    pthread_mutex_lock(&w->lock);
    w->cancelled = true;
    pthread_mutex_unlock(&w->lock);
}

/* Takes chunks until none is left. `tells`: this is the caller's thread. */
static void write_chunks(writing *w, void *buffer, bool tells)
{
    if (tells) report(w, 0); /* there may be no chunk left for it */
    for (chunk c; take_chunk(&c, w);) {
        const uint64_t key = lv_synth_key(w->job->seed, c.part->part, c.tensor->name);
        const size_t bytes = (size_t)c.count * lv_dtype_bytes(c.part->dtype);
        lv_synth_fill(buffer, c.part->dtype, c.tensor, key, c.first, c.count);
        const int error = write_at(c.fd, buffer, bytes, c.offset);
        pthread_mutex_lock(&w->lock);
        w->done += (int64_t)bytes;
        if (error && !w->error) w->error = error;
        const int64_t done = w->done;
        pthread_mutex_unlock(&w->lock);
        if (tells) report(w, done);
    }
}

typedef struct worker {
    writing *w;
    void *buffer; /* [CHUNK], and 2 numbers more */
    pthread_t thread;
    bool started;
} worker;

static void *work(void *user)
{
    worker *me = user;
    write_chunks(me->w, me->buffer, false);
    return NULL;
}

/* A thread that can't be had isn't missed: the others do its work. */
static lvsa_status write_numbers(writing *w)
{
    worker workers[MOST_THREADS] = {0};
    const int threads = w->job->threads < MOST_THREADS ? w->job->threads : MOST_THREADS;
    for (int i = 0; i < threads; i++) {
        workers[i] = (worker){.w = w, .buffer = lv_zalloc_aligned(CHUNK + 2 * sizeof(float))};
        if (i > 0 && workers[i].buffer)
            workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    }
    const bool memory = workers[0].buffer != NULL;
    if (memory) write_chunks(w, workers[0].buffer, true);
    for (int i = 0; i < threads; i++) {
        if (workers[i].started) pthread_join(workers[i].thread, NULL);
        lv_free(workers[i].buffer);
    }
    if (!memory) return lv_fail(LVSA_ERR_MEMORY, "%d bytes don't fit in memory", CHUNK);
    if (w->error) return lv_fail(LVSA_ERR_IO, "%s: %s", w->job->directory, strerror(w->error));
    return w->cancelled ? lv_fail(LVSA_ERR_CANCELLED, "a callback ended the work") : LVSA_OK;
}

/* Makes the file and writes its header. */
static lvsa_status open_one(writing *w, lv_synth_job *job, const lv_synth_part *p, int file)
{
    char name[LV_SYNTH_PATH], path[LV_SYNTH_PATH];
    open_file *f = &w->file[w->files];
    text header;
    file_name(name, sizeof name, p, file);
    LV_TRY(make_header(&header, p, file));
    lvsa_status s = create(&f->fd, path, job, name);
    if (s == LVSA_OK) {
        w->files++;
        f->begin = (int64_t)header.length;
        job->written += f->begin + p->file_bytes[file];
        const int error = write_at(f->fd, header.bytes, header.length, 0);
        if (error) s = lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(error));
    }
    lv_free(header.bytes);
    return s;
}

lvsa_status lv_synth_write_weights(lv_synth_job *job)
{
    writing w = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER};
    int files = 0;
    for (int i = 0; i < job->parts; i++) {
        files += job->part[i].files;
        w.total += job->part[i].total;
    }
    w.file = lv_zalloc_array((size_t)files, sizeof *w.file);
    lvsa_status s = w.file ? LVSA_OK : lv_fail(LVSA_ERR_MEMORY, "%d files: no memory", files);
    for (int i = 0; i < job->parts && s == LVSA_OK; i++) {
        const lv_synth_part *p = &job->part[i];
        for (int file = 0; file < p->files && s == LVSA_OK; file++) s = open_one(&w, job, p, file);
        if (s == LVSA_OK && p->files > 1) s = write_index(job, p);
    }
    if (s == LVSA_OK) s = write_numbers(&w);
    for (int i = 0; i < w.files; i++)
        if (close(w.file[i].fd) != 0 && s == LVSA_OK)
            s = lv_fail(LVSA_ERR_IO, "%s: %s", job->directory, strerror(errno));
    lv_free(w.file);
    return s;
}
