//! Round trips, the example of the format, and bytes that are no edit.

use super::*;
use crate::{
    codec::{
        Parity,
        golden::{assert_golden, parse},
    },
    iter::simulated::{Dice, with_seeds},
    place::PlaceId,
    types::{BlobId, Uuid},
    version::{PlacedRoute, Route},
};
use core::ops::RangeInclusive;

const EDIT: &str = include_str!("../../../testdata/golden/edit.hex");
const META: &str = include_str!("../../../testdata/golden/table_meta.hex");

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn meta(id: u64) -> Arc<TableMeta> {
    let meta = TableMeta::decode(&parse(META)).unwrap();
    Arc::new(TableMeta { id: TableId(id), ..meta })
}

fn blob(id: u64) -> BlobMeta {
    BlobMeta {
        id: BlobId(id),
        uuid: Uuid([5; 16]),
        bytes: 4160,
        records: 3,
        place: PlaceId::MAIN,
        seal: None,
        parity: Parity::None,
    }
}

/// A change of every kind.
fn example() -> Vec<Change> {
    let tables = TablesChange {
        tree: TreeId(3),
        removed: Vec::from([TableId(16)]),
        added: Vec::from([Added { level: Level(0), age: RunAge(9), table: meta(17) }]),
        replay_point: Some(number(9)),
        read_floor: Some(number(8)),
        blobs: Vec::from([blob(18)]),
    };
    Vec::from([
        Change::FileIdMark(257),
        Change::TreeIdMark(17),
        Change::CreateTree { id: TreeId(3), name: "fruit".into(), options: b"opt".into(), at: number(7) },
        Change::Tables(tables),
        Change::Note(Note::new("log", [1, 2])),
        Change::DropTree { id: TreeId(2), at: number(8) },
        Change::SetOptions { id: TreeId(3), options: b"new".into() },
        Change::Routes(routes("cold", 5..=6)),
    ])
}

fn routes(name: &str, levels: RangeInclusive<u8>) -> Routes {
    let route = Route { name: name.into(), levels: Some(levels), has_blobs: true };
    Routes::new(Vec::from([PlacedRoute { place: PlaceId(2), uuid: Uuid([6; 16]), route }])).unwrap()
}

fn random_change(dice: &mut Dice) -> Change {
    let id = TreeId(dice.below(1 << 32) as u32);
    let at = number(dice.below(Seqno::MAX.raw() + 1));
    match dice.below(8) {
        0 => Change::CreateTree { id, name: "n\u{fc}".repeat(dice.index(4)), options: dice.key(), at },
        1 => Change::DropTree { id, at },
        2 => Change::Note(Note::new("\u{1f980}".repeat(dice.index(3)), dice.key())),
        3 => Change::FileIdMark(dice.roll()),
        4 => Change::TreeIdMark(dice.below(1 << 32) as u32),
        5 => Change::SetOptions { id, options: dice.key() },
        6 => Change::Routes(routes(&"n\u{fc}".repeat(1 + dice.index(4)), 0..=dice.below(7) as u8)),
        _ => Change::Tables(TablesChange {
            tree: id,
            removed: (0..dice.below(4)).map(|_| TableId(dice.roll())).collect(),
            added: (0..dice.below(3))
                .map(|_| {
                    let level = Level(dice.below(256) as u8);
                    Added { level, age: RunAge(dice.roll()), table: meta(dice.roll()) }
                })
                .collect(),
            replay_point: dice.one_in(2).then_some(at),
            read_floor: dice.one_in(2).then_some(at),
            blobs: (0..dice.below(3)).map(|_| blob(dice.roll())).collect(),
        }),
    }
}

#[test]
fn an_edit_is_as_documented() {
    assert_golden("edit", EDIT, &encode_edit(&example()));
    assert_eq!(decode_edit(&parse(EDIT)), Ok(example()));
}

#[test]
fn an_edit_is_decoded_to_what_was_encoded() {
    with_seeds(300, |dice| {
        let changes: Vec<Change> = (0..dice.below(6)).map(|_| random_change(dice)).collect();

        assert_eq!(decode_edit(&encode_edit(&changes)), Ok(changes));
    });
}

#[test]
fn an_edit_that_is_cut_off_has_fewer_changes_or_is_refused() {
    let (bytes, whole) = (encode_edit(&example()), example());
    for len in 0..bytes.len() {
        if let Ok(changes) = decode_edit(&bytes[..len]) {
            assert!(changes.len() < whole.len() && whole.starts_with(&changes), "{len} bytes");
        }
    }
}

#[test]
fn no_flipped_bit_and_no_length_of_an_edit_panics() {
    let whole = encode_edit(&example());
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(changes) = decode_edit(&bytes) {
                assert_eq!(decode_edit(&encode_edit(&changes)), Ok(changes));
            }
        }
        for length in [0, 1, 0x7fff_ffff, u32::MAX] {
            let mut bytes = whole.clone();
            let end = (at + 4).min(bytes.len());
            bytes[at..end].copy_from_slice(&u32::to_le_bytes(length)[..end - at]);
            drop(decode_edit(&bytes));
        }
    }
}

#[test]
fn random_bytes_are_no_reason_to_panic() {
    with_seeds(2_000, |dice| {
        let mut bytes = encode_edit(&example());
        for _ in 0..1 + dice.below(4) {
            let at = dice.index(bytes.len());
            match dice.below(3) {
                0 => bytes[at] = dice.roll() as u8,
                1 => drop(bytes.drain(at..(at + dice.index(9)).min(bytes.len()))),
                _ => bytes.insert(at, dice.roll() as u8),
            }
            if bytes.is_empty() {
                return;
            }
        }
        drop(decode_edit(&bytes));
    });
}

#[test]
fn fields_of_a_later_version_are_skipped_only_if_they_may_be() {
    let with = |tag: u8| {
        let mut bytes = encode_edit(&example());
        bytes.extend_from_slice(&[tag, 1, 0, 0, 0, 42]);
        decode_edit(&bytes)
    };

    assert_eq!(with(0x80), Ok(example()));
    assert_eq!(with(0xff), Ok(example()));
    assert!(with(0x7f).is_err());
    assert!(with(0).is_err());
}

#[test]
fn numbers_out_of_bounds_are_refused() {
    let seqno = (1_u64 << 56).to_le_bytes();
    let mut drop_tree = TlvWriter::new();
    drop_tree.bytes(DROP_TREE, &[&[0; 4][..], &seqno].concat());
    assert!(decode_edit(&drop_tree.finish()).is_err());
    let mut mark = TlvWriter::new();
    mark.u64(TREE_ID_MARK, 1 << 32);
    assert!(decode_edit(&mark.finish()).is_err());
    let mut tables = TlvWriter::new();
    tables.bytes(TABLES, b"");
    assert!(decode_edit(&tables.finish()).is_err(), "no tree");
}
