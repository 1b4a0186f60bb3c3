/* nccl_library.h: what is called of NCCL, libnccl.so.2, which is loaded when ranks on GPUs first
 * want it: it comes with the GPUs' other software, from many places, and Debian has none. So its C
 * interface is declared here; it is stable within version 2 (https://docs.nvidia.com/deeplearning/
 * nccl/user-guide/docs/api.html). */
#ifndef LV_ENGINE_PARALLEL_NCCL_LIBRARY_H
#define LV_ENGINE_PARALLEL_NCCL_LIBRARY_H

#include <stddef.h>

#include "base/error.h"

typedef struct ncclComm lv_nccl_comm;

/* Passed by value. */
typedef struct lv_nccl_id {
    char bytes[128];
} lv_nccl_id;

/* ncclResult_t, and the data type of one byte. */
enum { LV_NCCL_SUCCESS = 0, LV_NCCL_INVALID_USAGE = 5, LV_NCCL_IN_PROGRESS = 7, LV_NCCL_BYTE = 0 };

/* A stream is a cudaStream_t. Functions return an ncclResult_t. */
typedef struct lv_nccl_library {
    int (*get_version)(int *version);
    int (*get_unique_id)(lv_nccl_id *out);
    int (*init_rank)(lv_nccl_comm **out, int ranks, lv_nccl_id id, int rank);
    int (*destroy)(lv_nccl_comm *comm);
    int (*abort)(lv_nccl_comm *comm);
    int (*get_async_error)(lv_nccl_comm *comm, int *error);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*send)(const void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *stream);
    int (*receive)(void *data, size_t count, int type, int peer, lv_nccl_comm *c, void *stream);
    const char *(*get_error_string)(int result);
} lv_nccl_library;

/* Borrowed; stays loaded. Fails with LVSA_ERR_UNSUPPORTED. */
lvsa_status lv_nccl_library_get(const lv_nccl_library **out);

#endif
