#!/bin/sh
# `lvsa generate` as torchrun starts it, through a fake of NCCL: the video of one process; a run that is
# stopped as torchrun stops one is saved by the first rank, ends the others, and three go on with it.
# usage: torchrun.sh PROGRAM FAKES MODEL
program=$1
fakes=$2
model=$3
. tests/rank/fakes.sh

set -- -p "a red fox" --num-frames 41 --height 32 --width 48 --seed 7 --reference-latent-frames 5 --steps 600
"$program" generate -m "$model" "$@" --device cpu --threads 1 -o "$folder/one.y4m" > "$out" 2>&1 || fail "one process"

start torchrun 2 generate -m "$model" "$@" --device cpu --threads 1 -o "$folder/two.y4m" --checkpoint "$folder/run"
tries=0
until grep -q 'step 2/' "$out.0"; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "2 ranks: no step"
    sleep 0.05
done
began=$(date +%s)
kill -TERM $pids
ended
[ $failed -eq 2 ] || fail "stopped: $failed of 2 ended otherwise than by it"
[ $(($(date +%s) - began)) -le 30 ] || fail "stopped: too late"
grep -q 'interrupted after step .* of 600; lvsa resume' "$out.0" || fail "stopped: the first has to say so"
grep -q '^lvsa: rank 1: rank 0 has ended' "$out.1" || fail "stopped: the other has to say why"

start torchrun 3 resume "$folder/run" --device cpu --threads 1 -o "$folder/two.y4m"
ended || fail "3 ranks: $failed failed"
[ "$(wc -c < "$folder/one.y4m")" = "$(wc -c < "$folder/two.y4m")" ] || fail "another video"
cmp -l "$folder/one.y4m" "$folder/two.y4m" | awk '
    function octal(s) { return 64 * substr(s, 1, 1) + 8 * substr(s, 2, 1) + substr(s, 3, 1) }
    { off = octal(sprintf("%03d", $2)) - octal(sprintf("%03d", $3)); if (off * off > 4) exit 1 }' ||
    fail "another video"
