//! Any sequence of operations on an array does what it does to a vector.
#![cfg(not(polyproc_loom))]

use polyproc_values::{Array, Plain};
use proptest::prelude::*;
use proptest::sample::Index;

/// An operation; its places are chosen when the length is known, its items made of a number.
#[derive(Clone, Debug)]
enum Op {
    Set(Index, u8),
    Update(Index, u8),
    Swap(Index, Index),
    Write(Index, Index, u8),
    Fill(Index, Index, u8),
    /// By the owner of a chunk: a range of it.
    Chunk(Index, Index, Index, u8),
    ChunkSet(Index, Index, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let i = any::<Index>;
    prop_oneof![
        (i(), any::<u8>()).prop_map(|(i, n)| Op::Set(i, n)),
        (i(), any::<u8>()).prop_map(|(i, n)| Op::Update(i, n)),
        (i(), i()).prop_map(|(i, j)| Op::Swap(i, j)),
        (i(), i(), any::<u8>()).prop_map(|(i, j, n)| Op::Write(i, j, n)),
        (i(), i(), any::<u8>()).prop_map(|(i, j, n)| Op::Fill(i, j, n)),
        (i(), i(), i(), any::<u8>()).prop_map(|(c, i, j, n)| Op::Chunk(c, i, j, n)),
        (i(), i(), any::<u8>()).prop_map(|(c, i, n)| Op::ChunkSet(c, i, n)),
    ]
}

/// A range of a slice of `len` elements, which may be empty.
fn range(i: Index, j: Index, len: usize) -> core::ops::Range<usize> {
    let (i, j) = (i.index(len + 1), j.index(len + 1));
    i.min(j)..i.max(j)
}

fn same<T: Plain + PartialEq + core::fmt::Debug>(len: usize, cut: usize, ops: &[Op], item: impl Fn(u8) -> T) {
    let mut vec = vec![item(0); len];
    let array = Array::from_slice(&vec).unwrap();
    let chunked = ops.iter().position(|op| matches!(op, Op::Chunk(..) | Op::ChunkSet(..)));
    for (k, op) in ops.iter().enumerate() {
        let chunks = chunked.is_some_and(|at| at <= k).then(|| array.chunks(cut).unwrap());
        let items = |len: usize, n: u8| (0..len).map(|k| item(n.wrapping_add(k.to_le_bytes()[0]))).collect::<Vec<_>>();
        match *op {
            Op::Set(i, n) => {
                array.set(i.index(len), item(n));
                vec[i.index(len)] = item(n);
            }
            Op::Update(i, n) => {
                let old = array.update(i.index(len), |old| core::mem::replace(old, item(n)));
                assert_eq!(old, core::mem::replace(&mut vec[i.index(len)], item(n)));
            }
            Op::Swap(i, j) => {
                array.lock().swap(i.index(len), j.index(len));
                vec.swap(i.index(len), j.index(len));
            }
            Op::Write(i, j, n) => {
                let range = range(i, j, len);
                let items = items(range.len(), n);
                array.write(range.clone(), &items);
                vec[range].copy_from_slice(&items);
            }
            Op::Fill(i, j, n) => {
                array.fill(range(i, j, len), item(n));
                vec[range(i, j, len)].fill(item(n));
            }
            Op::Chunk(c, i, j, n) => {
                let chunks = chunks.expect("it was cut");
                let chunk = chunks.claim(c.index(chunks.len())).unwrap();
                let range = range(i, j, chunk.len());
                let items = items(range.len(), n);
                chunk.write(range.clone(), &items);
                vec[chunk.range()][range].copy_from_slice(&items);
                assert!(chunk.iter().eq(vec[chunk.range()].iter().copied()));
            }
            Op::ChunkSet(c, i, n) => {
                let chunks = chunks.expect("it was cut");
                let chunk = chunks.claim(c.index(chunks.len())).unwrap();
                let i = i.index(chunk.len());
                chunk.set(i, item(n));
                vec[chunk.range()][i] = item(n);
            }
        }
        assert_eq!(array.to_vec(), vec, "after {op:?}");
    }
    for start in 0..len {
        let mut part = vec![item(0); (len - start).min(11)];
        let end = start + part.len();
        array.read(start..end, &mut part);
        assert_eq!(part, vec[start..end]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_array_does_what_a_vector_does(
        len in 1_usize..70,
        cut in 1_usize..80,
        ops in proptest::collection::vec(op(), 0..20),
    ) {
        same(len, cut, &ops, |n| n);
        same(len, cut, &ops, u16::from);
        same(len, cut, &ops, |n| [n, 1, n]); // with a gap
        same(len, cut, &ops, f32::from);
        same(len, cut, &ops, u64::from);
        same(len, cut, &ops, |n| [n; 11]);
        same(len, cut, &ops, |n| n % 2 == 0);
        same(len, cut, &ops, |_| ());
    }
}
