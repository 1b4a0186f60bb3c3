#!/bin/sh
# Ranks that torchrun or srun have started, by their variables, through a fake of NCCL and of the GPUs:
# every call of the transport with 1 to 4 of them, and that all end within seconds where one fails, is
# killed or leaves.
# usage: nccl.sh PROGRAM FAKES
program=$1
export LVSA_MODULE_DIR=$2 LD_LIBRARY_PATH=$2:$LD_LIBRARY_PATH FAKE_CUDA=device
unset CUDA_VISIBLE_DEVICES LVSA_COMM_PORT NCCL_NVLS_ENABLE OMPI_COMM_WORLD_SIZE PMI_SIZE
unset WORLD_SIZE MASTER_ADDR SLURM_STEP_NUM_TASKS
folder=$(mktemp -d)
out=$folder/out
trap 'rm -rf "$folder"' EXIT
port=$(($$ % 20000 + 20000))

fail() {
    echo "$1"
    cat "$out"
    exit 1
}

torchrun() { # torchrun RANK RANKS ARGUMENT...
    export RANK=$1 LOCAL_RANK=$1 WORLD_SIZE=$2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
    shift 2
    exec timeout -k 1 120 "$program" "$@"
}

srun() {
    export SLURM_PROCID=$1 SLURM_LOCALID=$1 SLURM_STEP_NUM_TASKS=$2 SLURM_JOB_ID=$port SLURM_STEP_ID=3
    export SLURM_STEP_NODELIST='node[03-04,07],other'
    shift 2
    exec timeout -k 1 120 "$program" "$@"
}

# ranks LAUNCHER N ARGUMENT...: how many of the N failed; what all of them print is in $out
ranks() {
    launcher=$1 n=$2
    shift 2
    port=$((port + 1))
    pids=
    for rank in $(seq 0 $((n - 1))); do
        ("$launcher" "$rank" "$n" "$@") > "$out.$rank" 2>&1 &
        pids="$pids $!"
    done
    failed=0
    for pid in $pids; do wait "$pid" || failed=$((failed + 1)); done
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

# said LAUNCHER WORDS: two ranks fail, and say so
said() {
    ranks "$1" 2 all && fail "it ran, without: $2"
    [ "$(grep -c -e "$2" "$out")" = 2 ] || fail "both have to say: $2"
}
FAKE_NCCL=old said torchrun 'of version 2603: 2.7'
LVSA_MODULE_DIR=/nowhere said torchrun '2 processes (WORLD_SIZE): without MPI .* on CPUs .* mpirun: .*in /nowhere'
LVSA_COMM_PORT=none said srun 'LVSA_COMM_PORT=none: a port, 1 to 65535, is wanted'
: > "$folder/libnccl.so.2"
LD_LIBRARY_PATH=$folder said srun '2 processes (SLURM_STEP_NUM_TASKS): .*NCCL can.t be loaded'
