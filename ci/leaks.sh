#!/usr/bin/env bash
# ci/leaks.sh start|end: what the tests leave on the machine: names in /dev/shm, processes of programs that we built.
#
# `end` compares with what `start` has noted. Not meaningful while somebody else tests on the machine in the same target
# directory, or makes names in /dev/shm as the same user.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

baseline=$target/leaks.txt

# One line for each name in /dev/shm, and for each process (with its start time, since process ids are used again).
inventory() {
    local link stat
    find /dev/shm -mindepth 1 -user "$(id -u)" -printf 'shm %p\n'
    for link in /proc/[0-9]*/exe; do
        [[ $(readlink "$link") == "$target"/* ]] || continue
        stat=$(cat "${link%exe}stat") || continue
        # shellcheck disable=SC2086 # the fields from the state on: $20 is the start time
        set -- ${stat##*) }
        [[ $1 == Z ]] || echo "process $(basename "${link%/exe}") $(readlink "$link") since ${20}"
    done 2>/dev/null
}

start() {
    inventory | LC_ALL=C sort >"$baseline"
    sed 's/^/there already: /' "$baseline"
}

end() {
    local new until=$((SECONDS + 5))
    [[ -f $baseline ]] || { echo "no baseline: run 'ci/leaks.sh start' first" >&2; return 1; }
    while true; do
        new=$(inventory | LC_ALL=C sort | LC_ALL=C comm -13 "$baseline" -)
        [[ -z $new ]] && return
        ((SECONDS < until)) || break # what is just ending has had its time
        sleep 0.1
    done
    printf 'left behind:\n%s\n' "$new" >&2
    return 1
}

case ${1:-} in
start | end) step "leaks, $1" "$1" ;;
*) echo "usage: ci/leaks.sh start|end" >&2 && exit 2 ;;
esac
