#!/bin/sh
# Ranks under mpirun: every call of the transport with 1 to 4 of them, and that all end within seconds
# where one fails, is killed or leaves. Their GPUs meet through a fake of NCCL.
# usage: comm.sh PROGRAM MPIRUN FAKES          exit code 77: there is no mpirun
program=$1
mpirun=$2
fakes=$3
. tests/rank/ranks.sh

"$program" all > "$out" 2>&1 || fail "without mpirun"
grep -qx '1 ranks' "$out" || fail "without mpirun: one rank is wanted"
for n in 1 2 3 4; do
    ranks $n all || fail "$n ranks: exit code $?"
    grep -qx "$n ranks" "$out" || fail "$n ranks: they aren't"
done

ends 4 fail
grep -q '^rank 3: latent 7 is no number' "$out" || fail "no sentence"
ends 2 fail
ends 4 die
ends 2 leave

# MPI carries the number by which NCCL's ranks meet.
mkdir "$folder/modules"
cp "$LVSA_MODULE_DIR"/liblvsa_mpi.so.* "$fakes"/liblvsa_cuda.so.* "$folder/modules"
LVSA_MODULE_DIR=$folder/modules LD_LIBRARY_PATH=$fakes:$LD_LIBRARY_PATH FAKE_CUDA=device ranks 3 all device ||
    fail "3 ranks with GPUs: exit code $?"
grep -qx '3 ranks' "$out" || fail "3 ranks with GPUs: they aren't"

# No module, a launcher of another MPI, a number that is none.
LVSA_MODULE_DIR=/nowhere ranks 2 all && fail "without the module: it ran"
grep -q '2 processes (OMPI_COMM_WORLD_SIZE): they .* talk .* in /nowhere' "$out" || fail "no module"
PMI_SIZE=2 "$program" all > "$out" 2>&1 && fail "PMI_SIZE=2 alone: it ran"
grep -q '2 processes (PMI_SIZE): the MPI that lvsa was built with sees 1' "$out" || fail "another MPI"
PMI_SIZE=two "$program" all > "$out" 2>&1 && fail "PMI_SIZE=two: it ran"
grep -q 'PMI_SIZE=two: a number of processes is wanted' "$out" || fail "no number"

# srun without PMIx: Open MPI would end the process.
export SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NODELIST=localhost
PMI_SIZE=2 "$program" all > "$out" 2>&1 && fail "srun --mpi=pmi2: it ran"
grep -q 'not by MPI (.*): without MPI they need NCCL' "$out" || fail "srun --mpi=pmi2"
