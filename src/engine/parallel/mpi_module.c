/* mpi_module.c: the module's side. Messages are bytes: ranks run the same program on machines of a
 * kind. */
#include "engine/parallel/mpi_module.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <mpi.h>

static MPI_Comm world = MPI_COMM_NULL; /* ours: nobody else's messages are in it */
static bool started;                   /* by us */

static lvsa_status fail(lv_mpi_why *why, const char *call, int code)
{
    char words[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, words, &length);
    snprintf(why->text, sizeof why->text, "%s: %.400s", call, words);
    return LVSA_ERR_DEVICE;
}

#define TRY(call, name)                                                                            \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != MPI_SUCCESS) return fail(why, name, code_);                                   \
    } while (0)

/* False: Open MPI would end this process, which srun has started without PMIx. */
static bool is_expected(void)
{
#ifdef OPEN_MPI
    return !getenv("SLURM_STEP_NUM_TASKS") || getenv("PMIX_RANK") || getenv("OMPI_COMM_WORLD_SIZE");
#else
    return true;
#endif
}

static lvsa_status start(lv_mpi_why *why)
{
    int running = 0, ended = 0, threads;
    TRY(MPI_Initialized(&running), "MPI_Initialized");
    TRY(MPI_Finalized(&ended), "MPI_Finalized");
    if (ended) {
        snprintf(why->text, sizeof why->text,
                 "MPI has ended in this process, and starts only once: keep it open");
        return LVSA_ERR_UNSUPPORTED;
    }
    if (running) return LVSA_OK;
    if (!is_expected()) {
        snprintf(why->text, sizeof why->text,
                 "Open MPI, with which lvsa was built, takes part in srun by PMIx alone: srun "
                 "--mpi=pmix is wanted");
        return LVSA_ERR_UNSUPPORTED;
    }
    /* OpenMP's threads compute beside the one that calls here. */
    TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &threads), "MPI_Init_thread");
    started = true;
    return LVSA_OK;
}

static lvsa_status module_open(int *rank, int *size, lv_mpi_why *why)
{
    lvsa_status s = start(why);
    if (s != LVSA_OK) return s;
    TRY(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup");
    TRY(MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    TRY(MPI_Comm_rank(world, rank), "MPI_Comm_rank");
    TRY(MPI_Comm_size(world, size), "MPI_Comm_size");
    return LVSA_OK;
}

static lvsa_status module_exchange(const lv_message *send, int sends, const lv_message *receive,
                                   int receives, void *requests, lv_mpi_why *why)
{
    MPI_Request *request = requests;
    for (int i = 0; i < receives; i++) {
        const lv_message *m = &receive[i];
        TRY(MPI_Irecv(m->data, (int)m->bytes, MPI_BYTE, m->peer, 0, world, request++), "MPI_Irecv");
    }
    for (int i = 0; i < sends; i++) {
        const lv_message *m = &send[i];
        TRY(MPI_Isend(m->data, (int)m->bytes, MPI_BYTE, m->peer, 0, world, request++), "MPI_Isend");
    }
    TRY(MPI_Waitall(sends + receives, requests, MPI_STATUSES_IGNORE), "MPI_Waitall");
    return LVSA_OK;
}

static lvsa_status module_broadcast(void *data, int bytes, int root, lv_mpi_why *why)
{
    TRY(MPI_Bcast(data, bytes, MPI_BYTE, root, world), "MPI_Bcast");
    return LVSA_OK;
}

static void module_abort(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static void module_close(void)
{
    if (world != MPI_COMM_NULL) MPI_Comm_free(&world);
    if (started) MPI_Finalize();
    started = false;
}

static const lv_mpi_table table = {
    .abi = LV_MPI_ABI,
    .size = sizeof(lv_mpi_table),
    .request_bytes = sizeof(MPI_Request),
    .open = module_open,
    .exchange = module_exchange,
    .broadcast = module_broadcast,
    .abort = module_abort,
    .close = module_close,
};

LVSA_API const lv_mpi_table *lv_mpi_module_table(void) { return &table; }
