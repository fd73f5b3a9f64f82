use super::{super::heads::HEAD_BYTES, *};
use crate::{
    codec::{BlockKind, Compression, Corruption, FileCodec, Section, encode_block},
    iter::EntryChecksum,
    key::{InternalKey, MAX_KEY_BYTES, ValueKind},
    order::{KeyOrder, tests::orders},
    types::{Seqno, Uuid},
};
use alloc::{sync::Arc, vec, vec::Vec};

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

type Version<'a> = (&'a [u8], u64, ValueKind, &'a [u8]);

fn codec() -> FileCodec {
    FileCodec::clear(Uuid([3; 16]))
}

type Sections = (Vec<u8>, Vec<Vec<u8>>);

fn sections_of(entries: &[Version<'_>]) -> Sections {
    checked_sections_of(entries, |_| None)
}

fn checked_sections_of(
    entries: &[Version<'_>],
    checksum: impl Fn(&Version<'_>) -> Option<EntryChecksum>,
) -> Sections {
    let mut builder = BlockBuilder::default();
    for entry @ &(key, number, kind, value) in entries {
        assert!(builder.add(key, seqno(number), kind, value, checksum(entry), 1 << 20));
    }
    let keys = builder.key_section();
    let pages: Vec<_> = builder.pages().into_iter().map(Vec::from).collect();
    let bytes = keys.len() + pages.iter().map(Vec::len).sum::<usize>();
    assert_eq!(bytes, builder.raw_bytes(), "the size is known before");
    (keys, pages)
}

fn decode(sections: &Sections, compression: Compression) -> Result<Arc<DataBlock>, Corruption> {
    decode_in(Some(&KeyOrder::BYTES), sections, compression)
}

fn decode_in(
    order: Option<&KeyOrder>,
    (keys, pages): &Sections,
    compression: Compression,
) -> Result<Arc<DataBlock>, Corruption> {
    let mut sections = vec![Section { raw: keys, compression: Compression::None }];
    sections.extend(pages.iter().map(|raw| Section { raw, compression }));
    let mut frame = Vec::new();
    encode_block(&mut frame, BlockKind::Data, &codec(), 64, &sections);
    DataBlock::decode(&frame, &codec(), 64, order).map(Arc::new)
}

fn block_of(entries: &[Version<'_>]) -> Arc<DataBlock> {
    decode(&sections_of(entries), Compression::default()).unwrap()
}

fn versions_of(block: &Arc<DataBlock>) -> Vec<(Vec<u8>, u64, ValueKind, Vec<u8>)> {
    let version = |entry| {
        let key = block.key(entry);
        assert!(block.has_key(entry, &key));
        let value = block.value(entry).unwrap();
        assert_eq!(value.len(), block.value_len(entry));
        assert_eq!(DataBlock::value_slice(block, entry).unwrap(), *value);
        assert_eq!(DataBlock::into_value(Arc::clone(block), entry).unwrap(), *value);
        (key, block.seqno(entry).raw(), block.kind(entry), value.to_vec())
    };
    (0..block.len()).map(version).collect()
}

fn assert_round_trip(entries: &[Version<'_>]) {
    let expected: Vec<_> = entries
        .iter()
        .map(|&(key, seqno, kind, value)| (key.to_vec(), seqno, kind, value.to_vec()))
        .collect();

    assert_eq!(versions_of(&block_of(entries)), expected);
    let checksum = |&(key, _, kind, value): &Version<'_>| Some(EntryChecksum::of(kind, key, value));
    let checked = decode(&checked_sections_of(entries, checksum), Compression::default()).unwrap();
    assert_eq!(versions_of(&checked), expected);
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!((checked.checksum(at), block_of(entries).checksum(at)), (checksum(entry), None));
    }
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
    assert_eq!(same.0.len(), FIXED_BYTES + 2 * HEAD_BYTES + 1 + 2);

    for (number, kind, more) in [
        (5, ValueKind::Delete, 2),
        (6, ValueKind::Put, 2),
        (5 + 0x100, ValueKind::Put, 4),
        (5 + 0x1_0000, ValueKind::Put, 6),
        (5 + 0x1_0000_0000, ValueKind::Put, 10),
    ] {
        let other = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"ab", number, kind, b"2")]);
        assert_eq!(other.0.len(), same.0.len() + more, "{number} {kind:?}");
    }
    let long_tail = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"abc", 5, ValueKind::Put, b"2")]);
    assert_eq!(long_tail.0.len(), same.0.len() + 1 + 2 * TAIL_END_BYTES);
    let long_value = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"ab", 5, ValueKind::Put, b"22")]);
    assert_eq!(long_value.0.len(), same.0.len() + 2 * 2);
    let very_long = vec![7; 0x1_0000];
    let very_long = sections_of(&[(b"aa", 5, ValueKind::Put, b"1"), (b"ab", 5, ValueKind::Put, &very_long)]);
    assert_eq!(very_long.0.len(), same.0.len() + 2 * 4);
}

#[test]
fn heads_are_not_stored_twice_if_all_keys_are_long_enough() {
    let long = [(&b"k00001"[..], 5, ValueKind::Put, &b""[..]), (b"k12345", 5, ValueKind::Put, b"")];
    assert_eq!(sections_of(&long).0.len(), FIXED_BYTES + 2 * HEAD_BYTES + 1 + 2);
    assert_round_trip(&long);

    let with_short = [(&b"k"[..], 5, ValueKind::Put, &b""[..]), (b"k12345", 5, ValueKind::Put, b"")];
    assert_eq!(sections_of(&with_short).0.len(), FIXED_BYTES + 2 * (HEAD_BYTES + TAIL_END_BYTES) + 1 + 5);
    assert_round_trip(&with_short);
}

#[test]
fn a_key_section_of_several_entries_is_bounded() {
    let mut builder = BlockBuilder::default();
    let mut key = vec![b'k'; 40_000];
    let mut add = |key: &[u8]| builder.add(key, seqno(1), ValueKind::Put, b"", None, usize::MAX);
    assert!(add(&key));

    key[39_999] = b'l';
    assert!(add(&key), "the prefix is stored once");
    key[0] = b'l';

    assert!(!add(&key));
}

#[test]
fn values_lie_in_pages_of_about_sixteen_kibibytes_each_in_one() {
    let value = |at: u32| vec![at as u8; if at % 40 == 7 { 36_000 } else { 800 * (at as usize % 4) }];
    let values: Vec<_> = (0..200).map(value).collect();
    let keys: Vec<_> = (0..200_u32).map(u32::to_be_bytes).collect();
    let entries: Vec<Version<'_>> =
        keys.iter().zip(&values).map(|(key, value)| (&key[..], 1, ValueKind::Put, &value[..])).collect();

    let (_, pages) = sections_of(&entries);

    let target = (values.iter().map(Vec::len).sum::<usize>() / PAGES).max(PAGE_BYTES);
    assert!(pages.len() > 8 && pages.len() <= 2 * PAGES + 1, "{} pages", pages.len());
    assert!(pages.iter().all(|page| page.len() <= target || page.len() == 36_000));
    assert_round_trip(&entries);
}

#[cfg(feature = "lz4")]
#[test]
fn pages_are_opened_one_by_one_and_a_damaged_one_harms_no_other() {
    let values = [[b'a'; 16_000], [b'b'; 16_000], [b'c'; 16_000]];
    let keys = [b"1", b"2", b"3"];
    let mut builder = BlockBuilder::default();
    for (key, value) in keys.iter().zip(&values) {
        assert!(builder.add(&key[..], seqno(1), ValueKind::Put, value, None, 1 << 20));
    }
    let mut frame = Vec::new();
    builder.finish(&mut frame, &codec(), 64, Compression::Lz4);
    let sections = crate::codec::read_frame(&frame, BlockKind::Data, &codec(), 64).unwrap();
    assert_eq!(sections.len(), 4);
    let last = frame.len() - 1;
    frame[last] ^= 1;

    let block = Arc::new(DataBlock::decode(&frame, &codec(), 64, Some(&KeyOrder::BYTES)).unwrap());

    assert_eq!(block.value(0).unwrap(), values[0]);
    assert_eq!(block.value(1).unwrap(), values[1]);
    for _ in 0..2 {
        assert!(block.value(2).is_err(), "each time");
        assert!(DataBlock::value_slice(&block, 2).is_err());
    }
    assert!(block.open_values().is_err());
    assert_eq!(block.value_len(2), 16_000);
    assert_eq!(block.key(2), b"3");
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
    for order in orders() {
        entries.sort_by(|a, b| order.compare(a.0, b.0));
        let block = decode_in(Some(&order), &sections_of(&entries), Compression::default()).unwrap();
        check_search(&order, &block, &keys, &entries);
    }
}

fn check_search(order: &KeyOrder, block: &DataBlock, keys: &[&[u8]], entries: &[Version<'_>]) {
    for target_key in keys.iter().copied().chain([&b"aa"[..], b"aaaaa", b"aaab", b"c", b"\0\0"]) {
        for target_seqno in [0, 9, 10, 11, 19, 20, 21] {
            let target = InternalKey { key: target_key, seqno: seqno(target_seqno) };
            let expected = entries
                .iter()
                .filter(|&&(key, number, ..)| {
                    order.is_before(InternalKey { key, seqno: seqno(number) }, target)
                })
                .count();
            assert_eq!(block.lower_bound(order, target), expected, "{order:?} {target:?}");
        }
    }
}

#[test]
fn entries_are_held_against_the_order_that_is_known() {
    let [bytes, reverse, by_length] = orders();
    let entry = |key| (key, 7, ValueKind::Put, &b"v"[..]);
    let sections = sections_of(&[entry(&b"b"[..]), entry(b"a")]);

    assert!(decode_in(Some(&reverse), &sections, Compression::None).is_ok());
    assert!(decode_in(None, &sections, Compression::None).is_ok());
    assert!(decode_in(Some(&bytes), &sections, Compression::None).is_err());
    assert!(decode_in(Some(&by_length), &sections, Compression::None).is_err());
}

/// Keys that share much with their neighbours, and not with the whole block, are worth it.
#[cfg(feature = "lz4")]
#[test]
fn keys_are_compressed_where_that_saves_enough() {
    let frame_bytes = |keys: &[Vec<u8>], compression| {
        let mut builder = BlockBuilder::default();
        for key in keys {
            assert!(builder.add(key, seqno(1), ValueKind::Put, b"", None, 1 << 20));
        }
        let mut frame = Vec::new();
        builder.finish(&mut frame, &codec(), 64, compression);
        let block = DataBlock::decode(&frame, &codec(), 64, Some(&KeyOrder::BYTES)).unwrap();
        assert!(keys.iter().enumerate().all(|(at, key)| block.key(at) == *key));
        frame.len()
    };
    let paths: Vec<Vec<u8>> =
        (0..200).map(|at| alloc::format!("/srv/{}/some/file/{at:04}", at / 50).into()).collect();
    let mut numbers: Vec<Vec<u8>> =
        (0..200_u32).map(|at| at.wrapping_mul(0x9E37_79B9).to_be_bytes().into()).collect();
    numbers.sort();

    assert!(frame_bytes(&paths, Compression::Lz4) * 2 < frame_bytes(&paths, Compression::None));
    assert_eq!(frame_bytes(&numbers, Compression::Lz4), frame_bytes(&numbers, Compression::None));
}

/// Whatever passes decoding can be read without a panic.
fn read_all(sections: &Sections) -> bool {
    let Ok(block) = decode(sections, Compression::None) else { return false };
    for target in [&b""[..], b"key", b"key2", b"\xff\xff"] {
        let entry = block.lower_bound(&KeyOrder::BYTES, InternalKey { key: target, seqno: seqno(4) });
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
    let alike: [Version<'_>; 3] = [
        (b"key1aaa", 9, ValueKind::Put, b"one"),
        (b"key2bbb", 9, ValueKind::Put, b"two"),
        (b"key3ccc", 9, ValueKind::Put, b"too"),
    ];
    let mut refused = 0;
    for (keys, pages) in [sections_of(&entries), sections_of(&alike)] {
        for at in 0..keys.len() {
            for byte in 0..=u8::MAX {
                let mut hostile = keys.clone();
                hostile[at] = byte;
                refused += usize::from(!read_all(&(hostile, pages.clone())));
            }
        }
        for len in 0..keys.len() {
            assert!(!read_all(&(keys[..len].to_vec(), pages.clone())), "keys cut at {len}");
        }
        for len in 0..pages[0].len() {
            assert!(!read_all(&(keys.clone(), vec![pages[0][..len].to_vec()])), "values cut at {len}");
        }
        let (head, tail) = pages[0].split_at(4);
        assert!(!read_all(&(keys.clone(), vec![head.to_vec(), tail.to_vec()])), "a value in two pages");
        assert!(!read_all(&(keys, [pages.clone(), vec![vec![]]].concat())), "a page without bytes");
        assert!(!read_all(&(vec![0xff; 64], pages.clone())));
        assert!(!read_all(&(vec![], pages)));
    }
    assert!(refused > 1_000, "{refused} were refused");
}

/// Blocks were taken in whatever order their entries were: a scan over one could go round for ever, and the
/// merge of one failed an assertion of the table that it was written to.
#[test]
fn entries_out_of_order_are_no_block() {
    let put = |key, number| (key, number, ValueKind::Put, &b""[..]);
    let of_many_lengths = [put(&b"aaaab"[..], 5), put(b"aaaac", 7), put(b"aaaac", 3), put(b"b", 9)];
    let alike = [put(&b"aaaab"[..], 5), put(b"aaaac", 7), put(b"aaaac", 3), put(b"bbbbb", 9)];
    for sorted in [of_many_lengths, alike] {
        assert!(decode(&sections_of(&sorted), Compression::None).is_ok());
        for (at, other) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
            let mut entries = sorted;
            entries.swap(at, other);
            let sections = sections_of(&entries);
            assert!(decode(&sections, Compression::None).is_err(), "{at} and {other} were swapped");
        }
        let twice = sections_of(&[sorted[0], sorted[0]]);
        assert!(decode(&twice, Compression::None).is_err(), "one version twice");
    }
    let (mut foreign_head, pages) = sections_of(&of_many_lengths);
    foreign_head[FIXED_BYTES] ^= 1;
    assert!(decode(&(foreign_head, pages), Compression::None).is_err());
}
