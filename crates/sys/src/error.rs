//! A system call that failed: which one, and what the kernel said.

use std::io;

/// A system call that failed.
///
/// ```
/// let e = polyproc_sys::SysError::new("fallocate", std::io::Error::from_raw_os_error(28));
/// assert_eq!(e.to_string(), "fallocate: No space left on device (os error 28)");
/// ```
#[derive(Debug)]
pub struct SysError {
    /// The name of the call.
    pub op: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl SysError {
    /// Names the call `op` that failed with `source`.
    ///
    /// ```
    /// let e = polyproc_sys::SysError::new("mmap", std::io::Error::from_raw_os_error(12));
    /// assert_eq!(e.op, "mmap");
    /// ```
    #[must_use]
    pub fn new(op: &'static str, source: io::Error) -> Self {
        Self { op, source }
    }

    /// Names the call `op` that failed just now on this thread (`errno`).
    ///
    /// ```
    /// let e = polyproc_sys::SysError::last("open");
    /// assert_eq!(e.op, "open");
    /// ```
    #[must_use]
    pub fn last(op: &'static str) -> Self {
        Self::new(op, io::Error::last_os_error())
    }
}

impl core::fmt::Display for SysError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.op, self.source)
    }
}

impl core::error::Error for SysError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}
