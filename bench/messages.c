/* messages.c: what messages between ranks take: to the next rank and from the one before, so many
 * of so many bytes in one exchange, by the same calls as a layer's.
 *
 *     torchrun --no-python --nproc_per_node=2 messages [cuda|cpu]        or mpirun -n 2 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/parallel/comm.h"
#include "engine/runtime/device.h"

enum { MOST = 64, TURNS = 30 };

static lv_comm *comm;
static lv_device *device;

static void check(lvsa_status s)
{
    if (s == LVSA_OK) return;
    fprintf(stderr, "rank %d: %s\n", comm ? comm->rank : -1, lvsa_last_error());
    if (comm) lv_comm_abort(comm, 1);
    exit(1);
}

static void exchange(char *from, char *to, int count, size_t bytes)
{
    lv_message send[MOST], receive[MOST];
    const int next = (comm->rank + 1) % comm->size;
    const int last = (comm->rank + comm->size - 1) % comm->size;
    for (int i = 0; i < count; i++) {
        send[i] = (lv_message){next, from + (size_t)i * bytes, bytes};
        receive[i] = (lv_message){last, to + (size_t)i * bytes, bytes};
    }
    check(lv_comm_begin(comm, device, send, count, receive, count));
    check(lv_comm_wait(comm, device));
}

static void measure(char *from, char *to, int count, size_t bytes)
{
    char word[4];
    double start = 0.0;
    for (int i = -3; i < TURNS; i++) {
        if (i == 0) {
            check(device->download(device, word, to, sizeof word)); /* all before is done */
            start = lv_clock_seconds();
        }
        exchange(from, to, count, bytes);
    }
    check(device->download(device, word, to, sizeof word));
    const double seconds = (lv_clock_seconds() - start) / TURNS;
    if (comm->rank == 0)
        printf("%3d x %9zu bytes %9.1f us %8.1f GB/s\n", count, bytes, 1e6 * seconds,
               1e-9 * (double)bytes * count / seconds);
}

int main(int argc, char **argv)
{
    static const struct {
        int count;
        size_t bytes;
    } cases[] = {{1, 1 << 12},  {1, 1 << 20},     {1, 4792320}, {2, 4792320},
                 {16, 4792320}, {2, 8 * 4792320}, {1, 1 << 26}, {1, 1 << 27},
                 {1, 1 << 28},  {8, 1 << 25},     {32, 4792320}};
    const int gpu = argc < 2 || strcmp(argv[1], "cpu") != 0;
    void *from, *to;
    check(lv_comm_open(&comm));
    check(lv_device_open(&device, gpu ? LVSA_DEVICE_CUDA : LVSA_DEVICE_CPU,
                         gpu ? lv_comm_find_gpu(comm) : 1));
    check(lv_comm_join(comm, device));
    check(device->allocate(device, &from, 1 << 28));
    check(device->allocate(device, &to, 1 << 28));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        measure(from, to, cases[i].count, cases[i].bytes);
    device->release(device, to);
    device->release(device, from);
    lv_device_close(&device);
    lv_comm_close(&comm);
    return 0;
}
