/* launcher.c: the variables of launchers.
 *
 * torchrun has a rank, a size, and the host and port where its own store listens; the port above it
 * is ours. srun has a list of hosts, of which the first has rank 0; the port comes from the job's
 * number, so that two jobs on one host don't meet. LVSA_COMM_PORT is another port for either, and
 * LVSA_COMM_TIMEOUT how long ranks wait there. */
#include "engine/parallel/launcher.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ports that srun's processes take: below those that a system gives away by itself. */
enum { SLURM_PORT = 16384, SLURM_PORTS = 8192, MOST_PORT = 65535 };

/* Seconds: ranks meet before they load anything. */
enum { PATIENCE = 120, MOST_PATIENCE = 86400 };

static const char *find(const char *variable)
{
    const char *text = getenv(variable);
    return text && *text ? text : NULL;
}

/* *out stays as it is where the variable isn't set. */
static lvsa_status read_number(int *out, const char *variable, int lo, int hi, const char *what)
{
    const char *text = find(variable);
    if (!text) return LVSA_OK;
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno || *end || value < lo || value > hi)
        return lv_fail(LVSA_ERR_ARGUMENT, "%s=%s: %s is wanted", variable, text, what);
    *out = (int)value;
    return LVSA_OK;
}

static lvsa_status read_size(lv_launch *l, const char *variable)
{
    l->variable = variable;
    return read_number(&l->size, variable, 1, INT_MAX, "a number of processes");
}

static lvsa_status read_local(lv_launch *l, const char *variable)
{
    return read_number(&l->local, variable, 0, INT_MAX, "a number from 0 on");
}

static lvsa_status read_local_size(lv_launch *l, const char *variable)
{
    return read_number(&l->local_size, variable, 1, l->size,
                       "a number of processes, no more than there are,");
}

static lvsa_status read_rank(lv_launch *l, const char *variable)
{
    l->rank = -1;
    LV_TRY(read_number(&l->rank, variable, 0, l->size - 1, "a number below that of the processes"));
    if (l->rank >= 0) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT,
                   "%s says %d processes, and %s isn't set: start them with one launcher",
                   l->variable, l->size, variable);
}

static lvsa_status set_place(lv_launch *l, const char *host, size_t length, int port)
{
    l->seconds = PATIENCE;
    LV_TRY(read_number(&port, "LVSA_COMM_PORT", 1, MOST_PORT, "a port, 1 to 65535,"));
    LV_TRY(read_number(&l->seconds, "LVSA_COMM_TIMEOUT", 1, MOST_PATIENCE,
                       "a number of seconds, 1 to 86400,"));
    const int is_v6 = memchr(host, ':', length) != NULL;
    const int written = snprintf(l->place, sizeof l->place, "%s%.*s%s:%d", is_v6 ? "[" : "",
                                 (int)length, host, is_v6 ? "]" : "", port);
    if (length > 0 && written > 0 && (size_t)written < sizeof l->place) return LVSA_OK;
    return lv_fail(LVSA_ERR_ARGUMENT, "the host of rank 0, \"%.*s\": a name is wanted", (int)length,
                   host);
}

/* ---- launchers ------------------------------------------------------------------------------- */

static lvsa_status read_mpi(lv_launch *l, const char *size, const char *local,
                            const char *local_size)
{
    l->launcher = LV_LAUNCHER_MPI;
    LV_TRY(read_size(l, size));
    LV_TRY(read_local(l, "SLURM_LOCALID"));
    LV_TRY(read_local(l, local));
    return read_local_size(l, local_size);
}

static lvsa_status read_torchrun(lv_launch *l)
{
    const char *host = find("MASTER_ADDR");
    int port = MOST_PORT - 1;
    l->launcher = LV_LAUNCHER_PLAIN;
    LV_TRY(read_size(l, "WORLD_SIZE"));
    LV_TRY(read_rank(l, "RANK"));
    LV_TRY(read_local(l, "LOCAL_RANK"));
    LV_TRY(read_local_size(l, "LOCAL_WORLD_SIZE"));
    LV_TRY(read_number(&port, "MASTER_PORT", 1, MOST_PORT - 1, "a port, 1 to 65534,"));
    return set_place(l, host, strlen(host), port + 1);
}

/* "node[03-07,12],other" is "node03" first. */
static size_t first_host(char *host, size_t size, const char *list)
{
    size_t length = 0;
    for (const char *c = list; *c && *c != ',' && length + 1 < size; c++) {
        if (*c == '[') {
            while (*++c && !strchr("-,]", *c) && length + 1 < size) host[length++] = *c;
            while (*c && *c != ']') c++;
            if (!*c) break;
        } else host[length++] = *c;
    }
    host[length] = '\0';
    return length;
}

/* "4(x2),3": four on each of the first two hosts. What is asked is rank 0's, which is on the first;
 * the others don't forecast. */
static int count_on_first_host(const char *list)
{
    const long count = list ? strtol(list, NULL, 10) : 1;
    return count >= 1 && count <= INT_MAX ? (int)count : 1;
}

static lvsa_status read_slurm(lv_launch *l)
{
    const char *hosts = find("SLURM_STEP_NODELIST");
    char host[256];
    int job = 0, step = 0;
    l->launcher = find("PMIX_RANK") || find("PMI_SIZE") ? LV_LAUNCHER_MPI : LV_LAUNCHER_PLAIN;
    LV_TRY(read_size(l, "SLURM_STEP_NUM_TASKS"));
    LV_TRY(read_rank(l, "SLURM_PROCID"));
    LV_TRY(read_local(l, "SLURM_LOCALID"));
    l->local_size = count_on_first_host(find("SLURM_STEP_TASKS_PER_NODE"));
    LV_TRY(read_number(&job, "SLURM_JOB_ID", 0, INT_MAX / 2, "a job's number"));
    LV_TRY(read_number(&step, "SLURM_STEP_ID", 0, INT_MAX / 2, "a step's number"));
    const size_t length = first_host(host, sizeof host, hosts ? hosts : "");
    return set_place(l, host, length, SLURM_PORT + (job + step) % SLURM_PORTS);
}

/* Set by srun alone: SLURM_NTASKS also stands where a batch script runs a program once. An mpirun
 * that srun has helped to start its daemons has another size. */
static bool is_srun(void)
{
    const char *size = find("SLURM_STEP_NUM_TASKS"), *mpi = find("PMI_SIZE");
    return size && (!mpi || strcmp(mpi, size) == 0);
}

lvsa_status lv_launch_read(lv_launch *out)
{
    lv_launch l = {.size = 1, .local = -1, .local_size = 1};
    lvsa_status s = LVSA_OK;
    if (find("OMPI_COMM_WORLD_SIZE"))
        s = read_mpi(&l, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                     "OMPI_COMM_WORLD_LOCAL_SIZE");
    else if (find("WORLD_SIZE") && find("MASTER_ADDR")) s = read_torchrun(&l);
    else if (is_srun()) s = read_slurm(&l);
    else if (find("PMI_SIZE")) s = read_mpi(&l, "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS");
    if (l.size == 1) l.launcher = LV_LAUNCHER_NONE;
    *out = l;
    return s;
}
