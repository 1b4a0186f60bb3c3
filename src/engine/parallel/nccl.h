/* nccl.h: messages between GPUs, one GPU a rank, through NCCL.
 *
 * They have a stream of their own, beside the work of the device that they are for: messages follow
 * what it has been asked so far, and its later work follows them where it says so. Meanwhile a
 * thread looks whether the other ranks are still there: a rank that waits on its GPU for one that
 * has gone would wait for ever. */
#ifndef LV_ENGINE_PARALLEL_NCCL_H
#define LV_ENGINE_PARALLEL_NCCL_H

#include "engine/parallel/comm.h"
#include "engine/parallel/nccl_library.h"

typedef struct lv_nccl lv_nccl;

/* Which of this process's GPUs is that of the rank `local` among those of its host: GPU `local`, or
 * the only one that the launcher lets it see. */
int lv_nccl_find_gpu(int local);

/* A number for all ranks, to be sent to the others. Where `place` isn't NULL every rank gets the
 * same one by itself, for ranks that meet there ("host:port"). NCCL is told not to use NVLink's
 * multicast, unless NCCL_NVLS_ENABLE says what it is to do: on machines that are shared it may
 * fail. */
lvsa_status lv_nccl_find_id(lv_nccl_id *out, const char *place);

/* All ranks call it and wait for each other. Fails with LVSA_ERR_UNSUPPORTED (no NCCL, no GPU),
 * LVSA_ERR_DEVICE (or not all have come in time) or LVSA_ERR_MEMORY; *out is then NULL. */
typedef struct lv_nccl_options {
    lv_nccl_id id;
    const char *place; /* as it was for the number; NULL: none */
    int rank, size, gpu;
    int seconds; /* to wait for the others; 0: for ever, where somebody else ends all of them */
} lv_nccl_options;
lvsa_status lv_nccl_open(lv_nccl **out, const lv_nccl_options *o);

/* Waits for the other ranks to come here too, unless they or this one have given up. */
void lv_nccl_close(lv_nccl **nccl);

/* Messages on their way are dropped, and no other can be sent. */
void lv_nccl_give_up(lv_nccl *n);

int lv_nccl_get_gpu(const lv_nccl *n);

/* Of lv_comm: messages in host memory, done when it returns; and in that of a device. */
lvsa_status lv_nccl_exchange(lv_nccl *n, const lv_message *send, int sends,
                             const lv_message *receive, int receives);
lvsa_status lv_nccl_begin(lv_nccl *n, lv_device *device, const lv_message *send, int sends,
                          const lv_message *receive, int receives);
lvsa_status lv_nccl_wait(lv_nccl *n, lv_device *device);
lvsa_status lv_nccl_check(lv_nccl *n);

#endif
