/* lvsa_synth.h: checkpoints of a published model's layout and size with random weights, to measure
 * and to test with: they load and run like the real ones, and their videos are noise. */
#ifndef LVSA_SYNTH_H
#define LVSA_SYNTH_H

#include <stddef.h>
#include <stdint.h>

#include <lvsa/lvsa_status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The name of the index-th checkpoint that can be made, NULL past the last. Static. */
LVSA_API const char *lvsa_synth_name(int index);

/* The parts whose weights are written; tokenizer, scheduler and all config.json are in any case. */
typedef enum lvsa_synth_part {
    LVSA_SYNTH_TRANSFORMER = 1,
    LVSA_SYNTH_TEXT_ENCODER = 2,
    LVSA_SYNTH_VAE = 4,
    LVSA_SYNTH_ALL = 7
} lvsa_synth_part;

typedef struct lvsa_synth_options {
    size_t size;           /* sizeof(lvsa_synth_options): set by LVSA_SYNTH_OPTIONS_INIT          */
    const char *name;      /* as lvsa_synth_name() has it                                         */
    const char *directory; /* that is made; those above it have to be there                       */
    unsigned parts;        /* lvsa_synth_part, added                                              */
    uint64_t seed;         /* of all numbers: the same seed, the same files, whatever the threads */
    int threads;           /* 0: one a processor                                                  */
    int replace;           /* 1: an existing directory's files of the same names are replaced     */
    int layers;            /* blocks of the transformer, which are alike; 0: all of them          */

    /* On the calling thread; may be NULL. Non-zero ends the work: LVSA_ERR_CANCELLED. */
    int (*on_progress)(void *user, int64_t done, int64_t total);
    void *user;
} lvsa_synth_options;

#define LVSA_SYNTH_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(lvsa_synth_options), NULL, NULL, LVSA_SYNTH_ALL, 0, 0, 0, 0, NULL, NULL             \
    }

/* Writes the checkpoint; *bytes is what its files hold. Matrices are uniform numbers of variance 1
 * / inputs, norms are 1 and biases 0, in bf16, the VAE's in f32. Fails with LVSA_ERR_ARGUMENT (no
 * such name, no parts), LVSA_ERR_IO (the directory exists or can't be made, the disk has too little
 * room), LVSA_ERR_MEMORY or LVSA_ERR_CANCELLED; what it has made is then gone, and what it was to
 * replace is still there. */
LVSA_API lvsa_status lvsa_synth_write(int64_t *bytes, const lvsa_synth_options *options);

#ifdef __cplusplus
}
#endif
#endif
