/* mpi_module.h: the MPI module, liblvsa_mpi.so.<major version>: all that calls MPI. The library
 * doesn't link to it; it loads the module where a launcher has started several processes. */
#ifndef LV_ENGINE_PARALLEL_MPI_MODULE_H
#define LV_ENGINE_PARALLEL_MPI_MODULE_H

#include <stdint.h>

#include "engine/parallel/comm.h"

/* Counts the changes of lv_mpi_table and of what its functions take. */
enum { LV_MPI_ABI = 1 };

/* Why a call failed: a sentence, in MPI's words. */
typedef struct lv_mpi_why {
    char text[512];
} lv_mpi_why;

/* What the module gives. MPI is one to a process, so there is no object. Sizes are ints, as MPI
 * counts: at most INT_MAX bytes a message. */
typedef struct lv_mpi_table {
    /* LV_MPI_ABI and sizeof(lv_mpi_table) as the module was compiled with: both have to be the
     * library's. */
    uint32_t abi, size;
    size_t request_bytes; /* of what a message needs while it is on its way */

    /* Starts MPI, unless the program has. */
    lvsa_status (*open)(int *rank, int *size, lv_mpi_why *why);
    /* requests: [sends + receives] of request_bytes. */
    lvsa_status (*exchange)(const lv_message *send, int sends, const lv_message *receive,
                            int receives, void *requests, lv_mpi_why *why);
    lvsa_status (*broadcast)(void *data, int bytes, int root, lv_mpi_why *why);
    void (*abort)(int code); /* doesn't return */
    void (*close)(void);     /* ends MPI, unless the program has started it */
} lv_mpi_table;

/* What the module exports, and nothing else. */
#define LV_MPI_SYMBOL "lv_mpi_module_table"
LVSA_API const lv_mpi_table *lv_mpi_module_table(void);

#endif
