//! Power losses: a random history of the log, cut at random moments, with random parts of what was not synced
//! lost. What survives is a prefix of the order of appends, at least up to the last sync that succeeded; and
//! the same holds if power is lost again while the log is recovered and continued.
//!
//! `ISOPACH_SEED=<seed> cargo test -p isopach power` runs one history again.

use super::support::{Bench, Call, Change, Fault, TestFs, body_of, record, replayed, seqno};
use crate::wal::{LogFacts, Wal};
use isopach_engine::{codec::LogPosition, error::ErrorKind, version::FileRegistry};
use isopach_env::{CreateOptions, Fs, IoErrorKind, MemFs, WriteOrigin};
use std::{collections::BTreeMap, env, ops::Range, sync::Arc};

const HISTORIES: u64 = 600;
const CUTS_PER_HISTORY: u64 = 10;
const SECTOR_BYTES: u64 = 512;

#[test]
fn a_prefix_survives_power_losses_at_any_moment() {
    let seeds = match env::var("ISOPACH_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("ISOPACH_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..HISTORIES,
    };
    let mut images = 0;
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        images +=
            outcome.unwrap_or_else(|_| panic!("failed: ISOPACH_SEED={seed} cargo test -p isopach power"));
    }
    println!("{images} images");
}

/// One history, and what is left of it after power losses. Returns the number of images that were recovered.
fn run(seed: u64) -> u64 {
    let mut rng = Rng(seed);
    let (bench, history) = some_history(seed, &mut rng);
    let changes = bench.fs.changes();
    let mut images = 0;
    for _ in 0..CUTS_PER_HISTORY {
        let cut = rng.below(changes.len() as u64 + 1) as usize;
        let image = after_power_loss(&changes[..cut], &mut rng);
        images += 1 + recover_twice(&bench, &history.at(cut), image, &mut rng);
    }
    images
}

/// Up to three runs of a log.
fn some_history(seed: u64, rng: &mut Rng) -> (Bench, History) {
    let mut bench = Bench::over(TestFs::new(rng.one_in(2)), seed);
    bench.options.segment_bytes = 1024 << rng.below(3);
    bench.options.maps = rng.one_in(2);
    let mut history = History::default();
    for run in 0..1 + rng.below(3) {
        let wal = history.open(&mut bench);
        history.write(&mut bench, &wal, rng, run * 1000 + 1);
    }
    (bench, history)
}

/// Recovers an image, continues the log on it, and cuts the power once more on the way.
fn recover_twice(bench: &Bench, promise: &Promise, image: MemFs, rng: &mut Rng) -> u64 {
    let mut second = bench.on(image);
    second.facts = promise.facts;
    let recovered = second.recover().unwrap_or_else(|error| panic!("cannot recover: {error}"));
    let found = promise.check(&replayed(&second.fs, &recovered));
    assert_eq!(second.fs.step(), bench.on(second.fs.mem.clone()).fs.step(), "recovery writes nothing");

    let mut history = History::default();
    let begun = second.fs.step();
    for &seqno in &found {
        history.attempts.push(Attempt { seqnos: seqno..seqno + 1, steps: 0..0, outcome: Outcome::Appended });
    }
    history.marks.push(Mark { step: 0, durable: promise.durable.min(found.len()), ..Mark::new(promise) });
    let wal = second.start_after(&recovered);
    // Everything that was found is durable as soon as the log is open.
    history.marks.push(Mark { step: second.fs.step(), durable: found.len(), ..Mark::new(promise) });
    assert_eq!(replayed(&second.fs, &second.recover().unwrap()).len(), recovered.records as usize);
    history.write(&mut second, &wal, rng, recovered.last_seqno.raw().max(promise.flushed) + 1000);

    let changes = second.fs.changes();
    let cuts =
        [begun + rng.below(8) as usize, begun + rng.below((changes.len() - begun) as u64 + 1) as usize];
    for cut in cuts {
        let cut = cut.min(changes.len());
        let mut third = bench.on(after_power_loss(&changes[..cut], rng));
        let promise = history.at(cut);
        third.facts = promise.facts;
        let recovered = third.recover().unwrap_or_else(|error| panic!("cannot recover again: {error}"));
        let found = promise.check(&replayed(&third.fs, &recovered));
        // Another run finds the same, and so does one after the log was continued.
        drop(third.start_after(&recovered));
        third.run_deletions();
        let again = promise.check(&replayed(&third.fs, &third.recover().unwrap()));
        assert_eq!(again, found);
    }
    cuts.len() as u64
}

/// What was written, and what was promised about it, by the number of changes at the time.
#[derive(Default)]
struct History {
    attempts: Vec<Attempt>,
    marks: Vec<Mark>,
}

/// A group.
struct Attempt {
    seqnos: Range<u64>,
    /// Changes when it began and when it returned.
    steps: Range<usize>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Appended,
    /// It must never be seen again.
    Failed,
    /// It failed and there was no space to hide it, or the log is poisoned: it may be seen if nothing was
    /// appended since.
    Open,
}

/// From `step` on so much is promised, and the manifest says so.
#[derive(Clone, Copy)]
struct Mark {
    step: usize,
    /// Records that are durable, of all that succeeded.
    durable: usize,
    flushed: u64,
    facts: LogFacts,
}

/// What may be found after a power loss.
struct Promise {
    /// Seqnos in order, those that are flushed left out.
    appended: Vec<u64>,
    /// Groups of which any one, or a part of it, may follow all of these.
    perhaps: Vec<Vec<u64>>,
    /// So many of `appended` are durable.
    durable: usize,
    /// Records up to here need not be there.
    flushed: u64,
    facts: LogFacts,
}

impl Mark {
    fn new(promise: &Promise) -> Mark {
        Mark { step: 0, durable: 0, flushed: promise.flushed, facts: promise.facts }
    }
}

impl Promise {
    /// Checks that what was replayed is a prefix, and returns it without what is flushed.
    fn check(&self, replayed: &[(u64, Vec<u8>)]) -> Vec<u64> {
        let found: Vec<u64> =
            replayed.iter().map(|&(seqno, _)| seqno).filter(|&seqno| seqno > self.flushed).collect();
        let (prefix, rest) = found.split_at(found.len().min(self.appended.len()));
        let is_possible = rest.is_empty() || self.perhaps.iter().any(|group| group.starts_with(rest));
        assert!(
            self.appended.starts_with(prefix) && is_possible,
            "no prefix: {found:?} of {:?} and one of {:?}",
            self.appended,
            self.perhaps,
        );
        assert!(found.len() >= self.durable, "{found:?} lacks some of {} durable records", self.durable);
        found
    }
}

impl History {
    fn at(&self, step: usize) -> Promise {
        let mark = self.marks.iter().rev().find(|mark| mark.step <= step);
        let (durable, flushed, facts) =
            mark.map_or((0, 0, LogFacts::NEW), |mark| (mark.durable, mark.flushed, mark.facts));
        let mut appended = Vec::new();
        let mut perhaps = Vec::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.steps.start <= step) {
            let has_returned = attempt.steps.end <= step;
            match attempt.outcome {
                Outcome::Appended if has_returned => {
                    appended.extend(attempt.seqnos.clone());
                    perhaps.clear();
                }
                Outcome::Failed if has_returned => {}
                _ => perhaps.push(attempt.seqnos.clone().collect()),
            }
        }
        let flushed_count = appended.iter().filter(|&&seqno| seqno <= flushed).count();
        Promise {
            appended: appended.split_off(flushed_count),
            perhaps,
            durable: durable.saturating_sub(flushed_count),
            flushed,
            facts,
        }
    }

    /// Opens the log. If a process wrote to it before and was killed, all that it appended is there, and all
    /// that is there is durable from now on.
    fn open(&mut self, bench: &mut Bench) -> Wal {
        let recovered =
            bench.recover().unwrap_or_else(|error| panic!("cannot recover after a kill: {error}"));
        let promise = self.at(bench.fs.step());
        let found = promise.check(&replayed(&bench.fs, &recovered));
        assert!(found.len() >= promise.appended.len(), "{found:?} lacks some of {:?}", promise.appended);
        if let Some(&first) = found.get(promise.appended.len()) {
            let came_back = self.attempts.iter_mut().find(|attempt| attempt.seqnos.contains(&first));
            let came_back = came_back.expect("it was attempted");
            came_back.seqnos.end = found[found.len() - 1] + 1;
            came_back.outcome = Outcome::Appended;
        }
        bench.registry = FileRegistry::new(Arc::clone(&bench.env.fs));
        let wal = bench.start_after(&recovered);
        let durable = self.appended().count();
        self.mark(bench, |mark, _| mark.durable = durable);
        wal
    }

    /// A few dozen random operations, some of which fail.
    fn write(&mut self, bench: &mut Bench, wal: &Wal, rng: &mut Rng, first_seqno: u64) {
        let mut seqno = first_seqno;
        for _ in 0..8 + rng.below(40) {
            match rng.below(20) {
                0..=10 => seqno = self.append(bench, wal, rng, seqno),
                11..=13 => {
                    let durable = self.appended().count();
                    if wal.sync().is_ok() {
                        let carried = if rng.one_in(2) { wal.synced_upto() } else { LogPosition::START };
                        self.mark(bench, |mark, facts| {
                            mark.durable = durable;
                            facts.synced_upto = facts.synced_upto.max(carried);
                        });
                    }
                }
                14 => drop(wal.append_void_if_idle()),
                15 => drop(wal.rotate_segment()),
                16 => {
                    self.free(bench, wal);
                    if rng.one_in(2) {
                        self.prepare(bench, wal, rng);
                    }
                }
                17 => bench.run_deletions(),
                18 => self.fail_append(bench, wal, rng, &mut seqno),
                _ if rng.one_in(4) => {
                    bench.fs.arm(Fault::once(Call::Sync, IoErrorKind::Other));
                    drop(wal.sync());
                    bench.fs.disarm();
                }
                _ => {}
            }
        }
    }

    /// Appends a group; returns the next seqno.
    fn append(&mut self, bench: &Bench, wal: &Wal, rng: &mut Rng, first_seqno: u64) -> u64 {
        let next = first_seqno + 1 + rng.below(3);
        let long = if rng.one_in(20) { 3000 } else { 300 };
        let bodies: Vec<_> =
            (first_seqno..next).map(|seqno| (seqno, body_of(seqno, rng.below(long) as usize))).collect();
        let group: Vec<_> = bodies.iter().map(|(seqno, body)| record(*seqno, body)).collect();
        let begun = bench.fs.step();
        let outcome = match wal.append(&group).map_err(|error| error.kind()) {
            Ok(_) => Outcome::Appended,
            Err(ErrorKind::OutOfSpace | ErrorKind::Poisoned) => Outcome::Open,
            Err(_) => Outcome::Failed,
        };
        self.attempts.push(Attempt { seqnos: first_seqno..next, steps: begun..bench.fs.step(), outcome });
        next
    }

    /// An append that fails, with some or all of its bytes in the file, perhaps without space for what hides
    /// them.
    fn fail_append(&mut self, bench: &Bench, wal: &Wal, rng: &mut Rng, seqno: &mut u64) {
        let kind = if rng.one_in(2) { IoErrorKind::OutOfSpace } else { IoErrorKind::Other };
        let prefix = if rng.one_in(2) { usize::MAX } else { rng.below(700) as usize };
        let call = if rng.one_in(5) { Call::Allocate } else { Call::Write };
        let times = if kind == IoErrorKind::OutOfSpace { 1 + rng.below(3) as usize } else { 1 };
        let pause = rng.one_in(2).then(|| bench.registry.pause());
        bench.fs.arm(Fault { call, skip: 0, times, kind, prefix });
        for _ in 0..=rng.below(3) {
            *seqno = self.append(bench, wal, rng, *seqno);
        }
        bench.fs.disarm();
        drop(pause);
    }

    /// Flushes what is durable: the manifest names the first segment that is still needed.
    fn free(&mut self, bench: &mut Bench, wal: &Wal) {
        let Some(mark) = self.marks.last().filter(|mark| mark.durable > 0) else {
            return;
        };
        let last_durable = self.appended().nth(mark.durable - 1).expect("it was counted");
        let flushed = last_durable.max(mark.flushed);
        let first_live = wal.segment_of(seqno(flushed + 1)).max(bench.facts.first_live);
        self.mark(bench, |mark, facts| {
            mark.flushed = flushed;
            facts.first_live = first_live;
        });
        wal.free_below(first_live);
    }

    /// Has the next segment ready, of one that was freed if there is one; some steps fail.
    fn prepare(&mut self, bench: &Bench, wal: &Wal, rng: &mut Rng) {
        if rng.one_in(4) {
            let call = [Call::Write, Call::Sync, Call::Rename, Call::SyncDir][rng.below(4) as usize];
            let prefix = rng.below(130) as usize;
            bench.fs.arm(Fault { prefix, ..Fault::once(call, IoErrorKind::Other) });
        }
        drop(wal.prepare());
        bench.fs.disarm();
    }

    fn appended(&self) -> impl Iterator<Item = u64> {
        let appended = self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Appended);
        appended.flat_map(|attempt| attempt.seqnos.clone())
    }

    fn mark(&mut self, bench: &mut Bench, change: impl FnOnce(&mut Mark, &mut LogFacts)) {
        let last = self.marks.last().copied();
        let mut mark = last.unwrap_or(Mark { step: 0, durable: 0, flushed: 0, facts: LogFacts::NEW });
        change(&mut mark, &mut bench.facts);
        self.marks.push(Mark { step: bench.fs.step(), facts: bench.facts, ..mark });
    }
}

/// What a process finds that opens the files after these changes, if power does not fail.
pub(super) fn image_of(changes: &[Change]) -> MemFs {
    image(changes, 100, false, &mut Rng(0))
}

/// What the medium holds if power fails behind `changes`.
///
/// Of every write that was not synced any subset of sectors is there, now and then cut inside of a sector;
/// sizes are old or new; entries of the directory that were not synced are there or not; a sector that was
/// allocated but not written reads as zeros or as garbage.
fn after_power_loss(changes: &[Change], rng: &mut Rng) -> MemFs {
    let keep = [0, 10, 50, 90, 100][rng.below(5) as usize];
    let has_garbage = rng.one_in(4);
    image(changes, keep, has_garbage, rng)
}

/// `keep`: how many percent of what was not synced are there.
fn image(changes: &[Change], keep: u64, has_garbage: bool, rng: &mut Rng) -> MemFs {
    let mut files: Vec<Content> = Vec::new();
    let mut durable_names: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = durable_names.clone();
    // Of a rename both names change, or none does.
    let mut pending: Vec<Vec<(String, Option<usize>)>> = Vec::new();
    for change in changes {
        match change {
            Change::Create { name, inode } => {
                assert_eq!(*inode, files.len());
                files.push(Content::default());
                names.insert(name.clone(), *inode);
                pending.push(vec![(name.clone(), Some(*inode))]);
            }
            Change::Remove { name } => {
                names.remove(name);
                pending.push(vec![(name.clone(), None)]);
            }
            Change::Rename { from, to } => {
                let inode = names.remove(from).expect("it is there");
                names.insert(to.clone(), inode);
                pending.push(vec![(from.clone(), None), (to.clone(), Some(inode))]);
            }
            Change::Write { inode, .. } | Change::SetLen { inode, .. } => {
                files[*inode].pending.push(change.clone());
            }
            Change::Sync { inode } => files[*inode].sync(),
            Change::SyncDir => {
                durable_names = names.clone();
                pending.clear();
            }
        }
    }

    let kept: Vec<_> = pending.into_iter().filter(|_| rng.percent(keep)).flatten().collect();
    for (name, inode) in kept {
        match inode {
            Some(inode) => durable_names.insert(name, inode),
            None => durable_names.remove(&name),
        };
    }
    let image = MemFs::new();
    image.create_dir("wal").unwrap();
    for (name, inode) in durable_names {
        let file = image.create(&name, &CreateOptions::new(WriteOrigin::Log)).unwrap();
        file.write_at(0, &files[inode].after_power_loss(keep, has_garbage, rng)).unwrap();
    }
    image
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Content {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, data, .. } => put(&mut self.durable, offset, &data),
                Change::SetLen { bytes, .. } => self.durable.resize(bytes as usize, 0),
                _ => unreachable!("only these are pending"),
            }
        }
    }

    fn after_power_loss(&self, keep: u64, has_garbage: bool, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::SetLen { bytes: len, .. } if rng.percent(keep) => bytes.resize(*len as usize, 0),
                Change::Write { offset, data, .. } => {
                    let end = offset + data.len() as u64;
                    let mut from = *offset;
                    while from < end {
                        let to = end.min((from / SECTOR_BYTES + 1) * SECTOR_BYTES);
                        let part = &data[(from - offset) as usize..(to - offset) as usize];
                        if rng.percent(keep) {
                            let is_cut = keep < 100 && rng.one_in(20);
                            let cut = if is_cut { rng.below(part.len() as u64) as usize } else { part.len() };
                            put(&mut bytes, from, &part[..cut]);
                        } else if has_garbage && from >= bytes.len() as u64 && rng.one_in(2) {
                            let garbage: Vec<u8> = part.iter().map(|_| rng.next() as u8).collect();
                            put(&mut bytes, from, &garbage);
                        }
                        from = to;
                    }
                }
                _ => {}
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    bytes.resize(bytes.len().max(end), 0);
    bytes[start..end].copy_from_slice(data);
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

#[test]
fn the_histories_are_not_vacuous() {
    let mut rng = Rng(7);
    let mut bench = Bench::over(TestFs::new(true), 7);
    let mut history = History::default();
    let wal = bench.start();
    for first in 0..20 {
        history.write(&mut bench, &wal, &mut rng, first * 1000 + 1);
        if wal.poisoned().is_some() {
            assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::Poisoned);
            break;
        }
    }

    let failed = history.attempts.iter().filter(|attempt| attempt.outcome != Outcome::Appended).count();
    assert!(history.appended().count() > 20 && failed > 0 && history.marks.len() > 2);
}

#[test]
fn many_histories_begin_segments_in_recycled_files() {
    let begins_recycled = |seed: &u64| {
        let (bench, _) = some_history(*seed, &mut Rng(*seed));
        let mut recycled = false;
        bench.fs.changes().iter().any(|change| {
            recycled |= matches!(change, Change::Rename { .. });
            // The record that begins a segment that was made ready.
            recycled && matches!(change, Change::Write { offset: 64, data, .. } if data.len() == 56)
        })
    };

    let recycling = (0..HISTORIES).filter(begins_recycled).count();

    assert!(recycling as u64 * 20 > HISTORIES, "{recycling} of {HISTORIES}");
}
