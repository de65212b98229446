#!/usr/bin/env bash
# ci/soak.sh [SECONDS]: random kills under load, of all queues and values and then of all that synchronises, each for an hour or as long as said.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds=${1:-3600}
export POLYPROC_SOAK_SECONDS=$seconds
step "soak for $seconds s" tests_that_ran cargo test --release -p polyproc --test 'soak*' -- --nocapture
