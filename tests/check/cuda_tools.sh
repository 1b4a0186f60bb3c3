#!/bin/sh
# Kernels under compute-sanitizer: some tests of a program with each of its tools. Exits with 77,
# skipped, where the tool or a GPU is missing.
#     cuda_tools.sh PROGRAM TESTS         TESTS: a pattern of their names, such as 'shared*'
test=$1 tests=$2
command -v compute-sanitizer > /dev/null || { echo "skipped: no compute-sanitizer"; exit 77; }
"$test" nothing > /dev/null 2>&1
[ $? -ne 77 ] || { echo "skipped: device cuda can't be used"; exit 77; }
bad=0
for tool in memcheck racecheck initcheck synccheck; do
    log=$(timeout 300 compute-sanitizer --tool $tool --error-exitcode 9 "$test" "$tests" 2>&1)
    status=$?
    echo "$tool: exit $status, $(echo "$log" | grep -E 'SUMMARY' | tail -1)"
    [ $status -eq 0 ] || { echo "$log" | grep -E '^=====' | head -20; bad=1; }
done
exit $bad
