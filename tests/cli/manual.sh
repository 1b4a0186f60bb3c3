#!/bin/sh
# The man page names every option that --help names; bash takes the completion, and it completes.
# usage: tests/cli/manual.sh PROGRAM
program=$1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
bad=0
miss() {
    echo "$*"
    bad=1
}

"$program" --man > "$folder/lvsa.1" || exit 1
sed 's/\\-/-/g; s/\\f[BIR]//g' "$folder/lvsa.1" > "$folder/plain"
"$program" --completion bash > "$folder/lvsa.bash" || exit 1
bash -n "$folder/lvsa.bash" || exit 1

# words LINE: what the completion offers at the end of the line.
words() {
    bash -c '. "$1"; read -ra COMP_WORDS <<< "$2"; [ "${2% }" = "$2" ] || COMP_WORDS+=("")
             COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lvsa; echo ${COMPREPLY[*]}' - "$folder/lvsa.bash" "$1"
}
# offers LINE WORD
offers() {
    case " $(words "$1") " in
    *" $2 "*) ;;
    *) miss "completion of \"$1\": no $2" ;;
    esac
}

for command in '' 'generate' 'info' 'plan' 'bench attention' 'bench plan'; do
    # shellcheck disable=SC2086 # a command may be two words
    "$program" $command --help | sed -n 's/^ *\(-., \)\{0,1\}--\(\[no-\]\)\{0,1\}\([a-z-]*\).*/\3/p' |
        grep -v '^$' > "$folder/options"
    [ -s "$folder/options" ] || miss "no options in lvsa $command --help"
    while read -r name; do
        grep -q -- "--$name\([ ,]\|$\)" "$folder/plain" || miss "man page: no --$name"
        offers "lvsa ${command:+$command }--" "--$name"
    done < "$folder/options"
done

offers 'lvsa ' plan
offers 'lvsa generate --rotation-phase ' script
offers 'lvsa be' bench
offers 'lvsa bench ' attention
offers 'lvsa plan --latent-fr' --latent-frames
offers 'lvsa plan --height 480 --no-e' --no-expand-window
offers 'lvsa plan --family wan2.1' wan2.1-14b
offers 'lvsa bench attention --dtype = b' bf16 # as readline splits --dtype=b
offers 'lvsa --completion ' bash
[ -z "$(words 'lvsa plan --mask-out ')" ] || miss "completion of a file's name: left to bash"
[ -z "$(words 'lvsa plan --family flux')" ] || miss "completion of a family that isn't there"

if command -v groff > /dev/null; then
    groff -man -ww -Tutf8 "$folder/lvsa.1" 2>&1 > /dev/null | grep . && miss "groff isn't content"
fi
exit $bad
