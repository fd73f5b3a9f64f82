//! Against a map, in every shape that small nodes take, and beside writers.

use super::{Blink, BlinkCursor, arena::Arena, node::NodeRef};
use crate::{
    iter::{
        Cursor,
        simulated::{Dice, with_seeds},
    },
    key::{InternalKey, ValueKind},
    order::{KeyOrder, tests::orders},
    types::Seqno,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::{
    cmp::Reverse,
    sync::atomic::{AtomicBool, Ordering},
};

extern crate std;

type Model = BTreeMap<(Vec<u8>, Reverse<Seqno>), Vec<u8>>;

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

/// Keys of one shape: what they share and where they differ decides about prefixes and heads.
fn key(dice: &mut Dice, shape: u64) -> Vec<u8> {
    let number = dice.below(300);
    match shape {
        // Short ones, of bytes around the borders, one of which is a prefix of the next.
        0 => (0..dice.below(4)).map(|_| [0, 1, 0x7F, 0xFF][dice.index(4)]).collect(),
        1 => std::format!("user{number:012}").into_bytes(),
        // More in common than a prefix may be long.
        2 => std::format!("{}/{number:03}", "a path that many keys share, of fifty bytes or so, ".repeat(2))
            .into_bytes(),
        // A few hot ones.
        3 => std::format!("hot{}", number % 3).into_bytes(),
        4 => number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes().to_vec(),
        // Zeros behind a common beginning, as heads are filled up with.
        _ => [&b"zero"[..], &[0; 12][..dice.index(13)]].concat(),
    }
}

fn check_against_a_map<const N: usize>(order: &KeyOrder, dice: &mut Dice, operations: u64) {
    let (tree, mut model) = (Arc::new(Blink::<N>::new(Arc::default(), order)), Model::new());
    let shapes = 1 + dice.below(6);
    let mut bytes = 0;
    for seqno in 1..=operations {
        let key = match dice.below(8) {
            0 => model.keys().next_back().map_or(Vec::new(), |(last, _)| [last, &b"+"[..]].concat()),
            shape => key(dice, shape % shapes),
        };
        let value = seqno.to_le_bytes()[..dice.index(9)].to_vec();
        bytes += tree.insert(InternalKey { key: &key, seqno: number(seqno) }, ValueKind::Put, &value, None);
        model.insert((key, Reverse(number(seqno))), value);
    }
    let mut all: Vec<_> =
        model.iter().map(|((key, Reverse(seqno)), value)| (&key[..], *seqno, &value[..])).collect();
    all.sort_by(|a, b| order.compare(a.0, b.0)); // Stable: versions of a key stay newest first.
    assert!(bytes >= all.iter().map(|(key, _, value)| (16 + key.len() + value.len()) as u64).sum());

    let mut cursor = BlinkCursor::new(&tree);
    let seen = |cursor: &BlinkCursor<N>| {
        cursor.entry().map(|entry| (entry.key.to_vec(), entry.seqno, cursor.value_bytes().unwrap().to_vec()))
    };
    let expected = |at: Option<usize>| {
        at.and_then(|at| all.get(at)).map(|(key, seqno, value)| (key.to_vec(), *seqno, value.to_vec()))
    };
    cursor.seek_first().unwrap();
    for at in 0..=all.len() {
        assert_eq!(seen(&cursor), expected(Some(at)));
        cursor.next().unwrap();
    }
    cursor.seek_last().unwrap();
    for at in (0..all.len()).rev() {
        assert_eq!(seen(&cursor), expected(Some(at)));
        cursor.prev().unwrap();
    }
    assert_eq!(seen(&cursor), None);
    for _ in 0..100 {
        let shape = dice.below(6);
        let (key, seqno) = (key(dice, shape), number(dice.below(operations + 2)));
        let place = InternalKey { key: &key, seqno };
        let from =
            all.partition_point(|(key, seqno, _)| order.is_before(InternalKey { key, seqno: *seqno }, place));
        let up_to = all
            .partition_point(|(key, seqno, _)| !order.is_before(place, InternalKey { key, seqno: *seqno }));
        let newest = all.get(from).filter(|(found, ..)| *found == key);
        assert_eq!(
            tree.get(place).map(|(entry, value)| (entry.seqno, value)),
            newest.map(|(_, seqno, value)| (*seqno, *value))
        );
        cursor.seek(place).unwrap();
        assert_eq!(seen(&cursor), expected(Some(from)));
        cursor.seek_back(place).unwrap();
        let mut at = up_to.checked_sub(1);
        for _ in 0..3 {
            assert_eq!(seen(&cursor), expected(at));
            let Some(here) = at else { break };
            if dice.one_in(2) {
                cursor.prev().unwrap();
                at = here.checked_sub(1);
            } else {
                cursor.next().unwrap();
                at = Some(here + 1).filter(|&at| at < all.len());
            }
        }
    }
}

#[test]
fn a_tree_is_a_sorted_map_whatever_its_keys_have_in_common() {
    for order in orders() {
        with_seeds(150, |dice| {
            let operations = dice.below(600);
            match dice.below(3) {
                0 => check_against_a_map::<4>(&order, dice, operations),
                1 => check_against_a_map::<7>(&order, dice, operations),
                _ => check_against_a_map::<128>(&order, dice, 4 * operations),
            }
        });
    }
}

#[test]
fn keys_that_come_in_order_fill_their_nodes() {
    let tree = Blink::<8>::default();
    let mut bytes = 0;
    for n in 0..1000_u64 {
        bytes += tree.insert(
            InternalKey { key: &n.to_be_bytes(), seqno: number(n + 1) },
            ValueKind::Put,
            b"",
            None,
        );
    }
    let leaf = NodeRef::<8>::new(&Arena::new(Arc::default()), 0, None).1 as u64;

    let of_nodes = bytes - 1000 * 24;
    assert!(of_nodes < (1000 / 8) * leaf * 3 / 2, "{of_nodes} bytes of nodes, {leaf} a leaf");
    assert!(tree.root_level() <= 4);
}

#[test]
fn large_values_and_many_small_ones_share_an_arena() {
    let tree = Blink::<128>::default();
    for n in 0..40_u64 {
        let value = std::vec![n as u8; if n % 10 == 0 { 3 << 20 } else { 100 << 10 }];
        tree.insert(InternalKey { key: &n.to_be_bytes(), seqno: number(1) }, ValueKind::Put, &value, None);
    }
    for n in 0..40_u64 {
        let (_, value) = tree.get(InternalKey { key: &n.to_be_bytes(), seqno: number(9) }).unwrap();
        assert!(value.len() >= 100 << 10 && value.iter().all(|&byte| byte == n as u8));
    }
}

/// Writers of keys of their own, over each other in the tree; readers who know what was there when they
/// began.
fn write_and_read_at_once<const N: usize>(keys: u64) {
    const WRITERS: u64 = 3;
    let tree = Arc::new(Blink::<N>::default());
    let done = AtomicBool::new(false);
    let written: Vec<core::sync::atomic::AtomicU64> = (0..WRITERS).map(|_| Default::default()).collect();
    let key = |writer: u64, n: u64| {
        let spread = (n * WRITERS + writer).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // Every fifth shares its head with many others.
        let head = if n.is_multiple_of(5) { u64::from(b'x') << 56 } else { spread };
        [head.to_be_bytes(), spread.to_be_bytes()].concat()
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (tree, written) = (&tree, &written[writer as usize]);
            scope.spawn(move || {
                for n in 0..keys {
                    let place = InternalKey { key: &key(writer, n), seqno: number(1 + n) };
                    tree.insert(place, ValueKind::Put, &place.key[8..], None);
                    written.store(n + 1, Ordering::Release);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut cursor = BlinkCursor::new(&tree);
                while !done.load(Ordering::Relaxed) {
                    let floors: Vec<u64> =
                        written.iter().map(|written| written.load(Ordering::Acquire)).collect();
                    for (writer, floor) in floors.iter().enumerate().filter(|(_, floor)| **floor > 0) {
                        let key = key(writer as u64, floor - 1);
                        let (_, value) =
                            tree.get(InternalKey { key: &key, seqno: Seqno::MAX }).expect("it is there");
                        assert_eq!(value, &key[8..]);
                    }
                    for is_forward in [true, false] {
                        let (mut last, mut seen) = (None, 0);
                        if is_forward {
                            cursor.seek_first().unwrap()
                        } else {
                            cursor.seek_last().unwrap()
                        }
                        while let Some(entry) = cursor.entry() {
                            let key = entry.key.to_vec();
                            assert_eq!(cursor.value_bytes().unwrap(), &key[8..]);
                            let is_in_order =
                                last.as_ref().is_none_or(|last| (*last < key) == is_forward && *last != key);
                            assert!(is_in_order, "each once, in order");
                            (last, seen) = (Some(key), seen + 1_u64);
                            if is_forward { cursor.next().unwrap() } else { cursor.prev().unwrap() }
                        }
                        assert!(seen >= floors.iter().sum::<u64>(), "{seen} of {floors:?}");
                    }
                    if floors.iter().all(|floor| *floor == keys) {
                        done.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[test]
fn readers_see_whatever_was_there_in_order_beside_writers() {
    write_and_read_at_once::<4>(3_000);
    write_and_read_at_once::<128>(20_000);
}
