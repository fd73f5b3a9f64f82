//! Cursors for tests: sorted versions in blocks, any of which may be damaged as a block of a table is. And
//! dice.

use super::{Cursor, Entry};
use crate::{
    error::{Error, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
    types::{Seqno, Slice},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::ops::Bound;

extern crate std;

/// One version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) key: Vec<u8>,
    pub(crate) seqno: Seqno,
    pub(crate) kind: ValueKind,
    pub(crate) value: Vec<u8>,
}

impl Version {
    pub(crate) fn put(key: &str, seqno: u64, value: &str) -> Version {
        Version::new(key.as_bytes(), seqno, ValueKind::Put, value.as_bytes())
    }

    pub(crate) fn delete(key: &str, seqno: u64) -> Version {
        Version::new(key.as_bytes(), seqno, ValueKind::Delete, b"")
    }

    pub(crate) fn new(key: &[u8], seqno: u64, kind: ValueKind, value: &[u8]) -> Version {
        let seqno = Seqno::from_raw(seqno).expect("small");
        Version { key: key.into(), seqno, kind, value: value.into() }
    }

    pub(crate) fn place(&self) -> InternalKey<'_> {
        InternalKey { key: &self.key, seqno: self.seqno }
    }

    /// Where a cursor stands.
    pub(crate) fn at(cursor: &dyn Cursor) -> Option<Version> {
        let entry = cursor.entry()?;
        let value = cursor.value_bytes().expect("values of tests can be read");
        Some(Version { key: entry.key.into(), seqno: entry.seqno, kind: entry.kind, value: value.into() })
    }
}

/// Sorted versions in blocks.
#[derive(Debug)]
pub(crate) struct Blocks(Vec<Block>);

#[derive(Debug)]
struct Block {
    versions: Vec<Version>,
    /// At or behind its last version and before the next block, as in the index of a table.
    separator: (Vec<u8>, Seqno),
    /// Keys that may lie in it, as the index of a table tells.
    bounds: KeyBounds,
    is_damaged: bool,
}

impl Blocks {
    /// Sorts versions into blocks: `is_cut` says after each but the last whether a block ends there.
    pub(crate) fn new(mut versions: Vec<Version>, mut is_cut: impl FnMut() -> bool) -> Blocks {
        versions.sort_by(|a, b| KeyOrder::BYTES.compare_places(a.place(), b.place()));
        let mut blocks: Vec<Vec<Version>> = Vec::new();
        let mut open = false;
        for version in versions {
            match blocks.last_mut() {
                Some(block) if open => block.push(version),
                _ => blocks.push(Vec::from([version])),
            }
            open = !is_cut();
        }
        let mut built: Vec<Block> = Vec::new();
        for versions in blocks {
            let (first, last) = (&versions[0], &versions[versions.len() - 1]);
            let from = match built.last_mut() {
                None => Bound::Included(first.key.clone()),
                Some(before) if before.separator.0 == first.key => {
                    before.separator.1 = before.versions[before.versions.len() - 1].seqno;
                    Bound::Included(first.key.clone())
                }
                Some(before) => Bound::Excluded(before.separator.0.clone()),
            };
            let bounds = (from, Bound::Included(last.key.clone()));
            let separator = (last.key.clone(), Seqno::ZERO);
            built.push(Block { versions, separator, bounds, is_damaged: false });
        }
        Blocks(built)
    }

    /// Damages a block; returns the keys that are in danger.
    pub(crate) fn damage(&mut self, block: usize) -> KeyBounds {
        self.0[block].is_damaged = true;
        self.0[block].bounds.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn cursor(self: &Arc<Blocks>) -> SimulatedCursor {
        SimulatedCursor { blocks: Arc::clone(self), at: None }
    }
}

/// A cursor over [`Blocks`]: touching a damaged one is an error.
pub(crate) struct SimulatedCursor {
    blocks: Arc<Blocks>,
    at: Option<(usize, usize)>,
}

impl SimulatedCursor {
    fn block(&self, index: usize) -> Result<&[Version]> {
        let block = &self.blocks.0[index];
        if block.is_damaged {
            return Err(Error::corrupt("simulated", index as u64, "damaged").over_keys(block.bounds.clone()));
        }
        Ok(&block.versions)
    }

    fn first_from(&mut self, index: usize) -> Result<()> {
        self.at = None;
        if index < self.blocks.len() {
            self.block(index)?;
            self.at = Some((index, 0));
        }
        Ok(())
    }

    fn last_before(&mut self, end: usize) -> Result<()> {
        self.at = None;
        if let Some(index) = end.checked_sub(1) {
            self.at = Some((index, self.block(index)?.len() - 1));
        }
        Ok(())
    }

    fn find(&self, target: InternalKey<'_>) -> usize {
        let separator = |(key, seqno): &(Vec<u8>, Seqno)| {
            KeyOrder::BYTES.is_before(InternalKey { key, seqno: *seqno }, target)
        };
        self.blocks.0.partition_point(|block| separator(&block.separator))
    }
}

impl Cursor for SimulatedCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.first_from(0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.last_before(self.blocks.len())
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.at = None;
        let index = self.find(target);
        if index < self.blocks.len() {
            let block = self.block(index)?;
            let entry = block.partition_point(|version| KeyOrder::BYTES.is_before(version.place(), target));
            if entry == block.len() {
                return self.first_from(index + 1);
            }
            self.at = Some((index, entry));
        }
        Ok(())
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.at = None;
        let index = self.find(target);
        if index == self.blocks.len() {
            return self.seek_last();
        }
        if KeyOrder::BYTES.is_before(target, self.blocks.0[0].versions[0].place()) {
            return Ok(()); // As a run knows without touching its tables.
        }
        match self
            .block(index)?
            .partition_point(|version| !KeyOrder::BYTES.is_before(target, version.place()))
        {
            0 => self.last_before(index),
            behind => {
                self.at = Some((index, behind - 1));
                Ok(())
            }
        }
    }

    fn next(&mut self) -> Result<()> {
        let (block, entry) = self.at.expect("stands on an entry");
        if entry + 1 < self.blocks.0[block].versions.len() {
            self.at = Some((block, entry + 1));
            return Ok(());
        }
        self.first_from(block + 1)
    }

    fn prev(&mut self) -> Result<()> {
        let (block, entry) = self.at.expect("stands on an entry");
        if entry > 0 {
            self.at = Some((block, entry - 1));
            return Ok(());
        }
        self.last_before(block)
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let (block, entry) = self.at?;
        let Version { key, seqno, kind, .. } = &self.blocks.0[block].versions[entry];
        Some(Entry { key, seqno: *seqno, kind: *kind })
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        Ok(self.at.map_or(&[], |(block, entry)| &self.blocks.0[block].versions[entry].value))
    }

    fn value(&self) -> Result<Slice> {
        self.value_bytes().map(Slice::from)
    }
}

/// Random numbers of a seed (SplitMix64).
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn of(seed: u64) -> Dice {
        Dice { seed, state: seed }
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.roll() % below
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("less than a length")
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A key of at most three bytes of a small alphabet, often the empty one's neighbours.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        (0..self.below(4)).map(|_| b"\0ab\xff"[self.index(4)]).collect()
    }

    pub(crate) fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }
}

/// Runs a test with many seeds, or with that of `ISOPACH_SEED`; a failure names the seed.
pub(crate) fn with_seeds(runs: u64, test: impl Fn(&mut Dice)) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                std::eprintln!("replay with ISOPACH_SEED={}", self.0);
            }
        }
    }
    let told: Option<String> = std::env::var("ISOPACH_SEED").ok();
    let seeds = match told {
        Some(seed) => {
            let seed: u64 = seed.parse().unwrap_or_else(|_| panic!("{}", format!("no seed: {seed}")));
            seed..seed + 1
        }
        None => 1..runs + 1,
    };
    for seed in seeds {
        let mut dice = Dice::of(seed);
        let tell = Tell(dice.seed);
        test(&mut dice);
        drop(tell);
    }
}
