#!/usr/bin/env bash
# What can be said about the code without running it: format, lints, documentation, our own rules.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Each row of the table names a file and a test in it.
conformance() {
    local line file name rows=0 broken=0
    while IFS= read -r line; do
        rows=$((rows + 1))
        if ! [[ $line =~ \`(crates/[^\`]+)\`\ \`([^\`]+)\` ]]; then
            echo "no test in: $line" >&2
            broken=1
            continue
        fi
        file=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]}
        if ! grep -qE "fn $name\\(" "$file" || [[ $line != *".$name\`"* ]]; then
            echo "$file has no test $name, or that is not the name in: $line" >&2
            broken=1
        fi
    done < <(grep -E '^\| `_?Test' CONFORMANCE.md)
    ((rows > 0 && broken == 0))
}

component() { # CARGO-SUBCOMMAND
    cargo "$1" --version || rustup component add "${1/fmt/rustfmt}"
}

# Prints what breaks a rule, and fails if anything does. Only .rs files; comments count.
forbid() { # WHY REGEX SKIP-PATH-REGEX PATH…
    local why=$1 regex=$2 except=$3 found
    shift 3
    found=$(grep -rnE --include='*.rs' "$regex" "$@" | grep -vE "^($except)" || true)
    if [[ -n $found ]]; then
        printf '%s\n-- %s\n' "$found" "$why" >&2
        return 1
    fi
}

rules() {
    local broken=0 dirs=(crates) folder file lines
    for folder in examples benches fuzz; do
        [[ -d $folder ]] && dirs+=("$folder")
    done
    # polyproc_sys::atomic is the one way to atomics; a model may name loom's.
    forbid 'atomics come from polyproc_sys::atomic' \
        '(core|std)::sync::(atomic|\{.*\batomic\b)|\bAtomic(Bool|[IU]size|[IU](8|16|128)|I32|I64)\b' \
        'crates/(sys|testing)/' crates || broken=1
    forbid 'loom:: is for crates/sys and tests/loom_*.rs' '\bloom::' \
        'crates/sys/|crates/[a-z]+/tests/loom_[a-z_]+\.rs:' crates || broken=1
    forbid 'only crates/sys talks to the kernel, and never with private futexes' 'FUTEX_PRIVATE' 'crates/sys/' crates || broken=1
    forbid 'a SAFETY comment argues' 'SAFETY: (Untriaged|TODO)' '$' "${dirs[@]}" || broken=1
    forbid 'libc is for crates/sys, crates/testing, benches and the tests of examples' '\blibc(::|;)' \
        '(crates/(sys|testing)|benches|fuzz|examples/tests)/' "${dirs[@]}" || broken=1
    forbid 'unfinished' '\b(todo|unimplemented|dbg)!' '$' "${dirs[@]}" || broken=1
    while IFS= read -r file; do
        lines=$(wc -l <"$file")
        if ((lines > 500)); then
            echo "$file has $lines lines -- a file has 500 at most" >&2
            broken=1
        fi
    done < <(find crates/*/src -name '*.rs' | sort)
    for file in crates/pool/src/lib.rs crates/polyproc/src/lib.rs; do
        if ! grep -qxF '#![forbid(unsafe_code)]' "$file"; then
            echo "$file lacks #![forbid(unsafe_code)]" >&2
            broken=1
        fi
    done
    return $broken
}

step 'rustfmt and clippy are there' eval 'component fmt && component clippy'
step 'format' cargo fmt --all --check
step 'format of fuzz' cargo fmt --manifest-path fuzz/Cargo.toml --check
step 'our own rules' rules
step 'CONFORMANCE.md names tests that are there' conformance
step 'clippy' cargo clippy --workspace --all-targets -- -D warnings
step 'clippy for tests that only run in release' cargo clippy --workspace --test '*' -- -D warnings
step 'documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

arm=aarch64-unknown-linux-gnu
if compgen -G "$(rustc --print target-libdir --target $arm)/libstd-*" >/dev/null; then
    # Not the benches: criterion compiles C, and there may be no C compiler for that target.
    step "check for $arm" cargo check --workspace --exclude polyproc-benches --all-targets --target $arm
else
    skip "check for $arm" 'no standard library for that target (rustup target add)'
fi

if command -v cargo-deny >/dev/null; then
    step 'licences and sources of dependencies' cargo deny check bans licenses sources
else
    skip 'licences and sources of dependencies' 'cargo-deny is not installed (cargo install cargo-deny --locked)'
fi
