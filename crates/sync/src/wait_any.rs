//! Sleeping until one of several things is ready.
//!
//! # State
//! None in shared memory beyond what the things have: a gate's marks and its `rovers`, an event's count of sleepers.
//!
//! # Transitions
//! ```text
//! look     at all; ready: done
//! arm      each one, and look again: those who make it ready wake us from here on; after a wake-up it is passed on first
//! sleep    on all words, while each is what it was when it was armed (futex_waitv)
//! disarm   all, when one is ready or the deadline has come
//! ```
//!
//! # Invariants
//! W1. Nobody sleeps unless every thing was armed, then found not ready, and has not changed since.
//! W2. A sleep that did not end by its time may have consumed a wake-up of any of the things, and of several: all are armed
//!     again, and pass it on, before anything else happens, also if the deadline has come. A wake-up is never meant for us
//!     alone, since we take nothing.
//! W3. What was armed is disarmed on every way out.
//!
//! # Memory ordering
//! That of the gate (M1) and of the event (S1), for each of them by itself; there is none between things.
//!
//! # If a process dies
//! One that waits: it has taken nothing. Asleep, or just woken: whoever else waits for the same was woken as well
//! (G4 of the gate; an event wakes all). While it arms: the thing is announced to the kernel meanwhile. It stays counted as
//! a sleeper of the events, for which each next set makes one system call too many. One that makes a thing ready: the
//! kernel wakes one sleeper of the thing, whether it sleeps for that alone or for several, and he passes it on.
//!
//! # Sources
//! `multiprocessing.connection.wait`; futex_waitv(2).

use crate::raw::gate::{Armed, SLICE};
use polyproc_sys::Deadline;
use polyproc_sys::futex::{self, Wait, Watch, wait_many};
use polyproc_sys::spin::Spin;

/// What [`wait_any`] waits for: an `Event` that is set, a `Semaphore` with a permit, a `Queue` with an item, a
/// `Process` that has ended.
///
/// ```
/// use polyproc_sync::{Event, Waitable};
/// let event = Event::new()?;
/// assert!(!event.is_ready());
/// event.set();
/// assert!(event.is_ready());
/// # Ok::<(), polyproc_sync::ShmError>(())
/// ```
pub trait Waitable {
    /// Whether it is ready; takes nothing, never blocks, and may be wrong by the time you look.
    ///
    /// See [`Waitable`] for an example.
    fn is_ready(&self) -> bool;

    /// Makes whoever makes it ready wake those who sleep on [`Waitable::watch`], and looks. Called anew after each sleep,
    /// with the word that it said `before`, and whether that sleep may have consumed a wake-up, which is passed on.
    #[doc(hidden)]
    fn arm(&self, before: Option<u64>, woken: bool) -> Armed;

    /// The word to sleep on while it is what `arm` said.
    #[doc(hidden)]
    fn watch(&self, word: u64) -> Watch<'_>;

    /// Undoes `arm`, which said `word` at first; says whether it was ready since, and is no more perhaps.
    #[doc(hidden)]
    fn disarm(&self, _word: u64) -> bool {
        false
    }
}

/// Sleeps until at least one of `things` is ready, or until `deadline`; says which are, by their places, in ascending
/// order: none if the time is up, or if `things` is empty. `multiprocessing.connection.wait`.
///
/// It takes nothing: another thread or process may be faster, so go on with `try_acquire`, `try_get`, and look again. An
/// event that was set while this slept is ready, though it be cleared again.
///
/// # Fairness
/// None among things: all that are ready are named. One that waits here does not hold up those who wait for one thing
/// alone: each wake-up that it gets it passes on, and a semaphore or queue at which one waits wakes all its sleepers on
/// that side instead of one.
///
/// # When a process dies
/// Nobody waits for the dead: a waiter that is killed has taken nothing, and whoever else slept is woken. Left to a look
/// every 100 ms: two deaths at once, and a waiter killed within the few instructions in which another one's wake-up
/// reached it, of a process that had not seen it yet. A stopped waiter (`SIGSTOP`) passes on what woke it when it goes on.
///
/// # Limits
/// Of more than 128 things, all are looked at every millisecond; likewise on Linux before 5.16. While it waits for
/// processes, a thread of this process watches over them.
///
/// # Examples
/// ```
/// use polyproc_sync::{Deadline, Event, Semaphore, wait_any};
/// let (stop, jobs) = (Event::new()?, Semaphore::new(0)?);
/// let poster = std::thread::spawn({
///     let jobs = jobs.clone();
///     move || jobs.release()
/// });
/// assert_eq!(wait_any(&[&stop, &jobs], Deadline::NEVER), [1]);
/// assert!(jobs.try_acquire());
/// stop.set();
/// assert_eq!(wait_any(&[&stop, &jobs], Deadline::NEVER), [0]);
/// # poster.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "says which are ready"]
pub fn wait_any(things: &[&dyn Waitable], deadline: Deadline) -> Vec<usize> {
    let mut spin = Spin::new();
    loop {
        let ready: Vec<usize> = (0..things.len()).filter(|&i| things[i].is_ready()).collect();
        if !ready.is_empty() || things.is_empty() || deadline.is_past() {
            return ready;
        }
        if !spin.again() {
            return sleep(things, deadline);
        }
    }
}

#[cold]
fn sleep(things: &[&dyn Waitable], deadline: Deadline) -> Vec<usize> {
    let mut words: Vec<Option<u64>> = vec![None; things.len()];
    let mut ready = vec![false; things.len()];
    let mut watches = Vec::with_capacity(things.len());
    let mut woken = false;
    loop {
        let mut until = deadline.earlier(Deadline::after(futex::tick()));
        for ((thing, word), ready) in things.iter().zip(&mut words).zip(&mut ready) {
            match thing.arm(*word, woken) {
                Armed::Ready => *ready = true, // the others pass their wake-ups on all the same (W2)
                Armed::Asleep(now) => *word = Some(now),
                Armed::Dozing(now) => {
                    *word = Some(now);
                    until = deadline.earlier(Deadline::after(SLICE));
                }
            }
        }
        if ready.contains(&true) || deadline.is_past() {
            break;
        }
        watches.clear();
        watches.extend(things.iter().zip(&words).filter_map(|(thing, word)| word.map(|word| thing.watch(word))));
        woken = wait_many(&watches, until) != Wait::TimedOut;
    }
    for ((thing, word), ready) in things.iter().zip(words).zip(&mut ready) {
        *ready |= word.is_some_and(|word| thing.disarm(word)); // W3
    }
    (0..things.len()).filter(|&i| ready[i]).collect()
}
