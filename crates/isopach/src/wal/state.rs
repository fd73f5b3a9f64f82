//! What writers, syncers and observers of the log share: its ends and its segments.
//!
//! Protected by one short lock that is never held during I/O. Rules kept here: the durable position never
//! passes the end and never moves after a failure that poisons; segments are in order.

use super::{append::Group, recycle::Spare};
use isopach_engine::{
    codec::LogPosition,
    error::{Error, ErrorKind, Result},
    types::Seqno,
    version::Hold,
};
use isopach_env::File;
use std::{collections::VecDeque, sync::Arc};

/// A live segment of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) struct SegmentInfo {
    /// Its number.
    pub number: u32,
    /// Number of the first operation in it.
    pub first_seqno: Option<Seqno>,
    /// Its length up to the end of its last record.
    pub bytes: u64,
}

/// What the log is at one moment, in files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogCut {
    /// Live segments, oldest first, each up to the end of its last record.
    pub segments: Vec<SegmentInfo>,
    /// Where the log ends.
    pub end: LogPosition,
}

/// A segment that the log still needs.
pub(super) struct Live {
    pub(super) number: u32,
    /// Counted once in the registry, whoever shares it here.
    pub(super) hold: Arc<Hold>,
    /// Of a segment that this run began.
    pub(super) file: Option<Arc<dyn File>>,
    /// Where its last record ends.
    pub(super) used_bytes: u64,
    /// First and last operation in it.
    pub(super) seqnos: Option<(Seqno, Seqno)>,
    /// What is stored is not what was written.
    pub(super) is_damaged: bool,
}

/// A segment with bytes that may not be durable.
pub(super) struct Dirty {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) used_bytes: u64,
}

/// A sync to be done.
pub(super) struct Due {
    /// Files by number, in the order in which to sync them.
    pub(super) files: Vec<(u32, Arc<dyn File>)>,
    /// Up to where everything is durable then.
    pub(super) upto: LogPosition,
}

pub(super) struct State {
    /// Where the next record goes, or the end that the next segment will name.
    pub(super) end: LogPosition,
    /// End of the last record that is not void.
    pub(super) data_end: LogPosition,
    /// Everything before is durable.
    pub(super) synced_upto: LogPosition,
    /// `synced_upto` of the last record that was written.
    pub(super) carried: LogPosition,
    /// In order.
    pub(super) segments: VecDeque<Live>,
    /// In order; only the last may still grow.
    pub(super) dirty: VecDeque<Dirty>,
    /// Files for later segments.
    pub(super) spares: Vec<Spare>,
    /// The segment that appends go to, if there is one; it is the last of `segments`.
    pub(super) current: Option<u32>,
    /// Whether it is mapped.
    is_mapped: bool,
    /// Somebody wanted the current segment on the medium; the appender takes note.
    has_sync_demand: bool,
    /// No live segment has this or a greater number.
    pub(super) next_number: u32,
    /// The last segment was left before it held records of the caller; this is the end that it names.
    left_empty: Option<LogPosition>,
    poison: Option<Error>,
}

impl State {
    /// A log whose bytes before `end` are all durable.
    pub(super) fn new(end: LogPosition, segments: VecDeque<Live>, next_number: u32) -> State {
        State {
            end,
            data_end: end,
            synced_upto: end,
            carried: end,
            segments,
            dirty: VecDeque::new(),
            spares: Vec::new(),
            current: None,
            is_mapped: false,
            has_sync_demand: false,
            next_number,
            left_empty: None,
            poison: None,
        }
    }

    /// Fails every later write and sync.
    pub(super) fn poison(&mut self, cause: &Error) -> Error {
        let why = format!("the log is poisoned until it is reopened: {cause}");
        self.poison.get_or_insert_with(|| Error::new(ErrorKind::Poisoned, why)).clone()
    }

    pub(super) fn poisoned(&self) -> Option<Error> {
        self.poison.clone()
    }

    pub(super) fn check(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), Err)
    }

    /// Adds a segment that was begun; appends go to it.
    pub(super) fn push_segment(&mut self, live: Live, is_mapped: bool) {
        let file = live.file.clone().expect("this run began it");
        assert!(live.number > self.end.file, "segments are in order");
        self.end = LogPosition { file: live.number, offset: live.used_bytes };
        self.current = Some(live.number);
        self.is_mapped = is_mapped;
        self.next_number = live.number + 1;
        self.dirty.push_back(Dirty { number: live.number, file, used_bytes: live.used_bytes });
        self.segments.push_back(live);
    }

    /// Adds a segment that was begun and made durable.
    pub(super) fn push_durable_segment(&mut self, live: Live) {
        self.push_segment(live, false);
        self.data_end = self.end;
        self.synced_upto = self.end;
    }

    /// Appends go on elsewhere: a write to the current segment failed. Without records of the caller it is of
    /// no use any more; `previous_end` is the end it names.
    pub(super) fn leave_segment(&mut self, is_empty: bool, previous_end: LogPosition) {
        self.current = None;
        self.left_empty = is_empty.then_some(previous_end);
    }

    /// Whether the next segment may pass over an empty one.
    pub(super) fn may_pass_over(&self) -> bool {
        self.left_empty.is_some()
    }

    /// Somebody wants everything before `position` on the medium. Whether that touches a mapped segment which
    /// appends still go to.
    pub(super) fn note_sync_demand(&mut self, position: LogPosition) -> bool {
        let is_current = self.current == Some(position.file);
        self.has_sync_demand |= is_current;
        is_current && self.is_mapped
    }

    /// Whether there was such a demand of which the appender does not know.
    pub(super) fn has_sync_demand(&self) -> bool {
        self.has_sync_demand
    }

    /// Whether there was such a demand since this was asked before.
    pub(super) fn take_sync_demand(&mut self) -> bool {
        std::mem::take(&mut self.has_sync_demand)
    }

    /// The end that the next segment names. An empty segment that was left is passed over, unless somebody
    /// was told that its first record is durable.
    pub(super) fn end_to_name(&mut self) -> LogPosition {
        let left = self.left_empty.filter(|_| self.synced_upto.file < self.end.file);
        self.left_empty = left;
        left.unwrap_or(self.end)
    }

    /// Takes out the empty segment that was passed over, if it is still live.
    pub(super) fn take_passed_over(&mut self) -> Option<Live> {
        self.left_empty.take()?;
        let number = self.end.file;
        self.dirty.retain(|dirty| dirty.number != number);
        let is_live = self.segments.back().is_some_and(|live| live.number == number);
        if is_live { self.segments.pop_back() } else { None }
    }

    /// Makes a group that was written part of the log.
    pub(super) fn publish(&mut self, end: LogPosition, synced_upto: LogPosition, group: &Group) {
        assert!(end > self.end && self.current == Some(end.file), "a group extends the current segment");
        self.end = end;
        self.carried = self.carried.max(synced_upto);
        let live = self.segments.back_mut().expect("the current segment is live");
        live.used_bytes = end.offset;
        self.dirty.back_mut().expect("the current segment is dirty").used_bytes = end.offset;
        if let Some((first, last)) = group.seqnos {
            self.data_end = end;
            live.seqnos = Some((live.seqnos.map_or(first, |(first, _)| first), last));
        }
    }

    /// What makes everything before `position` durable. Whole segments: the current one is left out if
    /// `position` lies before it.
    pub(super) fn due(&self, position: LogPosition) -> Due {
        let mut due = Due { files: Vec::new(), upto: self.synced_upto };
        for dirty in self.dirty.iter().take_while(|dirty| dirty.number <= position.file) {
            let end = LogPosition { file: dirty.number, offset: dirty.used_bytes };
            if end > self.synced_upto {
                due.files.push((dirty.number, Arc::clone(&dirty.file)));
                due.upto = end;
            }
        }
        due
    }

    /// Moves the durable position.
    pub(super) fn note_synced(&mut self, upto: LogPosition) -> Result<()> {
        self.check()?;
        assert!(upto <= self.end, "only what was written is durable");
        self.synced_upto = self.synced_upto.max(upto);
        let current = self.current;
        // What was appended while the sync ran is not covered, even if its segment was left since.
        let is_covered = |dirty: &Dirty| LogPosition { file: dirty.number, offset: dirty.used_bytes } <= upto;
        self.dirty.retain(|dirty| !is_covered(dirty) || current == Some(dirty.number));
        Ok(())
    }

    /// See [`Wal::end_of`](super::Wal::end_of).
    pub(super) fn end_of(&self, seqno: Seqno) -> (LogPosition, Seqno) {
        let last_in = |live: &Live| live.seqnos.map(|(_, last)| last).filter(|last| *last >= seqno);
        let holder = self.segments.iter().find_map(|live| Some((live, last_in(live)?)));
        holder.map_or((self.end, seqno), |(live, last)| {
            (LogPosition { file: live.number, offset: live.used_bytes }, last)
        })
    }

    /// The segment in which the first record with an operation `>= seqno` lies, or will lie.
    pub(super) fn segment_of(&self, seqno: Seqno) -> u32 {
        let holds = |live: &&Live| live.seqnos.is_some_and(|(_, last)| last >= seqno);
        let holder = self.segments.iter().find(holds).map(|live| live.number);
        holder.or(self.current).unwrap_or(self.next_number)
    }

    /// Takes the segments below `number` out, never the current one.
    pub(super) fn take_below(&mut self, number: u32) -> Vec<Live> {
        let bound = self.current.map_or(number, |current| number.min(current));
        let freed = self.segments.iter().take_while(|live| live.number < bound).count();
        self.segments.drain(..freed).collect()
    }

    /// The first live segment behind `number`.
    pub(super) fn behind(&self, number: u32) -> Option<&Live> {
        self.segments.iter().find(|live| live.number > number)
    }

    /// What is stored of a segment, if it is still live, is not what was written.
    pub(super) fn note_damage(&mut self, number: u32) {
        if let Some(live) = self.segments.iter_mut().find(|live| live.number == number) {
            live.is_damaged = true;
        }
    }

    /// Live segments of which that is known.
    pub(super) fn damaged(&self) -> usize {
        self.segments.iter().filter(|live| live.is_damaged).count()
    }

    /// The hold of the current segment.
    pub(super) fn current_hold(&self) -> Option<Arc<Hold>> {
        self.current.and(self.segments.back()).map(|live| Arc::clone(&live.hold))
    }

    pub(super) fn list(&self) -> Vec<SegmentInfo> {
        let info = |live: &Live| SegmentInfo {
            number: live.number,
            first_seqno: live.seqnos.map(|(first, _)| first),
            bytes: live.used_bytes,
        };
        self.segments.iter().map(info).collect()
    }
}

impl Live {
    /// Gives the segment up: the registry removes its file.
    pub(super) fn give_up(self) {
        self.hold.mark_obsolete();
    }
}
