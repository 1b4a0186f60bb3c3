#!/bin/sh
# A disk that fills up while a run is on its way: the run goes on, the latents are kept, and lvsa says
# how the video is made of them. Needs a file system of its own and libpng; exits with 77 where one of
# them is missing.
# usage: tests/cli/full_disk.sh PROGRAM
if [ -z "$LVSA_FULL_DISK" ]; then
    unshare --user --map-root-user --mount true || exit 77
    LVSA_FULL_DISK=1 exec unshare --user --map-root-user --mount "$0" "$@"
fi
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
"$program" --version | grep -q '^png: off' && { echo 'skipped: this build has no libpng'; exit 77; }
golden=$(cd "$(dirname "$0")/../golden" && pwd)
folder=$(mktemp -d) && talk=$(mktemp -d) || exit 1
trap 'umount -l "$folder"; rm -rf "$folder" "$talk"' EXIT
mount -t tmpfs -o size=512k none "$folder" || exit 77
cd "$folder" || exit 1
small="-m $golden/wan/tiny-a --num-frames 41 -H 32 -W 48 --steps 3 --reference-latent-frames 5 --window-size 4 --seed 7"

# run COMMAND ARGUMENT...: what it says goes where there is room.
run() {
    "$program" "$@" > "$talk/out" 2> "$talk/err"
}

fail() {
    echo "$1"
    cat "$talk/err"
    exit 1
}

# leave BYTES: all but so many of the disk are taken.
leave() {
    rm -f filler
    left=$(df --output=avail -B 1 . | tail -n 1)
    head -c $((left - $1)) /dev/zero > filler
}

run generate $small -q -p fox -o whole.y4m || fail "no room for a whole video"
mv whole.y4m "$talk"

# Too full at the start: refused, and nothing is left of it.
leave 100000
run generate $small -q -p fox -o fox.y4m && fail "it can't have fitted"
grep -q 'No space left on device.*so that no work is lost' "$talk/err" || fail "refused for another reason"
leave 200000
run generate $small -q -p fox -o fox.y4m && fail "it can't have fitted"
grep -q 'its disk has' "$talk/err" || fail "refused for another reason"
[ "$(ls)" = filler ] || fail "left: $(ls)"

# Full when the pictures come: the latents are there.
leave 170000
run generate $small -q -p fox -o 'fox_%02d.png' && fail "it can't have fitted"
grep -q 'No space left on device' "$talk/err" || fail "another reason"
grep -q 'the latents are kept; lvsa decode fox_%02d.unfinished.safetensors -o VIDEO makes the video' "$talk/err" ||
    fail "no advice"
ls | grep -q png && fail "half a video: $(ls)"
rm filler
run decode fox_%02d.unfinished.safetensors -q -o fox.y4m || fail "the advice is wrong"
cmp fox.y4m "$talk/whole.y4m" || fail "another video"
rm fox*

# Full while it saves itself: it says so and goes on.
leave 210000
run generate $small -p fox -o 'fox_%02d.png' --checkpoint run --checkpoint-every 0
grep -q "the run couldn't be kept: .*No space left on device" "$talk/err" || fail "it fitted"
grep -q 'decoded 41 frames' "$talk/err" || fail "no video"
[ -e fox_40.png ] && [ "$(ls run)" = done.json ] || fail "left: $(ls run)"
echo "nothing lost"
