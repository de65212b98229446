//! An allocator whose state a relative has written over: tables, spans, tags, cells.
//!
//! The memory is a small family's, that of an object with a name: each run has a new one.

use super::input::Input;
use super::memory::Region;
use super::place::Folder;
use polyproc_shm::message::{deserialize_handle, serialize_handle};
use polyproc_shm::{Block, BlockRef, Content, Family, Kind, Message, Object, ProcessId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// The most steps of one run.
const STEPS: usize = 64;
/// Spans that the family's memory may have: more than a run that gives its memory back when it is freed.
const SPANS: u64 = 600;
/// Where things lie in the family's memory, as `raw/layout.rs` has it.
const SPAN: u64 = 64 << 10;
const HEADER: (u64, u64) = (0, 128);
const HOLDERS: (u64, u64) = (128, 64);
const PROCESSES: (u64, u64) = (4096, 256 * 16);
const PARTICIPANTS: u64 = 68 << 10;
const SPAN_TABLE: u64 = 384 << 10;
const FIRST_SPAN: u64 = SPAN_TABLE + (16 << 22);
/// Threads whose slots are written over.
const THREADS: u64 = 4;

/// Allocates, sends, claims, shares and sweeps while `data` writes over the allocator's state.
///
/// # Panics
/// If anything is wrong with the library.
pub fn allocator(data: &[u8]) {
    let memory = &Memory::new();
    let family = memory.family;
    let block = family.alloc(100, Kind::Data).expect("there is memory for a block");
    drop(family.claim(block.into_ref()).expect("it was just given"));
    let object = Object::create(family, 8, Kind::User).expect("there is memory for an object");
    let message = Message::encode(family, &Handle(Arc::new(object))).expect("there is memory for a message");
    assert!(message.decode::<Handle>(family).is_ok_and(|arrived| arrived.0.is_shared()));
    Run { memory, family, blocks: vec![], sent: vec![], objects: vec![], messages: vec![] }.go(&mut Input::new(data));
}

/// A handle of an object of no particular kind.
struct Handle(Arc<Object>);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_handle(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_handle(Kind::User, 8, deserializer).map(Self)
    }
}

/// A family's memory.
struct Memory {
    object: Arc<Object>,
    family: &'static Family,
    _folder: Folder,
}

impl Memory {
    fn new() -> Self {
        let folder = Folder::new();
        let content = Content { kind: Kind::User, type_name: "nothing", type_hash: 0 };
        let make = |family| Object::create(family, 8, Kind::User);
        let object = Object::create_named(folder.place().name("memory"), &content, SPANS * SPAN, make);
        let object = object.expect("there is memory for an object");
        Self { family: object.family(), object, _folder: folder }
    }

    /// How many spans there are.
    fn spans(&self) -> u64 {
        (0..SPANS).find(|i| self.family.at(FIRST_SPAN + i * SPAN, SPAN).is_err()).unwrap_or(SPANS)
    }

    fn region(&self, (offset, len): (u64, u64)) -> Region {
        let number = |n: u64| usize::try_from(n).expect("it is mapped");
        let base = self.object.as_ptr().wrapping_sub(number(self.object.offset()));
        // SAFETY: tables and spans that exist are mapped and backed; they are words that everybody reads as atomics.
        unsafe { Region::at(base.wrapping_add(number(offset)), number(len)) }
    }

    /// The entries of the first `spans` spans.
    fn table(&self, spans: u64) -> Region {
        self.region((SPAN_TABLE, spans * 16))
    }
}

/// What a run has.
struct Run<'a> {
    memory: &'a Memory,
    family: &'static Family,
    blocks: Vec<Block>,
    sent: Vec<BlockRef>,
    objects: Vec<Arc<Object>>,
    messages: Vec<Message>,
}

impl Run<'_> {
    fn go(mut self, input: &mut Input<'_>) {
        for _ in 0..STEPS {
            let Some(step) = input.next() else { break };
            match step % 16 {
                0..=2 => {
                    let block = self.family.alloc(len(input), kind(input));
                    self.keep(block);
                }
                3 => drop(take(&mut self.blocks, input).map(Block::free)),
                4 => drop(take(&mut self.blocks, input)),
                5 => self.send(input),
                6 => self.claim(input),
                7 => {
                    let object = Object::create(self.family, len(input).min(40_000), kind(input));
                    self.objects.extend(object.map(Arc::new));
                }
                8 => drop(take(&mut self.objects, input)),
                9 => {
                    if let Some(object) = take(&mut self.objects, input) {
                        self.messages.extend(Message::encode(self.family, &vec![Handle(object)]));
                    }
                }
                10 => {
                    if let Some(Ok(handles)) =
                        take(&mut self.messages, input).map(|m| m.decode::<Vec<Handle>>(self.family))
                    {
                        self.objects.extend(handles.into_iter().map(|handle| handle.0));
                    }
                }
                11 => {
                    let _ = self.family.reap();
                    let _ = self.family.stats();
                    let _ = self.family.is_alive(self.family.participant().expect("it is known already"));
                }
                12 => self.bury(input),
                _ => self.scribble(input),
            }
        }
    }

    /// A block that came from the allocator can be written, from its first byte to its last.
    fn keep<E>(&mut self, block: Result<Block, E>) {
        let Ok(block) = block else { return };
        let last = usize::try_from(block.capacity()).expect("it is mapped") - 1;
        for at in [0, last] {
            // SAFETY: a byte of a block that is there, as the library says.
            unsafe { block.as_ptr().wrapping_add(at).write_volatile(7) };
        }
        self.blocks.push(block);
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let Some(block) = take(&mut self.blocks, input) else { return };
        let to = ProcessId { slot: u16::from(input.byte()), generation: u32::from(input.byte()) };
        match input.byte() % 3 {
            0 => self.sent.push(block.into_ref()),
            1 => self.sent.extend(self.family.block_give(block, self.family.me())),
            _ => self.sent.extend(self.family.block_give(block, to)),
        }
    }

    fn claim(&mut self, input: &mut Input<'_>) {
        let Some(sent) = take(&mut self.sent, input) else { return };
        let mut words = sent.to_words();
        if input.byte() >= 128 {
            words[input.below(4)] ^= input.word();
        }
        let block = self.family.claim(BlockRef::from_words(words));
        self.keep(block);
    }

    /// Says that some process is registered that is dead, and takes back what it has.
    fn bury(&self, input: &mut Input<'_>) {
        const NOBODY: u64 = (1 << 22) - 1; // a number that no process has
        let slot = usize::from(input.byte());
        let processes = self.memory.region(PROCESSES);
        processes.write(slot * 2, NOBODY | u64::from(input.byte()) << 32);
        let _ = self.family.reap();
    }

    fn scribble(&self, input: &mut Input<'_>) {
        let spans = self.memory.spans();
        match input.byte() % 8 {
            0 => self.memory.region(HEADER).scribble(input),
            1 => {
                let holders = self.memory.region(HOLDERS);
                holders.scribble(input);
                holders.disown_lock();
            }
            2 => self.memory.region(PROCESSES).scribble(input),
            3 => self.memory.region((PARTICIPANTS + u64::from(input.byte()) % THREADS * 64, 64)).scribble(input),
            4 | 5 => {
                // A span's word: state, generation, rest; or its length.
                let table = self.memory.table(spans.min(u64::from(input.byte() % 32) + 1));
                let (last, state) = (table.words() - 2, u64::from(input.byte()));
                if state < 128 {
                    table.write(last, state << 61 | input.word() & ((1 << 61) - 1));
                } else {
                    table.write(last + 1, input.word());
                }
            }
            6 => self.memory.table(spans).scribble(input),
            // The tags at the start of a span, or a cell or a block further on.
            _ => {
                let span = FIRST_SPAN + SPAN * (u64::from(input.byte()) % spans);
                let len = if input.byte() < 128 { 512 } else { 64 << 10 };
                self.memory.region((span, len)).scribble(input);
            }
        }
    }
}

/// One of them, if there are any.
fn take<T>(from: &mut Vec<T>, input: &mut Input<'_>) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let i = usize::from(input.byte()) % from.len();
    Some(from.swap_remove(i))
}

fn len(input: &mut Input<'_>) -> u64 {
    const LENGTHS: [u64; 13] = [0, 1, 17, 32, 60, 200, 1000, 2048, 5000, 30_000, 32_640, 32_641, 200_000];
    match input.byte() {
        253 => 513 * SPAN,
        254 => SPANS * SPAN,
        255 => u64::MAX,
        n => LENGTHS[usize::from(n % 13)],
    }
}

fn kind(input: &mut Input<'_>) -> Kind {
    let n = input.byte();
    if n < 128 { Kind::Data } else { Kind::from_u8(n % 16 + 1).expect("there are 16 kinds") }
}
