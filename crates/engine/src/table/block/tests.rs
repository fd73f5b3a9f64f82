use super::*;
use crate::{
    key::{InternalKey, MAX_KEY_BYTES, ValueKind},
    types::Seqno,
};
use alloc::{vec, vec::Vec};

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

type Version<'a> = (&'a [u8], u64, ValueKind, &'a [u8]);

fn sections_of(entries: &[Version<'_>]) -> (Vec<u8>, Vec<u8>) {
    let mut builder = BlockBuilder::default();
    for &(key, number, kind, value) in entries {
        assert!(builder.has_room(key, seqno(number), kind, value, 1 << 20));
        builder.add(key, seqno(number), kind, value);
    }
    let sections = (builder.key_section(), builder.values().to_vec());
    assert_eq!(sections.0.len() + sections.1.len(), builder.raw_bytes(), "the size is known before");
    sections
}

fn block_of(entries: &[Version<'_>]) -> DataBlock {
    let (keys, values) = sections_of(entries);
    DataBlock::from_sections(keys, values).unwrap()
}

fn versions_of(block: &DataBlock) -> Vec<(Vec<u8>, u64, ValueKind, Vec<u8>)> {
    let version = |entry| {
        let key = [block.prefix(), block.rest(entry)].concat();
        assert!(block.has_key(entry, &key));
        assert_eq!(block.value_slice(entry), block.value(entry));
        (key, block.seqno(entry).raw(), block.kind(entry), block.value(entry).to_vec())
    };
    (0..block.len()).map(version).collect()
}

fn assert_round_trip(entries: &[Version<'_>]) {
    let expected: Vec<_> = entries
        .iter()
        .map(|&(key, seqno, kind, value)| (key.to_vec(), seqno, kind, value.to_vec()))
        .collect();

    assert_eq!(versions_of(&block_of(entries)), expected);
}

#[test]
fn entries_come_back_as_they_were_added() {
    use ValueKind::{Cells, Delete, Merge, Put};
    assert_round_trip(&[(b"", 0, Put, b"")]);
    assert_round_trip(&[
        (b"", 9, Put, b"x"),
        (b"", 3, Delete, b""),
        (b"a", 4, Put, b"yy"),
        (b"ab", 4, Merge, b""),
    ]);
    assert_round_trip(&[(b"key1", 5, Put, b"1"), (b"key10", 5, Put, b"2"), (b"key2", 5, Put, b"3")]);
    assert_round_trip(&[(&[0xff; 300], Seqno::MAX.raw(), Cells, b"v"), (&[0xff; 301], 0, Cells, b"")]);
    let longest = [7; MAX_KEY_BYTES];
    assert_round_trip(&[(&longest, 2, Put, b"2")]);
}

#[test]
fn columns_that_say_nothing_are_left_out() {
    let same = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"ab", 5, ValueKind::Put, b"2")]);

    for (number, kind, more) in [
        (5, ValueKind::Delete, 2),
        (6, ValueKind::Put, 2),
        (5 + 0x100, ValueKind::Put, 4),
        (5 + 0x1_0000, ValueKind::Put, 8),
        (5 + 0x1_0000_0000, ValueKind::Put, 16),
    ] {
        let other = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"ab", number, kind, b"2")]);
        assert_eq!(other.0.len(), same.0.len() + more, "{number} {kind:?}");
    }
    assert_eq!(same.0.len(), FIXED_BYTES + 2 * 10 + 1 + 2);
}

#[test]
fn a_key_section_of_several_entries_is_bounded() {
    let mut builder = BlockBuilder::default();
    let mut key = vec![b'k'; 40_000];
    builder.add(&key, seqno(1), ValueKind::Put, b"");

    key[39_999] = b'l';
    assert!(builder.has_room(&key, seqno(1), ValueKind::Put, b"", usize::MAX), "the prefix is stored once");
    builder.add(&key, seqno(1), ValueKind::Put, b"");
    key[0] = b'l';

    assert!(!builder.has_room(&key, seqno(1), ValueKind::Put, b"", usize::MAX));
}

#[test]
fn search_finds_the_first_entry_at_or_after_a_target() {
    let keys: [&[u8]; 9] = [b"", b"\0", b"a", b"a\0", b"a\0\0\0\0", b"aaaa", b"aaaab", b"aaaabbbbb", b"b"];
    let mut entries = Vec::new();
    for key in keys {
        for number in [20, 10] {
            entries.push((key, number, ValueKind::Put, &b""[..]));
        }
    }
    let block = block_of(&entries);

    for target_key in keys.into_iter().chain([&b"aa"[..], b"aaaaa", b"aaab", b"c", b"\0\0"]) {
        for target_seqno in [0, 9, 10, 11, 19, 20, 21] {
            let target = InternalKey { key: target_key, seqno: seqno(target_seqno) };
            let expected = entries
                .iter()
                .filter(|&&(key, number, ..)| InternalKey { key, seqno: seqno(number) } < target)
                .count();
            assert_eq!(block.lower_bound(target), expected, "{target:?}");
        }
    }
}

/// Whatever passes decoding can be read without a panic.
fn read_all(keys: Vec<u8>, values: Vec<u8>) -> bool {
    let Ok(block) = DataBlock::from_sections(keys, values) else { return false };
    for target in [&b""[..], b"key", b"key2", b"\xff\xff"] {
        let entry = block.lower_bound(InternalKey { key: target, seqno: seqno(4) });
        assert!(entry <= block.len());
    }
    !versions_of(&block).is_empty()
}

#[test]
fn hostile_sections_are_refused_or_harmless() {
    let entries: [Version<'_>; 4] = [
        (b"key1", 9, ValueKind::Put, b"one"),
        (b"key1", 3, ValueKind::Delete, b""),
        (b"key22", 1_000, ValueKind::Put, b"two"),
        (b"key3", 2, ValueKind::Merge, b"three"),
    ];
    let (keys, values) = sections_of(&entries);

    let mut refused = 0;
    for at in 0..keys.len() {
        for byte in 0..=u8::MAX {
            let mut hostile = keys.clone();
            hostile[at] = byte;
            refused += usize::from(!read_all(hostile, values.clone()));
        }
    }
    for len in 0..keys.len() {
        assert!(!read_all(keys[..len].to_vec(), values.clone()), "keys cut at {len}");
    }
    for len in 0..values.len() {
        assert!(!read_all(keys.clone(), values[..len].to_vec()), "values cut at {len}");
    }
    assert!(refused > 1_000, "{refused} were refused");
    assert!(!read_all(vec![0xff; 64], values.clone()));
    assert!(!read_all(vec![], vec![]));
}

/// Blocks were taken in whatever order their entries were: a scan over one could go round for ever, and the
/// merge of one failed an assertion of the table that it was written to.
#[test]
fn entries_out_of_order_are_no_block() {
    let put = |key, number| (key, number, ValueKind::Put, &b""[..]);
    let sorted = [put(&b"aaaab"[..], 5), put(b"aaaac", 7), put(b"aaaac", 3), put(b"b", 9)];
    let (keys, values) = sections_of(&sorted);
    assert!(DataBlock::from_sections(keys.clone(), values).is_ok());

    for (at, other) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
        let mut entries = sorted;
        entries.swap(at, other);
        let (keys, values) = sections_of(&entries);
        assert!(DataBlock::from_sections(keys, values).is_err(), "{at} and {other} were swapped");
    }
    let twice = [sorted[0], sorted[0]];
    let (keys_twice, values) = sections_of(&twice);
    assert!(DataBlock::from_sections(keys_twice, values).is_err(), "one version twice");
    let mut foreign_head = keys;
    foreign_head[16] ^= 1;
    assert!(DataBlock::from_sections(foreign_head, vec![]).is_err());
}
