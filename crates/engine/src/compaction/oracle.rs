//! The oracle of what reads must see after a job, and the random numbers of this module's tests.

extern crate std;

use super::fate::Views;
use crate::types::{Seqno, UnixUs, View};
use alloc::{string::String, vec, vec::Vec};
use std::{env, eprintln};

/// Names the seed to run with, to replay a failure.
const SEED_VARIABLE: &str = "ISOPACH_SEED";

/// A version of a key; `None` is a delete. Histories are newest first.
pub(super) type Version = (u64, Option<u64>);

/// Some keys, each with what lies above the job, in it, and below; and the views of the job's start.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) keys: Vec<[Vec<Version>; 3]>,
    pub(super) live: Vec<u64>,
    pub(super) visible: u64,
}

impl Case {
    pub(super) fn generate(random: &mut Random) -> Case {
        let versions = random.below(12);
        let mut keys: Vec<Vec<Version>> = vec![Vec::new(); 1 + random.below(3) as usize];
        let mut seqno = 0;
        for _ in 0..versions {
            seqno += 1 + random.below(3);
            let key = random.below(keys.len() as u64) as usize;
            keys[key].insert(0, (seqno, (random.below(3) > 0).then_some(seqno)));
        }
        let visible = random.below(seqno + 2);
        let live = (0..random.below(5)).map(|_| random.below(visible + 1)).collect();
        let keys = keys.into_iter().map(|history| {
            let end = history.len() as u64 + 1;
            let (a, b) = (random.below(end) as usize, random.below(end) as usize);
            // Half of the jobs begin above everything or end below it.
            let above = if random.below(2) == 0 { 0 } else { a.min(b) };
            let below = if random.below(2) == 0 { history.len() } else { a.max(b) };
            [history[..above].to_vec(), history[above..below].to_vec(), history[below..].to_vec()]
        });
        Case { keys: keys.collect(), live, visible }
    }

    pub(super) fn views(&self) -> Views {
        views(&self.live, self.visible)
    }

    /// Every live view, the visible one and every later one see of a key what they saw before the job.
    pub(super) fn check_key(&self, parts: &[Vec<Version>; 3], kept: &[Version]) {
        let newest = parts.iter().flatten().map(|version| version.0).max().unwrap_or(0);
        let later = self.visible..=newest.max(self.visible) + 1;
        for view in self.live.iter().copied().chain(later) {
            let before = value_at(&[&parts[0], &parts[1], &parts[2]], view);
            let after = value_at(&[&parts[0], kept, &parts[2]], view);
            assert_eq!(before, after, "view {view}: {kept:?} left of {parts:?} in {self:?}");
        }
    }
}

/// What a view sees of a key whose versions lie in these parts, newest first.
pub(super) fn value_at(parts: &[&[Version]], view: u64) -> Option<u64> {
    parts.iter().flat_map(|part| part.iter()).find(|version| version.0 <= view).and_then(|version| version.1)
}

pub(super) fn views(live: &[u64], visible: u64) -> Views {
    let view = |at: u64| View::new(seqno(at), UnixUs(0));
    Views::new(&live.iter().map(|&at| view(at)).collect::<Vec<_>>(), view(visible))
}

pub(super) fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

/// The seed of the variable alone, or that of each case.
pub(super) fn seeds(cases: u64) -> impl Iterator<Item = u64> {
    let given = env::var(SEED_VARIABLE).ok().map(|seed: String| seed.parse().expect("a seed is a number"));
    given.map_or(0..cases, |seed: u64| seed..seed + 1)
}

pub(super) fn run_shown(seed: u64, check: impl FnOnce()) {
    let shown = ShownOnPanic(seed);
    check();
    core::mem::forget(shown);
}

struct ShownOnPanic(u64);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        eprintln!("replay: {SEED_VARIABLE}={} cargo test -p isopach-engine compaction", self.0);
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ bits >> 31) % bound
    }
}
