//! A test that hangs says where it hangs and aborts, instead of blocking CI.
//!
//! [`watchdog`] has a helper thread; [`watchdog_single_threaded`] uses SIGALRM, for binaries that must be able to
//! fork. Both print `/proc/…/{stat,wchan,syscall}` of the threads of this process and of its survivors.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{fs, io, thread};

/// Processes whose state is printed too; 0 is a free place. More than fit are not shown.
static SHOWN: [AtomicI32; 32] = [const { AtomicI32::new(0) }; 32];

/// Runs `body` on this thread; after `limit` prints this thread's name and where all threads are, and aborts the
/// process.
///
/// # Examples
/// ```
/// use polyproc_testing::watchdog;
/// let sum = watchdog(std::time::Duration::from_secs(10), || 1 + 1);
/// assert_eq!(sum, 2);
/// ```
pub fn watchdog<R>(limit: Duration, body: impl FnOnce() -> R) -> R {
    let name = thread::current().name().unwrap_or("unnamed").to_owned();
    let (done, over) = channel::<()>();
    let dog = thread::spawn(move || {
        // Disconnected: the body has returned or panicked.
        if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            cry(&name, limit);
            for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                show_files(&task.path().to_string_lossy());
            }
            show_survivors();
            // SAFETY: ends this process.
            unsafe { libc::abort() };
        }
    });
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    drop(done);
    dog.join().expect("the watchdog only waits");
    result.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// As [`watchdog`], without a thread: for `harness = false` binaries that fork. May be nested; the inner limit counts
/// while it lasts.
///
/// Uses `ITIMER_REAL` and SIGALRM of the process. Forked children have no such timer.
///
/// # Panics
/// If this process has another SIGALRM handler.
///
/// # Examples
/// ```
/// use polyproc_testing::watchdog_single_threaded;
/// let sum = watchdog_single_threaded("adding", std::time::Duration::from_secs(10), || 1 + 1);
/// assert_eq!(sum, 2);
/// ```
pub fn watchdog_single_threaded<R>(name: &str, limit: Duration, body: impl FnOnce() -> R) -> R {
    install();
    // The name is printed by whom the alarm finds: kept in a static as the handler must not allocate.
    let _alarm = Alarm::set(name, limit);
    body()
}

/// Adds a process to those whose state is printed.
pub(crate) fn show(pid: i32) {
    let _ = SHOWN.iter().find(|place| place.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed).is_ok());
}

/// Takes a process out again.
pub(crate) fn hide(pid: i32) {
    let _ = SHOWN.iter().find(|place| place.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok());
}

/// Text in a fixed buffer, NUL-terminated: a signal handler must not allocate. What does not fit is cut off.
struct Text {
    bytes: [u8; 256],
    len: usize,
}

impl Text {
    const fn new() -> Self {
        Self { bytes: [0; 256], len: 0 }
    }

    fn as_ptr(&self) -> *const libc::c_char {
        self.bytes.as_ptr().cast()
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.len() - 1 - self.len;
        let taken = text.len().min(room);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

/// Prints to stderr. Async-signal-safe.
fn print(bytes: &[u8]) {
    // SAFETY: the buffer is valid for its length; write is async-signal-safe.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

/// Async-signal-safe.
fn cry(name: &str, limit: Duration) {
    print(b"\nwatchdog: `");
    print(name.as_bytes());
    let mut text = Text::new();
    let _ = writeln!(text, "` is not over after {} ms; aborting", limit.as_millis());
    print(&text.bytes[..text.len]);
}

/// Prints stat, wchan and syscall of a `/proc` directory. Async-signal-safe.
fn show_files(directory: &str) {
    for file in ["stat", "wchan", "syscall"] {
        let mut path = Text::new();
        let _ = write!(path, "{directory}/{file}");
        // SAFETY: `path` is NUL-terminated; open is async-signal-safe.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        let mut content = [0_u8; 512];
        // SAFETY: the buffer is valid for its length; a bad fd is an error, read is async-signal-safe.
        let got = unsafe { libc::read(fd, content.as_mut_ptr().cast(), content.len()) };
        print(&path.bytes[..path.len]);
        print(b": ");
        print(content.get(..usize::try_from(got).unwrap_or(0)).unwrap_or_default().trim_ascii());
        print(b"\n");
        // SAFETY: opened above or -1, which is an error without effect; the handler ends in abort.
        unsafe { libc::close(fd) };
    }
}

/// Async-signal-safe.
fn show_survivors() {
    for place in &SHOWN {
        let pid = place.load(Ordering::Relaxed);
        if pid != 0 {
            let mut directory = Text::new();
            let _ = write!(directory, "/proc/{pid}");
            show_files(str::from_utf8(&directory.bytes[..directory.len]).unwrap_or_default());
        }
    }
}

/// What the handler prints: name and limit in milliseconds. Written with SIGALRM disarmed.
static NAME: NameCell = NameCell(std::cell::UnsafeCell::new(Text::new()));

struct NameCell(std::cell::UnsafeCell<Text>);
// SAFETY: written only while no alarm is armed, by the one thread of a single-threaded process; read by its handler.
unsafe impl Sync for NameCell {}

extern "C" fn alarmed(_signal: libc::c_int) {
    // SAFETY: see NameCell: nobody writes while an alarm is armed.
    let name = unsafe { &*NAME.0.get() };
    print(b"\nwatchdog: `");
    print(&name.bytes[..name.len]);
    print(b"` is not over within its limit; aborting\n");
    show_files("/proc/self");
    show_survivors();
    // SAFETY: ends this process; abort is async-signal-safe.
    unsafe { libc::abort() };
}

fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: a sigaction of zeros is the default action with an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = (alarmed as extern "C" fn(libc::c_int)) as usize;
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both outlive the call, and the handler calls async-signal-safe functions only.
    let done = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, &raw mut old) };
    assert!(done == 0, "sigaction: {}", io::Error::last_os_error());
    assert!(old.sa_sigaction == libc::SIG_DFL, "this process has a SIGALRM handler already");
}

/// An armed alarm; the one before it comes back when it is dropped.
struct Alarm {
    timer: libc::itimerval,
    name: Text,
}

impl Alarm {
    fn set(name: &str, limit: Duration) -> Self {
        let mut next = Text::new();
        let _ = next.write_str(name);
        let timer = arm(timer(Duration::ZERO));
        // SAFETY: no alarm is armed now, see NameCell.
        let name = std::mem::replace(unsafe { &mut *NAME.0.get() }, next);
        arm(self::timer(limit.max(Duration::from_micros(1))));
        Self { timer, name }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        arm(timer(Duration::ZERO));
        // SAFETY: no alarm is armed now, see NameCell.
        std::mem::swap(unsafe { &mut *NAME.0.get() }, &mut self.name);
        arm(self.timer);
    }
}

fn timer(limit: Duration) -> libc::itimerval {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let seconds = limit.as_secs().min(1 << 30); // setitimer refuses times beyond what it can keep
    let value = libc::timeval { tv_sec: seconds.cast_signed(), tv_usec: limit.subsec_micros().into() };
    libc::itimerval { it_interval: zero, it_value: value }
}

/// Arms (or with zero disarms) the timer; returns what was left of the one before.
fn arm(timer: libc::itimerval) -> libc::itimerval {
    let mut old = self::timer(Duration::ZERO);
    // SAFETY: both outlive the call.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, &raw mut old) };
    assert!(done == 0, "setitimer: {}", io::Error::last_os_error());
    old
}
