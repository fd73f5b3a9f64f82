//! Opening a recovered log for writing.
//!
//! Nothing is ever appended to a segment of an earlier run. What recovery read in `[X, E)` may be in the page
//! cache only, and some of its pages may never reach the medium, so it is copied into a new segment, which
//! says that the log before it ends at X. The order makes every crash harmless:
//!
//! 1. header and copies are written, and synced with the directory: without a first record the file is no
//!    part of the log, which still is the old one;
//! 2. the first record is written and synced: from here on the copies are the log, all of them durable, and
//!    the old bytes behind X are no log whatever becomes of them.
//!
//! Until step 2 is over nothing is appended and no segment is given up. The copies carry the old X, which is
//! true before and after.

use super::{
    Wal, WalOptions,
    append::Appender,
    begin::{Blank, Place, allocate},
    record::Start,
    recover::{Recovered, RecoveredSegment},
    replay::{LogRecord, read_records},
    segment::{START_AT, WAL_DIR, data_at, encode_start, segment_name, size_if_surely_ours},
    state::{Live, State},
};
use crate::waiting::Turn;
use isopach_engine::{
    codec::{FileKind, LogPosition, Record, encode_record},
    error::{Error, ErrorKind, Result},
    types::Seqno,
    version::FileRegistry,
};
use isopach_env::{
    Env, IoError, SyncMode, SyncSite,
    sync::{Mutex, Rank, atomic::AtomicBool},
};
use std::{collections::VecDeque, sync::Arc};

/// The copies, before the first record that makes them log.
const SYNC_COPIES: SyncSite = SyncSite("wal.copies");
/// Their segment's entry.
const SYNC_COPIES_NAME: SyncSite = SyncSite("wal.copies_name");
/// The first record that makes them log.
const SYNC_COPIES_START: SyncSite = SyncSite("wal.copies_start");

/// Copies are written about this many bytes at a time.
const WRITE_BYTES: usize = 1 << 20;

/// Most bytes of copies: positions in the segment stay far below what can be expressed.
const MAX_COPIES_BYTES: u64 = 16 << 30;

const APPENDER_RANK: Rank = Rank::new(30, "wal.append");
const SYNCING_RANK: Rank = Rank::new(31, "wal.sync");
const STATE_RANK: Rank = Rank::new(32, "wal.state");

impl Wal {
    /// Continues a recovered log. When this returns, everything up to its end is durable; segments that it
    /// does not need are given up to `registry`.
    ///
    /// The manifest must not say any more that the log was closed cleanly. Replay before the registry removes
    /// files: those that held the tail are given up here. If nothing has to be copied or hidden, the first
    /// segment begins with the first append.
    ///
    /// # Errors
    ///
    /// The log is what it was, and can be recovered again.
    pub(crate) fn start(
        env: &Env,
        registry: &FileRegistry,
        options: WalOptions,
        after: &Recovered,
    ) -> Result<Wal> {
        if options.segment_bytes > WalOptions::MAX_SEGMENT_BYTES {
            return Err(Error::new(ErrorKind::InvalidArgument, "a log segment is at most 8 GiB long"));
        }
        let wal = Wal {
            env: env.clone(),
            registry: registry.clone(),
            owner: after.owner.clone(),
            timeline: after.timeline,
            options,
            appender: Mutex::new(
                APPENDER_RANK,
                Appender::new(after.last_seqno, after.next_number, options.maps),
            ),
            syncing: Turn::new(SYNCING_RANK),
            state: Mutex::new(STATE_RANK, State::new(after.end, VecDeque::new(), after.next_number)),
            wants_preparation: AtomicBool::new(false),
            has_grown: AtomicBool::new(false),
        };
        let mut given_up = after.leftovers.clone();
        if after.is_settled {
            wal.state.lock().segments = after.segments.iter().map(|kept| wal.adopt(kept)).collect();
        } else {
            given_up.extend(wal.copy_tail(after)?);
        }
        given_up.into_iter().for_each(|number| wal.remove_leftover(number));
        Ok(wal)
    }

    /// Lists a segment of an earlier run.
    fn adopt(&self, kept: &RecoveredSegment) -> Live {
        let name = segment_name(kept.number);
        let hold = self.registry.register(FileKind::Log, &name, kept.file_bytes, None);
        Live {
            number: kept.number,
            hold: Arc::new(hold),
            file: None,
            used_bytes: kept.limit,
            seqnos: kept.seqnos,
            is_damaged: false,
        }
    }

    /// Copies what is not known durable into a new segment, and returns the segments that held nothing else.
    fn copy_tail(&self, after: &Recovered) -> Result<Vec<u32>> {
        let mut appender = self.appender.lock();
        let mut copies = Copies::new(self.create_blank(|| appender.take_number())?, after.durable);
        let old = match self.fill(&mut copies, after) {
            Ok(old) => old,
            Err(error) => {
                copies.blank.hold.remove();
                return Err(error);
            }
        };
        let Copies { blank, end, reserved_bytes, seqnos, .. } = copies;
        blank.hold.set_bytes(end.max(reserved_bytes));
        appender.place = Some(Place {
            number: blank.number,
            file: Arc::clone(&blank.file),
            seal: blank.header.seal,
            codec: blank.codec,
            end,
            reserved_bytes,
            has_records: seqnos.is_some(),
            previous_end: old.log_end,
            map: None,
        });
        let live = Live {
            number: blank.number,
            hold: Arc::new(blank.hold),
            file: Some(blank.file),
            used_bytes: end,
            seqnos,
            is_damaged: false,
        };
        let kept = old.kept.iter().map(|kept| self.adopt(kept)).collect();
        let mut state = State::new(old.log_end, kept, live.number);
        state.push_durable_segment(live);
        *self.state.lock() = state;
        Ok(old.given_up)
    }

    /// Writes the new segment; when this returns, it is the log behind X.
    fn fill(&self, copies: &mut Copies, after: &Recovered) -> Result<Old> {
        copies.begin(self)?;
        // X, so that nothing is named as log that may yet be lost.
        let mut old = Old { kept: Vec::new(), given_up: Vec::new(), log_end: after.durable };
        for segment in &after.segments {
            let limit = LogPosition { file: segment.number, offset: segment.limit };
            if limit <= after.durable {
                old.kept.push(segment.clone());
                continue;
            }
            let mut part = RecoveredSegment { seqnos: None, limit: after.durable.offset, ..segment.clone() };
            let records = data_at(&segment.codec)..segment.limit;
            read_records(&*self.env.fs, segment.number, &segment.codec, records, &mut |record| {
                if record.end() <= after.durable {
                    let first = part.seqnos.map_or(record.first_seqno, |(first, _)| first);
                    part.seqnos = Some((first, record.last_seqno()));
                    return Ok(());
                }
                old.log_end = old.log_end.min(record.position);
                copies.push(&record)
            })?;
            if segment.number == after.durable.file {
                old.kept.push(part);
            } else {
                old.given_up.push(segment.number);
            }
        }
        let number = copies.blank.number;
        copies.commit(self, Start { number, previous_end: old.log_end, timeline: self.timeline })?;
        Ok(old)
    }

    /// Gives up a segment that is no log, if it is surely one of this database. Else it stays: it is in
    /// nobody's way.
    fn remove_leftover(&self, number: u32) {
        if let Ok(Some(bytes)) = size_if_surely_ours(&*self.env.fs, number, self.owner.database) {
            self.registry.register(FileKind::Log, &segment_name(number), bytes, None).remove();
        }
    }
}

/// What becomes of the segments of earlier runs.
struct Old {
    /// Those that hold log below X.
    kept: Vec<RecoveredSegment>,
    /// Numbers of the others.
    given_up: Vec<u32>,
    /// The end that the new segment names.
    log_end: LogPosition,
}

/// A segment that is being filled with copies and has no first record yet.
struct Copies {
    blank: Blank,
    reserved_bytes: u64,
    /// Where the next copy goes.
    end: u64,
    /// Copies that are not written yet; they lie before `end`.
    buffer: Vec<u8>,
    /// The durable position, which every copy carries.
    synced_upto: LogPosition,
    seqnos: Option<(Seqno, Seqno)>,
}

impl Copies {
    fn new(blank: Blank, synced_upto: LogPosition) -> Copies {
        Copies {
            end: data_at(&blank.codec),
            blank,
            reserved_bytes: 0,
            buffer: Vec::new(),
            synced_upto,
            seqnos: None,
        }
    }

    fn begin(&mut self, wal: &Wal) -> Result<()> {
        self.reserved_bytes = match allocate(&*self.blank.file, self.blank.number, wal.options.segment_bytes)
        {
            // On a full disk the tail may still fit, and a log that is open can free space.
            Err(error) if error.kind() == ErrorKind::OutOfSpace => 0,
            reserved => reserved?,
        };
        let header = self.blank.header.encode();
        self.blank.file.write_at(0, &header).map_err(|error| self.failed("write", error))
    }

    fn push(&mut self, record: &LogRecord<'_>) -> Result<()> {
        let kind = record.kind as u8;
        let framed = Record { kind, synced_upto: self.synced_upto, payload: record.payload };
        let before = self.buffer.len();
        encode_record(&mut self.buffer, &self.blank.codec, self.end, framed);
        self.end += (self.buffer.len() - before) as u64;
        let first = self.seqnos.map_or(record.first_seqno, |(first, _)| first);
        self.seqnos = Some((first, record.last_seqno()));
        if self.end > MAX_COPIES_BYTES {
            let why = "the part of the log that is not durable exceeds 16 GiB: replay and flush it first";
            return Err(Error::new(ErrorKind::UnsupportedFeature, why));
        }
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let at = self.end - self.buffer.len() as u64;
        self.blank.file.write_at(at, &self.buffer).map_err(|error| self.failed("write", error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the copies durable, then makes them log, then makes that durable.
    fn commit(&mut self, wal: &Wal, start: Start) -> Result<()> {
        self.flush()?;
        if self.seqnos.is_some() {
            self.sync(SYNC_COPIES)?;
        }
        wal.env.fs.sync_dir(WAL_DIR, SYNC_COPIES_NAME).map_err(|error| Error::io(error, "sync", WAL_DIR))?;

        let mut opening = Vec::new();
        encode_start(&mut opening, &self.blank.codec, start, self.synced_upto);
        self.blank.file.write_at(START_AT, &opening).map_err(|error| self.failed("write", error))?;
        self.sync(SYNC_COPIES_START) // The commit point: before it a crash finds the old tail, after it the copies.
    }

    fn sync(&self, site: SyncSite) -> Result<()> {
        self.blank.file.sync(SyncMode::Durable, site).map_err(|error| self.failed("sync", error))
    }

    fn failed(&self, doing: &str, error: IoError) -> Error {
        Error::io(error, doing, segment_name(self.blank.number))
    }
}
