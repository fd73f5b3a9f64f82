//! Against a sorted list, and with sources that fail.

use super::*;
use crate::iter::simulated::{Blocks, Dice, SimulatedCursor, Version, with_seeds};
use alloc::sync::Arc;

fn blocks(versions: &[Version], is_cut: impl FnMut() -> bool) -> Arc<Blocks> {
    Arc::new(Blocks::new(versions.to_vec(), is_cut))
}

fn merged(sources: &[Arc<Blocks>]) -> MergeCursor<SimulatedCursor> {
    MergeCursor::new(sources.iter().map(Blocks::cursor).collect(), &KeyOrder::BYTES)
}

/// Versions with different numbers, dealt to sources; and all of them, sorted.
fn deal(dice: &mut Dice) -> (Vec<Vec<Version>>, Vec<Version>) {
    let mut sources: Vec<Vec<Version>> = (0..dice.below(5)).map(|_| Vec::new()).collect();
    let mut all = Vec::new();
    if !sources.is_empty() {
        for seqno in 1..=dice.below(30) {
            let version = Version::new(&dice.key(), seqno, crate::key::ValueKind::Put, b"v");
            let source = dice.index(sources.len());
            sources[source].push(version.clone());
            all.push(version);
        }
    }
    all.sort_by(|a, b| KeyOrder::BYTES.compare_places(a.place(), b.place()));
    (sources, all)
}

#[test]
fn a_merge_is_one_sorted_sequence_in_both_directions_and_turns_anywhere() {
    with_seeds(300, |dice| {
        let (sources, all) = deal(dice);
        let sources: Vec<Arc<Blocks>> =
            sources.iter().map(|versions| blocks(versions, || dice.one_in(3))).collect();
        let mut merge = merged(&sources);
        let mut model: Option<usize> = None;

        for _ in 0..60 {
            let key = dice.key();
            let target = InternalKey { key: &key, seqno: Seqno::from_raw(dice.below(31)).unwrap() };
            match dice.below(8) {
                0 => {
                    merge.seek_first().unwrap();
                    model = (!all.is_empty()).then_some(0);
                }
                1 => {
                    merge.seek_last().unwrap();
                    model = all.len().checked_sub(1);
                }
                2 => {
                    merge.seek(target).unwrap();
                    let at =
                        all.partition_point(|version| KeyOrder::BYTES.is_before(version.place(), target));
                    model = (at < all.len()).then_some(at);
                }
                3 => {
                    merge.seek_back(target).unwrap();
                    model = all
                        .partition_point(|version| !KeyOrder::BYTES.is_before(target, version.place()))
                        .checked_sub(1);
                }
                4 | 5 if model.is_some() => {
                    merge.next().unwrap();
                    model = model.map(|at| at + 1).filter(|&at| at < all.len());
                }
                _ if model.is_some() => {
                    merge.prev().unwrap();
                    model = model.and_then(|at| at.checked_sub(1));
                }
                _ => {}
            }

            assert_eq!(Version::at(&merge), model.map(|at| all[at].clone()));
            assert_eq!(merge.value().unwrap()[..], model.map_or(&b""[..], |at| &all[at].value)[..]);
        }
    });
}

/// A run whose second block cannot be read, beside a source with keys before and behind that block.
fn one_damaged() -> [Arc<Blocks>; 2] {
    let mut cuts = [false, true, false].into_iter().cycle();
    let run = [
        Version::put("a", 1, ""),
        Version::put("c", 2, ""),
        Version::put("x", 3, ""),
        Version::put("z", 4, ""),
    ];
    let mut run = Blocks::new(run.into(), || cuts.next().unwrap());
    let keys = run.damage(1);
    assert_eq!(keys, (Bound::Excluded(b"c".to_vec()), Bound::Included(b"z".to_vec())));
    let other = ["b", "bb", "c", "d", "zz"].map(|key| Version::put(key, 9, ""));
    [Arc::new(run), blocks(&other, || false)]
}

fn key_of(merge: &MergeCursor<SimulatedCursor>) -> Option<&str> {
    merge.entry().map(|entry| core::str::from_utf8(entry.key).unwrap())
}

#[test]
fn an_error_waits_until_the_merge_comes_to_its_keys() {
    let mut merge = merged(&one_damaged());

    let mut seen = Vec::new();
    merge.seek_first().unwrap();
    let error = loop {
        seen.push(alloc::string::String::from(key_of(&merge).unwrap()));
        if let Err(error) = merge.next() {
            break error;
        }
    };

    assert_eq!(seen, ["a", "b", "bb", "c", "c"], "c was read and is not in the damaged range");
    assert_eq!(error.keys().unwrap().1, Bound::Included(b"z".to_vec()));
    assert_eq!(key_of(&merge), None, "after an error it stands on nothing");
    merge.seek(InternalKey::first_of(b"zz")).unwrap();
    assert_eq!(key_of(&merge), Some("zz"), "and goes on behind");
}

#[test]
fn backwards_an_error_waits_too() {
    let mut merge = merged(&one_damaged());

    merge.seek_last().unwrap();

    assert_eq!(key_of(&merge), Some("zz"), "which lies behind the damaged range");
    assert!(merge.prev().is_err());
    assert_eq!(key_of(&merge), None);
    merge.seek_back(InternalKey::last_of(b"c")).unwrap();
    assert_eq!(key_of(&merge), Some("c"));
}

#[test]
fn an_error_that_waits_is_forgotten_when_the_merge_turns_away() {
    let mut merge = merged(&one_damaged());
    merge.seek(InternalKey::first_of(b"c")).unwrap();
    merge.next().unwrap(); // The run stands before its damaged block, which is behind "d" for all it knows.

    merge.prev().unwrap();
    merge.prev().unwrap();

    assert_eq!(key_of(&merge), Some("bb"));
}

#[test]
fn an_error_without_keys_is_given_out_at_once() {
    struct Failing;
    impl Cursor for Failing {
        fn seek_first(&mut self) -> Result<()> {
            Err(Error::new(crate::error::ErrorKind::Io, "somewhere"))
        }
        fn seek_last(&mut self) -> Result<()> {
            self.seek_first()
        }
        fn seek(&mut self, _: InternalKey<'_>) -> Result<()> {
            self.seek_first()
        }
        fn seek_back(&mut self, _: InternalKey<'_>) -> Result<()> {
            self.seek_first()
        }
        fn next(&mut self) -> Result<()> {
            self.seek_first()
        }
        fn prev(&mut self) -> Result<()> {
            self.seek_first()
        }
        fn entry(&self) -> Option<Entry<'_>> {
            None
        }
        fn value_bytes(&self) -> Result<&[u8]> {
            Ok(&[])
        }
        fn value(&self) -> Result<Slice> {
            Ok(Slice::EMPTY)
        }
    }
    let healthy = blocks(&[Version::put("a", 1, "")], || false);
    let mut merge: MergeCursor<alloc::boxed::Box<dyn Cursor>> = MergeCursor::new(
        Vec::from([
            alloc::boxed::Box::new(healthy.cursor()) as alloc::boxed::Box<dyn Cursor>,
            alloc::boxed::Box::new(Failing),
        ]),
        &KeyOrder::BYTES,
    );

    assert!(merge.seek_first().is_err());
    assert!(merge.entry().is_none());
}
