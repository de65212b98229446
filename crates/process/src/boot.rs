//! The child's side: from the first instruction of the program to the exit code.

use crate::raw::start::{self, RawStart};
use crate::task::{self, Failed};
use crate::{current, wire};
use core::panic::AssertUnwindSafe;
use polyproc_shm::{BOOT_ENV, Boot, Family};
use polyproc_sys::atomic::{AtomicU32, Ordering};
use polyproc_sys::process::{Fate, Lifeline, boot};
use std::panic::catch_unwind;

/// The exit code of a child that could not join its family.
pub(crate) const NO_FAMILY: i32 = 125;
/// The exit code of a child that could not bind its life to its parent's.
pub(crate) const NO_LIFELINE: i32 = 122;
/// The exit code of a child that found its work revoked, or its parent gone.
const NOT_WANTED: i32 = 124;
/// The exit code of a child whose function could not be found or whose arguments could not be decoded.
const NOT_STARTED: i32 = 123;
/// The exit code of a panic, as std has it.
const PANICKED: u8 = 101;

static INITIALISED: AtomicU32 = AtomicU32::new(0);

/// What a parent says to a child, in the environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) family: Boot,
    pub(crate) lifeline: Lifeline,
    /// The program that is meant, as [`boot::program`] tells it.
    pub(crate) program: (u64, u64),
    /// Where the child's [`RawStart`] lies.
    pub(crate) record: u64,
    pub(crate) parent: u32,
    pub(crate) name: String,
}

impl core::fmt::Display for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { family, lifeline, program: (device, inode), record, parent, name } = self;
        write!(f, "{family} {lifeline} {device}/{inode} {record} {parent} {name}")
    }
}

impl Message {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ' ');
        Some(Self {
            family: parts.next()?.parse().ok()?,
            lifeline: parts.next()?.parse().ok()?,
            program: {
                let (device, inode) = parts.next()?.split_once('/')?;
                (device.parse().ok()?, inode.parse().ok()?)
            },
            record: parts.next()?.parse().ok()?,
            parent: parts.next()?.parse().ok()?,
            name: parts.next()?.to_owned(),
        })
    }
}

/// Makes this program one that can start processes. Put it first in `main`:
///
/// ```
/// polyproc_process::init();
/// // … what the program does
/// assert_eq!(polyproc_process::current_process().name(), "MainProcess");
/// ```
///
/// In a process that the user started it does next to nothing. In a child that [`Process`](crate::Process) started it
/// does the child's work and ends the process: it does not return, and nothing after it in `main` happens there.
///
/// Whatever comes before it, in `main` or in constructors of libraries, happens in every child as well. Call it while
/// the process has only one thread: it removes a variable from the environment, which it does not dare otherwise, and
/// programs that the child starts would then see the variable (and ignore it).
///
/// Calling it again does nothing.
pub fn init() {
    if INITIALISED.swap(1, Ordering::AcqRel) == 1 {
        return;
    }
    polyproc_sys::robust::watch_forks();
    // Registers the process for the barriers of its locks and queues: at once now, some milliseconds once it has threads.
    let _ = polyproc_sys::robust::thread_id();
    let text = boot::take_variable(BOOT_ENV);
    if let Some(message) = text.as_deref().and_then(Message::parse) {
        be_a_child(&message);
    }
}

/// Whether [`init`] was called.
pub(crate) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Acquire) == 1
}

/// Makes a test binary one that can start processes: children do their work and end before the test runner starts.
///
/// To be put once at the top of a test file, or into a doctest. Tests have no `main` of their own where
/// [`init`](crate::init) could stand.
///
/// ```
/// use polyproc_process::Process;
///
/// polyproc_process::init_for_tests!();
///
/// let child = Process::spawn(|| {}, ()).unwrap();
/// assert!(child.join().unwrap().success());
/// ```
#[macro_export]
macro_rules! init_for_tests {
    () => {
        const _: () = {
            extern "C" fn polyproc_before_main() {
                $crate::before_main();
            }
            #[used]
            #[unsafe(link_section = ".init_array")]
            static POLYPROC_BEFORE_MAIN: extern "C" fn() = polyproc_before_main;
        };
    };
}

/// What [`init_for_tests`](crate::init_for_tests) puts before `main`.
#[doc(hidden)]
pub fn before_main() {
    if std::env::var_os(BOOT_ENV).is_some() {
        boot::ignore_sigpipe(); // the standard library does so, a moment later
    }
    init();
}

/// Does the work of a child and does not return, unless the message turns out to be meant for another process: then
/// this one is a program that some child started, while it could not remove the variable.
fn be_a_child(message: &Message) {
    if boot::program().is_ok_and(|mine| mine != message.program) {
        return; // another program, which a child started before it came to `init`
    }
    match message.lifeline.arm() {
        Ok(Fate::NotOurs) => return,
        Ok(Fate::Bound) => {}
        Ok(Fate::ParentGone) => std::process::exit(NOT_WANTED),
        Err(_) => std::process::exit(NO_LIFELINE),
    }
    boot::name_after_first_argument();
    current::told(&message.name, message.parent);
    // SAFETY: the parent gave this process the descriptor for this use, and its lifeline shows that it is the one.
    let family = unsafe { Family::adopt(&message.family) };
    let Ok(family) = family else { std::process::exit(NO_FAMILY) };
    let Some(record) = record(family, message.record) else { std::process::exit(NO_FAMILY) };
    let Some((function, args)) = record.take(family.me().to_word()) else { std::process::exit(NOT_WANTED) };
    let (function, args) = (crate::function::FnRef::from_words(function), wire::receive(family, args));
    // Unwind safe: nothing that the function could leave half done is looked at afterwards.
    let outcome = catch_unwind(AssertUnwindSafe(|| match args {
        Some(args) => task::run(family, function, args),
        None => Err(Failed::BadArguments),
    }));
    let code = match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(failed)) => {
            let state = if failed == Failed::NoFunction { start::UNKNOWN } else { start::UNREADABLE };
            record.end(state, 1);
            std::process::exit(NOT_STARTED);
        }
        Err(payload) => {
            core::mem::forget(payload); // its drop may panic again, and the process ends anyway
            PANICKED
        }
    };
    record.end(start::RETURNED, code);
    std::process::exit(code.into());
}

fn record(family: &'static Family, offset: u64) -> Option<&'static RawStart> {
    let address = family.at(offset, size_of::<RawStart>() as u64).ok()?.cast::<RawStart>();
    // SAFETY: the bytes lie in the family's memory, which stays mapped, and every bit pattern is a valid record of
    // atomics; a misaligned address is refused first.
    address.is_aligned().then(|| unsafe { &*address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_survives_the_environment() {
        let family = Boot { fd: 7, id: 0xab, secret: u64::MAX };
        let lifeline = Lifeline { fd: 8, inode: 99 };
        let message = Message {
            family,
            lifeline,
            program: (u64::MAX, 5),
            record: 4096,
            parent: 3,
            name: "a name: with / spaces".into(),
        };
        assert_eq!(Message::parse(&message.to_string()), Some(message));
    }

    #[test]
    fn garbage_is_no_message() {
        for text in
            ["", "1", "3:1:1 4@5 1/2 6", "3:1:1 4@5 1/2 6 x name", "3:1 4@5 1/2 6 7 name", "3:1:1 4@5 1 6 7 name"]
        {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }
}
