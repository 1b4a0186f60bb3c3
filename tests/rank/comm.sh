#!/bin/sh
# Ranks under mpirun: every call of the transport with 1 to 4 of them, and that all end within seconds
# where one fails, is killed or leaves.
# usage: comm.sh PROGRAM MPIRUN          exit code 77: there is no mpirun
program=$1
mpirun=$2
[ -n "$mpirun" ] && command -v "$mpirun" > /dev/null || {
    echo "skipped: no mpirun (install openmpi-bin)"
    exit 77
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # containers build as root
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# ranks N MODE: what they print is in $out; 124: they hung
ranks() {
    timeout -k 5 60 "$mpirun" --oversubscribe -n "$1" "$program" "$2" > "$out" 2>&1
}

fail() {
    echo "$1"
    cat "$out"
    exit 1
}

"$program" all > "$out" 2>&1 || fail "without mpirun"
grep -qx '1 ranks' "$out" || fail "without mpirun: one rank is wanted"
for n in 1 2 3 4; do
    ranks $n all || fail "$n ranks: exit code $?"
    grep -qx "$n ranks" "$out" || fail "$n ranks: they aren't"
done

# ends N MODE: the last rank ends in its way, and with it all the others, none of them content
ends() {
    start=$(date +%s)
    ranks "$1" "$2"
    code=$?
    [ $code -ne 0 ] && [ $code -ne 124 ] || fail "$1 ranks, one of which has to $2: exit code $code"
    [ $(($(date +%s) - start)) -le 30 ] || fail "$1 ranks, $2: it took too long"
    grep -q 'has gone' "$out" && fail "$1 ranks, $2: a rank went on"
    return 0
}

ends 4 fail
grep -q '^rank 3: latent 7 is no number' "$out" || fail "no sentence"
ends 2 fail
ends 4 die
ends 2 leave

# No module, a launcher of another MPI, a number that is none.
LVSA_MODULE_DIR=/nowhere ranks 2 all && fail "without the module: it ran"
grep -q '2 processes (OMPI_COMM_WORLD_SIZE): they .* talk .* in /nowhere' "$out" || fail "no module"
PMI_SIZE=2 "$program" all > "$out" 2>&1 && fail "PMI_SIZE=2 alone: it ran"
grep -q '2 processes (PMI_SIZE): the MPI that lvsa was built with sees 1' "$out" || fail "another MPI"
PMI_SIZE=two "$program" all > "$out" 2>&1 && fail "PMI_SIZE=two: it ran"
grep -q 'PMI_SIZE=two: a number of processes is wanted' "$out" || fail "no number"
