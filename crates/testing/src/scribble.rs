//! A hostile peer: a process that writes what a die tells over the shared memory of others, while they use it.
//!
//! What it writes where follows from its seed alone, as far as the memory looks the same: it aims at words that are not
//! zero, which are those in use.

#![allow(clippy::cast_possible_truncation, reason = "small numbers, and halves of words")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fork::{fork, kill_and_reap};

/// A forked process that scribbles over files that are memory of others. Killed when dropped.
#[derive(Debug)]
pub struct Scribbler {
    pid: i32,
    /// Two words that it shares with this process: go, and the number of writes.
    board: *const AtomicU64,
}

/// A generator of numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers that follow from `seed`.
    ///
    /// ```
    /// use polyproc_testing::scribble::Dice;
    /// assert_eq!(Dice::new(7).below(100), Dice::new(7).below(100));
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678_9abc_def1)
    }

    /// The next number.
    ///
    /// ```
    /// let mut dice = polyproc_testing::scribble::Dice::new(1);
    /// assert_ne!(dice.next(), dice.next());
    /// ```
    #[expect(clippy::should_implement_trait, reason = "there is always a next one")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    /// A number below `n`, which is not 0.
    ///
    /// ```
    /// assert_eq!(polyproc_testing::scribble::Dice::new(1).below(1), 0);
    /// ```
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

impl Scribbler {
    /// Forks a process that maps `files` and waits for [`Scribbler::go`].
    ///
    /// # Panics
    /// If this process has other threads (see the crate's page), or there is no memory.
    ///
    /// # Examples
    /// ```no_run
    /// # use polyproc_testing::scribble::Scribbler;
    /// use std::os::fd::AsFd;
    /// let file = std::fs::File::options().read(true).write(true).open("/dev/shm/victims")?;
    /// let scribbler = Scribbler::fork(&[file.as_fd()], 7);
    /// scribbler.go();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn fork(files: &[BorrowedFd<'_>], seed: u64) -> Self {
        let board = map(-1, 4096, libc::MAP_SHARED | libc::MAP_ANONYMOUS).cast::<AtomicU64>();
        let files: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let pid = fork(|| scribble(&files, seed, board));
        Self { pid, board }
    }

    /// Lets it begin.
    ///
    /// ```no_run
    /// # let scribbler = polyproc_testing::scribble::Scribbler::fork(&[], 7);
    /// scribbler.go();
    /// ```
    pub fn go(&self) {
        word(self.board, 0).store(1, Ordering::Release);
    }

    /// How often it has written by now.
    ///
    /// ```no_run
    /// # let scribbler = polyproc_testing::scribble::Scribbler::fork(&[], 7);
    /// assert_eq!(scribbler.writes(), 0); // it has not begun
    /// ```
    #[must_use]
    pub fn writes(&self) -> u64 {
        word(self.board, 1).load(Ordering::Acquire)
    }
}

impl Drop for Scribbler {
    fn drop(&mut self) {
        kill_and_reap(self.pid);
    }
}

/// Sets every word in `files` that might be a lock held by one of `threads` to 0, as if those had given up all locks.
///
/// # Panics
/// If a file cannot be mapped.
///
/// # Examples
/// ```
/// polyproc_testing::scribble::release_locks(&[], &[1]);
/// ```
pub fn release_locks(files: &[BorrowedFd<'_>], threads: &[u32]) {
    const TID: u32 = 0x3fff_ffff;
    for file in files {
        let memory = Memory::map(file.as_raw_fd());
        for place in memory.live() {
            for half in [place, place + 4] {
                let at = memory.base.wrapping_add(half).cast::<u32>();
                // SAFETY: inside the mapping, aligned; whoever uses it expects any change.
                let seen = unsafe { at.read_volatile() };
                if threads.contains(&(seen & TID)) {
                    // SAFETY: as above.
                    unsafe { at.write_volatile(0) };
                }
            }
        }
        memory.unmap();
    }
}

/// Limits of this process and its children: memory of their own, the length of files, no core dumps.
///
/// # Panics
/// If the system refuses them.
///
/// # Examples
/// ```no_run
/// polyproc_testing::scribble::limit(1 << 30, 256 << 20);
/// ```
pub fn limit(private: u64, file: u64) {
    // SAFETY: to be told of a file that would be too long by an error.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    for (what, most) in [(libc::RLIMIT_DATA, private), (libc::RLIMIT_FSIZE, file), (libc::RLIMIT_CORE, 0)] {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: `limit` outlives the call.
        let done = unsafe { libc::setrlimit(what, &raw const limit) };
        assert!(done == 0, "setrlimit: {}", io::Error::last_os_error());
    }
}

fn word(board: *const AtomicU64, i: usize) -> &'static AtomicU64 {
    // SAFETY: a page that stays mapped for as long as this process lives.
    unsafe { &*board.wrapping_add(i) }
}

fn map(fd: i32, len: usize, flags: i32) -> *mut u8 {
    // SAFETY: a new mapping, at a place of the kernel's choice.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), len.max(4096), libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    assert!(at != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    at.cast()
}

/// One file, as long as it was when it was mapped.
struct Memory {
    fd: i32,
    base: *mut u8,
    len: usize,
}

/// Below this there are the tables of a family; a file that is shorter has none.
const TABLES: usize = 64 << 20;

impl Memory {
    fn map(fd: i32) -> Self {
        // SAFETY: moves the position of a descriptor whose position nobody uses.
        let end = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
        let len = usize::try_from(end).expect("an open file") / 8 * 8;
        Self { fd, base: map(fd, len, libc::MAP_SHARED), len }
    }

    fn unmap(&self) {
        // SAFETY: mapped by `map`, used by nobody else.
        unsafe { libc::munmap(self.base.cast(), self.len.max(4096)) };
    }

    /// Where words are that are not zero, holes left out.
    fn live(&self) -> Vec<usize> {
        let (mut places, mut at) = (Vec::new(), 0);
        loop {
            let seek = |from: usize, how| {
                let from = i64::try_from(from).expect("files are shorter");
                // SAFETY: as in `map`.
                usize::try_from(unsafe { libc::lseek(self.fd, from, how) }).ok()
            };
            let Some(start) = seek(at, libc::SEEK_DATA).filter(|s| *s < self.len) else { return places };
            at = seek(start, libc::SEEK_HOLE).unwrap_or(self.len).min(self.len);
            for place in (start..at).step_by(8) {
                // SAFETY: inside the mapping and the file, which is not truncated; aligned.
                if unsafe { self.base.wrapping_add(place).cast::<u64>().read_volatile() } != 0 {
                    places.push(place);
                }
            }
        }
    }
}

/// What a seed says of the manner: where, how many at once, how long to rest.
struct Manner {
    tables_only: bool,
    objects_only: bool,
    /// One kilobyte at a time, so that the rest is whole.
    aimed: bool,
    burst: u64,
    rest: Duration,
}

impl Manner {
    fn of(dice: &mut Dice) -> Self {
        let (burst, rest) = [(1, 2000), (1, 200), (8, 1000), (64, 1000), (1000, 5000)][dice.below(5) as usize];
        let where_ = dice.below(4);
        Self {
            tables_only: where_ == 0,
            objects_only: where_ == 1,
            aimed: dice.below(3) == 0,
            burst,
            rest: Duration::from_micros(1 + dice.below(rest)),
        }
    }
}

/// The words in use of all files: those of the tables, and the others by pages, so that long contents do not hide the rest.
struct Targets {
    tables: Vec<*mut u8>,
    pages: Vec<Vec<*mut u8>>,
}

impl Targets {
    fn look(files: &[Memory]) -> Self {
        let mut targets = Self { tables: Vec::new(), pages: Vec::new() };
        for file in files {
            let mut last = usize::MAX;
            for place in file.live() {
                let at = file.base.wrapping_add(place);
                if file.len > TABLES && place < TABLES {
                    targets.tables.push(at);
                    continue;
                }
                if place / 1024 != last {
                    last = place / 1024;
                    targets.pages.push(Vec::new());
                }
                targets.pages.last_mut().expect("pushed above").push(at);
            }
        }
        targets
    }

    fn any(&self, dice: &mut Dice, manner: &Manner) -> Option<*mut u8> {
        let tables = manner.tables_only || (!manner.objects_only && dice.below(3) == 0);
        let from = if tables || self.pages.is_empty() {
            &self.tables
        } else {
            &self.pages[dice.below(self.pages.len() as u64) as usize]
        };
        (!from.is_empty()).then(|| from[dice.below(from.len() as u64) as usize])
    }
}

fn scribble(files: &[i32], seed: u64, board: *const AtomicU64) {
    /// Rests between two looks at what is in use.
    const LOOK: u64 = 64;
    while word(board, 0).load(Ordering::Acquire) == 0 {
        std::thread::sleep(Duration::from_micros(100));
    }
    let mut dice = Dice::new(seed);
    let manner = Manner::of(&mut dice);
    loop {
        let memory: Vec<Memory> = files.iter().map(|&fd| Memory::map(fd)).collect();
        let mut targets = Targets::look(&memory);
        if manner.aimed && !targets.pages.is_empty() {
            let at = dice.below(targets.pages.len() as u64) as usize;
            targets.pages = vec![targets.pages.swap_remove(at)];
            let some = dice.below(targets.tables.len().max(1) as u64) as usize;
            targets.tables = targets.tables.iter().skip(some).take(16).copied().collect();
        }
        for _ in 0..LOOK {
            for _ in 0..manner.burst {
                if let (Some(to), Some(from)) = (targets.any(&mut dice, &manner), targets.any(&mut dice, &manner)) {
                    write_somewhere(to, from, &mut dice);
                    word(board, 1).fetch_add(1, Ordering::Relaxed);
                }
            }
            std::thread::sleep(manner.rest);
        }
        memory.iter().for_each(Memory::unmap);
    }
}

/// One write near `to`, a word in use; `from` is another one.
fn write_somewhere(to: *mut u8, from: *const u8, dice: &mut Dice) {
    // SAFETY: an aligned word of a mapping of whole lines, and those who use it expect any change.
    let old = unsafe { to.cast::<u64>().read_volatile() };
    // SAFETY: as above.
    let other = unsafe { from.cast::<u64>().read_volatile() };
    let half = 4 * dice.below(2);
    let small = dice.below(20);
    let wide = |n: u64| {
        // SAFETY: as above.
        unsafe { to.cast::<u64>().write_volatile(n) };
    };
    let narrow = |n: u64| {
        // SAFETY: as above, and half a word is inside it.
        unsafe { to.wrapping_add(half as usize).cast::<u32>().write_volatile(n as u32) };
    };
    match dice.below(15) {
        0 | 1 => wide(old ^ 1 << dice.below(64)),
        // SAFETY: as above: a byte of the word.
        2 => unsafe { to.wrapping_add(dice.below(8) as usize).write_volatile(dice.next() as u8) },
        3 => narrow(small),
        4 => narrow(small.wrapping_neg()),
        5 => narrow(dice.next()),
        6 => narrow(other >> (8 * half)),
        7 => narrow(other),
        8 => wide(small),
        9 => wide(dice.next()),
        10 => {
            let step = [1, 8, 64, 4096, 65536, 1 << 32][dice.below(6) as usize];
            wide(old.wrapping_add(step).wrapping_sub(2 * step * dice.below(2)));
        }
        11 => wide(other),
        12 => wide(old ^ 1 << (61 + dice.below(3))),
        13 => (0..2000).for_each(|i| wide(old.wrapping_add(i))), // for whoever reads it twice
        _ => {
            let kind = dice.below(3);
            // The line that the word is in: files are mapped in whole pages.
            let (to, from) = (to.map_addr(|a| a & !63), from.map_addr(|a| a & !63));
            for i in 0..8 {
                // SAFETY: a word of the same line.
                let copied = unsafe { from.wrapping_add(i * 8).cast::<u64>().read_volatile() };
                let n = [0, dice.next(), copied][kind as usize];
                // SAFETY: as above.
                unsafe { to.wrapping_add(i * 8).cast::<u64>().write_volatile(n) };
            }
        }
    }
}
