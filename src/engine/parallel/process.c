/* process.c: processes of this host. */
#include "engine/parallel/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void lv_process_get_own(lv_process *out)
{
    struct stat space;
    *out = (lv_process){.number = (int64_t)getpid()};
    if (stat("/proc/self/ns/pid", &space) == 0) out->space = (uint64_t)space.st_ino;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file) return;
    if (!fgets(out->host, sizeof out->host, file)) out->host[0] = '\0';
    fclose(file);
}

/* One that has ended keeps its number until its parent asks. */
static bool has_ended(int64_t number)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)number);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    const char *name_end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
}

bool lv_process_has_gone(const lv_process *p, const lv_process *own)
{
    if (!own->host[0] || strcmp(p->host, own->host) != 0 || p->space != own->space) return false;
    return (kill((pid_t)p->number, 0) != 0 && errno == ESRCH) || has_ended(p->number);
}
