/* driver.c: runs a fuzz target over every file of a folder and over mutations of them, the same
 * ones each time. A crash or a sanitizer's report ends the program; there is nothing else to
 * check. usage: fuzz_NAME FOLDER [MUTATIONS-A-FILE] */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, FILES_MAX = 1024 };

static uint64_t random_state = 1;

static size_t random_below(size_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return bound ? (size_t)((random_state >> 33) % bound) : 0;
}

/* One to four changes: a byte set, a bit turned, a piece cut out, doubled or cut off. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const uint8_t telling[] = {0,   0xff, 0x7f, 0x80, '"', '{', '}',
                                      '[', ']',  ',',  '-',  '9', 'e', '\n'};
    for (size_t changes = 1 + random_below(4); changes > 0; changes--) {
        size_t at = random_below(size), length = random_below(size - at < 64 ? size - at : 64);
        switch (random_below(6)) {
        case 0:
            if (size) data[at] = telling[random_below(sizeof telling)];
            break;
        case 1:
            if (size) data[at] ^= (uint8_t)(1u << random_below(8));
            break;
        case 2:
            if (size) data[at] = (uint8_t)random_below(256);
            break;
        case 3:
            memmove(data + at, data + at + length, size - at - length);
            size -= length;
            break;
        case 4:
            if (size + length > INPUT_MAX) break;
            memmove(data + at + length, data + at, size - at);
            size += length;
            break;
        case 5: size = at; break;
        }
    }
    return size;
}

/* The target must not read past its input: it gets a copy of exactly that size. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) exit(3);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t read_file(uint8_t *data, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    return size;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    static uint8_t seed[INPUT_MAX], data[INPUT_MAX];
    char *names[FILES_MAX];
    size_t files = 0;
    long mutations = argc > 2 ? atol(argv[2]) : 2000;
    DIR *folder = argc > 1 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr,
                "usage: %s FOLDER [MUTATIONS-A-FILE]; the folder holds inputs to start from\n",
                argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder)) && files < FILES_MAX;)
        if (entry->d_name[0] != '.') names[files++] = strdup(entry->d_name);
    closedir(folder);
    qsort(names, files, sizeof *names, by_name);

    feed(data, 0);
    for (size_t i = 0; i < files; i++) {
        size_t size = read_file(seed, argv[1], names[i]);
        feed(seed, size);
        for (long m = 0; m < mutations; m++) {
            memcpy(data, seed, size);
            feed(data, mutate(data, size));
        }
        free(names[i]);
    }
    printf("%zu files, %ld mutations each\n", files, mutations);
    return files > 0 ? 0 : 1;
}
