/* attn_check.h: holds any attention back end against the fp64 reference on the same input.
 *
 *     CHECK_ATTN(.frames = 3, .patches = 131, .heads = 2, .head_dim = 128);
 *
 * A problem lies in host memory. The run copies it to the call's device and the output back:
 * attn_problem_create(), attn_problem_run(), attn_problem_compare(). */
#ifndef LV_TESTS_CHECK_ATTN_CHECK_H
#define LV_TESTS_CHECK_ATTN_CHECK_H

#include <lvsa/lvsa_attention.h>

typedef enum attn_input {
    ATTN_RANDOM,      /* q, k, v normal                                             */
    ATTN_LARGE,       /* logits in the hundreds: a few keys take everything         */
    ATTN_DOMINANT,    /* one key per query frame outweighs all others               */
    ATTN_EQUAL,       /* all keys equal: the output is the mean of v                */
    ATTN_NAN_FRAME,   /* one frame's k and v are NaN: who attends to it, and no more */
    ATTN_OUTLIERS     /* some channels of q, k and v far from 0, or many times wider */
} attn_input;

/* A field that is 0 takes the value in brackets. */
typedef struct attn_case {
    int batch;      /* [1] */
    int frames;     /* T [1] */
    int patches;    /* P [1] */
    int heads;      /* H [1] */
    int kv_heads;   /* [heads] */
    int head_dim;   /* D [64] */
    lvsa_dtype dtype; /* [f32] */
    attn_input input;
    int dense;      /* no runs: every query attends to every row                     */
    int queries;    /* dense only: Sq, if it isn't T*P                               */
    int window;     /* W [3], -1 for 0                                               */
    int interval;   /* [automatic], for a reference of 5 frames                      */
    int rotation;
    int split;      /* odd frames lie in a second source, "held elsewhere"           */
    int text;       /* rows of a last source that all attend to                      */
    int count;      /* how often each source's last row counts                       */
    int stride_pad; /* elements between heads, rows and batch items that are no data */
    int lse;
    int fp8;        /* products in fp8: 1: held against what rounding leaves; 2: exact numbers  */
    double scale;
    lvsa_backend backend; /* [native] */
    int threads;    /* [2] */
    lvsa_device device; /* [the CPU] */
    int sample;     /* query rows that are compared, frames' first and last ones among them [all] */
} attn_case;

typedef struct attn_problem {
    attn_case c;
    lvsa_attention call; /* on host memory, without workspace and tiles        */
    lvsa_plan *plan;
    void *memory[16];
    size_t bytes[16];
    int memories;
    size_t out_elements; /* with gaps and guards                               */
    void *out_start;     /* where they begin                                   */
    void *lse_start;     /* the same of lse, or NULL                           */
} attn_problem;

void attn_problem_create(attn_problem *p, const attn_case *c);
void attn_problem_free(attn_problem *p);

/* Runs the call; on a device three times, which have to give the same bits. */
void attn_problem_run(attn_problem *p, const char *file, int line);

/* Compares the problem's output with the reference's: fails the test past 8 steps of a half type
 * or 16 of fp32, times the rms of the reference (and, in fp32, the size of the logits); checks
 * every guard and gap. Prints the margin. Worst seen: bf16 7.8, fp16 7.3, fp32 10.4.
 *
 * In fp8 the reference gets the rounded tensors (fp8_rounding.h), so that what is left is the
 * rounding of weights, each 1/16 of itself at most. That moves an output by 1/15 of the spread of
 * the values that it is the mean of, their standard deviation under the weights. */
void attn_problem_compare(attn_problem *p, const char *file, int line);

/* All of these in a row. */
void attn_check(const attn_case *c, const char *file, int line);

#define CHECK_ATTN(...) attn_check(&(attn_case){__VA_ARGS__}, __FILE__, __LINE__)

#endif
