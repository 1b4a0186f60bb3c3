#!/bin/sh
# Installs what lvsa is built and tested with, on Debian 12+ and Ubuntu 22.04+, if it is missing: says what
# and why first. Elsewhere, and with DEPS=0, it leaves the machine alone.
set -e

# package, and what needs it
wanted='
gcc             the C compiler, with its OpenMP library
g++             a test that the headers are good C++
cmake           the build
make            the build
pkg-config      finding the libraries below
libjansson-dev  reading and writing JSON
libutf8proc-dev the tables of Unicode, for the tokenizers
libdnnl-dev     fast matrix products and convolutions on the CPU
libpng-dev      pictures
libavformat-dev .mp4 and .webm files
libavcodec-dev  .mp4 and .webm files
libavutil-dev   .mp4 and .webm files
libopenmpi-dev  processes that work on one video
openmpi-bin     starting them: mpirun
libcmocka-dev   the tests
python3-numpy   a test that looks at videos
'

command -v dpkg-query > /dev/null && command -v apt-get > /dev/null || {
    echo "lvsa: no apt here; install these yourself:$wanted" >&2
    exit 0
}

missing=''
while read -r package why; do
    [ -n "$package" ] || continue
    # pkgconf is what newer releases call pkg-config
    status=$(dpkg-query -W -f '${db:Status-Status} ' "$package" $([ "$package" = pkg-config ] && echo pkgconf) \
             2> /dev/null || true)
    case " $status" in *' installed '*) continue ;; esac
    echo "lvsa: $package is missing: $why" >&2
    missing="$missing $package"
done << END
$wanted
END
[ -n "$missing" ] || exit 0

sudo=''
[ "$(id -u)" = 0 ] || sudo=sudo
echo "lvsa: $sudo apt-get install$missing   (DEPS=0 skips this)" >&2
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
