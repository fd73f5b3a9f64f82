//! What may become of a damaged log: the rule of its end (`docs/format.md` 3.1), applied to what is known of
//! the sound one. Knows which bytes were changed, which no program that opens the database does.

use super::{
    image::Image,
    layout::{FileClass, records, sections},
    subject::{LogRecord, Subject},
};
use isopach::engine::{
    codec::{FileHeader, HEADER_BYTES, LogPosition},
    types::Uuid,
};
use std::ops::Range;

/// What must be found after a damage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Everything, or errors.
    Whole,
    /// The log ends early: everything up to this commit, and nothing behind it.
    Prefix(usize),
    /// Bytes are gone that were known to be durable: the database does not open.
    Refused,
}

impl Fate {
    pub(super) fn of(subject: &Subject, damaged: &Image) -> Fate {
        let is_intact = |file: &str, range: Range<usize>| {
            let sound = subject.image.get(file).expect("a file of the log");
            damaged.get(file).is_some_and(|found| found.get(range.clone()) == sound.get(range))
        };
        let log = &subject.log;
        let is_read = |log: &LogRecord| {
            is_intact(&log.file, 0..HEADER_BYTES) && is_intact(&log.file, log.record.range.clone())
        };
        let Some(first) = log.records.iter().position(|log| !is_read(log)) else {
            return Fate::Whole;
        };
        // Where the header of a segment is lost, any whole record of it tells how to read the others.
        let is_readable = |file: &str| {
            let mut records = log.records.iter().filter(|log| log.file == file);
            is_intact(file, 0..HEADER_BYTES) || records.any(|log| is_intact(file, log.record.range.clone()))
        };
        let told = log.records.iter().filter(|log| is_intact(&log.file, log.record.header()));
        let told = told.filter(|log| is_readable(&log.file));
        let durable = told.map(|log| log.record.synced_upto).max().unwrap_or_default().max(log.noted);
        if log.records[first].position < durable {
            return Fate::Refused;
        }
        let first_in_log = log.records.iter().find(|log| log.record.kind != 1).map(|log| log.last_seqno);
        let before = log.records[..first].iter().map(|log| log.last_seqno).max().filter(|&seqno| seqno > 0);
        let seqno = before.or(first_in_log.map(|first| first - 1)).unwrap_or(0);
        Fate::Prefix(subject.commit_at(seqno))
    }
}

/// Whether every byte that differs is one that nothing stands in: reserved space behind the end of a log or
/// manifest, the lock, or a file that was no part of the database.
pub(super) fn is_in_dead_bytes(subject: &Subject, damaged: &Image) -> bool {
    changed_files(subject, damaged).all(|(name, sound, found)| match (FileClass::of(name), sound, found) {
        (FileClass::Lock, ..) | (_, None, _) => true,
        (FileClass::Log | FileClass::Manifest, Some(sound), Some(found)) => {
            let live = sections(name, sound).last().map_or(0, |section| section.range.end);
            found.get(..live) == sound.get(..live)
        }
        _ => false,
    })
}

/// Whether what differs may be so without anybody knowing: the manifest ends early, where the rule of its end
/// allows it; or certificate or manifest are those of a copy of this database, whole.
pub(super) fn is_legal(subject: &Subject, damaged: &Image) -> bool {
    changed_files(subject, damaged).all(|(name, sound, found)| {
        let (Some(sound), Some(found)) = (sound, found) else {
            return false;
        };
        let is_of_copy = database_of(found).is_some_and(|it| Some(it) == database_of(sound));
        let is_own = found.get(..HEADER_BYTES) == sound.get(..HEADER_BYTES);
        match FileClass::of(name) {
            FileClass::Identity => is_of_copy && found.len() == HEADER_BYTES,
            FileClass::Manifest => (is_of_copy && !is_own) || is_early_end(name, sound, found),
            _ => false,
        }
    })
}

/// Whether a manifest may end where the first of its records differs.
fn is_early_end(name: &str, sound: &[u8], found: &[u8]) -> bool {
    let is_intact = |range: &Range<usize>| found.get(range.clone()) == sound.get(range.clone());
    let records = records(sound);
    let number = name.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("a manifest's name");
    let Some(first) = records.iter().position(|record| !is_intact(&record.range)) else {
        return true;
    };
    let told = records.iter().filter(|record| is_intact(&record.header()));
    let durable = told.map(|record| record.synced_upto).max().unwrap_or_default();
    let position = LogPosition { file: number, offset: records[first].range.start as u64 };
    is_intact(&(0..HEADER_BYTES)) && first >= RECORDS_OF_SNAPSHOT && position >= durable
}

/// Features and snapshot: a manifest gets its name after they are durable.
const RECORDS_OF_SNAPSHOT: usize = 2;

/// Files that are not what they were: name, before, after.
fn changed_files<'a>(
    subject: &'a Subject,
    damaged: &'a Image,
) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>, Option<&'a [u8]>)> {
    let gone = subject.image.files().filter(|(name, _)| damaged.get(name).is_none());
    let gone = gone.map(|(name, sound)| (name, Some(sound), None));
    let others = damaged.files().map(|(name, found)| (name, subject.image.get(name), Some(found)));
    gone.chain(others.filter(|(_, sound, found)| sound != found))
}

fn database_of(file: &[u8]) -> Option<Uuid> {
    FileHeader::decode(file.first_chunk()?).ok().map(|header| header.database)
}
