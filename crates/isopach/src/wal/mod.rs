//! The write-ahead log: what was committed since the last flush, in the order of commits.
//!
//! A log is a chain of *segments*, files that are only appended to by the run that began them. A segment's
//! first record says where the log before it ends; what lies behind that place in the older file is no log:
//! records of a write that failed, or bytes that a crash left in an unknown state. Every record carries
//! `synced_upto`, a position known durable when it was written, so that recovery can tell the end of a log
//! that a power loss tore from damage to bytes that were safe.
//!
//! # Reading order
//!
//! [`recover`] finds the end of the log and writes nothing; [`Recovered::pieces`] are its records;
//! [`Wal::start`] opens it for writing, beside their replay. Then one thread at a time appends: a record with [`Wal::store`], where
//! the segment is mapped, or a group with [`Wal::append`]; and any thread makes what was appended durable with
//! [`Wal::sync_through`].
//!
//! # Invariants
//!
//! - INV-WAL-1: when `append` returns, its bytes and those of all earlier groups are with the backend; when
//!   `sync` returns, they are on the medium.
//! - INV-WAL-3: after a failed sync nothing is reported durable until the log is recovered.
//! - INV-WAL-5: what survives a power loss is a prefix of the order of appends, at least to the last sync.
//!
//! # What it never does
//!
//! It knows nothing of keys, trees or what a body means, starts no thread, waits for no timer, and deletes no
//! file: segments are given up to the [`FileRegistry`].

mod record;
mod segment;

mod chain;
mod read;

mod recover;
mod replay;

mod state;

mod append;
mod begin;
mod check;
mod recycle;
mod start;
mod survey;
mod sync;

pub(crate) mod fuzz;

#[cfg(test)]
mod tests;

pub(crate) use check::LogReport;
pub(crate) use record::{AppendRecord, ENTRY_PREFIX_BYTES, RecordKind};
pub(crate) use recover::{Discarded, History, LogFacts, Reading, Recovered, recover};
pub(crate) use replay::{LogPiece, LogRecord};
pub(crate) use segment::{check_keys, seals_in_use, segment_name};
pub(crate) use state::{LogCut, SegmentInfo};
pub(crate) use survey::{LogSurvey, survey};

use crate::waiting::Turn;
use append::Appender;
use isopach_engine::{
    codec::{LogPosition, Owner},
    error::Error,
    types::Seqno,
    version::FileRegistry,
};
use isopach_env::{
    Env,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use state::State;
use std::fmt;

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WalOptions {
    /// A segment is left when the next group would make it longer. A group that is longer gets a segment of
    /// its size. At most [`WalOptions::MAX_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Whether segments are mapped where the backend can.
    pub maps: bool,
}

impl WalOptions {
    /// Longest segment that can be asked for: 8 GiB. With the largest group behind it, every position in a
    /// segment can still be expressed.
    pub(crate) const MAX_SEGMENT_BYTES: u64 = 8 << 30;

    /// After a demand for a sync segments are written for so many records, a thousand where they are not small: a
    /// sync of a mapped one costs many times that of a written one.
    fn written_records(&self) -> u32 {
        (self.segment_bytes >> 15).clamp(4, 1000) as u32
    }
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions { segment_bytes: 16 << 20, maps: true }
    }
}

/// A log that is open for writing. Shared by threads.
pub(crate) struct Wal {
    env: Env,
    registry: FileRegistry,
    owner: Owner,
    /// Which history of the database this is; in every segment's first record.
    timeline: u64,
    options: WalOptions,
    /// Taken by who appends, for the length of a write.
    appender: Mutex<Appender>,
    /// Taken by who syncs, for the length of a sync.
    syncing: Turn,
    /// Taken by anybody, never for the length of an I/O.
    state: Mutex<State>,
    /// The next segment should be prepared.
    wants_preparation: AtomicBool,
    /// A segment began.
    has_grown: AtomicBool,
}

impl Wal {
    /// End of the last record: what is appended next lies at or behind it.
    #[cfg(test)]
    pub(crate) fn end(&self) -> LogPosition {
        self.state.lock().end
    }

    /// Everything before is durable.
    pub(crate) fn synced_upto(&self) -> LogPosition {
        self.state.lock().synced_upto
    }

    /// Why nothing can be appended or made durable any more, if so. Only recovery ends it.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.state.lock().poisoned()
    }

    /// The live segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.state.lock().list()
    }

    /// The log as it is now: what is appended later lies behind it.
    pub(crate) fn cut(&self) -> LogCut {
        let state = self.state.lock();
        LogCut { segments: state.list(), end: state.end }
    }

    /// Length of all live segments together, without what is reserved for later.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().segments.iter().map(|live| live.used_bytes).sum()
    }

    /// Number of the oldest live segment; if there is none, a number that is not above the next segment's.
    pub(crate) fn oldest(&self) -> u32 {
        let state = self.state.lock();
        state.segments.front().map_or(state.next_number, |live| live.number)
    }

    /// Where the segment ends, as of now, in which the operation `seqno` lies or the next behind it, and the last
    /// operation in it. Behind everything that was appended: the end of the log, and `seqno` itself.
    pub(crate) fn end_of(&self, seqno: Seqno) -> (LogPosition, Seqno) {
        self.state.lock().end_of(seqno)
    }

    /// Live segments that a check found damaged on the medium.
    pub(crate) fn damaged(&self) -> usize {
        self.state.lock().damaged()
    }

    /// Whether [`Wal::prepare`] should be called; `true` once.
    pub(crate) fn takes_wish(&self) -> bool {
        self.wants_preparation.load(Ordering::Relaxed)
            && self.wants_preparation.swap(false, Ordering::Relaxed)
    }

    /// Whether a segment began since this was asked before.
    pub(crate) fn takes_growth(&self) -> bool {
        self.has_grown.load(Ordering::Relaxed) && self.has_grown.swap(false, Ordering::Relaxed)
    }

    /// Number of the segment in which the first operation `>= seqno` lies. If none was appended, the current
    /// segment, or, without one, a number that is not above the next segment's.
    pub(crate) fn segment_of(&self, seqno: Seqno) -> u32 {
        self.state.lock().segment_of(seqno)
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Wal")
            .field("end", &state.end)
            .field("synced_upto", &state.synced_upto)
            .field("segments", &state.list())
            .finish_non_exhaustive()
    }
}
