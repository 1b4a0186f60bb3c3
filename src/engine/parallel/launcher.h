/* launcher.h: what a launcher has told this process, in the variables that it sets. */
#ifndef LV_ENGINE_PARALLEL_LAUNCHER_H
#define LV_ENGINE_PARALLEL_LAUNCHER_H

#include "base/error.h"

typedef enum lv_launcher {
    LV_LAUNCHER_NONE,  /* or only one process                                   */
    LV_LAUNCHER_MPI,   /* mpirun, and srun for MPI: who a process is, is MPI's  */
    LV_LAUNCHER_PLAIN, /* torchrun and srun: numbers, and a place to meet        */
} lv_launcher;

typedef struct lv_launch {
    lv_launcher launcher;
    int size;
    const char *variable; /* that says the size; static                          */
    int local;            /* among the processes of this host; -1: nobody says   */
    int local_size;       /* how many those are; 1 where nobody says             */

    /* Of LV_LAUNCHER_PLAIN, and of srun's for MPI, which can also meet without it. */
    int rank;
    char place[320]; /* "host:port", where rank 0 is; "": there is none */
    int seconds;     /* to wait there for the others                    */
} lv_launch;

/* In this order: Open MPI's mpirun; torchrun; srun, for MPI where it is ready for that (--mpi=pmix
 * or pmi2); the mpirun of MPICH and its kin. Fails with LVSA_ERR_ARGUMENT: a variable is no such
 * number, or one is missing. */
lvsa_status lv_launch_read(lv_launch *out);

#endif
