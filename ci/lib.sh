# shellcheck shell=bash
# Steps with their run times and a summary at the end, for the scripts of this folder: source it, it leads to the root.
#
# A script that is itself a step of another one adds its steps to that one's summary, indented.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where cargo builds, as an absolute path.
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd -P)

if [[ -z ${CI_SUMMARY:-} ]]; then
    CI_SUMMARY=$(mktemp)
    CI_DEPTH=0
    # One stream, in order. Some tests make their children panic: no stack traces, which would drown the rest.
    exec 2>&1
    export RUST_BACKTRACE=0
    trap 'ci_end $?' EXIT
else
    CI_DEPTH=$((CI_DEPTH + 1))
fi
export CI_SUMMARY CI_DEPTH

# Prints the summary; called at the end of the outermost script, however it ends.
ci_end() {
    local rc=$1 name result seconds
    printf '\n%-60s %-8s %8s\n' step result seconds
    while IFS=$'\t' read -r name result seconds; do
        printf '%-60s %-8s %8s\n' "$name" "$result" "$seconds"
    done <"$CI_SUMMARY"
    printf '%-60s %-8s %8s\n' total "$([[ $rc == 0 ]] && echo ok || echo FAILED)" "$SECONDS"
    rm -f "$CI_SUMMARY"
}

ci_note() { # NAME RESULT SECONDS
    printf '%*s%s\t%s\t%s\n' $((CI_DEPTH * 2)) '' "$1" "$2" "$3" >>"$CI_SUMMARY"
}

# Runs a command or function as a step; if it fails, so does the script.
step() { # NAME COMMAND…
    local name=$1 start=$EPOCHREALTIME rc seconds
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    # Not `|| rc=$?`: bash would go on after a failure inside a function.
    set +e
    (
        set -e
        trap - EXIT
        "$@"
    )
    rc=$?
    set -e
    seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    if [[ $rc != 0 ]]; then
        ci_note "$name" FAILED "$seconds"
        printf '==> FAILED: %s (status %s, %s s)\n' "$name" "$rc" "$seconds" >&2
        exit 1
    fi
    ci_note "$name" ok "$seconds"
    printf '==> ok: %s (%s s)\n' "$name" "$seconds"
}

# Says aloud that a step does not happen here.
skip() { # NAME WHY
    printf '\n==> SKIPPED: %s: %s\n' "$1" "$2"
    ci_note "$1" skipped -
}

# Runs a test command, and fails as well if a test binary of it ran no test, or none ran at all.
tests_that_ran() { # COMMAND…
    local log
    log=$(mktemp)
    # shellcheck disable=SC2064 # the name of this call
    trap "rm -f '$log'" EXIT
    "$@" 2>&1 | tee "$log"
    # An unanchored match: a test may print right before the result line.
    if ! grep -qE 'test result: ok\. [1-9][0-9]* passed' "$log"; then
        echo "no test ran" >&2
        return 1
    fi
    if grep -qE 'test result: ok\. 0 passed' "$log"; then
        echo "a test binary ran no test" >&2
        return 1
    fi
}
