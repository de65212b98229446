//! The word of a barrier that counts its rounds and remembers how they ended; its bits, and those of the cells, are in
//! the tables of [`barrier`](super::barrier).

pub(super) const BROKEN: u64 = 1;
pub(super) const SLEEPER: u64 = 1 << 1;
pub(super) const MANY: u64 = 1 << 2;
pub(super) const OWED: u64 = 1 << 3;
const HISTORY_SHIFT: u32 = 4;
const HISTORY: u64 = 0x3f;
const ROUND_SHIFT: u32 = 10;
const ROUND: u64 = 0xff_ffff; // 22 bits in the lower half, 2 in the upper
const TURN_SHIFT: u32 = 62;
const CLAIMED: u64 = 1 << 63; // in a cell, as what follows
const CELL_ROUND_SHIFT: u32 = 32;

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    Broken,
    Reset,
}

/// The round of a state.
fn round(state: u64) -> u64 {
    (state >> ROUND_SHIFT & ROUND >> 2) << 2 | state >> TURN_SHIFT
}

/// The round of a state, in the form in which [`round_of`] tells that of a cell.
pub(super) fn tag(state: u64) -> u64 {
    round(state) | CLAIMED >> CELL_ROUND_SHIFT
}

/// The round that a cell was claimed for.
pub(super) fn round_of(cell: u64) -> u64 {
    cell >> CELL_ROUND_SHIFT
}

/// The cell of one who has arrived as `me` in the round of `seen`.
pub(super) fn claim_of(seen: u64, me: u32) -> u64 {
    tag(seen) << CELL_ROUND_SHIFT | u64::from(me)
}

/// What comes after `seen` if its round ends.
pub(super) fn ended(seen: u64, how: End) -> u64 {
    let next = (round(seen) + 1) & ROUND;
    let history = (seen >> HISTORY_SHIFT << 1 | u64::from(how != End::Passed)) & HISTORY;
    let owed = if seen & (MANY | OWED) == 0 { 0 } else { OWED };
    let broken = if how == End::Broken { BROKEN } else { 0 };
    next << TURN_SHIFT | next >> 2 << ROUND_SHIFT | history << HISTORY_SHIFT | owed | broken
}

/// Whether the round of `of`, which has ended when the state is `now`, has passed; see the limits of
/// [`barrier`](super::barrier).
pub(super) fn passed(of: u64, now: u64) -> bool {
    let history = now >> HISTORY_SHIFT & HISTORY;
    match round(now).wrapping_sub(round(of)) & ROUND {
        ends @ 1..=6 => history >> (ends - 1) & 1 == 0,
        _ => history == 0,
    }
}

#[cfg(all(test, not(polyproc_loom)))]
mod tests {
    use super::*;

    #[test]
    fn rounds_come_round_and_touch_no_thread_id() {
        let mut state = ended(ended(0, End::Passed), End::Broken);
        assert_eq!((round(state), state & BROKEN, state >> HISTORY_SHIFT & HISTORY), (2, BROKEN, 1));
        for _ in 2..=ROUND {
            state = ended(state, End::Passed);
            assert_eq!(state >> 32 & 0x3fff_ffff, 0);
        }
        assert_eq!(state, 0);
    }

    #[test]
    fn a_late_waiter_learns_how_its_own_round_ended() {
        use End::{Broken, Passed, Reset};
        let ends = [Passed, Broken, Passed, Reset, Passed, Passed];
        let mut states = vec![5 << ROUND_SHIFT];
        for how in ends {
            states.push(ended(states[states.len() - 1], how));
        }
        let last = states[ends.len()];
        for (of, how) in states.iter().zip(ends) {
            assert_eq!(passed(*of, last), how == Passed);
        }
        let much_later = (0..6).fold(last, |state, _| ended(state, Passed));
        assert!(passed(states[0], much_later));
        assert!(!passed(states[0], ended(last, Broken)));
    }
}
