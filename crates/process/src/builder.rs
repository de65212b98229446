//! Starting a process.

use crate::boot::{self, Message};
use crate::callable::Function;
use crate::child::{Child, Offer};
use crate::error::ProcessError;
use crate::process::Process;
use crate::raw::start::RawStart;
use crate::{current, registry, task, wire};
use core::time::Duration;
use polyproc_shm::{BOOT_ENV, Family, Kind, Message as Arguments, message};
use polyproc_sys::Deadline;
use polyproc_sys::process::{Lifeline, boot::program, spawn_self};
use serde::{Serialize, de::DeserializeOwned};
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Termination;
use std::sync::Arc;

/// How long a child has to come to `init()`, by default.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a child process is to be like; made by [`Process::builder`].
///
/// One builder may start many children.
///
/// ```
/// use polyproc_process::Process;
/// use std::process::ExitCode;
/// # polyproc_process::init_for_tests!();
///
/// let builder = Process::builder().name("greeter").env("GREETING", "hello");
/// let check = || ExitCode::from(u8::from(std::env::var("GREETING").as_deref() == Ok("hello")));
/// let child = builder.spawn(check, ()).unwrap();
/// assert_eq!(child.join().unwrap().code(), Some(1));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    env: Vec<(OsString, OsString)>,
    handshake: Duration,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { name: None, env: Vec::new(), handshake: HANDSHAKE }
    }

    /// Names the child; by default it is `Process-1` and so on. With a NUL character the spawn is [`ProcessError::Nul`].
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::builder().name("anna").spawn(|| {}, ()).unwrap();
    /// assert_eq!(child.name(), "anna");
    /// # child.join().unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a variable in the child's environment, besides those of this process.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let child = Process::builder().env("RUST_BACKTRACE", "1").spawn(|| {}, ()).unwrap();
    /// assert!(child.join().unwrap().success());
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(n, _)| n != name.as_ref());
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// How long the child has to come to [`init`](crate::init), from the spawn on: 10 seconds by default.
    ///
    /// A child that needs longer is killed as soon as somebody looks at its handle: its program does not call `init`,
    /// or does too much before it.
    ///
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let patient = Process::builder().handshake(std::time::Duration::MAX);
    /// assert!(patient.spawn(|| {}, ()).unwrap().join().unwrap().success());
    /// ```
    pub fn handshake(mut self, timeout: Duration) -> Self {
        self.handshake = timeout;
        self
    }

    /// Starts a process that calls `f` with the elements of the tuple `args`; see [`Process::spawn`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    ///
    /// # Examples
    /// ```
    /// # use polyproc_process::Process;
    /// # polyproc_process::init_for_tests!();
    /// let children: Vec<_> = (0..3).map(|n| Process::builder().name(format!("w{n}")).spawn(|| {}, ()).unwrap()).collect();
    /// assert_eq!(children[2].name(), "w2");
    /// # for child in children { child.join().unwrap(); }
    /// ```
    pub fn spawn<A, F>(&self, f: F, args: A) -> Result<Process, ProcessError>
    where
        F: Function<A>,
        F::Output: Termination,
        A: Serialize + DeserializeOwned + 'static,
    {
        if !boot::is_initialised() {
            return Err(ProcessError::NotInitialised);
        }
        let has_nul = |text: &OsStr| text.as_bytes().contains(&0);
        if self.name.as_ref().is_some_and(|name| has_nul(name.as_ref())) {
            return Err(ProcessError::Nul("name"));
        }
        if self.env.iter().any(|(name, value)| has_nul(name) || has_nul(value)) {
            return Err(ProcessError::Nul("environment"));
        }
        registry::reap_the_dropped();
        let family = Family::get()?;
        let function = task::enter::<A, F>(f)?;
        let record = family.alloc(size_of::<RawStart>() as u64, Kind::Control)?;
        let (args, kept) = message::keeping(|| Arguments::encode(family, &args));
        let args = wire::send(args?);
        let offer = Offer { record, args, kept };
        offer.raw().offer(function.to_words(), args);
        self.start(family, offer).map(Process::of)
    }

    fn start(&self, family: &'static Family, offer: Offer) -> Result<Arc<Child>, ProcessError> {
        let handshake = Deadline::after(self.handshake);
        let number = registry::next_number();
        let name = self.name.clone().unwrap_or_else(|| current::name_of_child(number));
        let started = Lifeline::of_this_process().and_then(|lifeline| {
            let (record, program) = (offer.record.offset(), program()?);
            let message = Message {
                family: family.boot(),
                lifeline,
                program,
                record,
                parent: std::process::id(),
                name: name.clone(),
            };
            let text = message.to_string();
            // Ours comes first, so that it is found before one of the same name.
            let mut env: Vec<(&OsStr, &OsStr)> = vec![(BOOT_ENV.as_ref(), text.as_ref())];
            env.extend(self.env.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())));
            // SAFETY: the family's memory stays open until the process ends.
            let memory = unsafe { BorrowedFd::borrow_raw(message.family.fd) };
            spawn_self(&[memory, lifeline.to_inherit()], &env)
        });
        match started {
            Ok(system) => {
                let child = Arc::new(Child::new(system, name, number, family, handshake, offer));
                registry::add(&child);
                Ok(child)
            }
            Err(error) => {
                wire::discard(family, offer.args);
                if error.op == "pidfd_open" {
                    family.reap(); // there was a child, which is dead: it may have joined the family
                }
                Err(error.into())
            }
        }
    }
}
