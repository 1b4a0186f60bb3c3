/* keep.c: states, latents and the places for them. */
#define _DEFAULT_SOURCE /* flock(), realpath() */
#include "keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

#define STATE_FILE "state.safetensors"
#define DONE_FILE "done.json"

enum { HEADER_ROOM = 1 << 16 /* bytes, and the note comes on top */ };

/* clang-format off */
const option keep_options[] = {
    {"output-latent", 0, OPTION_TEXT, offsetof(keep_settings, latents), "FILE",
     .help = "keep the latents too, a .safetensors, for lvsa decode"},
    {"checkpoint", 0, OPTION_TEXT, offsetof(keep_settings, checkpoint), "DIR",
     .help = "save the run there after steps, for lvsa resume"},
    {"checkpoint-every", 0, OPTION_NUMBER, offsetof(keep_settings, every), "SECONDS", .lo = 0,
     .hi = 86400, .fallback = "60", .help = "at most once in so many seconds; 0: after each step"},
    {.name = NULL}};
/* clang-format on */

/* ---- names ----------------------------------------------------------------------------------- */

/* malloc()ed text; NULL: no memory. */
static char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *text_of(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length >= 0 ? malloc((size_t)length + 1) : NULL;
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

static exit_code no_memory(void)
{
    return complain(CODE_MEMORY, "the names of files don't fit in memory");
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

char *keep_find_state(const char *path)
{
    char *file = is_folder(path) ? text_of("%s/" STATE_FILE, path) : text_of("%s", path);
    if (!file) no_memory();
    return file;
}

/* The path from the root, whether or not something is there. */
static char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (*path == '/' || !getcwd(here, sizeof here)) return text_of("%s", path);
    return text_of("%s/%s", here, path);
}

/* As a shell takes it for one word, and lvsa for no option. */
static char *quoted(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./,:=+@%";
    const char *here = *path == '-' ? "./" : "";
    if (*path && path[strspn(path, plain)] == '\0') return text_of("%s%s", here, path);
    char *text = malloc(4 * strlen(path) + sizeof "''./"), *to = text;
    if (!text) return NULL;
    to += sprintf(to, "'%s", here);
    for (; *path; path++) {
        if (*path != '\'') *to++ = *path;
        else to += sprintf(to, "'\\''");
    }
    strcpy(to, "'");
    return text;
}

/* "fox.unfinished.safetensors" of "fox.mp4"; of a pipe or a device, which has no room beside it,
 * the same for "video" here. */
static char *beside(const char *video)
{
    struct stat status;
    if (stat(video, &status) == 0 && !S_ISREG(status.st_mode)) video = "video";
    const char *slash = strrchr(video, '/'), *dot = strrchr(slash ? slash : video, '.');
    const int length = (int)(dot ? (size_t)(dot - video) : strlen(video));
    return text_of("%.*s.unfinished.safetensors", length, video);
}

/* "out/" of "out/fox.mp4", "." of "fox.mp4". */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return text_of("%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
}

/* A number for a place: of the folder, wherever links lead, and the name in it. 0: there is no such
 * folder. */
static uint64_t number_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = folder_of(path);
    struct stat status;
    uint64_t number = 0;
    if (folder && stat(folder, &status) == 0) {
        const uint64_t place[] = {status.st_dev, status.st_ino};
        number = 14695981039346656037u; /* FNV-1a */
        for (size_t i = 0; i < sizeof place; i++)
            number = (number ^ ((const unsigned char *)place)[i]) * 1099511628211u;
        for (; *name; name++) number = (number ^ (unsigned char)*name) * 1099511628211u;
    }
    free(folder);
    return number;
}

static bool same_place(const char *a, const char *b)
{
    const uint64_t number = number_of(a);
    return number && number == number_of(b);
}

/* ---- what a file says ------------------------------------------------------------------------ */

char *keep_find_video(const char *folder)
{
    char *path = text_of("%s/" DONE_FILE, folder), *video = NULL;
    json_t *done = path && is_folder(folder) ? json_load_file(path, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(done, "video"));
    if (text) video = text_of("%s", text);
    json_decref(done);
    free(path);
    return video;
}

/* The record, and where the run's files are for whoever goes on from another folder. */
static char *make_note(const keep_run *run)
{
    char model[PATH_MAX], *video = absolute(run->video);
    char *latents = run->s->latents.value ? absolute(run->s->latents.value) : NULL;
    json_t *note = json_loads(run->record, 0, NULL), *files = json_object();
    if (realpath(run->model, model)) json_object_set_new(files, "model", json_string(model));
    json_object_set_new(files, "output", json_string(video ? video : run->video));
    if (latents) json_object_set_new(files, "output-latent", json_string(latents));
    json_object_set_new(note, "files", files);
    char *text = note ? json_dumps(note, JSON_COMPACT) : NULL;
    json_decref(note);
    free(latents);
    free(video);
    return text;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* The reason is errno's. */
static exit_code cant_make(const char *path)
{
    return complain(CODE_FAILED, "%s: %s%s", path, strerror(errno),
                    errno == ENOENT ? "; make its folder first, or name another" : "");
}

/* A state that is there and isn't this run's. */
static exit_code refuse_state(const char *path, const char *name)
{
    lvsa_state *state;
    lvsa_state_info info = {.size = sizeof info};
    char *word = quoted(name);
    exit_code code;
    if (lvsa_state_open(&state, path) != LVSA_OK || lvsa_state_get_info(&info, state) != LVSA_OK)
        code = complain_there(path);
    else if (info.steps_done < info.steps)
        code = complain(CODE_FAILED,
                        "%s holds a run after step %d of %d: lvsa resume %s goes on with it, "
                        "--force begins anew",
                        path, info.steps_done, info.steps, word ? word : name);
    else
        code = complain(CODE_FAILED,
                        "%s holds the latents of a run whose video isn't done: lvsa %s %s%s makes "
                        "it, --force begins anew",
                        path, info.note ? "resume" : "decode", word ? word : name,
                        info.note ? "" : " -o VIDEO");
    lvsa_state_close(&state);
    free(word);
    return code;
}

/* What a run that was killed while it wrote has left of its files. */
static void remove_pieces(const char *path)
{
    static const char begin[] = STATE_FILE ".", end[] = ".tmp";
    DIR *folder = opendir(path);
    for (const struct dirent *e; folder && (e = readdir(folder)) != NULL;) {
        const size_t length = strlen(e->d_name);
        if (length >= sizeof begin + sizeof end - 2 &&
            strncmp(e->d_name, begin, sizeof begin - 1) == 0 &&
            strcmp(e->d_name + length - (sizeof end - 1), end) == 0)
            unlinkat(dirfd(folder), e->d_name, 0);
    }
    if (folder) closedir(folder);
}

static exit_code open_folder(keep *k)
{
    k->made = mkdir(k->folder, 0777) == 0;
    if (!k->made && errno != EEXIST) return cant_make(k->folder);
    k->lock = open(k->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (k->lock < 0) return complain(CODE_FAILED, "%s: %s", k->folder, strerror(errno));
    if (flock(k->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return complain(CODE_FAILED, "%s: another run writes there; give this one another folder",
                        k->folder);
    remove_pieces(k->folder);
    return CODE_DONE;
}

/* The state's name for this process alone, without a file: a socket's abstract name, which goes
 * with the process. False: another has it. Where there are no such names nothing is locked. */
static bool lock_name(keep *k)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const uint64_t number = number_of(k->state);
    const int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "lvsa-%016llx",
                                (unsigned long long)number);
    const size_t size = offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length;
    if (number == 0) return true; /* no folder, which will be told */
    k->lock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return k->lock < 0 || bind(k->lock, (const struct sockaddr *)&address, (socklen_t)size) == 0 ||
           errno != EADDRINUSE;
}

/* A file without a name beside `path`, of so many bytes: what is written there later fits. -1, and
 * the reason in errno. */
static int take_room(const char *path, int64_t bytes)
{
    char *name = text_of("%s.XXXXXX", path);
    if (!name) return errno = ENOMEM, -1;
    const int fd = mkstemp(name);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
        unlink(name);
        error = posix_fallocate(fd, 0, (off_t)bytes);
        if (error == EINVAL || error == EOPNOTSUPP) error = 0; /* it can't be known here */
        if (error) close(fd);
    }
    free(name);
    errno = error;
    return error ? -1 : fd;
}

static void drop_room(keep *k)
{
    if (k->room >= 0) close(k->room);
    k->room = -1;
}

static exit_code try_place(keep *k, const char *path, int64_t bytes)
{
    drop_room(k);
    k->room = take_room(path, bytes);
    if (k->room >= 0) return CODE_DONE;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return complain(CODE_FAILED,
                        "%s: %s: %.1f MB are wanted, so that no work is lost; make room, or name "
                        "a place elsewhere (--checkpoint, --output-latent)",
                        path, strerror(errno), 1e-6 * (double)bytes);
    return cant_make(path);
}

/* A pipe's run isn't refused for its work. */
static exit_code keep_nothing(keep *k, const keep_run *run, const char *why)
{
    TRY(warn(run->strict,
             "%s: %s: the work isn't kept; --checkpoint or --output-latent says where it can",
             k->state, why));
    free(k->state);
    k->state = NULL;
    return CODE_DONE;
}

/* With a folder, states are written again and again, and the room is for the last one. */
static exit_code open_state(keep *k, const keep_run *run)
{
    static const char taken[] = "another run keeps its work there";
    const lvsa_forecast *f = run->forecast;
    const int64_t last = k->latents ? 2 * f->latents : f->latents;
    const int64_t bytes = (k->folder ? last : f->state) + HEADER_ROOM + (int64_t)strlen(k->note);
    const bool ours = run->resumed && strcmp(run->resumed, k->state) == 0;
    struct stat status;
    const bool pipe = !k->folder && stat(k->video, &status) == 0 && !S_ISREG(status.st_mode);
    if (k->folder) TRY(open_folder(k));
    else if (!lock_name(k))
        return pipe ? keep_nothing(k, run, taken)
                    : complain(CODE_FAILED,
                               "%s: %s; give this one another --output, or a folder of its own "
                               "(--checkpoint)",
                               k->state, taken);
    if (is_there(k->state) && !ours && !run->force)
        return refuse_state(k->state, k->folder ? k->folder : k->state);
    if (pipe && (k->room = take_room(k->state, bytes)) < 0)
        return keep_nothing(k, run, strerror(errno));
    return try_place(k, k->state, bytes);
}

static exit_code open_latents(keep *k, const keep_run *run)
{
    struct stat status;
    const size_t length = strlen(k->latents);
    static const char end[] = ".safetensors";
    const int64_t bytes = run->forecast->latents + HEADER_ROOM + (int64_t)strlen(k->record);
    if (length < sizeof end || strcmp(k->latents + length - (sizeof end - 1), end) != 0)
        return complain(CODE_USAGE, "--output-latent %s: a name that ends in %s is wanted",
                        k->latents, end);
    if (same_place(k->latents, k->state))
        return complain(CODE_USAGE,
                        "--output-latent %s: the run itself is kept there until it is done; give "
                        "another name",
                        k->latents);
    if (stat(k->latents, &status) == 0 && !S_ISREG(status.st_mode))
        return complain(CODE_FAILED, "%s: not a plain file; give another --output-latent",
                        k->latents);
    if (is_there(k->latents) && !run->force) return complain_there(k->latents);
    return try_place(k, k->latents, bytes);
}

/* Bytes of a .y4m; 0: it can't be known of another format. */
static int64_t video_bytes(const char *path, const lvsa_forecast *f)
{
    const int64_t chroma = (int64_t)((f->width + 1) / 2) * ((f->height + 1) / 2);
    const size_t length = strlen(path);
    if (length < 4 || strcmp(path + length - 4, ".y4m") != 0) return 0;
    return f->frames * (6 + (int64_t)f->width * f->height + 2 * chroma) + HEADER_ROOM;
}

/* What the disk has left besides the room for states. */
static exit_code check_video(const keep_run *run)
{
    struct stat status;
    struct statvfs disk;
    struct rlimit limit;
    const int64_t bytes = video_bytes(run->video, run->forecast);
    char *folder = folder_of(run->video);
    /* A link's target may lie on another disk. */
    const bool plain = lstat(run->video, &status) != 0 || S_ISREG(status.st_mode);
    exit_code code = CODE_DONE;
    if (!folder) return no_memory();
    if (bytes && plain && statvfs(folder, &disk) == 0 &&
        (double)disk.f_bavail * (double)disk.f_frsize < (double)bytes)
        code = complain(CODE_FAILED,
                        "%s: it will have %.1f MB, and its disk has %.1f MB left; make room, or "
                        "write an .mp4 or .webm, which are far smaller",
                        run->video, 1e-6 * (double)bytes,
                        1e-6 * (double)disk.f_bavail * (double)disk.f_frsize);
    else if (bytes && plain && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
             limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)bytes)
        code = complain(CODE_FAILED,
                        "%s: it will have %.1f MB, and this process may write files of %.1f MB "
                        "(ulimit -f)",
                        run->video, 1e-6 * (double)bytes, 1e-6 * (double)limit.rlim_cur);
    free(folder);
    return code;
}

exit_code keep_open(keep *k, const keep_run *run)
{
    const keep_settings *s = run->s;
    if (s->every.from == FROM_FLAG && !s->checkpoint.value && !run->resumed)
        return complain(CODE_USAGE,
                        "--checkpoint-every %g: nothing is saved after steps; give --checkpoint, a "
                        "directory, too",
                        s->every.value);
    *k = (keep){.every = s->every.value,
                .strict = run->strict,
                .progress = run->progress,
                .saved = run->step,
                .steps = run->steps,
                .lock = -1,
                .room = -1};
    k->video = text_of("%s", run->video);
    k->note = make_note(run);
    k->record = text_of("%s", run->record);
    if (s->latents.value) k->latents = text_of("%s", s->latents.value);
    if (s->checkpoint.value) k->folder = text_of("%s", s->checkpoint.value);
    k->state = k->folder      ? text_of("%s/" STATE_FILE, k->folder)
               : run->resumed ? text_of("%s", run->resumed)
                              : beside(run->video);
    if (!k->video || !k->note || !k->record || !k->state || (s->latents.value && !k->latents) ||
        (s->checkpoint.value && !k->folder))
        return no_memory();
    if (k->folder && same_place(k->folder, k->video))
        return complain(CODE_USAGE, "--checkpoint %s: the video is to be there; give another name",
                        k->folder);
    if (k->latents) TRY(open_latents(k, run));
    TRY(open_state(k, run));
    TRY(check_video(run));
    if (!k->folder) return CODE_DONE;
    char *done = text_of("%s/" DONE_FILE, k->folder);
    if (done) unlink(done); /* of a run before */
    free(done);
    return CODE_DONE;
}

void keep_close(keep *k)
{
    drop_room(k);
    if (k->lock >= 0) close(k->lock);
    if (k->made) rmdir(k->folder); /* where nothing came into it */
    free(k->record);
    free(k->note);
    free(k->video);
    free(k->state);
    free(k->folder);
    free(k->latents);
    *k = (keep){.lock = -1, .room = -1};
}

/* ---- during the run -------------------------------------------------------------------------- */

/* The run goes on after it, unless it is strict. */
static int couldnt_write(const keep *k, const char *what)
{
    progress_clear(k->progress);
    return warn(k->strict, "%s couldn't be kept: %s", what, lvsa_last_error()) != CODE_DONE;
}

static int write_state(keep *k, const lvsa_state *state, const lvsa_state_info *info)
{
    k->written = clock_seconds();
    if (lvsa_state_write(k->state, state, k->note) != LVSA_OK)
        return couldnt_write(k, info->steps_done == info->steps ? "the latents" : "the run");
    k->saved = info->steps_done, k->steps = info->steps;
    return 0;
}

int keep_step(keep *k, const lvsa_state *state, bool interrupted)
{
    lvsa_state_info info = {.size = sizeof info};
    if (lvsa_state_get_info(&info, state) != LVSA_OK) return 1;
    const bool last = info.steps_done == info.steps;
    const bool due = k->folder && (k->written == 0.0 || clock_seconds() - k->written >= k->every);
    int end = 0;
    if (last || (interrupted && !k->folder)) drop_room(k);
    if (last && k->latents) {
        k->has_latents = lvsa_state_write(k->latents, state, k->record) == LVSA_OK;
        if (!k->has_latents) {
            progress_clear(k->progress);
            complain(CODE_FAILED, "%s", lvsa_last_error());
        }
    }
    /* Latents that are kept on purpose are enough to decode. */
    const bool enough = last && k->has_latents && !k->folder;
    if (k->state && !enough && (last || interrupted || due)) end |= write_state(k, state, &info);
    return end || interrupted;
}

/* ---- after it -------------------------------------------------------------------------------- */

/* Says in the folder that the run is done, and where its video is. */
static bool mark_done(const keep *k)
{
    char *path = text_of("%s/" DONE_FILE, k->folder), *video = absolute(k->video);
    char *new_path = text_of("%s/" STATE_FILE ".done.tmp", k->folder);
    json_t *done = json_pack("{s:s}", "video", video ? video : k->video);
    const bool good = path && new_path && done &&
                      json_dump_file(done, new_path, JSON_COMPACT) == 0 &&
                      rename(new_path, path) == 0;
    json_decref(done);
    free(new_path);
    free(video);
    free(path);
    return good;
}

exit_code keep_finish(keep *k)
{
    if (!k->video) return CODE_DONE; /* nothing was to be kept */
    if (k->folder && !mark_done(k))
        note(TALK_NORMAL, "%s: it couldn't be marked as done: %s", k->folder, strerror(errno));
    else if (k->state && (k->folder || k->saved > 0)) unlink(k->state);
    k->saved = 0;
    return k->latents && !k->has_latents ? CODE_FAILED : CODE_DONE;
}

char *keep_advice(const keep *k, int done, bool elsewhere)
{
    const char *place = k->saved > 0 ? (k->folder ? k->folder : k->state) : k->latents;
    const bool resumed = k->saved > 0 && k->saved < k->steps;
    char *text = NULL;
    if (k->saved == 0 && !k->has_latents) return NULL;
    char *from = quoted(place), *to = quoted(k->video);
    if (!from || !to) text = NULL;
    else if (resumed && k->saved == done) text = text_of("lvsa resume %s goes on from there", from);
    else if (resumed) text = text_of("lvsa resume %s goes on after step %d", from, k->saved);
    else
        text = text_of("the latents are kept; lvsa decode %s -o %s makes the video", from,
                       elsewhere ? "VIDEO" : to);
    free(to);
    free(from);
    return text;
}
