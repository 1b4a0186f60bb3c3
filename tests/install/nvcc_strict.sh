#!/bin/sh
# The CUDA compiler's wrapper: passes status and words on, and fails on what ptxas says of C75xx.
cd "$(dirname "$0")/../.." || exit 1
run() { cmake/nvcc-strict.sh sh -c "$1" 2> /dev/null; }
run 'echo "ptxas info : Used 168 registers" >&2' || { echo 'good output fails'; exit 1; }
run 'exit 3'; [ $? -eq 3 ] || { echo 'the status is lost'; exit 1; }
run 'echo "ptxas info : (C7512) Potential Performance Loss: serialized" >&2' && { echo 'C7512 passes'; exit 1; }
cmake/nvcc-strict.sh sh -c 'echo seen >&2' 2>&1 | grep -q seen || { echo 'the output is lost'; exit 1; }
