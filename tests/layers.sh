#!/bin/sh
# Fails when an #include goes against the arrows: programs -> lvsa/ -> pipeline -> flow -> engine -> base.
bad=0

# deny FOLDER WHAT: no file under FOLDER may include a path that matches WHAT.
deny() {
    [ -e "$1" ] || return 0
    hits=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" "$1") || return 0
    printf '%s\n  ^ %s may not include %s\n' "$hits" "$1" "$2"
    bad=1
}

# only FOLDER WHAT: only files under FOLDER (a pattern) may include a path that matches WHAT.
only() {
    hits=$(grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" src cli | grep -vE "^($1)") || return 0
    printf '%s\n  ^ only %s may include %s\n' "$hits" "$1" "$2"
    bad=1
}

deny src/base           '(engine|flow)/|pipeline|lvsa/lvsa(_attention)?\.h'
deny src/engine         'flow/|pipeline|lvsa/lvsa\.h'
deny src/flow           'pipeline'
deny src/engine/pattern 'engine/(attention|runtime|parallel|weights)/'
deny cli                'base/|engine/|flow/|pipeline'
deny bench              'flow/|pipeline'
deny include            '(base|engine|flow)/'

stages='text schedule models vae media synth'
for a in $stages; do
    for b in $stages; do
        [ "$a" = "$b" ] || deny "src/flow/$a" "flow/$b/"
    done
done

only 'src/[^:]*/cuda/' 'cuda|cublas|cudnn'
only 'src/engine/runtime/cpu/' '(oneapi/)?dnnl'
only 'src/engine/parallel/' '(nccl|mpi)\.h'
only 'src/flow/media/' 'libav'
only 'src/engine/attention/flashinfer/' 'flashinfer'

names=$(grep -rniwE '(wan|hunyuan|hunyuanvideo|cogvideox?|cosmos)[0-9.]*' src/engine \
        --include='*.[ch]' --include='*.cu' --include='*.cuh')
if [ -n "$names" ]; then
    printf '%s\n  ^ the engine names a model\n' "$names"
    bad=1
fi
exit $bad
