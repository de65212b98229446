#!/usr/bin/env bash
# ci/repeat.sh [N]: the test command N (20) times, for tests that fail now and then; stops at the first failure.
#
# Every second run has one test thread; two of four have a busy process for each CPU beside them.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hogs=()
quiet() {
    ((${#hogs[@]} == 0)) || kill "${hogs[@]}" 2>/dev/null || true
    hogs=()
}
trap 'rc=$?; quiet; [[ $CI_DEPTH != 0 ]] || ci_end $rc' EXIT
trap 'exit 130' INT TERM

run() { # LOG FLAG…
    local log=$1
    shift
    cargo test --workspace -- "$@" >"$log" 2>&1 || {
        tail -n 200 "$log" >&2
        echo "the whole log: $log" >&2
        return 1
    }
    grep -cE '^test .*ok$' "$log" | sed 's/$/ tests/'
}

n=${1:-20}
logs=$target/repeat
mkdir -p "$logs"
step 'build' cargo test --workspace --no-run
for ((i = 1; i <= n; i++)); do
    flags=()
    how='all threads'
    if ((i % 2 == 0)); then
        flags=(--test-threads=1)
        how='one thread'
    fi
    if ((i % 4 >= 2)); then
        how+=', busy machine'
        for ((cpu = $(nproc); cpu > 0; cpu--)); do
            yes >/dev/null &
            hogs+=($!)
        done
    fi
    step "run $i of $n ($how)" run "$logs/$i.log" "${flags[@]}"
    quiet
done
