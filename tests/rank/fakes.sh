# Sourced by the tests of ranks that torchrun or srun have started, with $program and $fakes set: a fake
# of NCCL and of the GPUs stands for both.
export LVSA_MODULE_DIR=$fakes LD_LIBRARY_PATH=$fakes:$LD_LIBRARY_PATH FAKE_CUDA=device
unset CUDA_VISIBLE_DEVICES LVSA_COMM_PORT LVSA_COMM_TIMEOUT NCCL_NVLS_ENABLE OMPI_COMM_WORLD_SIZE PMI_SIZE
unset WORLD_SIZE MASTER_ADDR PMIX_RANK SLURM_STEP_NUM_TASKS
folder=$(mktemp -d)
out=$folder/out
trap 'rm -rf "$folder"' EXIT
port=$(($$ % 20000 + 20000))

fail() {
    echo "$1"
    cat "$out"*
    exit 1
}

# A process of each launcher: torchrun RANK RANKS ARGUMENT... In the foreground a signal reaches the
# program once; otherwise timeout sends it to its group too, and two of them stop a run at once.
torchrun() {
    export RANK=$1 LOCAL_RANK=$1 WORLD_SIZE=$2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port
    shift 2
    exec timeout --foreground -s KILL 120 "$program" "$@"
}

srun() {
    export SLURM_PROCID=$1 SLURM_LOCALID=$1 SLURM_STEP_NUM_TASKS=$2 SLURM_JOB_ID=$port SLURM_STEP_ID=3
    export SLURM_STEP_NODELIST='node[03-04,07],other'
    shift 2
    exec timeout --foreground -s KILL 120 "$program" "$@"
}

# start LAUNCHER N ARGUMENT...: in the background; their numbers are in $pids, what rank R prints in $out.R
start() {
    launcher=$1 n=$2
    shift 2
    port=$((port + 3)) pids=
    for rank in $(seq 0 $((n - 1))); do
        ("$launcher" "$rank" "$n" "$@") > "$out.$rank" 2>&1 &
        pids="$pids $!"
    done
}

# ended: how many of them failed
ended() {
    failed=0
    for pid in $pids; do wait "$pid" || failed=$((failed + 1)); done
    return $failed
}
