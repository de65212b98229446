//! A hostile peer: a process writes at random over the memory that others use, while they call everything there is.
//!
//! Each seed is a victim, a process with a family of its own. It makes one object of each kind, forks a peer that scribbles
//! over their memory, and calls every operation from several threads and from relatives, which it kills, while the memory
//! changes and for a while after. What must hold: each call comes back by its deadline, with an error or garbage; nothing
//! panics, crashes, loops, or takes memory without bound; everything can be dropped, and the process ends.
//!
//! `POLYPROC_HOSTILE_SECONDS` says for how long to go on with further seeds (5), `POLYPROC_SEED` which one is the first:
//! the peer's writes follow from it, as far as the memory is the same. A call whose page says that it waits for as long as
//! somebody holds a lock (`Value::set`, say) is helped: its lock is given up for it.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, in tests")]
#![allow(clippy::result_large_err, reason = "closures that hand on what a call says")]

mod names;
mod pools;
mod watch;
mod world;

use polyproc_testing::reexec::{child, in_child};
use polyproc_testing::watchdog;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

polyproc::init_for_tests!();

/// How long a victim is scribbled at, and how long it goes on with what is left.
const UNDER_FIRE: Duration = Duration::from_millis(500);
const AFTERWARDS: Duration = Duration::from_millis(150);
/// For a victim, which has a watch of its own.
const LIMIT: Duration = Duration::from_secs(240);

/// Memory of a victim's own, and the length of each file: the tables take 64.4 MiB of it. `POLYPROC_HOSTILE_BYTES` sets the
/// former, for sanitizers, which take more than they use.
fn limit() {
    polyproc_testing::scribble::limit(number("POLYPROC_HOSTILE_BYTES", 1 << 30), 256 << 20);
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Runs victims with one seed after the other.
fn victims(name: &str) {
    let first = number("POLYPROC_SEED", 1);
    let time = Duration::from_secs(number("POLYPROC_HOSTILE_SECONDS", 5));
    let started = Instant::now();
    let mut seed = first;
    while seed == first || started.elapsed() < time {
        let mut victim = child(name);
        // Who waits for a table that nobody gives up does so for a hundred ticks.
        victim.env("POLYPROC_SEED", seed.to_string()).env("POLYPROC_TICK_MS", "20");
        let victim = || victim.output().expect("the victim starts");
        let output = watchdog(LIMIT, victim);
        if !output.status.success() || std::env::var_os("POLYPROC_HOSTILE_LOUD").is_some() {
            eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        let how = (output.status.code(), output.status.signal());
        assert_eq!(how, (Some(0), None), "POLYPROC_SEED={seed} is a seed that fails, `{name}` the victim");
        seed += 1;
    }
    eprintln!("{name}: {} seeds from {first} on in {:?}", seed - first, started.elapsed());
}

#[test]
fn whoever_shares_a_family_with_a_scribbler_gets_errors_or_garbage_in_time() {
    victims("family_victim");
}

#[test]
fn whoever_shares_a_named_object_with_a_scribbler_gets_errors_or_garbage_in_time() {
    victims("named_victim");
}

#[test]
fn whoever_has_a_pool_beside_a_scribbler_gets_errors_or_garbage_in_time() {
    victims("pool_victim");
}

#[test]
#[ignore = "run by whoever_shares_a_family_with_a_scribbler_gets_errors_or_garbage_in_time"]
fn family_victim() {
    if in_child() {
        world::victim(number("POLYPROC_SEED", 1));
    }
}

#[test]
#[ignore = "run by whoever_shares_a_named_object_with_a_scribbler_gets_errors_or_garbage_in_time"]
fn named_victim() {
    if in_child() {
        names::victim(number("POLYPROC_SEED", 1));
    }
}

#[test]
#[ignore = "run by whoever_has_a_pool_beside_a_scribbler_gets_errors_or_garbage_in_time"]
fn pool_victim() {
    if in_child() {
        pools::victim(number("POLYPROC_SEED", 1));
    }
}
