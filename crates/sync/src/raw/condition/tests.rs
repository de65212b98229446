//! Cells by themselves, no thread waiting.

use super::*;

const NOBODY: fn(u32) -> bool = |_| false;

fn words(condition: &RawCondition) -> Vec<u32> {
    condition.cells.iter().map(|cell| cell.word.load(Relaxed)).collect()
}

#[test]
fn the_oldest_of_the_living_are_told_and_what_the_dead_were_told_is_passed_on() {
    let sized = RawCondition::<[Cell; 4]>::new();
    let condition: &RawCondition = &sized;
    for owner in 1..=4 {
        assert!(condition.enter(owner, &NOBODY).is_some());
    }
    assert!(condition.enter(5, &NOBODY).is_none(), "no cell is left");
    assert_eq!(condition.notify(1, |owner| owner == 1, |_| ()), 1);
    assert_eq!(words(condition), [FREE, NOTIFIED, WAITING, WAITING]);
    assert!(condition.enter(5, &NOBODY).is_some(), "that of the dead one"); // behind the others
    assert_eq!(condition.notify(0, |owner| owner == 2, |_| ()), 0);
    assert_eq!(words(condition), [WAITING, FREE, NOTIFIED, WAITING]);
    assert_eq!(condition.notify(u32::MAX, NOBODY, |_| ()), 2);
    assert_eq!(condition.notify(1, NOBODY, |_| ()), 0, "one too many is lost");
    assert_eq!(condition.waiting(), 0);
    condition.notify(0, |_| true, |_| ());
    assert_eq!((words(condition), condition.used.load(Relaxed)), (vec![FREE; 4], 0));
}

#[test]
fn a_full_condition_finds_the_cell_of_a_dead_waiter() {
    let sized = RawCondition::<[Cell; 2]>::new();
    let condition: &RawCondition = &sized;
    for owner in [1, 2] {
        condition.enter(owner, &NOBODY);
    }
    assert!(condition.enter(3, &NOBODY).is_none());
    assert!(condition.enter(3, &|owner| owner == 2).is_some());
    assert_eq!(condition.notify(2, |owner| owner == 2, |_| ()), 2, "the one that died has been forgotten");
}

#[test]
fn a_condition_that_was_scribbled_over_is_none_the_worse() {
    let sized = RawCondition::<[Cell; 2]>::new();
    let condition: &RawCondition = &sized;
    condition.used.store(u32::MAX, Relaxed);
    condition.cells.iter().for_each(|cell| cell.word.store(0x1234_5678, Relaxed));
    assert_eq!(condition.notify(u32::MAX, NOBODY, |_| ()), 0);
    assert!(condition.enter(1, &NOBODY).is_none());
    condition.reset();
    assert!(condition.enter(1, &NOBODY).is_some());
}

/// Owner 1 is alive when it is looked for what is to be passed on, and dead when a cell is.
#[test]
fn a_full_condition_passes_on_what_lies_in_the_cell_that_it_takes() {
    let sized = RawCondition::<[Cell; 2]>::new();
    let condition: &RawCondition = &sized;
    for owner in [1, 2] {
        condition.enter(owner, &NOBODY);
    }
    assert_eq!(condition.notify(1, NOBODY, |_| ()), 1);
    condition.pass_on(&NOBODY);
    assert!(condition.enter(3, &|owner| owner == 1).is_some());
    assert_eq!(words(condition), [WAITING, NOTIFIED], "the other one is told instead");
}

#[test]
fn several_are_told_in_the_order_in_which_they_came_whatever_their_cells() {
    let sized = RawCondition::<[Cell; 6]>::new();
    let condition: &RawCondition = &sized;
    for owner in 1..=6 {
        condition.enter(owner, &NOBODY);
    }
    for (cell, ticket) in condition.cells.iter().zip([5, 0, 3, 1, 4, 2]) {
        cell.ticket.store(ticket, Relaxed);
    }
    let (mut owed, first) = (Vec::new(), |i: usize| &raw const condition.cells[i].word);
    assert_eq!(condition.notify(3, |owner| owner == 4, |word| owed.push(word)), 3);
    assert_eq!(owed, [first(1), first(5), first(2)], "the dead one does not count");
    assert_eq!(words(condition), [WAITING, NOTIFIED, NOTIFIED, FREE, WAITING, NOTIFIED]);
    assert_eq!(condition.notify(u32::MAX, NOBODY, |word| owed.push(word)), 2);
    assert_eq!(owed[3..], [first(4), first(0)]);
}
