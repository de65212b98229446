//! What it costs to start a process and wait for its end: ours, and the bare system calls on the same program.
//!
//! `cargo run --release -p polyproc-process --example spawn_cost`
use polyproc_process::Process;
use polyproc_sys::Deadline;
use polyproc_sys::process::{Ended, spawn_self};
use std::time::{Duration, Instant};

const ROUNDS: usize = 500;
const BARE: &str = "SPAWN_COST_BARE";

extern "C" fn bare() {
    if std::env::var_os(BARE).is_some() {
        std::process::exit(0); // as early as a polyproc child does its work
    }
}
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: extern "C" fn() = bare;

polyproc_process::init_for_tests!();

fn nothing() {}

fn ours() {
    assert!(Process::spawn(nothing, ()).unwrap().join().unwrap().success());
}

fn bare_calls() {
    let child = spawn_self(&[], &[(BARE.as_ref(), "1".as_ref())]).unwrap();
    child.wait(Deadline::NEVER).unwrap();
    let Ended::With(status) = child.reap().unwrap() else { panic!("not ended") };
    assert!(status.success());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    ours();
    bare_calls();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    // In turns, so that both see the same machine.
    for _ in 0..ROUNDS {
        for (work, times) in [(ours as fn(), &mut a), (bare_calls, &mut b)] {
            let start = Instant::now();
            work();
            times.push(start.elapsed());
        }
    }
    let (a, b) = (median(a), median(b));
    println!("Process::spawn + join   {a:?}");
    println!("posix_spawn + wait      {b:?}");
    println!("ratio                   {:.2}", a.as_secs_f64() / b.as_secs_f64());

    let start = Instant::now();
    let all: Vec<_> = (0..100).map(|_| Process::spawn(nothing, ()).unwrap()).collect();
    let spawned = start.elapsed() / 100;
    assert!(all.iter().all(|p| p.join().unwrap().success()));
    println!("100 at once: {spawned:?} a spawn, {:?} each until all are joined", start.elapsed() / 100);
}
