//! Against a map, and beside writers.

use super::*;
use crate::iter::simulated::{Version, with_seeds};
use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Reverse;

extern crate std;

fn apply(memtable: &Memtable, version: &Version) {
    let Version { key, seqno, kind, value } = version;
    memtable.apply([Operation { seqno: *seqno, kind: *kind, key, value }]);
}

#[test]
fn a_memtable_is_a_sorted_map_of_versions() {
    with_seeds(200, |dice| {
        let memtable = Arc::new(Memtable::default());
        let mut model = BTreeMap::new();
        // More than a cursor copies at once, numbers in any order.
        let mut numbers: Vec<u64> = (1..=dice.below(150)).collect();
        while !numbers.is_empty() {
            let seqno = numbers.swap_remove(dice.index(numbers.len()));
            let kind = if dice.one_in(3) { ValueKind::Delete } else { ValueKind::Put };
            let version = Version::new(&dice.key(), seqno, kind, &seqno.to_le_bytes());
            apply(&memtable, &version);
            model.insert((version.key.clone(), Reverse(version.seqno)), version);
        }
        let all: Vec<&Version> = model.values().collect();

        assert_eq!(memtable.is_empty(), all.is_empty());
        assert_eq!(memtable.first_seqno(), all.iter().map(|version| version.seqno).min());
        assert_eq!(
            memtable.last_seqno(),
            all.iter().map(|version| version.seqno).max().unwrap_or(Seqno::ZERO)
        );
        for _ in 0..30 {
            let (key, at) = (dice.key(), Seqno::from_raw(dice.below(160)).unwrap());
            let newest = all.iter().find(|version| version.key == key && version.seqno <= at);
            let expected =
                newest.map(|version| (version.seqno, version.kind, Slice::from(&version.value[..])));
            assert_eq!(memtable.get(&key, at), expected);
        }

        let mut cursor = memtable.cursor();
        assert!(cursor.entry().is_none(), "a new cursor stands on nothing");
        let mut at: Option<usize> = None;
        for _ in 0..300 {
            let key = dice.key();
            let target = InternalKey { key: &key, seqno: Seqno::from_raw(dice.below(160)).unwrap() };
            match (dice.below(40), at) {
                (0, _) => {
                    cursor.seek_first().unwrap();
                    at = (!all.is_empty()).then_some(0);
                }
                (1, _) => {
                    cursor.seek_last().unwrap();
                    at = all.len().checked_sub(1);
                }
                (2 | 3, _) => {
                    cursor.seek(target).unwrap();
                    at = Some(all.partition_point(|version| version.place() < target))
                        .filter(|&at| at < all.len());
                }
                (4 | 5, _) => {
                    cursor.seek_back(target).unwrap();
                    at = all.partition_point(|version| version.place() <= target).checked_sub(1);
                }
                (6..22, Some(here)) => {
                    cursor.next().unwrap();
                    at = Some(here + 1).filter(|&at| at < all.len());
                }
                (_, Some(here)) => {
                    cursor.prev().unwrap();
                    at = here.checked_sub(1);
                }
                (_, None) => {}
            }
            assert_eq!(cursor.entry().map(Version::of).as_ref(), at.map(|at| all[at]));
            assert_eq!(cursor.value()[..], at.map_or(&b""[..], |at| &all[at].value)[..]);
        }
    });
}

#[test]
fn memory_is_accounted_for() {
    let memtable = Memtable::default();
    let operation = |seqno| Operation {
        seqno: Seqno::from_raw(seqno).unwrap(),
        kind: ValueKind::Put,
        key: b"key",
        value: b"a value",
    };

    assert_eq!(memtable.apply([]), 0);
    let bytes = memtable.apply([operation(1), operation(2)]);

    assert_eq!(bytes, 2 * (16 + 16), "a record has a head of 16 bytes, and its bytes are filled up to eight");
    assert_eq!(memtable.bytes(), bytes);
}

#[test]
fn a_cursor_shows_all_of_a_published_view_beside_writers() {
    let memtable = Arc::new(Memtable::default());
    let key = |at: u64| std::format!("k{:03}", at % 200);
    for seqno in 1..=200 {
        apply(&memtable, &Version::put(&key(seqno), seqno, "published"));
    }
    let published = Seqno::from_raw(200).unwrap();

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for seqno in 201..=5_000 {
                apply(&memtable, &Version::put(&key(seqno * 77), seqno, "later"));
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds < 10 {
            rounds += 1;
            for is_forward in [true, false] {
                let mut cursor = memtable.cursor();
                if is_forward {
                    cursor.seek_first().unwrap()
                } else {
                    cursor.seek_last().unwrap()
                }
                let (mut seen, mut last) = (0, None);
                while let Some(entry) = cursor.entry() {
                    let place = (entry.key.to_vec(), Reverse(entry.seqno));
                    if let Some(last) = last.replace(place.clone()) {
                        assert!(if is_forward { last < place } else { last > place }, "in order, each once");
                    }
                    seen += u64::from(entry.seqno <= published);
                    if is_forward { cursor.next().unwrap() } else { cursor.prev().unwrap() }
                }
                assert_eq!(seen, 200);
            }
        }
    });
}

#[test]
fn a_cursor_keeps_its_memtable() {
    let memtable = Arc::new(Memtable::default());
    apply(&memtable, &Version::put("a", 1, "v"));
    let mut cursor = memtable.cursor();
    drop(memtable);

    cursor.seek_first().unwrap();

    assert_eq!(cursor.value(), b"v");
}
