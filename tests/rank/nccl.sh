#!/bin/sh
# Ranks that torchrun or srun have started, by their variables, through a fake of NCCL and of the GPUs:
# every call of the transport with 1 to 4 of them, and that all end within seconds where one fails, is
# killed or leaves.
# usage: nccl.sh PROGRAM FAKES
program=$1
fakes=$2
. tests/rank/fakes.sh

# ranks LAUNCHER N ARGUMENT...: how many of the N failed; what all of them print is in $out
ranks() {
    start "$@"
    ended
    cat "$out".? > "$out"
    rm "$out".?
    return $failed
}

# ends N MODE HOW-MANY: a rank ends in its way, and with it all the others, none of them content
ends() {
    start=$(date +%s)
    ranks torchrun "$1" "$2" && fail "$2: nobody failed"
    [ $failed -eq "$3" ] || fail "$2: $failed of $1 failed, $3 have to"
    [ $(($(date +%s) - start)) -le 30 ] || fail "$2: took too long to end"
    grep -q 'has gone' "$out" && fail "$2: a rank went on"
    [ "$(grep -c "rank $(($1 - 1)) has ended (process" "$out")" = $(($1 - 1)) ] ||
        fail "$2: the others have to say who"
}

for n in 1 2 3 4; do
    ranks torchrun $n all device || fail "torchrun, $n ranks: $failed failed"
    grep -qx "$n ranks" "$out" || fail "torchrun, $n ranks: they aren't"
done
ranks srun 3 all device || fail "srun: $failed failed"
grep -qx '3 ranks' "$out" || fail "srun, 3 ranks: they aren't"
ends 3 fail 3
grep -q '^rank 2: latent 7 is no number' "$out" || fail "no sentence"
ends 2 die 2
ends 4 leave 3

# One whose others never come gives up.
began=$(date +%s)
(LVSA_COMM_TIMEOUT=2 torchrun 0 2 all) > "$out" 2>&1 && fail "alone: it went on"
[ $(($(date +%s) - began)) -le 30 ] || fail "alone: it waited too long"
grep -q 'rank 0 has waited 2 s for the other 1 to come to 127.0.0.1:' "$out" || fail "alone: no sentence"

# said LAUNCHER WORDS: two ranks fail, and say so
said() {
    ranks "$1" 2 all && fail "it ran, without: $2"
    [ "$(grep -c -e "$2" "$out")" = 2 ] || fail "both have to say: $2"
}
FAKE_NCCL=old said torchrun 'of version 2603: 2.7'
LVSA_MODULE_DIR=/nowhere said torchrun '2 processes (WORLD_SIZE): without MPI .* on CPUs .* mpirun, .*in /nowhere'
LVSA_COMM_PORT=none said srun 'LVSA_COMM_PORT=none: a port, 1 to 65535, is wanted'
: > "$folder/libnccl.so.2"
LD_LIBRARY_PATH=$folder said srun '2 processes (SLURM_STEP_NUM_TASKS): .*NCCL can.t be loaded'
