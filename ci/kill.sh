#!/usr/bin/env bash
# SIGKILL after every single instruction of the public operations; survivors must be able to go on.
#
# In release, as users run it; `cargo test` steps through the unoptimized code, where that does not take minutes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

crates=(sync shm queue values)

every_crate_has_one() {
    local crate
    for crate in "${crates[@]}"; do
        compgen -G "crates/$crate/tests/kill*.rs" || { echo "crates/$crate has no kill test" >&2; return 1; }
    done
}

step 'kill tests are there' every_crate_has_one
# Two lanes, since each victim and its tracer take turns on one processor. The slowest file is a lane's first.
all=(cargo test --release "${crates[@]/#/-ppolyproc-}")
lane_one=(shm/kill_shm queue/kill_queue queue/kill_sizes)
lane_two=()
for file in crates/shm/tests/kill*.rs crates/{sync,queue,values}/tests/kill*.rs; do
    name=${file#crates/} name=${name/\/tests/} name=${name%.rs}
    [[ " ${lane_one[*]} " == *" $name "* ]] || lane_two+=("$name")
done

lane() { # CRATE/TEST…
    local test
    for test in "$@"; do
        cargo test --release -p "polyproc-${test%/*}" --test "${test#*/}" -- --nocapture || return 1
    done
}

both_lanes() {
    local log rc=0
    log=$(mktemp)
    lane "${lane_one[@]}" >"$log" 2>&1 &
    lane "${lane_two[@]}" || rc=1
    wait $! || rc=1
    cat "$log"
    rm -f "$log"
    return $rc
}

step 'build the kill tests' "${all[@]}" --test 'kill*' --no-run
step 'kill at every instruction' tests_that_ran both_lanes
# Not a kill test of processes but of step machines: every interleaving of them, and every death.
step 'every state of the locks, gates and events' tests_that_ran cargo test --release -p polyproc-sync --test 'states_*'
