//! Breadth first through all states: the first trace that is found is a shortest one.

use super::program::{Program, Setup};
use super::world::World;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::{Duration, Instant};

/// What there was to find. Prints as one line, and the traces below it.
///
/// See [`explore`] for an example.
#[derive(Clone, Debug)]
pub struct Report {
    /// The setup's name.
    pub name: &'static str,
    /// States seen.
    pub states: usize,
    /// Those from which nothing goes on.
    pub ends: usize,
    /// Ends in which a living thread sleeps although it must not: where the dead were killed, and the way to the first.
    pub stranded: BTreeMap<String, Vec<String>>,
    /// The first broken invariant, and the way there. The search stops at it.
    pub broken: Option<(&'static str, Vec<String>)>,
    /// Wall time.
    pub elapsed: Duration,
}

impl Report {
    /// Asserts that no invariant broke, and that exactly these deaths strand a sleeper.
    ///
    /// # Panics
    /// If not: with the traces.
    ///
    /// # Examples
    /// See [`explore`].
    #[track_caller]
    pub fn expect(&self, windows: &[&str]) -> &Self {
        assert!(self.broken.is_none(), "{self}");
        let found: Vec<&str> = self.stranded.keys().map(String::as_str).collect();
        assert!(found == windows, "known windows: {windows:#?}\nfound: {self}");
        self
    }

    /// Whether anything was found.
    ///
    /// # Examples
    /// See [`explore`].
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.broken.is_none() && self.stranded.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, states, ends, stranded, broken, elapsed } = self;
        write!(f, "{name}: {states} states, {ends} ends, {} windows, {:.2} s", stranded.len(), elapsed.as_secs_f64())?;
        let stranded = stranded.iter().map(|(deaths, trace)| (deaths.as_str(), trace));
        let broken = broken.iter().map(|(what, trace)| (*what, trace));
        for (what, trace) in broken.chain(stranded) {
            write!(f, "\n== {what}")?;
            for step in trace {
                write!(f, "\n   {step}")?;
            }
        }
        Ok(())
    }
}

/// Goes through all states that `program` can come to.
///
/// # Panics
/// If they are more than `setup.most`.
///
/// # Examples
/// A thread that sets a flag for one that sleeps until it is set, and forgets to wake it:
/// ```
/// use polyproc_testing::model::{Got, Op, Program, Setup, World, explore};
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// struct Forgetful { wakes: bool }
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// enum At { Set, Wake, Wait, End }
/// impl Program<2> for Forgetful {
///     type At = At;
///     type Local = ();
///     type Ghost = ();
///     fn start(&self, thread: usize) -> (At, ()) {
///         (if thread == 0 { At::Set } else { At::Wait }, ())
///     }
///     fn issue(&self, _: usize, at: At, _: &()) -> Op {
///         match at {
///             At::Set => Op::Store(0, 1),
///             At::Wake => Op::Wake { word: 0, class: 0, all: false },
///             At::Wait => Op::Wait { word: 0, expected: 0, bits: !0, class: 0, since: 0 },
///             At::End => Op::End,
///         }
///     }
///     fn after(&self, _: usize, at: At, _: &mut (), _: Got, _: &mut ()) -> At {
///         if at == At::Set && self.wakes { At::Wake } else { At::End }
///     }
///     fn is_stranded(&self, _: &World<Self, 2>, _: usize) -> bool { true }
/// }
/// assert!(explore(&Forgetful { wakes: true }, &Setup::new("wakes")).is_clean());
/// let report = explore(&Forgetful { wakes: false }, &Setup::new("forgets"));
/// assert!(!report.is_clean());
/// report.expect(&["nobody died"]);
/// ```
pub fn explore<P: Program<N>, const N: usize>(program: &P, setup: &Setup<N>) -> Report {
    let started = Instant::now();
    let first = World::new(program, setup);
    let mut seen: Seen = HashMap::default();
    let root = fingerprint(&first);
    seen.insert(root, (root, 0));
    let mut queue = VecDeque::from([first]);
    let mut report = Report {
        name: setup.name,
        states: 0,
        ends: 0,
        stranded: BTreeMap::new(),
        broken: None,
        elapsed: Duration::ZERO,
    };
    while let Some(world) = queue.pop_front() {
        let here = fingerprint(&world);
        report.states += 1;
        if let Err(what) = world.check(program) {
            report.broken = Some((what, trace(program, setup, &seen, here)));
            break;
        }
        let mut number = 0;
        world.next(program, setup, &mut |_, next| {
            if let Entry::Vacant(entry) = seen.entry(fingerprint(&next)) {
                entry.insert((here, number));
                queue.push_back(next);
            }
            number += 1;
        });
        assert!(seen.len() <= setup.most, "{}: more than {} states", setup.name, setup.most);
        if !world.goes_on(program, setup) {
            report.ends += 1;
            if (0..N).any(|thread| world.sleeps(thread) && program.is_stranded(&world, thread)) {
                let deaths = report.stranded.entry(world.deaths(program));
                deaths.or_insert_with(|| trace(program, setup, &seen, here));
                if setup.first {
                    break;
                }
            }
        }
    }
    report.elapsed = started.elapsed();
    report
}

/// Where each state was first come to from, and by which of that state's steps.
type Seen = HashMap<u64, (u64, u16), BuildHasherDefault<AsItIs>>;

/// The steps from the beginning to a state.
fn trace<P: Program<N>, const N: usize>(program: &P, setup: &Setup<N>, seen: &Seen, mut here: u64) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(&(before, step)) = seen.get(&here)
        && before != here
    {
        steps.push(step);
        here = before;
    }
    let mut world = World::new(program, setup);
    let mut texts = Vec::new();
    for step in steps.into_iter().rev() {
        let mut number = 0;
        let mut next = None;
        world.next(program, setup, &mut |action, after| {
            if number == step {
                next = Some((action, after));
            }
            number += 1;
        });
        let (action, after) = next.expect("the same steps as before");
        texts.push(world.describe(program, action, &after));
        world = after;
    }
    texts
}

fn fingerprint(world: &impl Hash) -> u64 {
    let mut hasher = Fold(0x243f_6a88_85a3_08d3);
    world.hash(&mut hasher);
    hasher.finish()
}

/// Multiplies into 128 bits and folds them: quick, and good enough to tell states apart.
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        let (low, high) = (self.0 ^ n).carrying_mul(0xa076_1d64_78bd_642f, 0);
        self.0 = low ^ high ^ n.rotate_left(29).wrapping_mul(0xe703_7ed1_a0b4_28db);
    }

    fn finish(&self) -> u64 {
        let n = (self.0 ^ self.0 >> 32).wrapping_mul(0x8ebc_6af0_9c88_c6e3);
        n ^ n >> 29
    }
}

/// A hasher of fingerprints, which are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u64");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
