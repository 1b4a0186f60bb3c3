/* machine.c: free memory, as Linux tells it. Elsewhere only the limit of the address space is
 * known. */
#include "base/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_PATH = 4096 };

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The number behind `key` ("MemAvailable:") in a file of such lines, or the only number of the file
 * where the key is "". UINT64_MAX: not there ("max" is none either). */
static uint64_t read_number(const char *path, const char *key)
{
    char line[256];
    const size_t length = strlen(key);
    uint64_t number = UINT64_MAX;
    FILE *file = fopen(path, "r");
    if (!file) return number;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && sscanf(line + length, " %" SCNu64, &number) == 1)
            break;
    fclose(file);
    return number;
}

static uint64_t system_available(void)
{
    uint64_t kib = read_number("/proc/meminfo", "MemAvailable:");
    return kib == UINT64_MAX ? kib : kib * 1024;
}

/* What a group may still take: pages of files that nobody reads any more can be had back. */
static uint64_t group_available(const char *folder, const char *limit_name, const char *usage_name,
                                const char *cache_key)
{
    char path[MOST_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", folder, limit_name);
    const uint64_t limit = read_number(path, "");
    snprintf(path, sizeof path, "%s/%s", folder, usage_name);
    uint64_t usage = read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    const uint64_t cache = read_number(path, cache_key);
    if (limit == UINT64_MAX || usage == UINT64_MAX) return UINT64_MAX;
    if (cache != UINT64_MAX) usage -= least(cache, usage);
    return limit - least(usage, limit);
}

/* This process's group and those above it. A line of /proc/self/cgroup is "id:controllers:path", of
 * version 2 "0::path". In a container the path may not be visible; the root of what is stands for
 * it. */
static uint64_t groups_available(void)
{
    char line[MOST_PATH], folder[MOST_PATH];
    uint64_t available = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return available;
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0', controllers++;
        path[strcspn(path, "\n")] = '\0';
        const int second = *controllers == '\0';
        if (!second && strcmp(controllers, "memory") != 0) continue;
        for (;;) {
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%.3000s", second ? "" : "/memory",
                     path);
            available = least(
                available,
                second ? group_available(folder, "memory.max", "memory.current", "inactive_file ")
                       : group_available(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                         "total_inactive_file "));
            char *slash = strrchr(path, '/');
            if (!slash) break;
            *slash = '\0';
        }
    }
    fclose(file);
    return available;
}

static uint64_t address_space_available(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    uint64_t taken = read_number("/proc/self/status", "VmSize:");
    taken = taken == UINT64_MAX ? 0 : taken * 1024;
    return (uint64_t)limit.rlim_cur - least(taken, (uint64_t)limit.rlim_cur);
}

uint64_t lv_machine_available(void)
{
    uint64_t bytes =
        least(system_available(), least(groups_available(), address_space_available()));
    return bytes == UINT64_MAX ? 0 : bytes;
}
