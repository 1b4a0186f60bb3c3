#!/bin/sh
# Prints the ten longest functions and fails past 80 lines a function (a kernel: 150), 800 a file or
# 100 columns a line.
# A function runs from a line that begins with a letter and ends in ")" to a "}" in the first column; in
# CUDA files, from a line that begins with __device__ or __global__. Device code is part of a kernel.
# Tables, which are files named *_table.c or *_table.h, are exempt.
files=$(find include src cli tests bench -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | grep -v '_table\.[ch]$')
awk '
    FNR == 1 { name = "" }
    /^(template <[^>]*> )?__(device|global)__.*[^;]$/ { name = $0; start = FNR; kernel = 1; next }
    /^[A-Za-z].*[^;]$/ && !/^(typedef|struct|enum|union|static const|extern|template <[^>]*>$)/ { name = $0; start = FNR; kernel = 0 }
    /^}/ && name != "" {
        lines = FNR - start + 1
        sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
        printf "%4d %s:%d %s\n", lines, FILENAME, start, name
        if (lines > (kernel ? 150 : 80)) printf "%4d TOO LONG %s:%d %s\n", 9999, FILENAME, start, name
        name = ""
    }
    { rows[FILENAME] = FNR }
    length($0) > 100 { printf "9999 TOO LONG %s:%d: %d columns\n", FILENAME, FNR, length($0) }
    END { for (f in rows) if (rows[f] > 800) printf "9999 TOO LONG %s: %d lines\n", f, rows[f] }
' $files | sort -rn > "${TMPDIR:-/tmp}/lvsa-size.$$"
head -10 "${TMPDIR:-/tmp}/lvsa-size.$$"
if grep -q 'TOO LONG' "${TMPDIR:-/tmp}/lvsa-size.$$"; then bad=1; else bad=0; fi
rm -f "${TMPDIR:-/tmp}/lvsa-size.$$"
exit $bad
