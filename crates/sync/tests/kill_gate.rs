//! The gate, killed at every instruction of a poster while waiters of both sides sleep: the kernel may wake the wrong one.
//!
//! The tick is a minute, so that a wake-up that only the tick repairs shows as a hang.
#![cfg_attr(polyproc_loom, allow(unused, reason = "models have no processes"))]

#[cfg(polyproc_loom)]
fn main() {}

#[cfg(not(polyproc_loom))]
fn main() -> std::process::ExitCode {
    polyproc_sys::futex::set_tick(std::time::Duration::from_secs(60));
    polyproc_testing::runner::main(&[(
        "a_poster_dies_while_both_sides_sleep",
        tests::a_poster_dies_while_both_sides_sleep,
    )])
}

#[cfg(not(polyproc_loom))]
mod tests {
    use polyproc_shm::{Block, Family, Kind};
    use polyproc_sync::raw::{RawGate, gate::Side};
    use polyproc_sys::Deadline;
    use polyproc_sys::atomic::{AtomicU64, Ordering::SeqCst};
    use polyproc_testing::{Scenario, Survivor, kill_at_every_instruction, watchdog_single_threaded};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    #[repr(C)]
    struct Shop {
        gate: RawGate,
        items: AtomicU64,
        room: AtomicU64,
    }

    /// A shop in the family's memory; the block keeps it.
    fn open() -> (&'static Shop, Block) {
        let block = Family::get().unwrap().alloc(size_of::<Shop>() as u64, Kind::Control).unwrap();
        // SAFETY: fresh zeroed bytes, aligned to 16, mapped for ever; all fields are atomics.
        (unsafe { &*block.as_ptr().cast::<Shop>() }, block)
    }

    impl Shop {
        fn settle(&self) {
            if self.items.load(SeqCst) > 0 {
                self.gate.ring(Side::Takers);
            }
            if self.room.load(SeqCst) > 0 {
                self.gate.ring(Side::Givers);
            }
        }

        fn wait(&self, side: Side) {
            let stock = if side == Side::Takers { &self.items } else { &self.room };
            let _announced = self.gate.announce();
            let take = || stock.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
            assert!(self.gate.wait(side, Deadline::NEVER, take, || self.settle()));
        }

        fn post(&self) {
            let _announced = self.gate.announce();
            self.items.fetch_add(1, SeqCst);
            self.gate.ring(Side::Takers);
        }
    }

    fn asleep(shop: &'static Shop, side: Side) -> Survivor {
        let survivor = Survivor::fork(move |control| {
            control.say(1);
            shop.wait(side);
        });
        assert_eq!(survivor.hear(LIMIT), 1);
        survivor.wait_until_asleep(LIMIT);
        survivor
    }

    pub(super) fn a_poster_dies_while_both_sides_sleep() {
        watchdog_single_threaded("a_poster_dies_while_both_sides_sleep", Duration::from_secs(240), || {
            let report = kill_at_every_instruction(Scenario {
                name: "post, a giver sleeps before a taker",
                setup: &mut || {
                    let (shop, block) = open();
                    (shop, block, asleep(shop, Side::Givers), asleep(shop, Side::Takers))
                },
                prepare: &|_| {
                    let (other, _block) = open();
                    other.post();
                    other.wait(Side::Takers);
                },
                victim: &|(shop, ..)| shop.post(),
                wake: None,
                check: &mut |(shop, _block, giver, taker), _| {
                    // An item that was posted is taken without further help; then another wakes whoever is left.
                    let posted = shop.items.load(SeqCst) > 0;
                    let deadline = Deadline::after(LIMIT);
                    while shop.items.load(SeqCst) > 0 {
                        assert!(!deadline.is_past(), "the taker sleeps beside the item: {:?}", shop.gate);
                        std::thread::yield_now();
                    }
                    shop.post();
                    assert_eq!(taker.finish(LIMIT), 0);
                    drop(giver);
                    if posted { "seen" } else { "taken or never posted" }.to_owned()
                },
            });
            assert!(report.points > 50);
        });
    }
}
