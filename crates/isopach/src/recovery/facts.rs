//! What the manifest's notes say about the log and about numbers.

use crate::{
    ends::CommitEnds,
    error::Result,
    notes::{
        CHECKPOINT, CLEAN_END, COMMIT_ENDS, CleanClose, FIRST_SEGMENT, LOG_SYNCED, RESERVED, SEALED_FROM,
        TIMELINE, TIMELINE_FROM, bad_note, first_segment, sealed_from,
    },
    wal::{History, LogFacts, Recovered},
};
use isopach_engine::{
    codec::LogPosition,
    store::Store,
    types::{Seqno, UnixUs},
    version::Note,
};

/// What the manifest's notes say about log and numbering.
pub(super) struct Facts {
    first_segment: u32,
    clean: Option<CleanClose>,
    reserved: Seqno,
    log_synced: LogPosition,
    timeline: Option<u64>,
    /// The first segment of that timeline.
    timeline_from: Option<u32>,
    /// The first segment that must be encrypted.
    sealed_from: Option<u32>,
    is_copy: bool,
    /// `None`: nobody noted any.
    ends: Option<CommitEnds>,
}

impl Facts {
    pub(super) fn read(store: &Store) -> Result<Facts> {
        Facts::of(&|name| store.note(name))
    }

    /// What notes say, each of which is asked for by its name.
    pub(super) fn of(note: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Facts> {
        let first_segment = first_segment(note(FIRST_SEGMENT).as_deref())?;
        let clean = note(CLEAN_END).map_or(Ok(None), |note| CleanClose::decode(&note))?;
        let reserved = match note(RESERVED) {
            None => Seqno::ZERO,
            Some(note) => {
                let raw = note[..].try_into().map(u64::from_le_bytes).ok();
                raw.and_then(Seqno::from_raw).ok_or_else(|| bad_note(RESERVED))?
            }
        };
        let log_synced = match note(LOG_SYNCED) {
            None => LogPosition::START,
            Some(note) => {
                let raw = note[..].try_into().map(u64::from_le_bytes);
                LogPosition::from_raw(raw.map_err(|_| bad_note(LOG_SYNCED))?)
            }
        };
        let timeline = match note(TIMELINE) {
            None => None,
            Some(note) => Some(note[..].try_into().map(u64::from_le_bytes).map_err(|_| bad_note(TIMELINE))?),
        };
        let timeline_from = match note(TIMELINE_FROM) {
            None => None,
            Some(note) => {
                Some(note[..].try_into().map(u32::from_le_bytes).map_err(|_| bad_note(TIMELINE_FROM))?)
            }
        };
        let sealed_from = match note(SEALED_FROM).as_deref() {
            None | Some([]) => None,
            Some(note) => Some(note.try_into().map(u32::from_le_bytes).map_err(|_| bad_note(SEALED_FROM))?),
        };
        let is_copy = match note(CHECKPOINT).as_deref() {
            None | Some([]) => false,
            Some(note) if note.len() == 8 => true,
            Some(_) => return Err(bad_note(CHECKPOINT)),
        };
        let ends = note(COMMIT_ENDS).map(|note| CommitEnds::decode(&note)).transpose();
        let ends = ends.map_err(|_| bad_note(COMMIT_ENDS))?;
        Ok(Facts {
            first_segment,
            clean,
            reserved,
            log_synced,
            timeline,
            timeline_from,
            sealed_from,
            is_copy,
            ends,
        })
    }

    pub(super) fn log(&self) -> LogFacts {
        let clean_end = self.clean.map(|clean| clean.end);
        LogFacts {
            first_live: self.first_segment,
            clean_end,
            synced_upto: self.log_synced.max(clean_end.unwrap_or(LogPosition::START)),
            history: self.history(),
            sealed_from: self.sealed_from,
        }
    }

    /// Which segments belong to which history, if that is known.
    fn history(&self) -> Option<History> {
        match (self.timeline, self.timeline_from) {
            (None, _) => Some(History { timeline: 0, from: 0 }),
            (Some(timeline), from) => from.map(|from| History { timeline, from }),
        }
    }

    /// What the manifest is to say of it, if that is to change now that new segments are encrypted, or are not.
    pub(super) fn sealed_from_now(&self, is_sealed: bool, next_segment: u32) -> Option<Note> {
        match (is_sealed, self.sealed_from) {
            (true, None) => Some(sealed_from(next_segment)),
            (false, Some(_)) => Some(Note::new(SEALED_FROM, Vec::new())),
            _ => None,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean.is_some() || self.reserved == Seqno::ZERO
    }

    /// Whether the database is a checkpoint that was not opened for writing yet.
    pub(super) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Which history the log belongs to.
    pub(super) fn timeline(&self, recovered: &Recovered) -> u64 {
        self.timeline.unwrap_or(recovered.timeline)
    }

    /// The last number that may have been given out.
    pub(super) fn last_used(&self, recovered: &Recovered) -> Seqno {
        let stored = self.clean.map_or(self.reserved, |clean| clean.last_used);
        stored.max(recovered.last_seqno)
    }

    /// The greatest time that is known of.
    pub(super) fn last_time(&self, recovered: &Recovered) -> UnixUs {
        let clean = self.clean.map_or(UnixUs(0), |clean| clean.last_time);
        let noted = self.ends.as_ref().map_or(UnixUs(0), CommitEnds::last_time);
        clean.max(noted).max(recovered.ends.last_time())
    }

    /// What is known of the ends of commits, of which that at `visible` is the newest.
    pub(super) fn ends(&self, recovered: &Recovered, visible: Seqno) -> CommitEnds {
        let is_new = self.reserved == Seqno::ZERO && visible == Seqno::ZERO;
        let without_note = || if is_new { CommitEnds::of_new() } else { CommitEnds::unknown() };
        let mut ends = self.ends.clone().unwrap_or_else(without_note);
        ends.extend(&recovered.ends);
        ends.cut_behind(visible);
        ends
    }
}
