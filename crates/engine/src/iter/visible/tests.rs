//! Against a map, from both ends; and with damaged sources.

use super::*;
use crate::iter::{
    MergeCursor,
    simulated::{Blocks, Dice, Version, with_seeds},
};
use crate::{
    key::ValueKind,
    types::{UnixUs, View},
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc};
use core::cmp::Reverse;

type Model = BTreeMap<(Vec<u8>, Reverse<Seqno>), (ValueKind, Vec<u8>)>;

fn scan_of(
    sources: Vec<Arc<Blocks>>,
    at: Seqno,
    range: KeyBounds,
) -> VisibleScan<impl Fn() -> Box<dyn Cursor>, Box<dyn Cursor>> {
    let make = move || -> Box<dyn Cursor> {
        Box::new(MergeCursor::new(sources.iter().map(Blocks::cursor).collect(), &KeyOrder::BYTES))
    };
    VisibleScan::new(make, Sight::plain(View::new(at, UnixUs(0))), range)
}

/// What a view sees.
fn visible(model: &Model, at: Seqno) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut seen = BTreeMap::new();
    let mut decided: Option<&[u8]> = None;
    for ((key, Reverse(seqno)), (kind, value)) in model {
        if *seqno <= at && decided != Some(key) {
            decided = Some(key);
            if *kind == ValueKind::Put {
                seen.insert(key.clone(), value.clone());
            }
        }
    }
    seen
}

/// Puts and deletes of few keys, dealt to sources in blocks.
fn deal(dice: &mut Dice) -> (Vec<Blocks>, Model) {
    let mut sources: Vec<Vec<Version>> = (0..1 + dice.below(4)).map(|_| Vec::new()).collect();
    let mut model = Model::new();
    for seqno in 1..=dice.below(40) {
        let (key, value) = (dice.key(), seqno.to_le_bytes());
        let (kind, value) = match dice.below(4) {
            0 => (ValueKind::Delete, &b""[..]),
            _ => (ValueKind::Put, &value[..]),
        };
        let version = Version::new(&key, seqno, kind, value);
        model.insert((key, Reverse(version.seqno)), (kind, value.into()));
        let source = dice.index(sources.len());
        sources[source].push(version);
    }
    let sources = sources.into_iter().map(|versions| Blocks::new(versions, || dice.one_in(3))).collect();
    (sources, model)
}

fn in_bounds(key: &[u8], (low, high): &KeyBounds) -> bool {
    KeyOrder::BYTES.is_above(key, as_slice(low)) && KeyOrder::BYTES.is_below(key, as_slice(high))
}

#[test]
fn a_scan_from_both_ends_with_seeks_shows_what_the_model_shows() {
    with_seeds(500, |dice| {
        let (sources, model) = deal(dice);
        let at = Seqno::from_raw(dice.below(42)).unwrap();
        let all = visible(&model, at);
        let range = (dice.bound(), dice.bound());
        let mut scan = scan_of(sources.into_iter().map(Arc::new).collect(), at, range.clone());
        let mut left = range.clone();

        for _ in 0..40 {
            let with_value = dice.one_in(2);
            match dice.below(8) {
                0 => {
                    let key = dice.key();
                    scan.seek(&key);
                    left.0 = greater_low(&KeyOrder::BYTES, &range.0, &key);
                }
                1 => {
                    let key = dice.key();
                    scan.seek_back(&key);
                    left.1 = lesser_high(&KeyOrder::BYTES, &range.1, &key);
                }
                op => {
                    let mut keys = all.iter().filter(|(key, _)| in_bounds(key, &left));
                    let expected = if op % 2 == 0 { keys.next() } else { keys.next_back() };
                    let found = if op % 2 == 0 { scan.next(with_value) } else { scan.next_back(with_value) };
                    let found = found.map(|item| item.unwrap());
                    let expected = expected.map(|(key, value)| {
                        (Slice::from(&key[..]), if with_value { value[..].into() } else { Slice::EMPTY })
                    });
                    assert_eq!(found, expected, "between {left:?}");
                    match (op % 2, expected) {
                        (0, Some((key, _))) => left.0 = Bound::Excluded(key.to_vec()),
                        (_, Some((key, _))) => left.1 = Bound::Excluded(key.to_vec()),
                        (_, None) => {}
                    }
                }
            }
        }
    });
}

#[test]
fn no_key_outside_of_an_error_is_missing_and_no_older_value_shows() {
    with_seeds(3_000, |dice| {
        let (mut sources, model) = deal(dice);
        let at = Seqno::from_raw(dice.below(42)).unwrap();
        let all = visible(&model, at);
        let mut damaged = Vec::new();
        for source in &mut sources {
            for block in 0..source.len() {
                if dice.one_in(4) {
                    damaged.push(source.damage(block));
                }
            }
        }
        let range = (dice.bound(), dice.bound());
        let mut scan = scan_of(sources.into_iter().map(Arc::new).collect(), at, range.clone());
        let direction = dice.below(3);

        let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
        let mut ended = [false; 2];
        while ended != [true; 2] {
            let from_front = match direction {
                0 => !ended[0],
                1 => ended[1],
                _ => dice.one_in(2),
            };
            let item = if from_front { scan.next(true) } else { scan.next_back(true) };
            match item {
                None => ended[usize::from(!from_front)] = true,
                Some(Ok((key, value))) => {
                    assert!(in_bounds(&key, &range));
                    assert_eq!(found.insert(key.to_vec(), value.to_vec()), None, "given out once");
                }
                Some(Err(error)) => errors.push(error.keys().unwrap().clone()),
            }
        }

        for (key, value) in all.iter().filter(|(key, _)| in_bounds(key, &range)) {
            let is_in_danger = errors.iter().any(|keys| in_bounds(key, keys));
            assert!(found.contains_key(key) || is_in_danger, "{key:?} is missing without an error");
            assert!(found.get(key).is_none_or(|found| found == value), "an old value of {key:?}");
        }
        assert!(found.keys().all(|key| all.contains_key(key)), "a deleted key shows");
        for (index, keys) in errors.iter().enumerate() {
            assert!(damaged.contains(keys), "an error names just what is damaged: {keys:?}");
            assert!(
                !is_between_empty(&KeyOrder::BYTES, &range.0, &keys.1)
                    && !is_between_empty(&KeyOrder::BYTES, &keys.0, &range.1)
            );
            let again = errors[index + 1..].iter().filter(|other| *other == keys).count();
            let damages = damaged.iter().filter(|other| *other == keys).count();
            assert!(again < damages, "{keys:?} is told once");
        }
    });
}

fn texts(scan: impl Iterator<Item = Result<Item>>) -> Vec<alloc::string::String> {
    scan.map(|item| match item {
        Ok((key, _)) => alloc::string::String::from_utf8(key.to_vec()).unwrap(),
        Err(error) => alloc::format!("{:?}", error.keys().unwrap()),
    })
    .collect()
}

/// What a damaged block of one source once hid: everything behind it, in all sources.
#[test]
fn a_scan_goes_on_behind_a_damaged_block_in_all_sources() {
    let versions = ["a", "c", "x", "z"].map(|key| Version::put(key, 1, ""));
    let mut cuts = [false, true, false, false].into_iter();
    let mut run = Blocks::new(versions.into(), || cuts.next().unwrap());
    run.damage(1);
    let memory = ["b", "y", "zz"].map(|key| Version::put(key, 2, ""));
    let sources = Vec::from([Arc::new(run), Arc::new(Blocks::new(memory.into(), || false))]);
    let range = (Bound::Unbounded, Bound::Unbounded);
    let error = alloc::format!("{:?}", (Bound::Excluded(b"c".to_vec()), Bound::Included(b"z".to_vec())));

    let mut scan = scan_of(sources.clone(), Seqno::MAX, range.clone());
    let forward = texts(core::iter::from_fn(|| scan.next(true)));
    let mut scan = scan_of(sources, Seqno::MAX, range);
    let backward = texts(core::iter::from_fn(|| scan.next_back(true)));

    assert_eq!(forward, ["a", "b", "c", &error, "zz"]);
    assert_eq!(backward, ["zz", &error, "c", "b", "a"]);
}

#[test]
fn damage_to_older_versions_of_a_key_that_was_given_out_is_not_told() {
    let versions = [Version::put("a", 9, "new"), Version::put("a", 1, "old"), Version::put("b", 2, "")];
    let mut run = Blocks::new(versions.into(), || true);
    run.damage(1);
    let mut scan = scan_of(Vec::from([Arc::new(run)]), Seqno::MAX, (Bound::Unbounded, Bound::Unbounded));

    assert_eq!(scan.next(true).unwrap().unwrap().1, b"new");
    assert_eq!(scan.next(true).unwrap().unwrap().0, b"b");
    assert!(scan.next(true).is_none());
}

#[test]
fn damage_outside_of_the_range_is_not_told() {
    let versions = ["a", "c", "x", "z"].map(|key| Version::put(key, 1, ""));
    let mut run = Blocks::new(versions.into(), || true);
    run.damage(0);
    run.damage(3);
    let range = (Bound::Included(b"b".to_vec()), Bound::Included(b"x".to_vec()));
    let sources = Vec::from([Arc::new(run)]);

    let mut scan = scan_of(sources.clone(), Seqno::MAX, range.clone());
    let forward = texts(core::iter::from_fn(|| scan.next(true)));
    let mut scan = scan_of(sources, Seqno::MAX, range);
    let backward = texts(core::iter::from_fn(|| scan.next_back(true)));

    assert_eq!(forward, ["c", "x"]);
    assert_eq!(backward, ["x", "c"]);
}

#[test]
fn an_end_that_met_the_other_goes_on_when_the_other_makes_room() {
    let versions = ["a", "b", "c", "d"].map(|key| Version::put(key, 1, ""));
    let sources = Vec::from([Arc::new(Blocks::new(versions.into(), || false))]);
    let mut scan = scan_of(sources, Seqno::MAX, (Bound::Unbounded, Bound::Unbounded));
    scan.seek_back(b"b");
    assert_eq!(texts(core::iter::from_fn(|| scan.next(true))), ["a", "b"]);

    scan.seek_back(b"c");

    assert_eq!(
        texts(core::iter::from_fn(|| scan.next(true))),
        ["c"],
        "what the front gave out stays behind it"
    );
}

#[test]
fn an_entry_of_an_unknown_kind_is_an_error_over_its_key() {
    let versions = [
        Version::put("a", 1, ""),
        Version::new(b"b", 2, ValueKind::Merge, b""),
        Version::put("b", 1, "old"),
        Version::put("c", 1, ""),
    ];
    let sources = Vec::from([Arc::new(Blocks::new(versions.into(), || false))]);
    let error = alloc::format!("{:?}", (Bound::Included(b"b".to_vec()), Bound::Included(b"b".to_vec())));

    let mut scan = scan_of(sources.clone(), Seqno::MAX, (Bound::Unbounded, Bound::Unbounded));
    assert_eq!(texts(core::iter::from_fn(|| scan.next(true))), ["a", &error, "c"]);
    let mut scan = scan_of(sources, Seqno::MAX, (Bound::Unbounded, Bound::Unbounded));
    assert_eq!(texts(core::iter::from_fn(|| scan.next_back(true))), ["c", &error, "a"]);
}

#[test]
fn many_versions_of_a_key_are_passed_by_seeking() {
    let mut versions: Vec<Version> = (1..100).map(|seqno| Version::put("a", seqno, "")).collect();
    versions.push(Version::delete("b", 1));
    versions.push(Version::put("c", 1, ""));
    let sources = Vec::from([Arc::new(Blocks::new(versions, || false))]);

    let mut scan = scan_of(sources, Seqno::from_raw(50).unwrap(), (Bound::Unbounded, Bound::Unbounded));

    assert_eq!(texts(core::iter::from_fn(|| scan.next(true))), ["a", "c"]);
}
