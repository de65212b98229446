#!/usr/bin/env bash
# The broken twins of the loom models: each weakens one place of the raw layer in a copy of the workspace, and loom must
# find it. A twin that passes means that a model has become blind.
#
# Each twin runs in a process of its own, since a deadlock that loom finds may abort the process.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

limit=120 # seconds for one twin; a hang counts as found
copy=$target/twins/copy
build=$target/twins/target
root=$PWD
export RUSTFLAGS='--cfg polyproc_loom -C debug_assertions' LOOM_MAX_PREEMPTIONS=2
export CARGO_PROFILE_RELEASE_LTO=off # the models run as fast without, and are built in half the time

copy_workspace() {
    rm -rf "$copy"
    mkdir -p "$copy"
    # With times of now (-m): cargo would take what the last twin of an earlier run left for up to date.
    tar -c --exclude=target --exclude=./.git --exclude="./${target#"$root"/}" . | tar -x -m -C "$copy"
}

# What loom.sh has built of other people's crates is good here, too.
borrow_dependencies() {
    [[ -d $build || ! -d $target/loom ]] || cp -a "$target/loom" "$build"
}

build_in_copy() { # PACKAGE… --test MODEL…
    (cd "$copy" && cargo test --release --target-dir "$build" --no-run "$@")
}

# Runs one test of a model that is built; what cargo prints goes to a log.
run_in_copy() { # PACKAGE MODEL TEST LOG
    (cd "$copy" && timeout -k 5 $limit cargo test --release --target-dir "$build" -p "$1" --test "$2" -- --exact "$3") >"$4" 2>&1
}

twin() { # FILE SED-EXPRESSION PACKAGE MODEL TEST
    local file=$1 change=$2 package=$3 model=$4 test=$5 log=$target/twins/log rc=0 difference places how
    difference=$(sed -E "$change" "$root/$file" | diff -U0 --label "$file" --label twin "$root/$file" - || true)
    echo "$difference"
    places=$(grep -c '^@@' <<<"$difference" || true)
    if [[ $places != 1 ]]; then
        echo "the change fits $places places of $file, not one" >&2
        return 1
    fi
    sed -E "$change" "$root/$file" >"$copy/$file"
    build_in_copy -p "$package" --test "$model" 2>&1 | tail -n 3
    run_in_copy "$package" "$model" "$test" "$log" || rc=$?
    cp "$root/$file" "$copy/$file"
    if ! grep -q '^running 1 test$' "$log"; then
        cat "$log" >&2
        echo "no test '$test' in $model" >&2
        return 1
    fi
    if [[ $rc == 0 ]]; then
        echo "loom does not find it: $test passes" >&2
        return 1
    fi
    how=$(grep -oiE 'deadlock|causality violation|exceeded maximum number of branches' "$log" | head -n 1 || true)
    if [[ $rc == 124 || $rc == 137 ]]; then
        how="no end within $limit s"
    elif [[ -z $how ]]; then
        how=$(grep -A 1 'panicked at' "$log" | head -n 2 | tail -n 1 || true)
    fi
    echo "found: ${how:-status $rc}"
}

# Goes on after a twin that passes, to name them all.
blind=0
expect() { # NAME FILE SED-EXPRESSION PACKAGE MODEL TEST
    (step "$@") || blind=$((blind + 1))
}
