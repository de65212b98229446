//! What can be run in another process: functions and closures without captures, with up to eight arguments.

use core::any::TypeId;

mod sealed {
    /// How a callable type gets to another process.
    pub trait Sealed<Args> {
        /// Whether the type is exactly `fn(Args…) -> Output`, whose value is an address.
        fn is_pointer() -> bool;
    }
}
pub(crate) use sealed::Sealed;

/// A function that another process can run: `fn` items, closures without captures, and `fn` pointers, taking the
/// elements of the tuple `Args`.
///
/// Only the function's place in the program travels, so it has no captures: what it works on is an argument. It is
/// implemented for all that qualify, and for nothing else.
///
/// A capture of size zero is re-made in the child from nothing. Do not capture a zero-sized token that stands for
/// something that was done in this process alone.
///
/// # Examples
/// ```
/// use polyproc_process::Function;
///
/// fn run<A, F: Function<A>>(f: F, args: A) -> F::Output {
///     f.call(args)
/// }
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
/// assert_eq!(run(add, (2, 3)), 5);
/// assert_eq!(run(|text: String| text.len(), ("abc".to_string(),)), 3);
/// assert_eq!(run(add as fn(u32, u32) -> u32, (2, 3)), 5);
/// ```
///
/// Something captured that is not `Copy` is refused by this trait, and other captures by
/// [`Process::spawn`](crate::Process::spawn), or by `rustc` where a plain `fn` is asked for:
///
/// ```compile_fail,E0277
/// # use polyproc_process::Function;
/// # fn run<A, F: Function<A>>(f: F, args: A) -> F::Output { f.call(args) }
/// let name = String::from("world");
/// run(move || println!("hello {name}"), ());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be run in another process with the arguments `{Args}`",
    note = "it must be a function, or a closure that captures nothing: pass what it needs as an argument",
    note = "the arguments are one tuple, of eight at most: `(a,)` for one argument, `()` for none"
)]
pub trait Function<Args>: Sealed<Args> + Copy + 'static {
    /// What the function returns.
    type Output: 'static;

    /// Calls the function here, in this process.
    ///
    /// ```
    /// use polyproc_process::Function;
    /// assert_eq!(Function::call(u32::pow, (2, 10)), 1024);
    /// ```
    fn call(self, args: Args) -> Self::Output;
}

macro_rules! functions {
    ($($arg:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<Fun, Out: 'static, $($arg: 'static),*> Sealed<($($arg,)*)> for Fun
        where
            Fun: Fn($($arg),*) -> Out + Copy + 'static,
        {
            fn is_pointer() -> bool {
                TypeId::of::<Fun>() == TypeId::of::<fn($($arg),*) -> Out>()
            }
        }

        #[diagnostic::do_not_recommend]
        impl<Fun, Out: 'static, $($arg: 'static),*> Function<($($arg,)*)> for Fun
        where
            Fun: Fn($($arg),*) -> Out + Copy + 'static,
        {
            type Output = Out;

            #[allow(non_snake_case, reason = "the arguments are named like their types")]
            fn call(self, ($($arg,)*): ($($arg,)*)) -> Out {
                self($($arg),*)
            }
        }
    };
}

functions!();
functions!(A1);
functions!(A1 A2);
functions!(A1 A2 A3);
functions!(A1 A2 A3 A4);
functions!(A1 A2 A3 A4 A5);
functions!(A1 A2 A3 A4 A5 A6);
functions!(A1 A2 A3 A4 A5 A6 A7);
functions!(A1 A2 A3 A4 A5 A6 A7 A8);

/// Where the value of a callable comes from in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// From its type alone.
    OfType,
    /// It is the address of a function.
    Address(*const ()),
}

/// How `f` travels; `None` if it captures something.
pub(crate) fn value_of<A, F: Function<A>>(f: F) -> Option<Value> {
    if size_of::<F>() == 0 {
        return Some(Value::OfType);
    }
    if !<F as Sealed<A>>::is_pointer() {
        return None;
    }
    // SAFETY: F is the type of a function pointer, which is as large as a data pointer and has no drop glue.
    Some(Value::Address(unsafe { core::mem::transmute_copy::<F, *const ()>(&f) }))
}

/// The callable that [`value_of`] took apart.
///
/// # Safety
/// * `address` is that of a value of `F` if `F` has a size; it is not used otherwise.
/// * A value of `F` has existed, in this process or in another that runs the same program.
pub(crate) unsafe fn revive<A, F: Function<A>>(address: *const ()) -> F {
    if size_of::<F>() == 0 {
        // SAFETY: no bytes are read; F has values, and is Copy, so that one more changes nothing.
        return unsafe { core::ptr::dangling::<F>().read() };
    }
    assert!(<F as Sealed<A>>::is_pointer(), "value_of let no other type pass");
    // SAFETY: F is a type of function pointers, as large as a data pointer, and the address is one of its values.
    unsafe { core::mem::transmute_copy::<*const (), F>(&address) }
}
