#!/bin/sh
# Videos that two GPUs make are those of one. Starts the ranks itself, as torchrun would.
# usage: gpus.sh PROGRAM          exit code 77: there aren't two GPUs, or no NCCL
program=$1
gpus=$(nvidia-smi -L 2> /dev/null | grep -c '^GPU ')
[ "$gpus" -ge 2 ] || {
    echo "skipped: $gpus GPUs"
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$program" make "$folder/model" || exit 1
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$(($$ % 20000 + 20000)) OMP_WAIT_POLICY=passive
pids=
for rank in 0 1; do
    RANK=$rank LOCAL_RANK=$rank timeout -k 5 300 "$program" "$folder/model" "$folder" cuda \
        > "$folder/$rank" 2>&1 &
    pids="$pids $!"
done
code=0
for pid in $pids; do wait "$pid" || code=1; done
cat "$folder/0" "$folder/1"
grep -q 'NCCL can.t be loaded' "$folder/0" && exit 77
exit $code
