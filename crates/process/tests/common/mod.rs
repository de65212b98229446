//! What several test files need.
#![allow(dead_code, reason = "not every test file needs everything")]

use polyproc_sys::atomic::{AtomicU64, Ordering};
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Aborts the test binary if it is not dropped within a minute.
pub(crate) struct Watchdog(#[allow(dead_code, reason = "its drop is the message")] Sender<()>);

pub(crate) fn watchdog(what: &'static str) -> Watchdog {
    let (alive, ended) = channel::<()>();
    std::thread::spawn(move || {
        if ended.recv_timeout(Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {what} does not end");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// A place where processes report, and whose connections end when they do.
pub(crate) struct Meeting {
    listener: UnixListener,
    pub(crate) path: PathBuf,
}

impl Meeting {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("polyproc-meeting-{}-{n}", std::process::id()));
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    pub(crate) fn text(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }

    /// Waits until a process has reported.
    pub(crate) fn accept(&self) -> Guest {
        Guest(self.listener.accept().unwrap().0)
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A process that has reported.
pub(crate) struct Guest(UnixStream);

impl Guest {
    /// Waits until the process has ended.
    pub(crate) fn gone(&mut self) {
        let mut rest = Vec::new();
        // A process that is killed with unread data on its side resets the connection: that is an end as well.
        let _ = self.0.read_to_end(&mut rest);
    }

    pub(crate) fn is_there(&mut self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let r = self.0.read(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        r.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// In a process: reports, until the result is dropped or the process ends.
pub(crate) fn report(path: &str) -> UnixStream {
    UnixStream::connect(path).unwrap()
}

pub(crate) fn busy_for_ever() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// The processes whose parent this one is, zombies too.
pub(crate) fn children() -> Vec<u32> {
    let me = std::process::id();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    all.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_whitespace().nth(1) == Some(&me.to_string())
    })
    .collect()
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> Vec<String> {
    let mut all: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|e| Some(std::fs::read_link(e.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    all.sort();
    all
}
