/* comm.h: the processes that work on one video, its ranks, and how they send each other memory.
 *
 * All ranks make the same calls in the same order. A rank whose work fails, here or anywhere, says
 * why and calls lv_comm_abort(), which ends the others too; were it only to return, they would wait
 * for it. One comm, one thread at a time. */
#ifndef LV_ENGINE_PARALLEL_COMM_H
#define LV_ENGINE_PARALLEL_COMM_H

#include <stddef.h>

#include "base/error.h"

typedef struct lv_device lv_device; /* engine/runtime/device.h   */
typedef struct lv_launch lv_launch; /* engine/parallel/launcher.h */
typedef struct lv_nccl lv_nccl;     /* engine/parallel/nccl.h     */

/* Memory for a peer, or from it. What is sent is only read. */
typedef struct lv_message {
    int peer;
    void *data;
    size_t bytes; /* the same on both sides; 0: no message */
} lv_message;

typedef struct lvsa_ranks lv_comm; /* include/lvsa/lvsa.h */

/* What the shared code needs from a transport; its own state follows in its file. */
struct lvsa_ranks {
    int rank, size;
    int local;                  /* rank among those of this host: the number of its GPU */
    int local_size;             /* how many those are; 1 where nobody has said          */
    lv_message *send, *receive; /* [size] each, of the collectives; one piece of memory */
    lv_nccl *nccl;              /* the ranks' GPUs; NULL: they haven't met              */

    lvsa_status (*exchange)(lv_comm *c, const lv_message *send, int sends,
                            const lv_message *receive, int receives);
    /* Of memory of a GPU. */
    lvsa_status (*begin)(lv_comm *c, lv_device *device, const lv_message *send, int sends,
                         const lv_message *receive, int receives);
    lvsa_status (*wait)(lv_comm *c, lv_device *device);
    lvsa_status (*broadcast)(lv_comm *c, void *data, size_t bytes, int root);
    void (*abort)(lv_comm *c, int code);
    void (*close)(lv_comm *c);
};

/* The ranks that a launcher has started, by the variables that it sets for them (launcher.h): those
 * of mpirun talk through the MPI module, and so do srun's where it is ready for that MPI; those of
 * torchrun and else srun's through NCCL, and need a GPU each. Without a launcher, and with one
 * process, a comm of this process alone. Fails with LVSA_ERR_UNSUPPORTED (no module, or none of the
 * launcher's MPI; no NCCL, or no GPU), LVSA_ERR_ARGUMENT (a variable is no number), LVSA_ERR_DEVICE
 * (MPI, NCCL; others haven't come) or LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_comm_open(lv_comm **out);

/* Which GPU is this rank's. */
int lv_comm_find_gpu(const lv_comm *c);

/* Before messages are in a device's memory, once a device: all ranks have devices of one kind, and
 * their GPUs meet. Fails with LVSA_ERR_ARGUMENT (kinds differ, or the GPU isn't this rank's),
 * LVSA_ERR_UNSUPPORTED (no NCCL), LVSA_ERR_DEVICE or LVSA_ERR_MEMORY. */
lvsa_status lv_comm_join(lv_comm *c, const lv_device *device);

/* Ranks first .. first + count - 1 of a comm, this one among them, as a comm of their own, in which
 * they are 0 .. count - 1. Nothing is sent: those outside don't take part. `parent` is borrowed; it
 * may be used beside the group, by all in the same order. Fails with LVSA_ERR_ARGUMENT or
 * LVSA_ERR_MEMORY; *out is then NULL. */
lvsa_status lv_comm_open_group(lv_comm **out, lv_comm *parent, int first, int count);

/* Waits for the other ranks to come here too, but for a group's. */
void lv_comm_close(lv_comm **comm);

/* Ends all ranks at once, with this exit code. Returns where there is only one, and where the
 * others end when they see that this process has: it should. */
void lv_comm_abort(lv_comm *c, int code);

/* All messages at once, of host memory; what is sent may change and what is received is there when
 * it returns. Those from one rank to another match in their order; a rank may send to itself. Fails
 * with LVSA_ERR_ARGUMENT (no such peer), LVSA_ERR_DEVICE or LVSA_ERR_MEMORY. */
lvsa_status lv_comm_exchange(lv_comm *c, const lv_message *send, int sends,
                             const lv_message *receive, int receives);

/* The same in a device's memory and in the order of its work. What is sent is what is there when
 * all that the device has been asked so far is done. For what it is asked after lv_comm_wait(),
 * what was received is there, and what was sent may change. In between a GPU goes on with other
 * work; the CPU's messages are done when begin() returns. begin() fails as lv_comm_exchange(), or
 * with LVSA_ERR_UNSUPPORTED (the GPUs haven't met: no lv_comm_join()). */
lvsa_status lv_comm_begin(lv_comm *c, lv_device *device, const lv_message *send, int sends,
                          const lv_message *receive, int receives);
lvsa_status lv_comm_wait(lv_comm *c, lv_device *device);

/* Fails with LVSA_ERR_DEVICE where another rank has gone: what a GPU has received since then is
 * nothing. To be asked once it has been waited for. */
lvsa_status lv_comm_check(lv_comm *c);

/* From each to each: sent_bytes [size] of `from` go to ranks 0, 1 ..., one part behind the other,
 * and received_bytes [size] come into `to` in the same way. Of a device's memory, begun and waited
 * for; NULL: of the host's. */
lvsa_status lv_comm_all_to_all(lv_comm *c, lv_device *device, void *to,
                               const size_t *received_bytes, const void *from,
                               const size_t *sent_bytes);

/* to = all ranks' parts, rank r's of bytes[r], one behind the other; `from` is this rank's. Of
 * device memory or host memory, likewise. */
lvsa_status lv_comm_all_gather(lv_comm *c, lv_device *device, void *to, const size_t *bytes,
                               const void *from);

/* Of host memory: data of rank `root` to all. */
lvsa_status lv_comm_broadcast(lv_comm *c, void *data, size_t bytes, int root);

/* ---- transports ------------------------------------------------------------------------------ */

lvsa_status lv_comm_open_solo(lv_comm **out);
lvsa_status lv_comm_open_mpi(lv_comm **out, int size); /* as many as the launcher has started */
lvsa_status lv_comm_open_nccl(lv_comm **out, const lv_launch *launch); /* at its place */

/* The broadcast of a transport that has nothing but messages. */
lvsa_status lv_comm_broadcast_by_messages(lv_comm *c, void *data, size_t bytes, int root);

/* nccl_comm.c: begin and wait of a transport whose ranks' GPUs have met. */
lvsa_status lv_comm_begin_nccl(lv_comm *c, lv_device *device, const lv_message *send, int sends,
                               const lv_message *receive, int receives);
lvsa_status lv_comm_wait_nccl(lv_comm *c, lv_device *device);

#endif
