//! Against a map, and beside writers.

use super::*;
use crate::iter::{
    Cursor,
    simulated::{Dice, Version, with_seeds},
};
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
        check(&memtable, &all, dice);
    });
}

#[test]
fn a_batch_that_is_sorted_is_a_memtable_of_its_operations() {
    with_seeds(200, |dice| {
        let (mut bytes, mut versions) = (Vec::new(), Vec::new());
        let first = 1 + dice.below(5);
        for seqno in first..=first + dice.below(150) {
            let kind = if dice.one_in(3) { ValueKind::Delete } else { ValueKind::Put };
            let version = Version::new(&dice.key(), seqno, kind, &seqno.to_le_bytes());
            // Others' operations lie between them.
            bytes.extend(dice.key());
            versions.push((bytes.len(), version.key.len(), version.value.len(), version.clone()));
            bytes.extend(version.key.iter().chain(&version.value));
        }
        let bytes = Arc::new(bytes);
        let mut sorter = Sorter::new(&bytes, &KeyOrder::BYTES);
        for (position, (at, key_len, value_len, version)) in versions.iter().enumerate() {
            let (key, value) = bytes[*at..][..key_len + value_len].split_at(*key_len);
            sorter.add(position as u32, version.kind, key, value).unwrap();
        }
        let batch = sorter.sort();
        let memtable = Memtable::of_batch(Arc::new(batch), Seqno::from_raw(first).unwrap(), false).unwrap();

        let mut all: Vec<&Version> = versions.iter().map(|(.., version)| version).collect();
        all.sort_by_key(|version| (&version.key, Reverse(version.seqno)));
        check(&memtable, &all, dice);
        let held: usize = all.iter().map(|version| version.key.len() + version.value.len() + 16).sum();
        assert_eq!(memtable.bytes(), held as u64);
    });
}

#[test]
fn what_does_not_lie_in_its_bytes_is_no_sorted_batch() {
    let bytes = Arc::new(b"..key=value".to_vec());
    let sorted = |key, value| Sorter::new(&bytes, &KeyOrder::BYTES).add(0, ValueKind::Put, key, value);

    assert!(sorted(&bytes[2..6], &bytes[6..]).is_ok());
    assert!(sorted(b"key=", b"value").is_err(), "it lies elsewhere");
    assert!(sorted(&bytes[2..5], &bytes[6..]).is_err(), "its value does not follow");
    assert!(sorted(&bytes[6..], &bytes[2..6]).is_err(), "its value comes first");
}

/// Whether a memtable is the sorted map of these versions.
fn check(memtable: &Memtable, all: &[&Version], dice: &mut Dice) {
    assert_eq!(memtable.is_empty(), all.is_empty());
    assert_eq!(memtable.first_seqno(), all.iter().map(|version| version.seqno).min());
    assert_eq!(memtable.last_seqno(), all.iter().map(|version| version.seqno).max().unwrap_or(Seqno::ZERO));
    for _ in 0..30 {
        let (key, at) = (dice.key(), Seqno::from_raw(dice.below(160)).unwrap());
        let newest = all.iter().find(|version| version.key == key && version.seqno <= at);
        let expected = newest.map(|version| (version.seqno, version.kind, Slice::from(&version.value[..])));
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
                at = Some(all.partition_point(|version| KeyOrder::BYTES.is_before(version.place(), target)))
                    .filter(|&at| at < all.len());
            }
            (4 | 5, _) => {
                cursor.seek_back(target).unwrap();
                at = all
                    .partition_point(|version| !KeyOrder::BYTES.is_before(target, version.place()))
                    .checked_sub(1);
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
        assert_eq!(Version::at(&cursor).as_ref(), at.map(|at| all[at]));
        assert_eq!(cursor.value().unwrap()[..], at.map_or(&b""[..], |at| &all[at].value)[..]);
    }
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
    let all = 4 * 5_000 * 32;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (memtable, operation) = (&memtable, &operation);
            scope.spawn(move || {
                for n in 0..5_000 {
                    let before = memtable.bytes_at_least();
                    let bytes = memtable.apply([operation(3 + 4 * n + thread)]);
                    assert!(memtable.bytes_at_least() >= before + bytes.min(32), "own writes show at once");
                }
            });
        }
    });
    let (bytes, at_least) = (memtable.bytes(), memtable.bytes_at_least());
    assert!(bytes > all && at_least <= bytes && at_least + 4 * (4 << 10) > bytes, "{at_least} of {bytes}");
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

/// Fills a memtable of some pages, with records that tell whose they are.
fn filled(pool: &Arc<PagePool>, fill: u8) -> Memtable {
    let memtable = Memtable::new(pool, &KeyOrder::BYTES);
    let value = std::vec![fill; 1000];
    for seqno in 1..=8_000 {
        apply(&memtable, &Version::new(&[fill], seqno, ValueKind::Put, &value));
    }
    memtable
}

/// How many records there are, each of them whole.
fn count(cursor: &mut dyn Cursor, fill: u8) -> usize {
    let mut entries = 0;
    cursor.seek_first().unwrap();
    while let Some(entry) = cursor.entry() {
        assert_eq!(entry.key, [fill]);
        assert_eq!(cursor.value_bytes().unwrap(), [fill; 1000]);
        entries += 1;
        cursor.next().unwrap();
    }
    entries
}

#[test]
fn a_memtable_begins_with_what_another_left() {
    let pool = Arc::new(PagePool::new(64 << 20));
    let mut kept = 0;
    for fill in 1..=5 {
        let memtable = filled(&pool, fill);
        assert_eq!(pool.kept_bytes(), 0, "all that there was is in use again");
        assert_eq!(count(&mut *memtable.cursor(), fill), 8_000, "nothing is left of what was in its memory");
        let bytes = memtable.bytes();
        drop(memtable);

        assert!(pool.kept_bytes() > bytes / 2 && pool.kept_bytes() < bytes + (2 << 20));
        assert!(fill == 1 || pool.kept_bytes() == kept, "no memory was added");
        kept = pool.kept_bytes();
    }
}

#[test]
fn memory_beyond_the_bound_is_not_kept() {
    let pool = Arc::new(PagePool::new(4 << 20));
    let (one, other) = (filled(&pool, 1), filled(&pool, 2));

    drop((one, other));

    assert_eq!(pool.kept_bytes(), 4 << 20);
}

#[test]
fn a_cursor_keeps_its_memtable() {
    let pool = Arc::new(PagePool::new(64 << 20));
    let memtable = filled(&pool, 1);
    let mut cursor = memtable.cursor();
    drop(memtable);
    assert_eq!(pool.kept_bytes(), 0, "it is in use still");

    let others = [filled(&pool, 2), filled(&pool, 3)];

    assert_eq!(count(&mut *cursor, 1), 8_000);
    drop(others);
    let kept = pool.kept_bytes();
    assert_eq!(count(&mut *cursor, 1), 8_000);
    drop(cursor);
    assert!(pool.kept_bytes() > kept);
}

#[test]
fn a_flipped_bit_of_an_operation_is_told_with_its_key() {
    let memtable = Memtable::default().with_checksums(true);
    let put = |key: &'static [u8], raw| {
        let seqno = Seqno::from_raw(raw).unwrap();
        Operation { seqno, kind: ValueKind::Put, key, value: b"value" }
    };
    let plain = Memtable::default().apply([put(b"a", 1)]);
    assert!(memtable.apply([put(b"a", 1)]) >= plain);
    memtable.apply([put(b"b\xff", 2), put(b"c", 3)]);
    let mut cursor = memtable.cursor();
    let mut check = |key: &[u8]| {
        cursor.seek(InternalKey::first_of(key)).unwrap();
        cursor.checked_value().map(|(_, checksum)| checksum.expect("it has one"))
    };
    for key in [&b"a"[..], b"b\xff", b"c"] {
        check(key).unwrap();
    }

    memtable.flip(b"b\xff", 39);

    let error = check(b"b\xff").unwrap_err();
    assert_eq!(error.kind(), crate::error::ErrorKind::Corruption);
    let expected = EntryChecksum::of(ValueKind::Put, b"b\xff", b"value").0;
    for part in ["b\\xff", "numbered 2", &alloc::format!("not {expected:08x}")] {
        assert!(alloc::string::ToString::to_string(&error).contains(part), "{error}");
    }
    check(b"a").and(check(b"c")).unwrap();
    memtable.flip(b"b\xff", 39);
    check(b"b\xff").unwrap();
}

#[test]
fn operations_without_checksums_have_none() {
    let memtable = Memtable::default();
    memtable.apply([Operation {
        seqno: Seqno::from_raw(1).unwrap(),
        kind: ValueKind::Put,
        key: b"k",
        value: b"v",
    }]);
    let mut cursor = memtable.cursor();
    cursor.seek_first().unwrap();

    assert_eq!(cursor.checked_value().unwrap(), (&b"v"[..], None));
}
