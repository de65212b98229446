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
step 'kill at every instruction' \
    tests_that_ran cargo test --release "${crates[@]/#/-ppolyproc-}" --test 'kill*' -- --nocapture
# Not a kill test of processes but of step machines: every interleaving of them, and every death.
step 'every state of the locks, gates and events' tests_that_ran cargo test --release -p polyproc-sync --test 'states_*'
