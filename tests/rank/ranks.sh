# Sourced by the tests of several processes, with $program and $mpirun set.
command -v "$mpirun" > /dev/null || {
    echo "skipped: no mpirun (install openmpi-bin)"
    exit 77
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # containers build as root
folder=$(mktemp -d)
out=$folder/out
trap 'rm -rf "$folder"' EXIT

# ranks N ARGUMENT...: the program's exit code; what all of them print is in $out. 124: they hung
ranks() {
    n=$1
    shift
    timeout -k 5 120 "$mpirun" --oversubscribe -n "$n" "$program" "$@" > "$out" 2>&1
}

fail() {
    echo "$1"
    cat "$out"
    exit 1
}

# ends N ARGUMENT...: a rank ends in its way, and with it all the others, none of them content
ends() {
    start=$(date +%s)
    ranks "$@"
    code=$?
    [ $code -ne 0 ] && [ $code -ne 124 ] || fail "$* (ranks, arguments) has to fail: exit code $code"
    [ $(($(date +%s) - start)) -le 30 ] || fail "$* took too long to end"
    grep -q 'has gone' "$out" && fail "$*: a rank went on"
    return 0
}
