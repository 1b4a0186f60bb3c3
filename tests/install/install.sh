#!/bin/sh
# Installs into an empty folder, then builds and runs the examples against what is there, and nothing else:
# through pkg-config (shared, then static) and through CMake's find_package.
# usage: install.sh BUILD-FOLDER C-COMPILER
set -e
build=$1
cc=${2:-cc}
examples=$(pwd)/examples
example=$examples/attention.c
tiny=$(pwd)/tests/golden/wan/tiny-a
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

cmake --install "$build" --prefix "$root/usr" > /dev/null
cd "$root"
for wanted in usr/bin/lvsa usr/include/lvsa/lvsa.h usr/include/lvsa/lvsa_attention.h; do
    test -e $wanted || { echo "$wanted was not installed"; exit 1; }
done
libdir=$(dirname "$(find usr -name liblvsa.so)")
export PKG_CONFIG_PATH="$root/$libdir/pkgconfig"

$cc -std=c11 -Wall -Wextra "$example" -o shared $(pkg-config --cflags --libs lvsa) -lm
LD_LIBRARY_PATH="$root/$libdir" ./shared
LD_LIBRARY_PATH="$root/$libdir" ldd ./shared | grep -q 'liblvsa.so.0 => ' || { echo "no soname"; exit 1; }

# A video, and what is refused: the sentence of a failed callback isn't lost.
cp -rL "$tiny" model
echo '{"frames": 5, "height": 32, "width": 32, "steps": 1}' > model/lvsa.json
export LD_LIBRARY_PATH="$root/$libdir"
$cc -std=c11 -Wall -Wextra "$examples/generate.c" -o generate $(pkg-config --cflags --libs lvsa)
./generate model fox fox.y4m
test "$(wc -c < fox.y4m)" -gt 7680 || { echo "five frames of 32x32 are more than that"; exit 1; }
! ./generate model fox fox.y4m 2> said || { echo "a video was replaced"; exit 1; }
grep -q 'fox.y4m is there already' said
mkfifo pipe.y4m
head -c 100 pipe.y4m > /dev/null &
! (trap '' PIPE; ./generate model fox pipe.y4m) 2> said || { echo "a broken pipe was no failure"; exit 1; }
grep -q 'pipe.y4m: Broken pipe' said
unset LD_LIBRARY_PATH

$cc -std=c11 "$example" -o static "$libdir/liblvsa.a" $(pkg-config --cflags lvsa) \
    $(pkg-config --static --libs lvsa | sed 's/-llvsa//')
./static

mkdir project
cat > project/CMakeLists.txt << END
cmake_minimum_required(VERSION 3.22)
project(outside C)
find_package(lvsa REQUIRED)
add_executable(cmake_shared $example)
target_link_libraries(cmake_shared lvsa::lvsa m)
add_executable(cmake_static $example)
target_link_libraries(cmake_static lvsa::lvsa_static)
END
CC=$cc cmake -S project -B project/build -DCMAKE_PREFIX_PATH="$root/usr" > /dev/null
cmake --build project/build > /dev/null
./project/build/cmake_shared
./project/build/cmake_static

# Nothing of ours but lvsa_ may be visible.
if nm -D --defined-only "$libdir/liblvsa.so" | awk '{print $3}' | grep -v '^lvsa_'; then
    echo "symbols without lvsa_ are exported"
    exit 1
fi
