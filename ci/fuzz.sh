#!/usr/bin/env bash
# ci/fuzz.sh: replays the inputs that the fuzzer has kept. ci/fuzz.sh SECONDS [TARGET…]: fuzzes each target for so long,
# under AddressSanitizer.
#
# To fuzz takes a nightly compiler, a C++ compiler and cargo-fuzz (cargo install cargo-fuzz --locked). What breaks a target
# goes to fuzz/artifacts: mend it, and keep the input in fuzz/regressions. Inputs that are new to the fuzzer go to a folder
# of their own beside the build; move into fuzz/corpus what is worth keeping, at most 60 files for each target.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fuzz() { # TARGET SECONDS
    local found=$target/fuzz/found/$1
    mkdir -p "$found"
    # Leaks are no finding: a lock whose last handle goes while it is held keeps its bytes on purpose. A tick of 1 ms: what
    # names a dead holder is waited for that long. Segments with names go to a folder that goes when the fuzzer does.
    local places
    places=$(mktemp -d /dev/shm/polyproc-fuzz.XXXXXX)
    # shellcheck disable=SC2064 # the name of this call
    trap "rm -rf '$places'" EXIT
    TMPDIR=$places POLYPROC_TICK_MS=1 ASAN_OPTIONS=detect_leaks=0 cargo +nightly fuzz run --target-dir "$target/fuzz" \
        "$1" "$found" "fuzz/corpus/$1" -- -max_total_time="$2" -max_len=300 -timeout=10 -rss_limit_mb=4096
}

seconds=${1:-0}
if [[ ! $seconds =~ ^[0-9]+$ ]]; then
    echo "usage: ci/fuzz.sh [SECONDS [TARGET…]]" >&2
    exit 2
fi
if ((seconds == 0)); then
    step 'replay what the fuzzer has kept' tests_that_ran cargo test -p polyproc --test fuzz_corpus -- --nocapture
    exit
fi
shift
targets=("$@")
((${#targets[@]} > 0)) || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
for name in "${targets[@]}"; do
    step "fuzz $name for $seconds s" fuzz "$name" "$seconds"
done
