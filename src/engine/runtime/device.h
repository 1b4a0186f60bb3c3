/* device.h: a processor with its memory. */
#ifndef LV_ENGINE_RUNTIME_DEVICE_H
#define LV_ENGINE_RUNTIME_DEVICE_H

#include "engine/runtime/ops.h"

typedef struct lv_profile lv_profile; /* profile.h */

enum { LV_DEVICE_STAMPS = 1024 };

/* What the shared code needs from a device; its own state follows in the device's folder. */
struct lv_device {
    lvsa_device kind;
    int index;        /* of the GPU */
    lvsa_dtype dtype; /* of activations and of weights that are matrices or kernels */
    const lv_ops *ops;
    int threads;            /* CPU threads; 0: as many as OpenMP would take               */
    int64_t rows;           /* tokens that a model's dense layers go over at a time       */
    void *stream;           /* of a GPU, NULL on the CPU                                  */
    size_t memory;          /* bytes of a GPU; 0: the machine's, see base/machine.h       */
    size_t overhead;        /* of them, those that are taken before anybody has asked     */
    bool offload;           /* a model's blocks stay with the host and come in turns      */
    bool takes_e4m3;        /* its dense layers multiply e4m3 matrices                    */
    bool fp8;               /* and those of a model's blocks are to be such               */
    bool dry;               /* see lv_device_open_dry()                                   */
    size_t counted;         /* bytes asked of a dry device                                */
    double peak_flops;      /* of bf16, a second, as the maker states it; 0: unknown        */
    double peak_e4m3_flops; /* likewise                                                     */
    double peak_bytes;      /* of its memory, likewise                                      */
    lv_profile *profile;    /* of its operations; NULL: nobody asked                     */

    lvsa_status (*allocate)(lv_device *, void **out, size_t bytes); /* 64-byte aligned; MEMORY */
    void (*release)(lv_device *, void *memory);
    /* `from` is the caller's again at once; what comes later on the device sees the copy. */
    lvsa_status (*upload)(lv_device *, void *to, const void *from, size_t bytes);
    /* The same from numbers of another type; NULL: the caller converts. A matrix becomes e4m3 as
     * lv_op_copy() makes it. */
    lvsa_status (*upload_as)(lv_device *, lv_tensor to, const void *from, lvsa_dtype type);
    lvsa_status (*download)(lv_device *, void *to, const void *from, size_t bytes); /* waits */
    /* The tiles of an attention call (see lvsa_tiles), made when they are first asked for and kept;
     * NULL: its kernels take none. */
    lvsa_status (*find_tiles)(lv_device *, const lvsa_tiles **out, const lvsa_attention *call);
    /* Begins a download into the device's own host memory, slot 0 or 1; what comes later on the
     * device may change `from`. NULL: there is download() alone. */
    lvsa_status (*fetch)(lv_device *, int slot, const void *from, size_t bytes);
    /* What the slot holds, as soon as it is there; stays until the slot's next fetch. */
    lvsa_status (*await)(lv_device *, const void **out, int slot);
    /* Notes when all that was asked before is done; NULL: that is when the calls return. */
    lvsa_status (*stamp)(lv_device *, int index);
    /* Waits, and says how long it was from stamp 2i to stamp 2i + 1, for i < count. */
    lvsa_status (*elapsed)(lv_device *, double *seconds, int count);
    /* For offloading: copies as upload_as() on a way of their own, beside the work. A side marks
     * what it has been asked so far (slot 0 or 1), and the other side's later work waits for that
     * mark. NULL: upload() does, in the order of the work. */
    lvsa_status (*upload_aside)(lv_device *, lv_tensor to, const void *from, lvsa_dtype type);
    lvsa_status (*mark)(lv_device *, bool aside, int slot);
    lvsa_status (*wait)(lv_device *, bool aside, int slot);
    /* What it is asked later waits for what `other`, the same GPU opened once more, has been asked
     * so far. NULL: a device whose calls return when they are done. */
    lvsa_status (*follow)(lv_device *, lv_device *other);
    void (*close)(lv_device *);
};

/* Opens the CPU with `which` threads (0: as many as OpenMP would take), or the GPU number `which`.
 * LVSA_ERR_UNSUPPORTED: not in this build or not on this machine. */
lvsa_status lv_device_open(lv_device **out, lvsa_device kind, int which);
/* The GPU where there is one to be used, otherwise the CPU. */
lvsa_status lv_device_open_auto(lv_device **out, int gpu, int threads);
void lv_device_close(lv_device **device);

/* As `device`, but it only counts: models are opened and measured on it without their weights being
 * read. Allocations give an address that nobody may look at, copies do nothing; it runs no pass. */
lvsa_status lv_device_open_dry(lv_device **out, const lv_device *device);

/* A forward pass on this device that measures: takes give no memory, operations do nothing. */
lv_exec lv_exec_measure(lv_device *device);

/* Ends measuring: allocates what was found (peak) and makes the next pass real. */
lvsa_status lv_exec_begin(lv_exec *e);
void lv_exec_end(lv_exec *e);

#endif
