//! Readers beside the writers: what every view must show, whatever goes on in the background.
//!
//! A stamp is put in all shared keyspaces by one batch, so a view shows the same one in each, and never one
//! that is older than the last that was acknowledged before the view was taken. Every value names the
//! operation that put it and the place it was put to. A scan is the same in both directions.

use super::{
    child::Stage,
    operations::{Place, SHARED, STAMP, Space, key, number_of, split_key},
    words::Word,
};
use crate::random::{Random, fresh_seed};
use isopach::{Result, Slice, Snapshot};
use std::{sync::atomic::Ordering, thread, time::Duration};

/// Views after which a reader says how many it read.
const REPORT_EVERY: u64 = 8;

/// Takes view after view, and says what is wrong in one.
pub(super) fn read_on(stage: &Stage<'_>) -> Result<()> {
    let mut random = Random::new(fresh_seed());
    let mut views = 0;
    while !stage.is_over() {
        let writer = random.below(stage.begun.len() as u64) as usize;
        let shared = random.below(SHARED.len() as u64) as u8;
        let least = stage.stamped[writer].load(Ordering::Acquire);
        let view = stage.db.snapshot();
        if let Some(what) = check_stamps(stage, &view, writer, least)? {
            Word::Wrong(format!("reader at {}: {what}", view.seqno())).say();
        }
        if let Some(what) = check_scan(stage, &view, writer, shared)? {
            Word::Wrong(format!("reader at {}, {}: {what}", view.seqno(), SHARED[usize::from(shared)])).say();
        }
        views += 1;
        if views % REPORT_EVERY == 0 {
            Word::Read { views: REPORT_EVERY }.say();
        }
        thread::sleep(Duration::from_micros(random.below(2000))); // Leaves some of the machine to writers.
    }
    Ok(())
}

/// The stamps of a writer: one in all keyspaces, and none from before `least - 1`.
fn check_stamps(stage: &Stage<'_>, view: &Snapshot, writer: usize, least: u64) -> Result<Option<String>> {
    let mut stamps = Vec::new();
    for (shared, keyspace) in stage.shared.iter().enumerate() {
        let place = Place { space: Space::Shared(shared as u8), key: STAMP };
        let found = keyspace.at(view).get(key(writer, STAMP))?;
        let stamp = match found {
            None => 0,
            Some(value) => match number_of(stage.seed, writer, place, &value) {
                Some(number) => number + 1,
                None => return Ok(Some(format!("the stamp of writer {writer} was never written"))),
            },
        };
        stamps.push(stamp);
    }
    let is_whole = stamps.iter().all(|stamp| *stamp == stamps[0]);
    let is_late = stamps[0] >= least;
    Ok((!is_whole || !is_late)
        .then(|| format!("the stamps of writer {writer} are {stamps:?}; {least} was acknowledged before")))
}

/// A writer's entries in one keyspace.
fn check_scan(stage: &Stage<'_>, view: &Snapshot, writer: usize, shared: u8) -> Result<Option<String>> {
    let keyspace = stage.shared[usize::from(shared)].at(view);
    let entries: Vec<(Slice, Slice)> = keyspace.prefix([writer as u8]).collect::<Result<_>>()?;
    for (found_key, value) in &entries {
        let place = match split_key(found_key) {
            Some((of, key)) if of == writer => Place { space: Space::Shared(shared), key },
            _ => return Ok(Some(format!("the key {found_key:?} is nobody's"))),
        };
        // Loaded after the view was taken: whatever it shows had begun.
        let begun = stage.begun[writer].load(Ordering::Acquire);
        match number_of(stage.seed, writer, place, value) {
            Some(number) if number < begun => {}
            found => {
                let what = format!("{place:?} of writer {writer} holds {found:?}, but {begun} were begun");
                return Ok(Some(what));
            }
        }
    }
    let mut backwards: Vec<(Slice, Slice)> = keyspace.prefix([writer as u8]).rev().collect::<Result<_>>()?;
    backwards.reverse();
    Ok((backwards != entries).then(|| format!("the entries of writer {writer} differ backwards")))
}
