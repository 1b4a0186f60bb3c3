#!/bin/sh
# `lvsa generate` and `lvsa resume` under mpirun: one file, one voice, the video of one process.
# usage: program.sh PROGRAM MPIRUN MODEL          exit code 77: there is no mpirun
program=$1
mpirun=$2
model=$3
. tests/rank/ranks.sh
# 11 latent frames, which neither 2 nor 3 divides
set -- generate -m "$model" -p "a red fox" --num-frames 41 --height 32 --width 48 --seed 7 \
    --reference-latent-frames 5 --device cpu --threads 1

# same A B: files of one size, whose bytes differ by a few at most (a pixel by 1, so Y, Cb, Cr by less)
same() {
    [ "$(wc -c < "$1")" = "$(wc -c < "$2")" ] || fail "$1 and $2: of other sizes"
    cmp -l "$1" "$2" | awk '
        function octal(s) { return 64 * substr(s, 1, length(s) - 2) + 8 * substr(s, length(s) - 1, 1) + substr(s, length(s)) }
        { off = octal(sprintf("%03d", $2)) - octal(sprintf("%03d", $3)); if (off * off > 4) exit 1 }' ||
        fail "$1 and $2: other videos"
}

# once WORDS: a line of $out has them, and no second one
once() {
    [ "$(grep -c -e "$1" "$out")" = 1 ] || fail "\"$1\" has to be said once"
}

"$program" "$@" --steps 3 -o "$folder/one.y4m" > "$out" 2>&1 || fail "one process"
for n in 2 3; do
    ranks $n "$@" --steps 3 -o "$folder/$n.y4m" || fail "$n ranks: exit code $?"
    once "^$folder/$n.y4m\$"
    once 'SPARSE'
    same "$folder/one.y4m" "$folder/$n.y4m"
done

# The prompt and the seed of the first are everyone's; both ways, and in two groups.
echo "a red fox" > "$folder/prompt"
for how in "halo" "ulysses" "halo --cfg-parallel"; do
    ranks 2 "$@" --steps 3 -o "$folder/how.y4m" --force --sequence-parallel $how || # two words
        fail "$how: exit code $?"
    same "$folder/one.y4m" "$folder/how.y4m"
done
once '2 ranks, one for each pass of guidance'
ranks 2 generate -m "$model" --prompt-file - --num-frames 5 --height 32 --width 48 --steps 1 \
    --device cpu --threads 1 --sequence-parallel ulysses -o "$folder/how.y4m" --force \
    < "$folder/prompt" || fail "a prompt from stdin: exit code $?"
once 'seed'
once '2 ranks -> ulysses (asked for): at most .* MB a layer'
"$program" generate -m "$model" --prompt-file "$folder/prompt" --num-frames 5 --height 32 \
    --width 48 --steps 1 --device cpu --threads 1 -o "$folder/alone.y4m" -q \
    --seed "$(sed -n 's/.*: seed //p' "$out")" || fail "the same alone"
same "$folder/alone.y4m" "$folder/how.y4m"

# What fails in all is said by one.
ends 3 "$@" --steps 3 -o "$folder/one.y4m"
once 'is there already'
ends 3 "$@" --steps 0
once 'steps 0'
ends 3 "$@" --num-frames 5 --lvsa -o "$folder/short.y4m"
once '3 ranks for 2 latent frames'
ends 3 "$@" --sequence-parallel ulysses -o "$folder/short.y4m"
once 'Ulysses with 2 heads and 3 ranks'
ends 3 "$@" --cfg-parallel -o "$folder/short.y4m"
once 'CFG parallel with 3 ranks: .* an even number'
ends 2 "$@" --cfg-parallel --guidance 1 -o "$folder/short.y4m"
once 'CFG parallel with guidance 1: there is one pass'
# Processes of one machine share its memory, and it is said to have room for all.
ranks 3 "$@" --dry-run || fail "--dry-run: exit code $?"
once '^memory'
awk '{ sub(",", "", $3) } $1 == "memory" { all = $2; unit = $3 } $1 == "denoising" { one = $2; same = $3 == unit && $5 == "each" && $7 == 3 }
    END { exit !(same && all > 2.9 * one && all < 3.1 * one) }' "$out" || fail "--dry-run: memory of one process"

# A run that two have left, three go on with. What they had saved early on is kept aside, because
# nobody knows how soon mpirun passes a signal on.
"$program" "$@" --steps 60 -o "$folder/long.y4m" > "$out" 2>&1 || fail "one process, 60 steps"
mkdir "$folder/left"
"$mpirun" --oversubscribe -n 2 "$program" "$@" --steps 60 -o "$folder/two.y4m" \
    --checkpoint "$folder/run" --checkpoint-every 0 > "$out" 2>&1 &
while ! cp "$folder/run/state.safetensors" "$folder/left" 2> /dev/null && kill -0 $! 2> /dev/null; do
    sleep 0.05
done
wait $! || fail "2 ranks, 60 steps: exit code $?"
cp -r "$folder/left" "$folder/again"
ranks 3 resume "$folder/left" -o "$folder/left.y4m" --device cpu --threads 1 ||
    fail "resume: exit code $?"
once "^$folder/left.y4m\$"
once 'going on after step'
same "$folder/long.y4m" "$folder/left.y4m"
ranks 4 resume "$folder/again" -o "$folder/again.y4m" --device cpu --threads 1 --vae-parallel \
    --sequence-parallel ulysses --cfg-parallel || fail "resume in another way: exit code $?"
same "$folder/long.y4m" "$folder/again.y4m"

# All decode latents; without the flag the first does, and the others end.
"$program" "$@" --steps 3 -o "$folder/one.y4m" --force -q \
    --output-latent "$folder/latents.safetensors" > "$out" 2>&1 || fail "latents"
for flag in --vae-parallel --quiet; do
    ranks 3 decode "$folder/latents.safetensors" -o "$folder/decoded.y4m" --force --device cpu \
        --threads 1 $flag || fail "decode $flag: exit code $?"
    once "^$folder/decoded.y4m\$"
    cmp "$folder/one.y4m" "$folder/decoded.y4m" || fail "decode $flag: another video"
done
"$program" "$@" --steps 1 -o "$folder/alone.y4m" --force --vae-parallel > "$out" 2>&1 ||
    fail "--vae-parallel alone"
once 'vae-parallel: there is one process'

# A model whose last weight is no number: all see it, one says it.
cp -r "$model" "$folder/damaged"
set -- "$@" -m "$folder/damaged" --steps 3 -o "$folder/none.y4m"
for file in "$folder"/damaged/transformer/*.safetensors; do
    printf '\377\377\377\377' |
        dd of="$file" bs=1 seek=$(($(wc -c < "$file") - 4)) conv=notrunc 2> "$out" || fail "$file"
done
for how in auto "ulysses --cfg-parallel"; do
    # shellcheck disable=SC2086 # two words
    ends 2 "$@" --sequence-parallel $how
    once 'step 1 of 3: .* its weights are damaged'
done
