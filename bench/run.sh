#!/bin/sh
# What docs/SPEED.md reports, measured on this machine: attention against matrix products and, where
# Python has torch, against its scaled_dot_product_attention; yardstick and program take turns.
# usage: bench/run.sh        PYTHON=python3 names the interpreter
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
lvsa=build/lvsa

yardsticks() { # THREADS
    for gemm in build/bench/bench_gemm_*; do
        [ -x "$gemm" ] && "$gemm" 2048 "$1"
    done
}

grep -m1 'model name' /proc/cpuinfo
$lvsa --version
for threads in 1 2; do
    for dim in 64 128; do
        for turn in 1 2 3; do
            yardsticks $threads
            $lvsa bench attention --latent-frames 41 --patches-per-frame 256 --heads 4 --head-dim $dim \
                --reference-latent-frames 21 --threads $threads
            $python -c 'import torch' 2> /dev/null &&
                $python bench/torch_sdpa.py $lvsa 41 256 4 $dim $threads
        done
    done
done

echo "time against length, at a budget of 21 frames"
for frames in 41 81 161 321; do
    $lvsa bench attention --latent-frames $frames --patches-per-frame 256 --heads 4 --head-dim 64 \
        --reference-latent-frames 21 --threads 2
done

echo "moving a plan to the next denoising step"
$lvsa bench plan
