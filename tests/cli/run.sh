#!/bin/sh
# Runs the commands of a transcript and compares what they print with what it holds.
# usage: tests/cli/run.sh PROGRAM TRANSCRIPT [update]      update: writes what they print into it
# Lines of a transcript: "$ " a command, "> " its stdout, "! " its stderr, "= " its exit code when that
# isn't 0; all others are words for the reader. Commands start in one empty folder; their environment
# is PATH, with the program and pty (see pty.c), GOLDEN, the folder tests/golden, and threads that don't
# spin, for tests run side by side.
program=$(cd "$(dirname "$1")" && pwd)
transcript=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
golden=$(cd "$(dirname "$0")/../golden" && pwd)
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/work"
cd "$folder/work" || exit 1

while IFS= read -r line; do
    case $line in
    '> '* | '! '* | '= '* | '>' | '!') continue ;;
    esac
    printf '%s\n' "$line"
    case $line in
    '$ '*)
        env -i PATH="$program:$program/tests/cli:$PATH" GOLDEN="$golden" OMP_WAIT_POLICY=passive \
            sh -c "${line#??}" > ../out 2> ../err < /dev/null
        code=$?
        sed 's/^/> /' ../out
        sed 's/^/! /' ../err
        [ $code -eq 0 ] || echo "= $code"
        ;;
    esac
done < "$transcript" > ../actual

if [ "$3" = update ]; then
    cp ../actual "$transcript"
else
    diff -u "$transcript" ../actual
fi
