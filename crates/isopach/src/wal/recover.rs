//! Finding the log's end: reads every live record once, several segments at a time where that helps, and
//! writes nothing. What is found does not depend on how many.
//!
//! Two positions come out of it. *E*, [`Recovered::end`], is where the valid log ends. *X*,
//! [`Recovered::durable`], is the greatest position that is known to have been durable: the greatest
//! `synced_upto` that the manifest, any record, or anything that looks like a record behind an invalid one
//! carries. Unsynced pages survive a power loss in any subset, so an invalid record at or above X is how a
//! log ends; below X it is damage. What was read in `[X, E)` may have come from the page cache and is not
//! durable: [`Wal::start`](super::Wal::start) writes it anew.

use super::{
    chain::chain,
    read::{Content, Piece, Unread},
    record::Start,
    segment::{Found, Life, Opening, START_AT, data_at, list, list_foreign, segment_name, used_bytes},
};
use crate::{ends::CommitEnds, options::LogRecovery, together::in_parts};
use isopach_engine::{
    codec::{FileCodec, LogPosition, Owner, RECORD_HEADER_BYTES, RecordReader, Step, traces_of_records},
    error::{Error, ErrorKind, Result},
    store::{Unnamed, UnnamedFile},
    types::Seqno,
};
use isopach_env::{Fs, IoError, Spawn};
use std::{collections::BTreeMap, sync::Arc};

/// What the manifest says about the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogFacts {
    /// Segments below this number are not needed any more.
    pub first_live: u32,
    /// Where the log ends exactly, if it was closed cleanly and nothing was opened for writing since.
    pub clean_end: Option<LogPosition>,
    /// The greatest `synced_upto` that an edit carries.
    pub synced_upto: LogPosition,
    /// Which history segments must belong to, if that is known.
    pub history: Option<History>,
    /// From this segment on all are encrypted; `None`: none need be.
    pub sealed_from: Option<u32>,
}

/// A database and what was made of its copies share its uuid and the numbers of files; their logs are told
/// apart by the timeline that segments name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct History {
    /// What segments name.
    pub timeline: u64,
    /// From this number on. Segments below it are of earlier histories.
    pub from: u32,
}

#[cfg(test)]
impl LogFacts {
    /// Of a database that was just created.
    pub(crate) const NEW: LogFacts = LogFacts {
        first_live: 1,
        clean_end: None,
        synced_upto: LogPosition::START,
        history: None,
        sealed_from: None,
    };
}

/// A log whose end was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub(crate) struct Recovered {
    /// E: where the valid log ends.
    pub end: LogPosition,
    /// X: up to here the log is durable; never above `end`.
    pub durable: LogPosition,
    /// What lies behind the end, if anything but zeros and former lives does or something was cut off.
    pub discarded: Option<Discarded>,
    /// Why the log ends below a position that was durable: with [`LogRecovery::PointInTime`] only.
    pub damage: Option<Error>,
    /// Records of the caller.
    pub records: u64,
    /// Their length, headers and padding included.
    pub bytes: u64,
    /// Number of the last operation, [`Seqno::ZERO`] if there is none.
    pub last_seqno: Seqno,
    /// Where its commits end, and when.
    pub ends: CommitEnds,
    /// No segment of this or a greater number was ever used.
    pub next_number: u32,
    /// Which history of the database the last segment belongs to.
    pub timeline: u64,
    /// Segments that hold the log up to its end, in order.
    pub(super) segments: Vec<RecoveredSegment>,
    /// Other segments that are there: freed, superseded, or behind the end.
    pub(super) leftovers: Vec<u32>,
    /// Whether a new segment may name the end as it is: all below is durable and nothing lies behind.
    pub(super) is_settled: bool,
    pub(super) owner: Owner,
}

impl Recovered {
    /// Files among the segments that nothing names: segments that are older than the log, and files of other names.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub(crate) fn unnamed(&self, fs: &dyn Fs) -> Result<Vec<UnnamedFile>> {
        let first = self.segments.first().map_or(0, |segment| segment.number);
        let freed = self.leftovers.iter().filter(|&&number| number < first);
        let freed = freed.map(|&number| (segment_name(number), Unnamed::LogSegment));
        let foreign = list_foreign(fs)?.into_iter().map(|file| (file, Unnamed::Foreign));
        Ok(freed.chain(foreign).map(|(file, what)| UnnamedFile { file, what }).collect())
    }

    /// The segments of the log in order: number, and where the log leaves each.
    pub(crate) fn segments(&self) -> impl Iterator<Item = LogPosition> + '_ {
        self.segments.iter().map(|segment| LogPosition { file: segment.number, offset: segment.limit })
    }
}

impl Recovered {
    /// Names of segments from its end on, that in which it ends included.
    pub(crate) fn names_behind(&self) -> impl Iterator<Item = String> + '_ {
        let numbers =
            self.segments.iter().map(|segment| segment.number).chain(self.leftovers.iter().copied());
        numbers.filter(|&number| number >= self.end.file).map(segment_name)
    }

    /// Whether something is left out that was durable.
    pub(crate) fn is_cut(&self) -> bool {
        self.damage.is_some()
    }
}

/// What was not part of the log any more. Below the durable position only if the log was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) struct Discarded {
    /// The file in which it begins, relative to the root.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// Bytes up to the last that is not zero, or in a recycled segment up to the end of the last record that has a
    /// header, in this and later files.
    pub bytes: u64,
}

/// A segment, as far as it is log.
#[derive(Clone, Debug)]
pub(super) struct RecoveredSegment {
    pub(super) number: u32,
    pub(super) codec: FileCodec,
    /// Where the log leaves the segment.
    pub(super) limit: u64,
    /// Size of the file.
    pub(super) file_bytes: u64,
    /// First and last operation.
    pub(super) seqnos: Option<(Seqno, Seqno)>,
    /// Where its records lie.
    pub(super) pieces: Vec<Piece>,
}

/// How the log is read while its end is looked for.
pub(crate) struct Reading<'a> {
    /// Where segments are read beside each other.
    pub spawn: &'a dyn Spawn,
    /// Hears how many bytes were read, and of how many at most; its error ends the search.
    pub watch: &'a mut dyn FnMut(u64, u64) -> Result<()>,
}

/// Finds the log's end.
///
/// # Errors
///
/// `Corruption`: an invalid record, or a missing segment, below the durable position; names file and offset.
/// With a clean end: anything but valid records up to exactly there. With [`LogRecovery::Absolute`] anything
/// behind the end. `MixedStore`: a segment of another database, or of another history of this one. Nothing is
/// written in any case.
pub(crate) fn recover(
    fs: &dyn Fs,
    owner: impl Into<Owner>,
    facts: LogFacts,
    mode: LogRecovery,
    mut reading: Reading<'_>,
) -> Result<Recovered> {
    let owner = owner.into();
    let numbers = list(fs)?;
    let live = numbers.iter().copied().filter(|&number| number >= facts.first_live);
    let found: Vec<Found> = live.map(|number| Found::open(fs, number, &owner)).collect::<Result<_>>()?;
    if let Some(history) = facts.history {
        found.iter().try_for_each(|segment| check_history(segment, history))?;
    }
    if let Some(sealed_from) = facts.sealed_from {
        found.iter().try_for_each(|segment| check_sealed(segment, sealed_from))?;
    }

    let mut survey = Survey::new(&found, facts, mode);
    survey.read(&mut reading)?;
    survey.search_behind_the_end()?;
    let damage = match survey.check() {
        Err(damage) if mode == LogRecovery::PointInTime && damage.kind() == ErrorKind::Corruption => {
            survey.cut(&mut reading)?;
            Some(damage)
        }
        checked => {
            checked?;
            survey.check_clean_end()?;
            None
        }
    };
    let discarded = survey.discarded(damage.as_ref())?;
    if mode == LogRecovery::Absolute {
        survey.check_nothing_follows(discarded.as_ref())?;
    }

    let on_log = |number: &u32| survey.segments.iter().any(|segment| segment.number == *number);
    let greatest = [facts.first_live.saturating_sub(1), survey.durable.file, survey.end.file];
    let greatest = numbers.last().into_iter().chain(&greatest).copied().max().unwrap_or(0);
    let is_settled = survey.durable == survey.end && survey.is_whole() && discarded.is_none();
    Ok(Recovered {
        end: survey.end,
        durable: survey.durable.min(survey.end),
        damage,
        records: survey.records,
        bytes: survey.bytes,
        last_seqno: survey.last_seqno,
        ends: survey.ends,
        next_number: greatest.checked_add(1).ok_or_else(numbers_used_up)?,
        timeline: survey.timeline,
        leftovers: numbers.iter().copied().filter(|number| !on_log(number)).collect(),
        segments: survey.segments,
        is_settled,
        discarded,
        owner,
    })
}

/// A log has at most 2^32 - 1 segments in its life.
pub(super) fn numbers_used_up() -> Error {
    Error::new(ErrorKind::UnsupportedFeature, "the numbers of log segments are used up")
}

pub(super) fn read_error(number: u32) -> impl Fn(IoError) -> Error {
    move |error| Error::io(error, "read", segment_name(number))
}

/// Whether a segment is of the history that its number says.
fn check_history(segment: &Found, history: History) -> Result<()> {
    let Opening::Started { start, .. } = segment.opening else {
        return Ok(());
    };
    let is_ours = (segment.number >= history.from) == (start.timeline == history.timeline);
    if is_ours {
        return Ok(());
    }
    let why = "the segment is of another history of this database: of a copy that went on by itself, or of what this \
               one was copied from";
    Err(Error::new(ErrorKind::MixedStore, why).in_file(segment_name(segment.number)).at(START_AT))
}

/// A segment in clear among those that are encrypted was put there by somebody who has no key.
fn check_sealed(segment: &Found, sealed_from: u32) -> Result<()> {
    match &segment.opening {
        Opening::Started { codec, .. } if segment.number >= sealed_from && codec.sealing.is_clear() => {
            let why = format!("the segment is not encrypted, and the log is from segment {sealed_from} on");
            Err(Error::corrupt(segment_name(segment.number), 40, why))
        }
        _ => Ok(()),
    }
}

/// Everything learnt on the way.
struct Survey<'a> {
    found: &'a [Found],
    facts: LogFacts,
    mode: LogRecovery,
    /// Numbers of the segments on the chain.
    chain: Vec<u32>,
    segments: Vec<RecoveredSegment>,
    end: LogPosition,
    /// Why the log ends where it does, if not because its last segment does.
    stopped: Option<&'static str>,
    durable: LogPosition,
    /// Where the last record behind the end ends that has a header, by segment.
    traces: BTreeMap<u32, u64>,
    records: u64,
    bytes: u64,
    last_seqno: Seqno,
    ends: CommitEnds,
    timeline: u64,
}

impl<'a> Survey<'a> {
    fn new(found: &'a [Found], facts: LogFacts, mode: LogRecovery) -> Survey<'a> {
        let starts: BTreeMap<u32, LogPosition> = found
            .iter()
            .filter_map(|segment| match &segment.opening {
                Opening::Started { start, .. } => Some((segment.number, start.previous_end)),
                _ => None,
            })
            .collect();
        let mut chain = chain(&starts, facts.first_live);
        // What lies above a clean end is no log: checked later.
        chain.retain(|&number| facts.clean_end.is_none_or(|end| number <= end.file));
        Survey {
            found,
            facts,
            mode,
            chain,
            segments: Vec::new(),
            end: LogPosition::START,
            stopped: None,
            durable: facts.synced_upto.max(facts.clean_end.unwrap_or_default()),
            traces: BTreeMap::new(),
            records: 0,
            bytes: 0,
            last_seqno: Seqno::ZERO,
            ends: CommitEnds::unknown(),
            timeline: 0,
        }
    }

    fn found(&self, number: u32) -> Option<&'a Found> {
        self.found.iter().find(|segment| segment.number == number)
    }

    /// A segment on the chain.
    fn started(&self, number: u32) -> (&'a Found, &'a FileCodec, Start, LogPosition) {
        let segment = self.found(number).expect("the chain is of segments that were found");
        match &segment.opening {
            Opening::Started { codec, start, synced_upto } => (segment, codec, *start, *synced_upto),
            _ => unreachable!("the chain is of segments with a first record"),
        }
    }

    /// Reads the records of the chain, up to the first invalid one: as many segments at a time as may run in
    /// parallel, each as if it were the first; what that leaves out is seen when they are put together.
    fn read(&mut self, reading: &mut Reading<'_>) -> Result<()> {
        let unread: Vec<Unread> = (0..self.chain.len()).map(|index| self.unread(index)).collect();
        let total = unread.iter().map(Unread::record_bytes).sum();
        let mut done = 0;
        for some in unread.chunks(reading.spawn.parallelism().max(1)) {
            let theirs = some.to_vec();
            let contents = in_parts(reading.spawn, some.len(), move |index| theirs[index].read(Seqno::ZERO));
            for (segment, content) in some.iter().zip(contents) {
                let failed = read_error(segment.number);
                let mut content = content.map_err(&failed)?;
                if content.seqnos.is_some_and(|(first, _)| first <= self.last_seqno) {
                    content = segment.read(self.last_seqno).map_err(&failed)?;
                }
                done += segment.record_bytes();
                self.add(segment, content);
                if self.stopped.is_some() {
                    return (reading.watch)(total, total); // Nothing behind this is log.
                }
            }
            (reading.watch)(done, total)?;
        }
        Ok(())
    }

    /// A segment of the chain, which ends where the next one says, or the manifest.
    fn unread(&self, index: usize) -> Unread {
        let number = self.chain[index];
        let (segment, codec, ..) = self.started(number);
        let next = self.chain.get(index + 1).map(|&next| self.started(next).2.previous_end.offset);
        let clean = self.facts.clean_end.filter(|end| end.file == number).map(|end| end.offset);
        let file = Arc::clone(&segment.file);
        Unread { number, file, codec: codec.clone(), named_limit: next.or(clean), bytes: segment.bytes }
    }

    /// What was read of the next segment.
    fn add(&mut self, segment: &Unread, content: Content) {
        let Unread { number, bytes: file_bytes, .. } = *segment;
        let (_, codec, start, synced_upto) = self.started(number);
        let Content { limit, seqnos, pieces, .. } = content;
        self.timeline = start.timeline;
        self.durable = self.durable.max(synced_upto).max(content.durable);
        self.stopped = content.stopped;
        self.records += content.records;
        self.bytes += content.bytes;
        self.last_seqno = seqnos.map_or(self.last_seqno, |(_, last)| last);
        self.ends.extend(&content.ends);
        self.end = LogPosition { file: number, offset: limit };
        self.segments.push(RecoveredSegment {
            number,
            codec: codec.clone(),
            limit,
            file_bytes,
            seqnos,
            pieces,
        });
    }

    /// Raises the durable position by what any record header behind the end carries, at whatever offset.
    fn search_behind_the_end(&mut self) -> Result<()> {
        for segment in self.found.iter().filter(|segment| segment.number >= self.end.file) {
            let from = if segment.number == self.end.file { self.end.offset } else { START_AT };
            let is_read = segment.number == self.end.file && self.stopped.is_none();
            let Some(salt) = segment.salt().filter(|_| !is_read) else {
                continue;
            };
            let failed = read_error(segment.number);
            // Headers begin with bytes that are not all zero; what is reserved behind a log is.
            let Some(used) = used_bytes(&*segment.file, from, segment.bytes).map_err(&failed)? else {
                continue;
            };
            let end = segment.bytes.min(used + RECORD_HEADER_BYTES as u64);
            let found = traces_of_records(Arc::clone(&segment.file), salt, from, end).map_err(&failed)?;
            if let Some(traces) = found {
                self.durable = self.durable.max(traces.synced_upto);
                self.traces.insert(segment.number, traces.end);
            }
        }
        if self.chain.is_empty() && self.durable.file < self.facts.first_live {
            // Nothing is left of the log, and nothing need be: it goes on behind what is known of it.
            self.end = self.durable;
        }
        Ok(())
    }

    /// The rule of the log's end.
    fn check(&self) -> Result<()> {
        if self.durable > self.end {
            return Err(self.damage()?);
        }
        match self.too_early_an_end() {
            None => Ok(()),
            Some((number, end)) => {
                let why = format!("the log was durable up to {}, and is cut at {end}", self.durable);
                Err(Error::corrupt(segment_name(number), START_AT, why))
            }
        }
    }

    /// The first segment that says that the log before it ends where more of it was durable, and where.
    fn too_early_an_end(&self) -> Option<(u32, LogPosition)> {
        let read = self.chain.iter().copied().filter(|&number| number <= self.end.file);
        let mut ends = read.map(|number| (number, self.started(number).2.previous_end));
        ends.find(|&(number, end)| self.durable > end && self.durable.file < number)
    }

    /// Ends the log where it is damaged, below what was durable.
    fn cut(&mut self, reading: &mut Reading<'_>) -> Result<()> {
        let Some((first_left_out, _)) = self.too_early_an_end().filter(|_| self.durable <= self.end) else {
            return Ok(()); // It was read up to there.
        };
        let keep = |number: &u32| *number < first_left_out;
        let chain: Vec<u32> = self.chain.iter().copied().take_while(keep).collect();
        let durable = self.durable;
        *self = Survey { chain, durable, ..Survey::new(self.found, self.facts, self.mode) };
        self.read(reading)?;
        self.search_behind_the_end()
    }

    /// The end lies below the durable position: says where.
    fn damage(&self) -> Result<Error> {
        let until = format!("the log was durable up to {}", self.durable);
        let above = match self.found(self.end.file).filter(|_| !self.chain.is_empty()) {
            None => self.facts.first_live,
            Some(last) => {
                let is_used = self.end_of_rest(last, self.end.offset)?.is_some();
                if is_used || !self.is_whole() || self.durable.file == last.number {
                    let why = self.stopped.unwrap_or("the file is too short");
                    let name = segment_name(last.number);
                    return Ok(Error::corrupt(name, self.end.offset, format!("{why}; {until}")));
                }
                // The log leaves its last segment in good order: the one behind it is damaged or gone.
                last.number + 1
            }
        };
        Ok(match self.found.iter().find(|segment| segment.number >= above) {
            Some(Found { number, opening: Opening::NotStarted { why, .. }, .. }) => {
                Error::corrupt(segment_name(*number), START_AT, format!("{why}; {until}"))
            }
            Some(Found { number, opening: Opening::NoHeader { why, .. }, .. }) => {
                Error::corrupt(segment_name(*number), 0, format!("{why}; {until}"))
            }
            Some(Found { opening: Opening::Started { start, .. }, .. }) => {
                missing(start.previous_end.file, &until)
            }
            None => missing(self.durable.file, &until),
        })
    }

    /// A log that was closed ends exactly where its close said: no record of the caller follows. A segment
    /// may, if it was begun for an append that failed.
    fn check_clean_end(&self) -> Result<()> {
        let Some(clean_end) = self.facts.clean_end else {
            return Ok(());
        };
        if self.end != clean_end {
            // It is durable, and nothing is read behind it: so it lies before where records begin.
            let why = format!("the log was closed at {clean_end}, where no log ends");
            return Err(Error::corrupt(segment_name(clean_end.file), clean_end.offset, why));
        }
        for segment in self.found.iter().filter(|segment| segment.number >= clean_end.file) {
            let from = match segment.opening {
                Opening::Started { .. } if segment.number == clean_end.file => clean_end.offset,
                Opening::Started { ref codec, .. } => data_at(codec),
                _ => continue,
            };
            let Opening::Started { codec, .. } = &segment.opening else { continue };
            let mut behind = RecordReader::new(Arc::clone(&segment.file), codec.clone(), from, segment.bytes);
            let step = behind.step().map_err(read_error(segment.number))?;
            if let Step::Record { offset, .. } | Step::Altered { offset, .. } = step {
                let why = format!("the log was closed at {clean_end}, and goes on");
                return Err(Error::corrupt(segment_name(segment.number), offset, why));
            }
        }
        Ok(())
    }

    /// Whether the chain was read to its end.
    fn is_whole(&self) -> bool {
        self.segments.len() == self.chain.len()
    }

    /// Whether the log ends where its last record does, and nothing was left behind it.
    fn check_nothing_follows(&self, discarded: Option<&Discarded>) -> Result<()> {
        let torn =
            "the log does not end where its records end, and a log whose end is torn was not to be opened";
        if let Some(Discarded { file, offset, bytes }) = discarded {
            return Err(Error::corrupt(file.as_str(), *offset, format!("{torn}: {bytes} bytes follow")));
        }
        if !self.is_whole() {
            let why = self.stopped.unwrap_or("a segment is missing");
            let file = segment_name(self.end.file);
            return Err(Error::corrupt(file, self.end.offset, format!("{torn}: {why}")));
        }
        Ok(())
    }

    /// Where ends what was written to a segment of the log from `from` on, if anything was: there zeros lay before,
    /// or records of former lives.
    fn end_of_rest(&self, segment: &Found, from: u64) -> Result<Option<u64>> {
        match segment.life {
            Life::First => {
                used_bytes(&*segment.file, from, segment.bytes).map_err(read_error(segment.number))
            }
            Life::Later => Ok(self.traces.get(&segment.number).copied().filter(|&end| end > from)),
        }
    }

    /// Counts what lies behind the end and is rest of a log. Something lies there if the log was cut because of
    /// `damage`.
    fn discarded(&self, damage: Option<&Error>) -> Result<Option<Discarded>> {
        if self.facts.clean_end.is_some() && damage.is_none() && self.mode != LogRecovery::Absolute {
            return Ok(None);
        }
        let mut discarded = damage.map(|damage| Discarded {
            file: damage.file().unwrap_or_default().into(),
            offset: damage.offset().unwrap_or(0),
            bytes: 0,
        });
        for segment in self.found.iter().filter(|segment| segment.number >= self.end.file) {
            let is_superseded = self.chain.last().is_some_and(|&last| segment.number < last)
                && !self.chain.contains(&segment.number);
            let from = match segment.opening {
                _ if segment.number == self.end.file => self.end.offset,
                _ if is_superseded => continue,
                Opening::Started { ref codec, .. } => data_at(codec),
                Opening::NotStarted { .. } => START_AT,
                Opening::NoHeader { .. } => 0,
            };
            if let Some(used) = self.end_of_rest(segment, from)? {
                let first = discarded.get_or_insert_with(|| Discarded {
                    file: segment_name(segment.number),
                    offset: from,
                    bytes: 0,
                });
                first.bytes += used - from;
            }
        }
        Ok(discarded)
    }
}

fn missing(number: u32, until: &str) -> Error {
    Error::corrupt(segment_name(number), 0, format!("the segment is missing; {until}"))
}
