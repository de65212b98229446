//! A process that sleeps until it is woken, by whatever it sleeps on.

use crate::cpu::pin;
use crate::helper::{Helper, Orders};
use crate::page::{Page, meet};
use crate::partner::{hear, low, say, spin};
use core::time::Duration;
use polyproc::parts::sys::atomic::Ordering::{Relaxed, Release};
use polyproc::parts::sys::deadline::now_ns;
use polyproc::{Barrier, Condition, Event, Lock, Queue};
use serde::{Deserialize, Serialize};

/// What the process sleeps on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bed {
    /// The floor: a word; a store and a system call wake it, and it makes no look before its own.
    Futex,
    /// An `Event`, which it clears when it is awake.
    Event,
    /// A `Barrier` of two.
    Barrier,
    /// A `Condition`, and a word that is changed under its lock.
    Condition,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Beds {
    place: u64,
    event: Event,
    barrier: Barrier,
    condition: Condition<Lock>,
}

/// The process.
#[derive(Debug)]
pub struct Sleeper {
    helper: Helper<(Bed, u64), ()>,
    beds: Beds,
    page: &'static Page,
}

impl Sleeper {
    /// Starts the process.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let (page, place) = Page::create();
        let beds = Beds {
            place,
            event: Event::new().expect("an event"),
            barrier: Barrier::new(2).expect("a barrier"),
            condition: Condition::with_lock(&Lock::new().expect("a lock")).expect("a condition"),
        };
        Self { helper: Helper::start(sleep, beds.clone()), beds, page }
    }

    /// Wakes the process `n` times; before each, this one keeps itself busy for `pause`, so that the other falls asleep. From
    /// just before the wake-up until this process sees that the other is awake, without the pauses.
    ///
    /// # Panics
    /// If the process dies.
    #[must_use]
    pub fn wake(&self, bed: Bed, n: u64, pause: Duration) -> Duration {
        let _pinned = pin(0);
        let (ping, pong) = (&self.page.ping.0, &self.page.pong.0);
        ping.store(0, Relaxed);
        pong.store(0, Relaxed);
        self.page.arrived.0.store(0, Relaxed);
        self.helper.order((bed, n));
        meet(&self.page.arrived.0, 2);
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let mut time = 0;
        for i in 1..=n {
            let start = now_ns();
            while now_ns() - start < pause {
                core::hint::spin_loop();
            }
            let start = now_ns();
            match bed {
                Bed::Futex => say(ping, low(i)),
                Bed::Event => self.beds.event.set(),
                Bed::Barrier => drop(self.beds.barrier.wait().expect("nobody dies in a bench")),
                Bed::Condition => {
                    let guard = self.beds.condition.lock();
                    ping.store(low(i), Relaxed);
                    assert!(matches!(self.beds.condition.notify(&guard), Ok(1)), "it sleeps");
                }
            }
            spin(pong, low(i));
            time += now_ns() - start;
        }
        let () = self.helper.answer();
        Duration::from_nanos(time)
    }
}

fn sleep(orders: Orders<(Bed, u64)>, answers: Queue<()>, beds: Beds) {
    let (page, _pinned) = (Page::at(beds.place), pin(1));
    while let Ok(Some((bed, n))) = orders.get() {
        meet(&page.arrived.0, 2);
        for i in 1..=n {
            match bed {
                Bed::Futex => hear(&page.ping.0, low(i)),
                Bed::Event => {
                    beds.event.wait();
                    beds.event.clear();
                }
                Bed::Barrier => drop(beds.barrier.wait().expect("nobody dies in a bench")),
                Bed::Condition => {
                    let mut guard = beds.condition.lock();
                    let asleep = || page.ping.0.load(Relaxed) != low(i);
                    beds.condition.wait_while(&mut guard, asleep).expect("few wait");
                }
            }
            page.pong.0.store(low(i), Release);
        }
        answers.put(()).expect("an answer is put");
    }
}
