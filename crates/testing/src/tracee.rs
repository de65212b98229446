//! A forked victim under ptrace: single steps, one breakpoint, stops and sleeps.
//!
//! The victim runs `begin(); op(); end();` where both markers are trap instructions at known addresses, so the
//! stepped part starts after the first and is over when the program counter is at the second. Parent and victim share
//! one CPU while the victim is traced (they never run at the same time, and a hand-over on one CPU needs no
//! interrupt).

use std::arch::naked_asm;
use std::io::{self, Read, Write};
use std::panic;
use std::time::{Duration, Instant};

use crate::fork::{exit_code, fork, kill_and_reap};
use crate::proc;

/// A victim that neither stops nor sleeps for so long spins on something that never comes.
const STUCK: Duration = Duration::from_secs(20);
/// How often a wait for a stop is interrupted, to ask `/proc` whether the victim sleeps.
const LOOK: Duration = Duration::from_millis(1);

#[cfg(target_arch = "x86_64")]
mod arch {
    pub(super) const TRAP: u64 = 0xcc; // int3
    pub(super) const TRAP_MASK: u64 = 0xff;
    /// Where the program counter is after a trap, relative to the trap instruction.
    pub(super) const AFTER_TRAP: u64 = 1;
    /// How far to move the program counter to go on after the `begin` marker.
    pub(super) const SKIP: u64 = 0;
}
#[cfg(target_arch = "x86_64")]
const RIP: usize = std::mem::offset_of!(libc::user_regs_struct, rip);
#[cfg(target_arch = "x86_64")]
const RCX: usize = std::mem::offset_of!(libc::user_regs_struct, rcx);
#[cfg(target_arch = "aarch64")]
mod arch {
    pub(super) const TRAP: u64 = 0xd420_0000; // brk #0
    pub(super) const TRAP_MASK: u64 = 0xffff_ffff;
    pub(super) const AFTER_TRAP: u64 = 0;
    pub(super) const SKIP: u64 = 4;
}

/// First marker: traps, then returns.
#[unsafe(naked)]
extern "C" fn begin() {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("int3", "ret");
    #[cfg(target_arch = "aarch64")]
    naked_asm!("brk #0", "ret");
}

/// Last marker: traps for ever, so that stepping too far does no harm.
#[unsafe(naked)]
extern "C" fn end() {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("2: int3", "jmp 2b");
    #[cfg(target_arch = "aarch64")]
    naked_asm!("2: brk #0", "b 2b");
}

/// Address of the end marker.
pub(crate) fn end_address() -> u64 {
    (end as extern "C" fn()) as usize as u64
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Stopped by a step, a breakpoint or a marker.
    Trap,
    /// Sleeps in the kernel.
    Asleep,
    /// Ended by itself, with this exit code (negative: signal).
    Ended(i32),
}

/// How long a victim must sleep before it counts as asleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The victim is known to sleep: the first look at it in a futex call is enough.
    Short,
    /// It must be seen asleep for 50 ms.
    Long,
}

/// A victim. Killed and reaped on drop.
pub(crate) struct Tracee {
    pid: i32,
    ended: bool,
    request: libc::c_uint,
    /// Single steps made.
    pub(crate) steps: u64,
    /// What holds while the victim is traced; given back when it is dropped.
    _quiet: Quiet,
}

impl Tracee {
    /// Forks a victim that runs `prepare` untraced and stops before the first instruction of `op`.
    /// `Err` is the exit code of a victim that ended in `prepare`.
    pub(crate) fn start(prepare: impl FnOnce(), op: impl FnOnce()) -> Result<Self, i32> {
        let quiet = Quiet::new();
        let pid = fork(|| {
            prepare();
            // A backtrace in single steps takes half a minute.
            panic::set_hook(Box::new(|info| eprintln!("\nvictim {info}")));
            ptrace(libc::PTRACE_TRACEME, 0, 0, 0).expect("this process is not traced yet");
            begin();
            op();
            end();
        });
        Self::adopt(pid, quiet)
    }

    /// Forks a process of two threads, each a victim of its own; drop the second one before the first.
    pub(crate) fn start_two(
        first: (impl FnOnce(), impl FnOnce()),
        second: (impl FnOnce() + Send, impl FnOnce() + Send),
    ) -> Result<(Self, Self), i32> {
        let (quiet, also_quiet) = (Quiet::new(), Quiet::new());
        let (mut from, to) = io::pipe().expect("a pipe");
        let mut to = Some(to);
        let pid = fork(|| {
            (first.0)();
            panic::set_hook(Box::new(|info| eprintln!("\nvictim {info}")));
            let mut to = to.take().expect("the child's copy");
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    (second.0)();
                    ptrace(libc::PTRACE_TRACEME, 0, 0, 0).expect("this thread is not traced yet");
                    // SAFETY: no arguments.
                    let tid = unsafe { libc::gettid() };
                    to.write_all(&tid.to_ne_bytes()).expect("the harness lives");
                    begin();
                    (second.1)();
                    end();
                });
                ptrace(libc::PTRACE_TRACEME, 0, 0, 0).expect("this thread is not traced yet");
                begin();
                (first.1)();
                end();
            });
        });
        drop(to);
        let first = Self::adopt(pid, quiet)?;
        let mut tid = [0; 4];
        from.read_exact(&mut tid).expect("the second thread comes to its begin");
        let second = Self::adopt(i32::from_ne_bytes(tid), also_quiet)?;
        Ok((first, second))
    }

    /// Waits for a victim to come to its begin.
    fn adopt(pid: i32, quiet: Quiet) -> Result<Self, i32> {
        let mut tracee = Self { pid, ended: false, request: libc::PTRACE_CONT, steps: 0, _quiet: quiet };
        loop {
            match tracee.wait(Patience::Long) {
                Event::Trap => break,
                Event::Asleep => {} // `prepare` may sleep; STUCK does not bound this, the test's watchdog does
                Event::Ended(code) => return Err(code),
            }
        }
        tracee.expect(libc::PTRACE_SETOPTIONS, 0, i64::from(libc::PTRACE_O_EXITKILL).cast_unsigned());
        let pc = tracee.pc();
        tracee.set_pc(pc + arch::SKIP);
        Ok(tracee)
    }

    /// Lets the victim execute one instruction; follow with [`wait`](Self::wait).
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        self.request = libc::PTRACE_SINGLESTEP;
        self.expect(self.request, 0, 0);
    }

    /// Lets the victim run until the beginning or the end of a system call, or a trap; follow with [`wait`](Self::wait).
    pub(crate) fn go_to_system_call(&mut self) {
        self.request = libc::PTRACE_SYSCALL;
        self.expect(self.request, 0, 0);
    }

    /// Lets the victim run until it comes to a trap; follow with [`wait`](Self::wait).
    pub(crate) fn go(&mut self) {
        self.request = libc::PTRACE_CONT;
        self.expect(self.request, 0, 0);
    }

    /// Plants a breakpoint. `None` if the text cannot be written there.
    pub(crate) fn plant(&mut self, address: u64) -> Option<Breakpoint> {
        let original = self.peek(address)?;
        let word = original & !arch::TRAP_MASK | arch::TRAP;
        ptrace(libc::PTRACE_POKETEXT, self.pid, address, word).ok()?;
        Some(Breakpoint { address, original })
    }

    /// Takes a breakpoint away. If the victim stopped there, it is put before the instruction and `true` is returned.
    pub(crate) fn unplant(&mut self, breakpoint: Breakpoint) -> bool {
        let Breakpoint { address, original } = breakpoint;
        ptrace(libc::PTRACE_POKETEXT, self.pid, address, original).expect("the text was writable a moment ago");
        let hit = self.pc() == address + arch::AFTER_TRAP;
        if hit {
            self.set_pc(address);
        }
        hit
    }

    /// Whether the stopped victim has come to its end.
    pub(crate) fn at_end(&self) -> bool {
        let past = self.pc().wrapping_sub(end_address());
        past == 0 || past == arch::AFTER_TRAP
    }

    /// Makes the string instruction before which the victim is stopped repeat `count` times only, and plants a
    /// breakpoint at what follows it; after the stop there, call [`repeated`](Self::repeated). `None` if this cannot
    /// be done here.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn repeat(&mut self, count: u64, next: u64) -> Option<(Breakpoint, Repeat)> {
        let pc = self.pc();
        let prefix = self.peek(pc)? & 0xff;
        let left = self.register(RCX)?;
        if !matches!(prefix, 0xf2 | 0xf3) || left <= count {
            return None;
        }
        let breakpoint = self.plant(next)?;
        self.set_register(RCX, count);
        Some((breakpoint, Repeat { pc, rest: left - count }))
    }

    /// No such instructions here.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn repeat(&mut self, _count: u64, _next: u64) -> Option<(Breakpoint, Repeat)> {
        None
    }

    /// Puts the victim back before the string instruction, with the repetitions that are left.
    pub(crate) fn repeated(&mut self, repeat: Repeat) {
        self.set_pc(repeat.pc);
        #[cfg(target_arch = "x86_64")]
        {
            let unused = self.register(RCX).expect("the victim is stopped");
            self.set_register(RCX, unused + repeat.rest);
        }
    }

    /// Waits for the next stop, sleep or end. Signals other than SIGTRAP are passed on to the victim.
    ///
    /// # Panics
    /// If the victim goes on for [`STUCK`] without any of them.
    pub(crate) fn wait(&mut self, patience: Patience) -> Event {
        let mut started = None;
        let mut asleep_since = None;
        loop {
            let mut status = 0;
            // Blocks; the ticks of Quiet's timer interrupt it. A hand-over between two blocked processes on one CPU
            // is the fastest way to step, with idle CPUs and with busy ones.
            // SAFETY: `status` outlives the call.
            let got = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
            if got == self.pid {
                if !libc::WIFSTOPPED(status) {
                    self.ended = true;
                    return Event::Ended(exit_code(status));
                }
                match libc::WSTOPSIG(status) {
                    libc::SIGTRAP => return Event::Trap,
                    signal => self.expect(self.request, 0, u64::from(signal.cast_unsigned())),
                }
                continue;
            }
            let started = *started.get_or_insert_with(Instant::now);
            if proc::state(self.pid) == Some('S') {
                let since = *asleep_since.get_or_insert_with(Instant::now);
                let short = patience == Patience::Short && proc::in_futex(self.pid) == Some(true);
                if short || since.elapsed() >= Duration::from_millis(50) {
                    return Event::Asleep;
                }
            } else {
                asleep_since = None;
            }
            assert!(started.elapsed() < STUCK, "the victim neither stops nor sleeps: {}", proc::describe(self.pid));
        }
    }

    /// Kills the victim, and does not wait for its end.
    pub(crate) fn kill(&self) {
        // SAFETY: not reaped yet, so the number still means it.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// The program counter of the stopped victim.
    pub(crate) fn pc(&self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        {
            self.register(RIP).expect("the victim is stopped")
        }
        #[cfg(target_arch = "aarch64")]
        {
            self.registers(libc::PTRACE_GETREGSET, [0; 34])[32]
        }
    }

    fn set_pc(&mut self, pc: u64) {
        #[cfg(target_arch = "x86_64")]
        self.set_register(RIP, pc);
        #[cfg(target_arch = "aarch64")]
        {
            let mut registers = self.registers(libc::PTRACE_GETREGSET, [0; 34]);
            registers[32] = pc;
            self.registers(libc::PTRACE_SETREGSET, registers);
        }
    }

    /// Reads the register at an offset in `user_regs_struct`.
    #[cfg(target_arch = "x86_64")]
    fn register(&self, offset: usize) -> Option<u64> {
        peek(libc::PTRACE_PEEKUSER, self.pid, offset as u64)
    }

    #[cfg(target_arch = "x86_64")]
    fn set_register(&mut self, offset: usize, value: u64) {
        self.expect(libc::PTRACE_POKEUSER, offset as u64, value);
    }

    /// Reads or writes the general registers: x0..x30, sp, pc, pstate.
    #[cfg(target_arch = "aarch64")]
    fn registers(&self, request: libc::c_uint, mut registers: [u64; 34]) -> [u64; 34] {
        let mut area = libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of_val(&registers) };
        let area = std::ptr::from_mut(&mut area).expose_provenance() as u64;
        self.expect(request, 1 /* NT_PRSTATUS */, area);
        registers
    }

    fn peek(&self, address: u64) -> Option<u64> {
        peek(libc::PTRACE_PEEKTEXT, self.pid, address)
    }

    fn expect(&self, request: libc::c_uint, address: u64, data: u64) {
        if let Err(error) = ptrace(request, self.pid, address, data) {
            panic!("ptrace request {request}: {error}; {}", proc::describe(self.pid));
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.ended {
            kill_and_reap(self.pid);
        }
    }
}

/// What is left to do of a string instruction.
pub(crate) struct Repeat {
    pc: u64,
    #[cfg_attr(target_arch = "aarch64", expect(dead_code, reason = "never made there"))]
    rest: u64,
}

/// A planted breakpoint: what stood there before.
pub(crate) struct Breakpoint {
    address: u64,
    original: u64,
}

fn ptrace(request: libc::c_uint, pid: i32, address: u64, data: u64) -> io::Result<libc::c_long> {
    // SAFETY: the requests used here take numbers of a pointer's size, or (register sets) the address of an iovec
    // that the caller keeps; other addresses are the victim's.
    match unsafe { libc::ptrace(request, pid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Reads a word of the victim. A word may be -1, so errno decides.
fn peek(request: libc::c_uint, pid: i32, address: u64) -> Option<u64> {
    // SAFETY: no arguments; the answer is valid as long as this thread lives.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above; nobody else uses this thread's errno.
    unsafe { errno.write(0) };
    match ptrace(request, pid, address, 0) {
        Ok(word) => Some(word.cast_unsigned()),
        Err(error) if error.raw_os_error() == Some(0) => Some(u64::MAX),
        Err(_) => None,
    }
}

/// This thread on one CPU and ticked by a timer that interrupts its waits, until dropped.
struct Quiet {
    timer: Option<libc::timer_t>,
    cpus: Option<libc::cpu_set_t>,
}

impl Quiet {
    fn new() -> Self {
        // SAFETY: a CPU set is plain bits, all zero is the empty set.
        let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `cpus` outlives the call and the size is its size.
        let known = unsafe { libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus) } == 0;
        // SAFETY: no arguments.
        let here = usize::try_from(unsafe { libc::sched_getcpu() });
        if let (true, Ok(here)) = (known, here) {
            // SAFETY: as above.
            let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel gave this number, and CPU_SET checks it against the size of the set.
            unsafe { libc::CPU_SET(here, &mut one) };
            set_cpus(&one);
        }
        Self { timer: Some(tick()), cpus: known.then_some(cpus) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            // SAFETY: made by `tick`, deleted once.
            unsafe { libc::timer_delete(timer) };
        }
        if let Some(cpus) = &self.cpus {
            set_cpus(cpus);
        }
    }
}

fn set_cpus(cpus: &libc::cpu_set_t) {
    // SAFETY: `cpus` outlives the call. It may fail (a CPU went off line): then the run is slower, not wrong.
    unsafe { libc::sched_setaffinity(0, size_of_val(cpus), cpus) };
}

extern "C" fn ticked(_signal: libc::c_int) {}

/// Starts a timer that sends this thread a signal every [`LOOK`], whose handler does nothing but interrupt. Not
/// inherited by forks.
fn tick() -> libc::timer_t {
    let signal = libc::SIGRTMAX() - 3;
    // SAFETY: a sigaction of zeros has an empty mask and no flags: no SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = (ticked as extern "C" fn(libc::c_int)) as usize;
    // SAFETY: `action` outlives the call, and the handler does nothing.
    let done = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert!(done == 0, "sigaction: {}", io::Error::last_os_error());
    // SAFETY: plain numbers and a pointer-sized value.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = signal;
    // SAFETY: no arguments.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer = std::ptr::null_mut();
    // SAFETY: both outlive the call.
    let done = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
    assert!(done == 0, "timer_create: {}", io::Error::last_os_error());
    let period = libc::timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    let period = libc::itimerspec { it_interval: period, it_value: period };
    // SAFETY: just made; `period` outlives the call.
    let done = unsafe { libc::timer_settime(timer, 0, &raw const period, std::ptr::null_mut()) };
    assert!(done == 0, "timer_settime: {}", io::Error::last_os_error());
    timer
}
