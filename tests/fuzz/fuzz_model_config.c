/* fuzz_model_config.c: any bytes as a checkpoint's JSON files: a sentence, or a geometry that
 * makes sense. The input holds model_index.json, transformer/config.json and, where it goes on,
 * lvsa.json, parted by a 0. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lvsa/lvsa.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size) abort();
    fclose(file);
}

static void remove_file(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    remove(path);
}

static void remove_folder(void)
{
    static const char *const names[] = {"model_index.json", "transformer/config.json", "lvsa.json",
                                        "transformer", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) remove_file(names[i]);
}

static void make_folder(void)
{
    char path[128];
    snprintf(folder, sizeof folder, "/tmp/lvsa-fuzz-XXXXXX");
    if (!mkdtemp(folder)) abort();
    snprintf(path, sizeof path, "%s/transformer", folder);
    if (mkdir(path, 0700) != 0) abort();
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder) make_folder();
    static const char *const names[] = {"model_index.json", "transformer/config.json", "lvsa.json"};
    for (int i = 0; i < 3; i++) {
        const uint8_t *zero = size && i < 2 ? memchr(data, 0, size) : NULL;
        const size_t length = zero ? (size_t)(zero - data) : size;
        if (i < 2 || size > 0) write_file(names[i], data, length);
        else remove_file(names[i]);
        data += zero ? length + 1 : length;
        size -= zero ? length + 1 : length;
    }

    lvsa_geometry g = {.size = sizeof g};
    if (lvsa_geometry_from_model(&g, folder) != LVSA_OK)
        return *lvsa_last_error() ? 0 : (abort(), 0);
    if (!g.family || g.heads < 1 || g.head_dim < 1 || g.layers < 1 || g.temporal_factor < 1 ||
        g.frames < 1 || g.fps < 1 || g.reference_latent_frames < 1)
        abort();
    return 0;
}
