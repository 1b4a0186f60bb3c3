/* file.c: joins paths; writes files under another name, then renames. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

lvsa_status lv_path_join(char *path, size_t size, const char *folder, const char *name)
{
    const int length = snprintf(path, size, "%s/%s", folder, name);
    if (length >= 0 && (size_t)length < size) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO, "%.60s...: the path is longer than %zu bytes", folder, size - 1);
}

struct lv_file {
    int fd;
    bool nameless;   /* so far: nothing is left of it when the process dies   */
    char handle[32]; /* what it may be opened by then                         */
    char *path;      /* of the place, links followed                          */
    char *temporary; /* where it is, or will be, until then; "": in place     */
    size_t room;     /* of temporary                                          */
};

static void file_free(lv_file **file)
{
    if (!*file) return;
    lv_free((*file)->temporary);
    lv_free((*file)->path);
    lv_free(*file);
    *file = NULL;
}

/* A file without a name in the place's folder; false: not on this file system. */
static bool open_nameless(lv_file *f)
{
    char *slash = strrchr(f->path, '/');
    const char *folder = slash ? f->temporary : ".";
    if (slash) snprintf(f->temporary, f->room, "%.*s", (int)(slash - f->path) + 1, f->path);
    f->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (f->fd < 0) return false;
    snprintf(f->handle, sizeof f->handle, "/proc/self/fd/%d", f->fd);
    f->nameless = access(f->handle, F_OK) == 0;
    if (!f->nameless) close(f->fd);
    return f->nameless;
}

/* Gives the file a name beside the place: links it there, or opens a new one. -1 with errno when it
 * fails. */
static int name_beside(lv_file *f)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        snprintf(f->temporary, f->room, "%s.%ld-%d.tmp", f->path, (long)getpid(), attempt);
        int result = f->nameless
                         ? linkat(AT_FDCWD, f->handle, AT_FDCWD, f->temporary, AT_SYMLINK_FOLLOW)
                         : open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (result >= 0 || errno != EEXIST) return result;
    }
    return -1;
}

/* What stands at the place: a file, or what can only be written to as it is. */
static bool is_plain(const char *path)
{
    struct stat status;
    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

static lvsa_status open_file(lv_file *f, bool beside)
{
    if (beside && open_nameless(f)) {
        snprintf(f->temporary, f->room, "%s", f->handle);
        return LVSA_OK;
    }
    f->fd = beside ? name_beside(f) : open(f->path, O_WRONLY | O_CLOEXEC);
    if (f->fd >= 0) return LVSA_OK;
    return lv_fail(LVSA_ERR_IO, "%s: %s%s", f->path, strerror(errno),
                   errno == ENOENT ? "; make its folder first, or name another" : "");
}

/* Where a file is, or will be, at the end of links. */
static lvsa_status follow_links(char target[PATH_MAX], const char *path)
{
    enum { MOST_LINKS = 40 }; /* Linux's own limit */
    char text[PATH_MAX];
    size_t length = strlen(path);
    if (length >= PATH_MAX)
        return lv_fail(LVSA_ERR_IO, "%.60s...: %s", path, strerror(ENAMETOOLONG));
    memcpy(target, path, length + 1);
    for (int i = 0; i < MOST_LINKS; i++) {
        const ssize_t bytes = readlink(target, text, sizeof text);
        if (bytes < 0) return LVSA_OK; /* no link, or nothing at all */
        const char *slash = text[0] == '/' ? NULL : strrchr(target, '/');
        const size_t folder = slash ? (size_t)(slash - target) + 1 : 0;
        length = folder + (size_t)bytes;
        if (length >= PATH_MAX) return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(ENAMETOOLONG));
        memcpy(target + folder, text, (size_t)bytes);
        target[length] = '\0';
    }
    return lv_fail(LVSA_ERR_IO, "%s: %s", path, strerror(ELOOP));
}

lvsa_status lv_file_create(lv_file **out, const char *path)
{
    enum { ENDING = 32 /* bytes of ".PID-N.tmp" */ };
    char target[PATH_MAX];
    const bool plain = is_plain(path);
    *out = NULL;
    if (plain) {
        LV_TRY(follow_links(target, path));
        path = target;
    }
    const size_t length = strlen(path);
    lv_file *f = lv_zalloc(sizeof *f);
    if (f) {
        f->room = length + ENDING;
        f->path = lv_strndup(path, length);
        f->temporary = lv_zalloc(f->room);
    }
    lvsa_status s = f && f->path && f->temporary
                        ? open_file(f, plain)
                        : lv_fail(LVSA_ERR_MEMORY, "%s: no memory for a file's name", path);
    if (s != LVSA_OK) file_free(&f);
    *out = f;
    return s;
}

lvsa_status lv_file_write(lv_file *f, const void *data, size_t bytes)
{
    const size_t most = (size_t)1 << 30; /* in one call */
    for (const char *from = data; bytes > 0;) {
        ssize_t written = write(f->fd, from, bytes < most ? bytes : most);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(errno));
        from += written;
        bytes -= (size_t)written;
    }
    return LVSA_OK;
}

/* The new name is in the directory, which has to reach the disk as well. Some file systems can't do
 * that for directories; the file itself is safe by then, so this isn't a failure. Cuts `path` to
 * its folder. */
static void sync_directory(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash) slash[1] = '\0';
    int fd = open(slash ? path : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

const char *lv_file_get_name(const lv_file *f)
{
    return f->temporary[0] != '\0' ? f->temporary : f->path;
}

lvsa_status lv_file_settle(lv_file *f)
{
    const bool beside = f->temporary[0] != '\0';
    if (f->fd < 0) return LVSA_OK;
    bool good = !beside || fsync(f->fd) == 0;
    if (good && f->nameless) good = name_beside(f) == 0;
    int error = errno;
    if (good) f->nameless = false;
    if (close(f->fd) != 0 && good) good = false, error = errno;
    f->fd = -1;
    return good ? LVSA_OK : lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(error));
}

/* A second name, which unlike rename() never takes another file's; some file systems have none. */
static lvsa_status move_where_nothing_is(const lv_file *f)
{
    if (link(f->temporary, f->path) == 0) {
        unlink(f->temporary);
        return LVSA_OK;
    }
    if (errno == EEXIST)
        return lv_fail(LVSA_ERR_IO, "%s: %s; another name is wanted", f->path, strerror(errno));
    return rename(f->temporary, f->path) == 0
               ? LVSA_OK
               : lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(errno));
}

static lvsa_status finish(lv_file **file, bool replace)
{
    lv_file *f = *file;
    const bool beside = f->temporary[0] != '\0';
    lvsa_status s = lv_file_settle(f);
    if (s == LVSA_OK && beside && !replace) s = move_where_nothing_is(f);
    else if (s == LVSA_OK && beside && rename(f->temporary, f->path) != 0)
        s = lv_fail(LVSA_ERR_IO, "%s: %s", f->path, strerror(errno));
    if (s != LVSA_OK && beside && !f->nameless) unlink(f->temporary);
    if (s == LVSA_OK && beside) sync_directory(f->temporary);
    file_free(file);
    return s;
}

lvsa_status lv_file_finish(lv_file **file) { return finish(file, true); }
lvsa_status lv_file_finish_new(lv_file **file) { return finish(file, false); }

void lv_file_abort(lv_file **file)
{
    if (!file || !*file) return;
    if ((*file)->fd >= 0) close((*file)->fd);
    if ((*file)->temporary[0] != '\0' && !(*file)->nameless) unlink((*file)->temporary);
    file_free(file);
}
