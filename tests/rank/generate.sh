#!/bin/sh
# Videos that 1 to 4 ranks make are those of one, and a rank that can't begin ends the others.
# usage: generate.sh PROGRAM MPIRUN          exit code 77: there is no mpirun
program=$1
mpirun=$2
. tests/rank/ranks.sh
model=$folder/model

"$program" make "$model" || fail "the model"
for n in 1 2 3 4 5; do
    ranks $n "$model" "$folder" || fail "$n ranks: exit code $?"
    cat "$out"
done
ends 3 "$model" "$folder" fail
grep -q '^rank 2: opening: .*/nowhere' "$out" || fail "no sentence"
