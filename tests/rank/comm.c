/* comm.c: one rank of a test of the transport; comm.sh starts them. Ends with 0 where all that it
 * received is right.
 * usage: comm all [device]     every call, messages of odd sizes, large ones; with those of a GPU
 *        comm fail|die|leave   the last rank does that while the others wait for it */
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/parallel/comm.h"
#include "engine/runtime/device.h"

static lv_comm *comm;

/* As a program ends that fails: with its sentence, and with all the others. */
static void stop(const char *format, ...) LV_PRINTF(1, 2);
static void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "rank %d: ", comm ? comm->rank : -1);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    if (comm) lv_comm_abort(comm, 3);
    exit(3);
}

static void want(lvsa_status s, const char *what)
{
    if (s != LVSA_OK) stop("%s: %s", what, lvsa_last_error());
}

static void refuse(lvsa_status s, const char *words)
{
    if (s == LVSA_OK || !strstr(lvsa_last_error(), words)) stop("not refused: %s", words);
}

static unsigned char *take(size_t bytes)
{
    unsigned char *memory = malloc(bytes + 1);
    if (!memory) stop("no memory");
    memset(memory, 0xEE, bytes + 1);
    return memory;
}

/* Byte `i` of what `from` sends to `to`. */
static unsigned char byte_of(int from, int to, size_t i)
{
    return (
        unsigned char)(((uint64_t)i * 2654435761u + (unsigned)from * 97u + (unsigned)to * 31u) >>
                       7);
}

static void fill(unsigned char *memory, size_t bytes, int from, int to)
{
    for (size_t i = 0; i < bytes; i++) memory[i] = byte_of(from, to, i);
}

/* The bytes, and that the one behind them wasn't written. */
static void check(const unsigned char *memory, size_t bytes, int from, int to, const char *what)
{
    for (size_t i = 0; i < bytes; i++)
        if (memory[i] != byte_of(from, to, i)) stop("%s from %d: byte %zu is wrong", what, from, i);
}

/* What `from` sends to `to` in the collectives; some send nothing. */
static size_t size_of(int from, int to) { return (size_t)(from * 3 + to * 5) * 7 % 40; }

/* Of host memory, or of a device's, into which all of it is in the fake that stands for a GPU. */
static void exchange(lv_device *device, const lv_message *send, int sends,
                     const lv_message *receive, int receives)
{
    if (!device) {
        want(lv_comm_exchange(comm, send, sends, receive, receives), "exchange");
        return;
    }
    want(lv_comm_begin(comm, device, send, sends, receive, receives), "begin");
    want(lv_comm_wait(comm, device), "wait");
}

/* Three messages to each rank, itself too, that differ in size; the second is none. */
static void test_exchange(lv_device *device)
{
    enum { EACH = 3, MOST = 1 << 12 };
    const int size = comm->size, me = comm->rank;
    lv_message *send = calloc((size_t)size * EACH, sizeof *send);
    lv_message *receive = calloc((size_t)size * EACH, sizeof *receive);
    if (!send || !receive) stop("no memory");
    for (int i = 0; i < size * EACH; i++) {
        const int peer = i / EACH, turn = i % EACH;
        const size_t out = turn == 1 ? 0 : (size_t)(me * 100 + peer * 10 + turn + 1);
        const size_t in = turn == 1 ? 0 : (size_t)(peer * 100 + me * 10 + turn + 1);
        send[i] = (lv_message){peer, take(MOST), out};
        receive[i] = (lv_message){peer, take(MOST), in};
        fill(send[i].data, out, me + turn, peer);
    }
    exchange(device, send, size * EACH, receive, size * EACH);
    for (int i = 0; i < size * EACH; i++) {
        const unsigned char *in = receive[i].data;
        check(in, receive[i].bytes, i / EACH + i % EACH, me, "exchange");
        if (in[receive[i].bytes] != 0xEE) stop("exchange wrote past a message's end");
        free(send[i].data);
        free(receive[i].data);
    }
    free(send);
    free(receive);
    exchange(device, NULL, 0, NULL, 0);
    const lv_message wrong = {size, NULL, 1};
    refuse(lv_comm_exchange(comm, &wrong, 1, NULL, 0), "is wanted");
    refuse(lv_comm_broadcast(comm, NULL, 1, -1), "rank -1");
}

/* A message of several pieces round the ring. */
static void test_large(void)
{
    const size_t bytes = ((size_t)1 << 26) + ((size_t)1 << 25) + 3;
    const int size = comm->size, me = comm->rank, next = (me + 1) % size;
    const int last = (me + size - 1) % size;
    unsigned char *out = take(bytes), *in = take(bytes);
    fill(out, bytes, me, next);
    const lv_message send = {next, out, bytes}, receive = {last, in, bytes};
    want(lv_comm_exchange(comm, &send, 1, &receive, 1), "a large message");
    check(in, bytes, last, me, "a large message");
    if (in[bytes] != 0xEE) stop("a large message: written past its end");
    if (me == size - 1) fill(out, bytes, 7, 7);
    want(lv_comm_broadcast(comm, out, bytes, size - 1), "a large broadcast");
    check(out, bytes, 7, 7, "a large broadcast");
    free(out);
    free(in);
}

static void test_collectives(void)
{
    const int size = comm->size, me = comm->rank;
    size_t *out = calloc((size_t)size, sizeof *out), *in = calloc((size_t)size, sizeof *in);
    if (!out || !in) stop("no memory");
    size_t sent = 0, received = 0, at = 0;
    for (int r = 0; r < size; r++) {
        sent += out[r] = size_of(me, r);
        received += in[r] = size_of(r, me);
    }
    unsigned char *from = take(sent), *to = take(received);
    for (int r = 0; r < size; at += out[r++]) fill(from + at, out[r], me, r);
    want(lv_comm_all_to_all(comm, NULL, to, in, from, out), "all-to-all");
    at = 0;
    for (int r = 0; r < size; at += in[r++]) check(to + at, in[r], r, me, "all-to-all");
    if (to[received] != 0xEE) stop("all-to-all wrote past its end");
    free(from);
    free(to);

    size_t all = 0;
    for (int r = 0; r < size; r++) all += in[r] = size_of(r, r + 1);
    from = take(in[me]), to = take(all);
    fill(from, in[me], me, 0);
    want(lv_comm_all_gather(comm, NULL, to, in, from), "all-gather");
    at = 0;
    for (int r = 0; r < size; at += in[r++]) check(to + at, in[r], r, 0, "all-gather");
    if (to[all] != 0xEE) stop("all-gather wrote past its end");
    free(from);
    free(to);
    free(out);
    free(in);
}

static void test_device(void)
{
    lv_device *device, *cpu;
    want(lv_device_open(&device, LVSA_DEVICE_CUDA, lv_comm_find_gpu(comm)), "a GPU");
    want(lv_comm_join(comm, device), "joining");
    want(lv_comm_join(comm, device), "joining once more");
    if (comm->size > 1) test_exchange(device);
    want(lv_device_open(&cpu, LVSA_DEVICE_CPU, 1), "the CPU");
    if (comm->rank == 1)
        refuse(lv_comm_join(comm, cpu), "rank 1 computes on the CPU and rank 0 on a GPU");
    else want(lv_comm_join(comm, device), "joining, and one doesn't");
    lv_device_close(&cpu);
    lv_device_close(&device);
}

/* Ranks `first` .. `end` - 1 are a comm that does all of it, beside the others or without them. */
static void test_group(int first, int end)
{
    lv_comm *const all = comm;
    unsigned char bytes[5] = {0};
    if (all->rank < first || all->rank >= end) return;
    want(lv_comm_open_group(&comm, all, first, end - first), "a group");
    if (comm->size != end - first || comm->rank != all->rank - first) stop("a group of others");
    test_exchange(NULL);
    test_collectives();
    fill(bytes, sizeof bytes, comm->rank, first);
    want(lv_comm_broadcast(comm, bytes, sizeof bytes, comm->size - 1), "a group's broadcast");
    check(bytes, sizeof bytes, comm->size - 1, first, "a group's broadcast");
    lv_comm_close(&comm);
    comm = all;
}

static void test_groups(void)
{
    const int size = comm->size;
    lv_comm *none;
    test_group(0, size / 2);
    test_group(size / 2, size);
    test_group(0, size);
    test_group(size - 1, size);
    refuse(lv_comm_open_group(&none, comm, 0, size + 1), "are wanted");
    refuse(lv_comm_open_group(&none, comm, comm->rank + 1, 1), "among them");
}

/* What all but the last rank do while that one ends in its own way. */
static void wait_for_the_last(void)
{
    unsigned char byte;
    const lv_message receive = {comm->size - 1, &byte, 1};
    want(lv_comm_exchange(comm, NULL, 0, &receive, 1), "waiting");
    stop("a message came from a rank that has gone");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "all";
    if (lv_comm_open(&comm) != LVSA_OK) stop("%s", lvsa_last_error());
    if (strcmp(mode, "all") == 0) {
        test_exchange(NULL);
        test_collectives();
        test_large();
        test_exchange(NULL); /* with the room that the others have left */
        test_groups();
        if (argc > 2) test_device();
        if (comm->rank == 0) printf("%d ranks\n", comm->size);
        lv_comm_close(&comm);
        lv_comm_close(&comm);
        return 0;
    }
    if (comm->rank < comm->size - 1) wait_for_the_last();
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* until the others wait */
    if (strcmp(mode, "fail") == 0) stop("latent 7 is no number");
    if (strcmp(mode, "die") == 0) raise(SIGKILL);
    return 0; /* "leave": without a word, and without closing */
}
