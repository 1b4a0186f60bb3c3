#!/bin/sh
# Each public header compiles alone, as C11 and as C++17 where there is a C++ compiler.
# usage: headers.sh C-COMPILER
set -e
cc=${1:-cc}
for header in include/lvsa/*.h; do
    echo "#include <lvsa/$(basename "$header")>" | $cc -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -xc -
    if command -v c++ > /dev/null; then
        echo "#include <lvsa/$(basename "$header")>" | c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -xc++ -
    else
        echo "skipped: no C++ compiler for $header"
    fi
done
