#!/bin/sh
# Builds every fuzz target with libFuzzer and the sanitizers and runs each for a while.
# usage: tests/fuzz/run.sh [SECONDS-A-TARGET]     default 60; needs clang
set -e
cd "$(dirname "$0")/../.."
seconds=${1:-60}
CC=clang cmake -S . -B build-fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLVSA_LIBFUZZER=ON -DLVSA_BENCH=OFF \
    -DLVSA_OPENMP=OFF -DLVSA_CUDA=OFF -DLVSA_SANITIZE=fuzzer-no-link,address,undefined > /dev/null
cmake --build build-fuzz -j "$(nproc)" > /dev/null
for target in build-fuzz/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    name=$(basename "$target" | sed 's/^fuzz_//')
    mkdir -p "build-fuzz/corpus/$name"
    echo "$name: $seconds seconds"
    "$target" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 \
        "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name"
done
echo "no crash"
