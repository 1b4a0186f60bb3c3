/* nccl_comm.c: ranks on GPUs: those of torchrun and srun, which have nothing but NCCL, and those of
 * mpirun, whose GPUs meet through it. */
#include "base/mem.h"
#include "engine/parallel/launcher.h"
#include "engine/parallel/nccl.h"
#include "engine/runtime/device.h"

lvsa_status lv_comm_begin_nccl(lv_comm *c, lv_device *device, const lv_message *send, int sends,
                               const lv_message *receive, int receives)
{
    return lv_nccl_begin(c->nccl, device, send, sends, receive, receives);
}

lvsa_status lv_comm_wait_nccl(lv_comm *c, lv_device *device)
{
    return lv_nccl_wait(c->nccl, device);
}

/* ---- without MPI ----------------------------------------------------------------------------- */

static lvsa_status exchange(lv_comm *c, const lv_message *send, int sends,
                            const lv_message *receive, int receives)
{
    return lv_nccl_exchange(c->nccl, send, sends, receive, receives);
}

static void abort_ranks(lv_comm *c, int code)
{
    (void)code; /* is the program's, which ends now; the others see that */
    lv_nccl_give_up(c->nccl);
}

static void close_comm(lv_comm *c)
{
    lv_nccl_close(&c->nccl);
    lv_free(c);
}

lvsa_status lv_comm_open_nccl(lv_comm **out, const lv_launch *launch)
{
    lv_comm *c = lv_zalloc(sizeof *c);
    *out = NULL;
    if (!c) return lv_fail(LVSA_ERR_MEMORY, "a comm: %zu bytes don't fit in memory", sizeof *c);
    *c = (lv_comm){.rank = launch->rank,
                   .size = launch->size,
                   .local = launch->local >= 0 ? launch->local : launch->rank,
                   .exchange = exchange,
                   .begin = lv_comm_begin_nccl,
                   .wait = lv_comm_wait_nccl,
                   .broadcast = lv_comm_broadcast_by_messages,
                   .abort = abort_ranks,
                   .close = close_comm};
    lv_nccl_options o = {.place = launch->place,
                         .rank = c->rank,
                         .size = c->size,
                         .gpu = lv_nccl_find_gpu(c->local),
                         .seconds = launch->seconds};
    lvsa_status s = lv_nccl_find_id(&o.id, o.place);
    if (s == LVSA_OK) s = lv_nccl_open(&c->nccl, &o);
    if (s == LVSA_OK) *out = c;
    else lv_free(c);
    if (s == LVSA_ERR_UNSUPPORTED)
        return lv_fail_in(
            s, "without MPI they need NCCL and a GPU each; on CPUs start them with mpirun, or "
               "with srun --mpi=pmix");
    return s;
}
