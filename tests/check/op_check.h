/* op_check.h: an operation of a GPU against the same operation of the CPU. */
#ifndef OP_CHECK_H
#define OP_CHECK_H

#include "testing.h"

#include "engine/runtime/device.h"

/* One tensor of an operation: random numbers of up to `size` (0: 1), rounded to its type, the same
 * on both devices. What is written is compared, and the bytes round it are looked at. An e4m3
 * matrix's rows are of different sizes, its width is a multiple of 16. */
typedef struct operand {
    lvsa_dtype dtype; /* on the GPU; f32 on the CPU */
    int rank;
    int64_t shape[LV_MAX_RANK];
    bool written;
    float size;
} operand;

#define BF16(...)                                                                                  \
    {                                                                                              \
        LVSA_BF16, .rank = OP_RANK(__VA_ARGS__), .shape = { __VA_ARGS__ }                          \
    }
#define F32(...)                                                                                   \
    {                                                                                              \
        LVSA_F32, .rank = OP_RANK(__VA_ARGS__), .shape = { __VA_ARGS__ }                           \
    }
#define E4M3(...)                                                                                  \
    {                                                                                              \
        LV_E4M3, .rank = OP_RANK(__VA_ARGS__), .shape = { __VA_ARGS__ }                            \
    }
#define OUT_E4M3(...)                                                                              \
    {                                                                                              \
        LV_E4M3, .rank = OP_RANK(__VA_ARGS__), .shape = {__VA_ARGS__}, .written = true             \
    }
#define OUT_BF16(...)                                                                              \
    {                                                                                              \
        LVSA_BF16, .rank = OP_RANK(__VA_ARGS__), .shape = {__VA_ARGS__}, .written = true           \
    }
#define OUT_F32(...)                                                                               \
    {                                                                                              \
        LVSA_F32, .rank = OP_RANK(__VA_ARGS__), .shape = {__VA_ARGS__}, .written = true            \
    }
#define OP_RANK(...) (int)(sizeof(const int64_t[]){__VA_ARGS__} / sizeof(int64_t))

/* Opens both devices; false, with the reason printed, where there is no GPU to be used. */
bool op_check_open(void);
void op_check_close(void);

/* Whether the GPU has dense layers of e4m3. */
bool op_check_takes_e4m3(void);

/* Calls the operation with t[i] made from operands[i]. */
typedef lvsa_status op_call(lv_exec *e, const lv_tensor *t, const void *options);

/* Runs it on both, twice on the GPU: every written number may be `steps` steps of its type times
 * the sum of its own size and the tensor's rms away, and the two runs give the same bits. A written
 * e4m3 number may be `steps` halves of its last bit (1/16 of it, or 2^-10 of the scale) away from
 * what the CPU has in f32; what is above 1 of `steps` gives it as often 2^-9 of the tensor's rms
 * too: sums are rounded before they are e4m3. */
void op_check(const char *name, op_call *call, const void *options, double steps, int count,
              const operand *operands);
#define CHECK_OP(name, call, options, steps, ...)                                                  \
    op_check(name, call, options, steps,                                                           \
             (int)(sizeof((const operand[]){__VA_ARGS__}) / sizeof(operand)),                      \
             (const operand[]){__VA_ARGS__})

#endif
