//! What a child process does: one function, called once, whose result becomes the exit code.

use crate::callable::{self, Function, Value};
use crate::error::ProcessError;
use crate::function::{FnRef, Place, Role, enter_place, hash_of};
use polyproc_shm::{Family, Message};
use serde::{Serialize, de::DeserializeOwned};
use std::process::{ExitCode, Termination};

/// A trampoline made by [`enter`]. Its caller's duty: the pointer is the target that was entered with it.
type Task = unsafe fn(&'static Family, *const (), Message) -> Result<u8, Failed>;

/// A task that did not come to its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    NoFunction,
    BadArguments,
}

/// Enters `f` into the family's table as the work of a process.
pub(crate) fn enter<A, F>(f: F) -> Result<FnRef, ProcessError>
where
    F: Function<A>,
    F::Output: Termination,
    A: Serialize + DeserializeOwned + 'static,
{
    const {
        assert!(
            size_of::<F>() == 0 || size_of::<F>() == size_of::<fn()>(),
            "the closure captures values, which do not travel to another process: pass them as arguments, \
             `Process::spawn(|a, b| .., (a, b))`"
        );
    }
    let function = core::any::type_name::<F>();
    let target = match callable::value_of::<A, F>(f) {
        Some(Value::OfType) => core::ptr::null(),
        Some(Value::Address(address)) => address,
        None => return Err(ProcessError::Captures { function }),
    };
    let code: Task = task::<A, F>;
    let hash = hash_of::<(F, A, F::Output)>(Role::Task, size_of::<A>(), size_of::<F>());
    enter_place(Place { code: code as *const (), target }, hash, function)
}

/// Runs a task that was entered, in this process, and returns its exit code: that of its result, or 101 if it panicked.
pub(crate) fn run(family: &'static Family, function: FnRef, args: Message) -> Result<u8, Failed> {
    if function.role() != Role::Task as u64 {
        return Err(Failed::NoFunction);
    }
    let place = function.find(family).map_err(|_| Failed::NoFunction)?;
    // SAFETY: entries of this role are made by `enter` alone, with a `Task` for their code; the entry was authentic,
    // and the address lies in the program's code.
    let task = unsafe { core::mem::transmute::<*const (), Task>(place.code) };
    // SAFETY: the target is the one that was entered with this trampoline.
    unsafe { task(family, place.target, args) }
}

unsafe fn task<A, F>(family: &'static Family, target: *const (), args: Message) -> Result<u8, Failed>
where
    F: Function<A>,
    F::Output: Termination,
    A: Serialize + DeserializeOwned + 'static,
{
    let args = args.decode::<A>(family).map_err(|e| {
        eprintln!("polyproc: the arguments of this process could not be decoded: {e}"); // its parent learns only that
        Failed::BadArguments
    })?;
    // SAFETY: `enter` had a value of F, and entered its address, if it has one, with this trampoline.
    let f = unsafe { callable::revive::<A, F>(target) };
    Ok(number_of(f.call(args).report()))
}

/// The number inside an exit code, which std does not tell.
fn number_of(code: ExitCode) -> u8 {
    (0..=u8::MAX).find(|n| ExitCode::from(*n) == code).unwrap_or(1)
}
