#!/usr/bin/env bash
# ci/hostile.sh [SECONDS]: a process scribbles over the memory of others, for an hour, or as long as said.
#
# Each victim has a seed; the first one is the time, or POLYPROC_SEED. One that fails is named, and kept in the log.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:-3600}
export POLYPROC_HOSTILE_SECONDS=$seconds POLYPROC_SEED=${POLYPROC_SEED:-$(date +%s)}
step "hostile peer for $seconds s" tests_that_ran cargo test --release -p polyproc --test hostile -- --nocapture
