#!/bin/sh
# Ranks that Slurm has started on this machine: by MPI through PMIx, and by a fake of NCCL; one that fails
# ends all of them, before they have met by srun's own -K.
# usage: srun.sh PROGRAM FAKES          exit code 77: there is no Slurm that has room for three
program=$1
fakes=$2
timeout 10 srun --immediate=5 --overcommit -n 3 true > /dev/null 2>&1 || {
    echo "skipped: no Slurm (slurm-wlm, with slurmctld and slurmd running)"
    exit 77
}
folder=$(mktemp -d)
out=$folder/out
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "$1"
    cat "$out"
    exit 1
}

# ranks PMI ARGUMENT...: three of them, with MPI where PMI is pmix, otherwise with the fakes
ranks() {
    pmi=$1
    shift
    (
        [ "$pmi" = pmix ] ||
            export LVSA_MODULE_DIR=$fakes LD_LIBRARY_PATH=$fakes:$LD_LIBRARY_PATH FAKE_CUDA=device
        exec timeout -k 5 60 srun -K --overcommit --mpi="$pmi" -n 3 "$@"
    ) > "$out" 2>&1
}

for pmi in none ${LVSA_MODULE_DIR:+pmix}; do
    ranks "$pmi" "$program" all || fail "$pmi: exit code $?"
    grep -qx '3 ranks' "$out" || fail "$pmi: they aren't"
    for mode in fail die leave; do
        ranks "$pmi" "$program" $mode
        code=$?
        [ $code -ne 0 ] && [ $code -ne 124 ] || fail "$pmi, $mode: exit code $code"
        grep -q 'has gone' "$out" && fail "$pmi, $mode: a rank went on"
    done
    # shellcheck disable=SC2016 # the variable is srun's
    ranks "$pmi" sh -c '[ $SLURM_PROCID = 1 ] && exit 3; exec "$0" all' "$program"
    code=$?
    [ $code -ne 0 ] && [ $code -ne 124 ] || fail "$pmi, before they have met: exit code $code"
done
