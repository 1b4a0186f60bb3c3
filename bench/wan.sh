#!/bin/sh
# Whole Wan runs on this machine's CPU, lvsa and diffusers in turn, dense and sparse: a tiny model and one
# of 53 M parameters (E = 512, 12 layers) at T = 41, P = 256. Python needs torch and diffusers.
# usage: bench/wan.sh [STEPS] [THREADS]        PYTHON=python3 names the interpreter
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
steps=${1:-2}
threads=${2:-2}
model=$(mktemp -d)
trap 'rm -rf "$model"' EXIT
$python bench/make_wan.py "$model/mid" 2> /dev/null
cp -r tests/golden/wan/tiny-a "$model/tiny"

ours() { # MODEL FRAMES SIZE --dense|--lvsa
    echo "lvsa $4, $threads thread(s):"
    build/lvsa generate -m "$1" -p "a red fox runs over the snow" --num-frames "$2" -H "$3" -W "$3" \
        --steps "$steps" --guidance 5 --seed 0 --threads "$threads" "$4" --force -o "$model/out.y4m" 2>&1 |
        grep -E 'step|decod|done|seconds| s$'
}

compare() { # MODEL FRAMES SIZE
    ours "$1" "$2" "$3" --dense
    $python bench/diffusers_wan.py "$1" "$2" "$3" "$3" "$steps" "$threads" 2> /dev/null
    ours "$1" "$2" "$3" --lvsa
    $python bench/diffusers_wan.py "$1" "$2" "$3" "$3" "$steps" "$threads" build/lvsa 2> /dev/null
}

echo "tiny: 161 frames of 128x128"
compare "$model/tiny" 161 128
echo "53 M parameters: 161 frames of 256x256"
compare "$model/mid" 161 256
