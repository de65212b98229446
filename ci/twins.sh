#!/usr/bin/env bash
# The broken twins of the loom models: each weakens one place of the raw layer in a copy of the workspace, and loom must
# find it. A twin that passes means that a model has become blind.
#
# Three to four minutes where loom.sh has built before; the first twin and the unchanged models are a good part of it.
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

models_pass_unchanged() {
    (cd "$copy" && tests_that_ran cargo test --release --target-dir "$build" -p polyproc-sync -p polyproc-queue -p polyproc-values --test 'loom_*')
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
    local rc
    set +e # not `||`, as in step()
    (
        set -e
        step "$@"
    )
    rc=$?
    set -e
    ((rc == 0)) || blind=$((blind + 1))
}

gate=crates/sync/src/raw/gate.rs lock=crates/sync/src/raw/lock.rs
ring=crates/queue/src/raw/ring.rs slot=crates/queue/src/raw/slot.rs
copies=crates/values/src/raw/copies.rs elements=crates/values/src/raw/elements.rs
semaphore=crates/sync/src/raw/semaphore.rs cell=crates/sync/src/raw/cell.rs
claim=crates/values/src/raw/claim.rs event=crates/sync/src/raw/event.rs rwlock=crates/sync/src/raw/rwlock.rs
meeting=crates/sync/src/raw/barrier.rs # `barrier` is that of the CPUs
barrier=crates/sys/src/asym/model.rs
in_gate() { expect "$1" twin "$2" "$3" polyproc-sync loom_gate "$4"; }  # NAME FILE SED-EXPRESSION TEST
in_wait() { expect "$1" twin "$2" "$3" polyproc-sync loom_wait_any "$4"; } # likewise
in_lock() { expect "$1" twin "$2" "$3" polyproc-sync loom_lock "$4"; }  # likewise
in_semaphore() { expect "$1" twin "$2" "$3" polyproc-sync loom_semaphore "$4"; } # likewise
in_event() { expect "$1" twin "$2" "$3" polyproc-sync loom_event "$4"; } # likewise
in_rwlock() { expect "$1" twin "$2" "$3" polyproc-sync loom_rwlock "$4"; } # likewise
in_barrier() { expect "$1" twin "$2" "$3" polyproc-sync loom_barrier "$4"; } # likewise
in_ring() { expect "$1" twin "$2" "$3" polyproc-queue loom_ring "$4"; } # likewise
in_claims() { expect "$1" twin "$2" "$3" polyproc-values loom_claim "$4"; } # likewise
in_values() { expect "$1" twin "$2" "$3" polyproc-values loom_value "$4"; } # likewise

step 'copy the workspace' copy_workspace
step 'borrow what is built' borrow_dependencies
step 'build the models' build_in_copy -p polyproc-sync -p polyproc-queue -p polyproc-values --test 'loom_*'
step 'the models pass unchanged' models_pass_unchanged

# The gate: G1, G2, G4, M1.
in_gate 'gate: who takes without a wake-up does not settle' $gate \
    's/if woken \|\| done \{/if woken {/' two_waiters_two_posters
in_gate 'gate: the woken does not mark again' $gate \
    's/let marked = (self\.word\.fetch_or\(mine, SeqCst\) \| mine);/let marked = if woken { self.word.load(SeqCst) } else { \1 };/' \
    two_waiters_two_posters
in_gate 'gate: sleeps on a word that it has not seen with the state' $gate \
    's/wait_class\(marked,/wait_class(self.word.load(Relaxed),/' one_waiter_one_poster
in_gate 'gate: the waiter does not fence' $gate \
    '/^            fence\(SeqCst\); \/\/ SYNC\(M1\)/d' one_waiter_one_poster_two_rounds
in_gate 'gate: the barrier does not order the poster' $barrier \
    '/fn light/,/^\}/s/fence\(.*\);//' one_waiter_one_poster
in_gate 'gate: wakes and leaves the mark' $gate \
    's/self\.word\.fetch_and\(!side\.mark\(\), SeqCst\) \&/self.word.load(SeqCst) \&/' two_waiters_two_posters

# Waiting for several things: G2, G4, M1, W1.
in_wait 'wait_any: who finds a gate ready does not settle' $gate \
    '/^        if ready\(\) \{/,/settle/s/^ *settle\(\); \/\/ G4//' a_blocking_taker_gets_the_item_beside_a_waiter
in_wait 'wait_any: the woken does not settle' $gate \
    '/^        if woken \{/,/\}/s/^ *settle\(\); \/\/ G4//' a_blocking_giver_gets_room_beside_a_waiter
in_wait 'wait_any: the woken does not mark again' $gate \
    '/^        if woken \{/,/\}/s/^ *self\.mark.*$//' a_blocking_giver_gets_room_beside_a_waiter
in_wait 'wait_any: the waiter does not fence' $gate \
    '/fn mark\(\&self, marks/,/^    \}/{/fence\(SeqCst\)/d}' a_blocking_giver_gets_room_beside_a_waiter
in_wait 'wait_any: sleeps on the first word alone' crates/sync/src/wait_any.rs \
    's/wait_many\(\&watches, until\)/wait_many(\&watches[..1], until)/' either_of_two_gates_wakes_the_waiter

# The lock: L1, L2, I1, I2.
in_lock 'lock: fast CAS without Acquire' $lock \
    's/(compare_exchange\(0, me\.id\(\)), Acquire,/\1, Relaxed,/' two_threads_one_round
in_lock 'lock: slow CAS without Acquire' $lock \
    's/(me\.id\(\) \| mark), Acquire,/\1, Relaxed,/' three_threads_one_round
in_lock 'lock: unlock without Release' $lock \
    's/swap\(free, Release\)/swap(free, Relaxed)/' two_threads_one_round
in_lock 'lock: the unlocker does not look for waiters again' $lock \
    '/asym::light\(\); \/\/ SYNC\(L2\)/{n;s/if .* \{/if false {/}' two_threads_one_round
in_lock 'lock: the barrier does not order the unlocker' $barrier \
    '/fn light/,/^\}/s/fence\(.*\);//' two_threads_one_round
in_lock 'lock: the waker does not fence' $lock \
    '/fn wake_one/,/^    \}/{/fence\(SeqCst\)/d}' two_threads_two_rounds
in_lock 'lock: nobody is woken whatever the count' $lock \
    's/if seen \& COUNT == 0 \{$/if true {/' two_threads_one_round
in_lock 'lock: a waiter is not counted' $lock \
    's/let mut next = seen \+ ONE;/let mut next = seen;/' two_threads_one_round
in_lock 'lock: the woken counts itself out, too' $lock \
    's/if how != Wait::Woken \{/if true {/' three_threads_one_round
in_lock 'lock: the waker counts two out' $lock \
    's/^( *)(self\.retract\(seen \& GENERATION\);)/\1\2 \2/' three_threads_one_round
in_lock 'lock: sleeps on whatever the word is' $lock \
    's/self\.word\.wait\(marked, until\)/self.word.wait(self.word.load(Relaxed), until)/' two_threads_one_round

# The lock that may be taken again: D1.
expect 'rlock: an inner guard gives the lock up' twin crates/sync/src/raw/rlock.rs \
    's/if depth \& LEVELS > 1 \{/if false {/' polyproc-sync loom_rlock two_threads_take_it_twice

# The condition: C1, C2, C3.
condition=crates/sync/src/raw/condition.rs
in_condition() { expect "$1" twin "$condition" "$2" polyproc-sync loom_condition "$3"; } # NAME SED-EXPRESSION TEST
in_condition 'condition: nobody is woken' 's/^ *owe\(&raw const oldest\.word\);//' one_waiter_one_notifier
in_condition 'condition: sleeps whatever the word is' \
    's/word\.wait\(WAITING, until\)/word.wait(word.load(Relaxed), until)/' one_waiter_one_notifier
in_condition 'condition: who is late does not look at what it was told' \
    's/= if cell\.word\.load\(Relaxed\) != WAITING \{/= if !deadline.is_past() \&\& cell.word.load(Relaxed) != WAITING {/' \
    a_notification_meets_a_waiter_whose_time_is_up

# The semaphore: P1 to P4, P6, P7.
in_semaphore 'semaphore: a release does not ring' $semaphore \
    '/fn add\(/,/^    \}/s/^ *self\.gate\.ring\(Side::Takers\); .*//' one_waiter_one_poster_two_rounds
in_semaphore 'semaphore: a permit is given back without a ring' $semaphore \
    '/fn give_back/,/^    \}/s/^ *self\.gate\.ring\(Side::Takers\); .*//' two_owners
in_semaphore 'semaphore: the woken does not wake the next' $semaphore \
    's/if self\.available\(dead\) > 0 \{/if false {/' two_waiters_one_release_of_two
in_semaphore 'semaphore: a release without Release' $semaphore \
    's/(word \+ u64::from\(n\)), AcqRel,/\1, Relaxed,/' two_that_count
in_semaphore 'semaphore: an acquire without Acquire' $semaphore \
    '/word & COUNT != 0 &&/s/(word - 1), Acquire,/\1, Relaxed,/' two_that_count
in_semaphore 'semaphore: given back without Release' $semaphore \
    's/(next\(owned\.held, FREE, 0\)), Release\)/\1, Relaxed)/' two_owners
in_semaphore 'semaphore: an owner without Acquire' $semaphore \
    '/fn try_own/,/^    \}/s/(seen, held), AcqRel,/\1, Release,/' two_owners
in_semaphore 'semaphore: a permit is taken from its living owner' $cell \
    's/phase\(cell\) == HELD && dead\(.*\)\)$/phase(cell) == HELD \&\& !dead(0))/' two_owners
in_semaphore 'semaphore: a cell has no version' $cell \
    's/cell\.wrapping_add\(ONE_VERSION\) & VERSION/cell \& VERSION/' an_owner_and_one_that_counts
in_semaphore 'semaphore: a move starts before the last one ended' $semaphore \
    's/^ *self\.finish_move\(word\); \/\/ P2//' two_owners_and_one_cell
in_semaphore 'semaphore: a permit is moved into a cell that has one' $semaphore \
    's/if self\.cells\[at\]\.load\(Acquire\) != seen \{/if false {/' two_owners_and_one_cell
in_semaphore 'semaphore: nobody finishes the move of another' $semaphore \
    '/fn finish_move/,/^    \}/s/if arrives\(word, seen\) \&\&/if false \&\&/' two_owners_and_one_cell
in_semaphore 'semaphore: a look in vain is not repeated' $semaphore \
    's/if self\.word\.load\(Acquire\) == word \{/if true {/' a_look_that_meets_a_release_and_an_owner
in_semaphore 'semaphore: a look that lost a race acquires nothing' $semaphore \
    's/(compare_exchange\(seen, empty, AcqRel), Acquire/\1, Relaxed/' a_look_that_meets_a_release_and_an_owner
in_semaphore 'semaphore: full at a glance' $semaphore \
    's/\} else if self\.is_full\(dead\) \{/} else {/' there_was_always_room
in_semaphore 'semaphore: a move that has not ended is not counted' $semaphore \
    '/fn in_cells/,/^    \}/{/self\.finish_move\(word\);/d}' a_release_too_many_meets_a_move

# The event: E1, S1, S2.
in_event 'event: a set of a set event is a load' $event \
    's/while seen \& \(ASLEEP \| OWED\) == 0 \{/if seen \& SET != 0 { return; } &/' a_set_of_a_set_event_meets_a_clear
in_event 'event: a waiter sleeps although the epoch has ended' $event \
    's/ \| epoch << TURN_SHIFT//' two_pulses_and_a_set
in_event 'event: a wait without Acquire' $event \
    's/load\(Acquire\) \& SET != 0/load(Relaxed) \& SET != 0/' a_waiter_sees_what_came_before_the_set

# The lock with readers and writers: W2, W4, W5, X1, X3.
in_rwlock 'rwlock: a reader does not order his cell and his look' $rwlock \
    '/fn try_enter/,/^    \}/s/^ *total_order\(\);//' a_reader_and_a_writer
in_rwlock 'rwlock: a writer does not order his wish and his look' $rwlock \
    '/pub unsafe fn write/,/^    \}/s/^ *total_order\(\);//' a_reader_and_a_writer
in_rwlock 'rwlock: a reader leaves without a ring' $rwlock \
    '/fn leave/,/^    \}/s/^ *self\.gate\.ring.*//' a_reader_and_a_writer
in_rwlock 'rwlock: a writer gives up without Release' $rwlock \
    's/Release\); \/\/ SYNC\(X1\)/Relaxed);/' a_reader_and_a_writer
in_rwlock 'rwlock: a reader without a cell gives the inner lock up' $rwlock \
    's/^( *)self\.alone\.store\(1, Relaxed\);/&\n\1unsafe { RawLock::unlock(\&raw const self.writer, false) };/' \
    a_reader_without_a_cell_keeps_a_writer_out
# The barrier: B2, B3, B4, S1.
in_barrier 'barrier: a claim for a round that has ended' $meeting \
    's/if tag\(self\.state\.load\(Acquire\)\) != tag\(seen\) \{/if false {/' actions_come_one_after_the_other
in_barrier 'barrier: who is too late breaks a round that acts' $meeting \
    's/if !self\.forestall\(seen, me\) \{/if false {/' one_without_patience_breaks_no_round_that_acts
in_barrier 'barrier: a sleeper is not marked' $meeting \
    's/compare_exchange\(now, now \| mark, /compare_exchange(now, now, /' two_parties
in_barrier 'barrier: arrivals are not acquired' $meeting \
    '/fn arrived/,/^    \}/s/load\(Acquire\)/load(Relaxed)/' two_parties

# The slotring: S1, S2, S4, S5, Q1.
in_ring 'ring: a producer moves on a lap too far' $ring \
    '/fn after/,/^    \}/s/wrapping_add\(1\)/wrapping_add(1 + self.capacity())/' two_producers
in_ring 'ring: a slot is claimed by a store' $ring \
    's/if slot\[0\]\.compare_exchange\(turn \| FREE, claim, AcqRel, Relaxed\)\.is_err\(\)/let taken = slot[0].load(Acquire) != turn; if !taken { slot[0].store(claim, Release); } if taken/' \
    two_producers
in_ring 'ring: a message is taken by a store' $ring \
    's/let cleared = slot\[0\]\.compare_exchange\(.*\)\.is_ok\(\);/slot[0].store(self.free(pos), Release); let cleared = true;/' \
    two_consumers
in_ring 'ring: who loses the CAS has the message all the same' $ring \
    's/\(decision == Take::Yes \&\& cleared\)/decision == Take::Yes/' two_consumers
in_ring 'ring: FULL without Release' $ring \
    's/\| FULL, Release\)/| FULL, Relaxed)/' one_to_one_wraps_around
in_ring 'ring: the word is read without Acquire' $ring \
    's/slot\[0\]\.load\(Acquire\); \/\/ SYNC\(Q1\)/slot[0].load(Relaxed);/' one_to_one_wraps_around
in_ring 'ring: the word at the hint is read without Acquire' $ring \
    's/\[0\]\.load\(Acquire\) == full/[0].load(Relaxed) == full/' one_to_one_wraps_around
in_ring 'ring: FULL before the payload' $ring \
    's/for \(to, from\) in slot\[1\.\.\]\.iter\(\)\.zip\(payload\)/slot[0].store((turn << TURN_SHIFT) | FULL, Release); &/' one_to_one_wraps_around
in_ring 'ring: a claim of the living is skipped' $ring \
    's/if !dead\(owner_of\(word\)\)/if false/' one_to_one_wraps_around
in_ring 'ring: a message is taken while it is written' $ring \
    's/if behind == 0 \&\& word \& PHASE == FULL \{/if behind == 0 \&\& word \& PHASE != FREE {/' one_to_one_wraps_around
in_ring 'ring: a load proves that a payload is whole' $slot \
    's/self\.slot\.compare_exchange\(self\.word, self\.word, Release, Relaxed\)\.is_ok\(\)/self.slot.load(Relaxed) == self.word/' \
    a_slot_is_read_while_another_takes_it_and_a_third_fills_it

# The value: V1, V3, R1, R2.
in_values 'value: the version without Release' $copies \
    's/store\(next, Release\)/store(next, Relaxed)/' one_writer_twice_and_a_reader
in_values 'value: the version is read without Acquire' $copies \
    's/selector\.load\(Acquire\)/selector.load(Relaxed)/' one_writer_twice_and_a_reader
in_values 'value: the writer does not fence' $copies \
    '/fence\(Release\); \/\/ SYNC\(R2\)/d' one_writer_twice_and_a_reader
in_values 'value: the reader does not fence' $copies \
    '/fence\(Acquire\); \/\/ SYNC\(R2\)/d' one_writer_twice_and_a_reader
in_values 'value: the reader does not look at the version again' $copies \
    's/if self\.selector\.load\(Relaxed\) == before/if true/' one_writer_twice_and_a_reader
in_values 'value: the copy that counts is written over' $copies \
    's/self\.copy\(next\)\.iter/self.copy(selector).iter/' one_writer_twice_and_a_reader
in_values 'value: the second writer does not fence' $copies \
    '/fence\(Release\); \/\/ SYNC\(R2\)/d' two_writers_under_the_lock_and_a_reader

# The elements: E2, E3, A1, A2.
in_values 'element: no fence before the spare' $elements \
    '/pub fn store\(/,/^    \}/{/fence\(Release\);/d}' two_elements_and_a_reader
in_values 'element: no fence before the place' $elements \
    '/fn settle\(/,/^    \}/{/fence\(Release\);/d}' one_element_twice_and_a_reader
in_values 'element: the reader does not fence' $elements \
    '/fence\(Acquire\); \/\/ SYNC\(A2\)/d' one_element_twice_and_a_reader
in_values 'element: the reader does not look at the version again' $elements \
    's/if version\.load\(Relaxed\) == before/if true/' one_element_twice_and_a_reader
in_values 'element: readers never take the spare' $elements \
    's/let in_spare = .*;/let in_spare = false;/' one_element_twice_and_a_reader
in_values 'element: readers take the spare for any element' $elements \
    's/ \&\& index\.load\(Relaxed\) == i as u64//' two_elements_and_a_reader
in_values 'element: the odd version without Release' $elements \
    's/(even\.wrapping_add\(1\)), Release/\1, Relaxed/' a_new_element_brings_what_was_done_before
in_values 'element: the even version without Release' $elements \
    's/(odd\.wrapping_add\(1\)), Release/\1, Relaxed/' one_element_twice_and_a_reader
in_values 'element: the version is read without Acquire' $elements \
    's/version\.load\(Acquire\)/version.load(Relaxed)/' a_new_element_brings_what_was_done_before

# The claims of chunks, and their neighbours: C1, C2, M1, E1.
in_claims 'claim: a chunk is claimed by a store' $claim \
    's/match self\.word\.compare_exchange\(seen, mine, AcqRel, Acquire\)/self.word.store(mine, Release); match Ok::<u64, u64>(seen)/' \
    two_owners_one_after_the_other
in_claims 'claim: a chunk is claimed without Release' $claim \
    's/\(seen, mine, AcqRel, Acquire\)/(seen, mine, Acquire, Acquire)/' a_living_owner_is_not_taken_for_its_predecessor
in_claims 'claim: the word is looked at without Acquire' $claim \
    's/self\.word\.load\(Acquire\)/self.word.load(polyproc_sys::atomic::Ordering::Relaxed)/' a_living_owner_is_not_taken_for_its_predecessor
in_claims 'claim: a chunk is given up without Release' $claim \
    's/self\.word\.store\(0, Release\)/self.word.store(0, polyproc_sys::atomic::Ordering::Relaxed)/' two_owners_one_after_the_other
in_claims 'claim: a chunk is taken from its living owner' $claim \
    's/ \&\& !dead\(owner\)/ \&\& false \&\& dead(owner)/' two_owners_one_after_the_other
in_claims 'claim: nobody is told of a death' $claim \
    's/Ok\(_\) => return Ok\(seen \& HELD != 0\)/Ok(_) => return Ok(false)/' a_dead_ones_chunk_is_recovered_once
in_claims 'element: a word of two writers is loaded and stored' $elements \
    's/self\.alone\.0 <= first \&\& .*/true/' neighbours_in_one_word

if ((blind > 0)); then
    echo "twins that loom does not find: $blind" >&2
    exit 1
fi
