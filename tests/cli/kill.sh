#!/bin/sh
# Kills runs at random moments, also while they save themselves, goes on with them until they are done,
# and compares the video with that of a run that nobody killed.
# usage: tests/cli/kill.sh PROGRAM [ROUNDS] [SEED] [DEVICE]     default: 1 round, the time, cpu
# Exits with 77, skipped, where the device can't be used.
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
golden=$(cd "$(dirname "$0")/../golden" && pwd)
rounds=${2:-1}
seed=${3:-$(date +%s)}
device=${4:-cpu}
slower=1 # so much longer takes a start
[ "$device" = cpu ] || slower=10
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
export LVSA_CACHE_DIR="$folder/cache"
echo "seed $seed"
"$program" generate -q -m "$golden/wan/tiny-a" -p fox --device "$device" --dry-run > out 2> err ||
    { echo "skipped: $(cat err)"; exit 77; }

# kill_after MILLISECONDS COMMAND...
kill_after() {
    time=$1
    shift
    timeout -s KILL "$((time / 1000)).$(printf %03d $((time % 1000)))" "$@" > out 2> err
}

# A number below $1.
random() {
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    echo $((seed / 65536 % $1))
}

# try NAME OPTION...: one run, killed until it is done.
try() {
    name=$1
    shift
    common="-q -m $golden/wan/tiny-a --num-frames 41 -H 32 -W 48 --seed 7 --steps 60 --device $device"
    [ -e "$name.whole.y4m" ] || "$program" generate $common "$@" -p 'a red fox' -o "$name.whole.y4m" > out || exit 1
    rm -rf "$name.y4m" "$name.run"
    kills=0
    kill_after $((slower * (30 + $(random 100)))) "$program" generate $common "$@" -p 'a red fox' -o "$name.y4m" \
        --checkpoint "$name.run" --checkpoint-every 0
    while [ ! -e "$name.run/done.json" ]; do
        kills=$((kills + 1))
        [ $kills -lt 500 ] || { echo "$name: no end"; exit 1; }
        # Longer each time, for machines on which starting takes longer than that.
        limit=$((slower * (20 + kills * 10 + $(random 150))))
        if [ -e "$name.run/state.safetensors" ]; then
            # Whole at any moment.
            "$program" info "$name.run" > out 2> err || { cat err; exit 1; }
            kill_after $limit "$program" resume -q -f "$name.run" --checkpoint-every 0
        else
            kill_after $limit "$program" generate $common "$@" -p 'a red fox' -f -o "$name.y4m" \
                --checkpoint "$name.run" --checkpoint-every 0
        fi
    done
    cmp "$name.whole.y4m" "$name.y4m" || exit 1
    [ "$(ls "$name.run")" = done.json ] || { ls "$name.run"; exit 1; }
    echo "$name: killed $kills times, and the same"
    all=$((all + kills))
}

all=0
sparse="--reference-latent-frames 5 --window-size 4"
for round in $(seq "$rounds"); do
    try sparse $sparse --guidance 1
    try guided $sparse -n 'a blue one' --guidance 4
    try dense --dense
    try held $sparse --no-rotate-keyframes --riflex --rotation-phase script
done
[ $all -gt 0 ] || { echo "no run was killed in time: nothing was tested"; exit 1; }
