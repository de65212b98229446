//! Task boards whose header, cells and rings a relative has written over.

use super::input::Input;
use super::memory::{Region, reference, tickets};
use polyproc_queue::Board;
use polyproc_shm::{Family, Message};
use polyproc_sys::Deadline;

/// The most steps with one board.
const STEPS: usize = 64;
/// The bytes of a board's header.
const HEADER: u64 = 448;
/// The word of the header where the reference of its cells and rings lies.
const CELLS: usize = 50;

/// Uses a board as poster and as worker while `data` writes over it.
///
/// # Panics
/// If anything is wrong with the library.
pub fn board(data: &[u8]) {
    let input = &mut Input::new(data);
    let family = Family::get().expect("there is memory for a family");
    scribbled(input, family);
    let board = Board::new(2).expect("there is memory for a board");
    board.post(1, 1, [7; 4], &Message::encode(family, &5_u64).expect("it is small")).expect("this thread is known");
    let mut job = board.take(3, Deadline::PAST).expect("nobody has touched it").expect("it was posted");
    assert_eq!(job.args().expect("nobody has touched it"), 5_u64.to_le_bytes());
    job.push(&[9; 100]).expect("there is memory for it");
    job.finish().expect("this thread is known");
    assert_eq!(board.finished(), Some((1, 1)));
    assert_eq!(board.collect(1, 2).expect("nobody has touched it").bytes, [9; 100]);
}

fn scribbled(input: &mut Input<'_>, family: &'static Family) {
    let board = Board::new(1 << (input.byte() % 3)).expect("there is memory for a board");
    let Ok(Message::Block(message)) = Message::encode(family, &board) else { panic!("a handle lies in a block") };
    let (_, object) = tickets(&message)[0];
    let header = Region::new(family, object, HEADER).expect("the board is in the family's memory");
    let description = reference(header, CELLS);
    let cells = Region::new(family, description.offset, description.len).expect("so are its cells");
    let args = [Message::encode(family, &1_u64), Message::encode(family, &"large".repeat(50))];
    let args = args.map(|m| m.expect("there is memory for it"));
    let (mut boards, mut turn) = (vec![board], 0);
    for _ in 0..STEPS {
        let Some(step) = input.next() else { break };
        let board = &boards[usize::from(step / 16) % boards.len()];
        let cell = u32::try_from(input.below(board.cells() as usize)).expect("there are few");
        match step % 16 {
            0 | 1 => {
                turn += 1;
                let _ = board.post(cell, turn, [input.word(); 4], &args[input.below(2)]);
            }
            2 | 3 => {
                if let Ok(Some(mut job)) = board.take(u32::from(input.byte()), Deadline::PAST) {
                    let _ = job.args();
                    for _ in 0..input.below(4) {
                        let _ = job.push(&[7; 300][..input.below(300)]);
                    }
                    cells.scribble(input);
                    if input.byte().is_multiple_of(2) {
                        let _ = job.finish();
                    }
                }
            }
            4 => drop(board.finished()),
            5 => {
                turn += 1;
                if let Ok(results) = board.collect(cell, turn) {
                    assert!(results.items < 1 << 30);
                }
            }
            6 => drop(board.bury(u32::from(input.byte()))),
            7 => drop(board.look(cell)),
            8 => drop(board.wait(Deadline::PAST, || false)),
            9 => {
                board.arrive();
                let _ = board.arrivals();
                board.wake_posters();
            }
            10 => header.scribble(input),
            11..=13 => cells.scribble(input),
            14 => board.close(),
            _ => {
                let sent = Message::encode(family, board);
                if let Ok(arrived) = sent.and_then(|m| m.decode::<Board>(family)) {
                    boards.truncate(3);
                    boards.push(arrived);
                }
            }
        }
    }
}
