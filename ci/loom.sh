#!/usr/bin/env bash
# The loom models of the raw layer, each with the number of preemptions that it asks for itself, or two.
#
# Built in 40 s, run in 42 s on two processors: two_waiters_two_posters of the gate 16 s (249,000 executions),
# two_owners_and_one_that_counts of the semaphore 7 s, each of the others below 2 s.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export RUSTFLAGS='--cfg polyproc_loom -C debug_assertions' LOOM_MAX_PREEMPTIONS=2
export CARGO_PROFILE_RELEASE_LTO=off # the models run as fast without, and are built in half the time
models=(cargo test --release --target-dir "$target/loom" -p polyproc-sync -p polyproc-queue -p polyproc-values --test 'loom_*')

step 'build the models' "${models[@]}" --no-run
step 'run the models' tests_that_ran "${models[@]}"
