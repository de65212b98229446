//! Shared memory: a segment with a name is made and left, or found and left; unnamed memory and locks come and go.

use core::ptr::null_mut;
use core::time::Duration;
use polyproc::{Lock, SharedMemory};
use shared_memory::ShmemConf;
use std::ffi::CString;
use std::process::Command;

/// What is made and found.
pub const LEN: u64 = 4096;
const BYTES: usize = 4096;

/// A name that nobody else has.
#[must_use]
pub fn name() -> String {
    format!("polyproc-bench-{}", std::process::id())
}

/// Made, one word written, dropped: the name is gone.
pub fn make(name: &str) {
    let memory = SharedMemory::create(name, LEN).expect("memory");
    memory.set(0, 7_u64).expect("a word");
}

/// Found, one word read, dropped.
pub fn find(name: &str) {
    let memory = SharedMemory::open(name).expect("memory");
    assert_eq!(memory.get::<u64>(0).expect("a word"), 7);
}

/// Without a name: made, one word written, dropped.
pub fn make_unnamed() {
    let memory = SharedMemory::new(LEN).expect("memory");
    memory.set(0, 7_u64).expect("a word");
}

/// A lock, made and dropped.
pub fn make_lock() {
    drop(Lock::new().expect("a lock"));
}

/// The bare calls of C: no count of holders, no look at what is there; memory may turn out not to be there by SIGBUS.
#[derive(Debug)]
pub struct Bare(CString);

impl Bare {
    /// For segments of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(CString::new(format!("/{name}")).expect("no NUL"))
    }

    fn open(&self, flags: i32) -> i32 {
        // SAFETY: a C string that outlives the call.
        let fd = unsafe { libc::shm_open(self.0.as_ptr(), flags | libc::O_RDWR, 0o600) };
        assert!(fd >= 0, "shm_open: {}", std::io::Error::last_os_error());
        fd
    }

    fn with_word(fd: i32, f: impl FnOnce(*mut u64)) {
        // SAFETY: a new mapping of a file that has so many bytes.
        let at = unsafe { libc::mmap(null_mut(), BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        f(at.cast());
        // SAFETY: the mapping above; nobody uses it any more.
        unsafe { libc::munmap(at, BYTES) };
        // SAFETY: opened by the caller, who does not use it any more.
        unsafe { libc::close(fd) };
    }

    /// `shm_open`, `ftruncate`, `mmap`, one word, `munmap`, `close`.
    pub fn make(&self) {
        let fd = self.open(libc::O_CREAT | libc::O_EXCL);
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::ftruncate(fd, 4096) }, 0);
        // SAFETY: a page that nobody else uses.
        Self::with_word(fd, |at| unsafe { at.write_volatile(7) });
    }

    /// `shm_unlink`.
    pub fn unlink(&self) {
        // SAFETY: a C string that outlives the call.
        assert_eq!(unsafe { libc::shm_unlink(self.0.as_ptr()) }, 0);
    }

    /// `shm_open`, `mmap`, one word, `munmap`, `close`.
    pub fn find(&self) {
        let fd = self.open(0);
        // SAFETY: a page that nobody writes meanwhile.
        Self::with_word(fd, |at| assert_eq!(unsafe { at.read_volatile() }, 7));
    }
}

/// The crate `shared_memory`: made, one word written, dropped.
pub fn make_by_crate(name: &str) {
    let memory = ShmemConf::new().size(BYTES).os_id(name).create().expect("memory");
    // SAFETY: a page that nobody else uses.
    unsafe { memory.as_ptr().cast::<u64>().write_volatile(7) };
}

/// The same, found.
pub fn find_by_crate(name: &str) {
    let memory = ShmemConf::new().os_id(name).open().expect("memory");
    // SAFETY: a page that nobody writes meanwhile.
    assert_eq!(unsafe { memory.as_ptr().cast::<u64>().read_volatile() }, 7);
}

/// Python's `SharedMemory`, `n` times: made, one byte written, closed, unlinked. `None` if there is no Python.
#[must_use]
pub fn make_by_python(name: &str, n: u64) -> Option<Duration> {
    const SCRIPT: &str = r"
import sys, time
from multiprocessing.shared_memory import SharedMemory
name, n = sys.argv[1], int(sys.argv[2])
start = time.perf_counter_ns()
for _ in range(n):
    shm = SharedMemory(name, create=True, size=4096)
    shm.buf[0] = 7
    shm.close()
    shm.unlink()
print(time.perf_counter_ns() - start)
";
    let out = Command::new("python3").args(["-c", SCRIPT, name, &n.to_string()]).output().ok()?;
    let nanos = String::from_utf8(out.stdout).ok()?.trim().parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
