//! Making the log durable: a prefix of it, always.
//!
//! One sync runs at a time. Who comes while it runs waits, and then either finds itself covered by it or runs
//! the next one, which covers all who wait: so a slow medium makes larger batches. A failed sync is never
//! tried again: what the medium kept is unknown until the log is recovered.
//!
//! A mapped segment is left before it is synced, where syncs are wanted again and again: a sync of pages that stores
//! go on to takes many times as long.

use super::{Wal, append::Appender, begin::Place, segment::segment_name};
use isopach_engine::{
    codec::LogPosition,
    error::{Error, Result},
};
use isopach_env::{File, SyncMode, SyncSite};
use std::sync::Arc;

/// The records of a segment, or the header under which its file is used again.
pub(super) const SYNC_SEGMENT: SyncSite = SyncSite("wal.segment");

/// Where a log that was closed ends. For the manifest: the next recovery then takes nothing less.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) struct CleanEnd {
    /// End of the last record.
    pub end: LogPosition,
}

impl Wal {
    /// Makes every record that was appended before durable, and returns the durable position.
    ///
    /// # Errors
    ///
    /// `Poisoned`, for good: a sync failed, this one or an earlier one. Nothing is reported durable any more.
    #[cfg(test)]
    pub(crate) fn sync(&self) -> Result<LogPosition> {
        let data_end = self.state.lock().data_end;
        self.sync_through(data_end)
    }

    /// Makes everything before `position` durable, and returns the durable position. The current segment is
    /// not touched if `position` lies in an earlier one.
    ///
    /// # Errors
    ///
    /// `Poisoned`, for good: a sync failed, this one or an earlier one. Nothing is reported durable any more.
    pub(crate) fn sync_through(&self, position: LogPosition) -> Result<LogPosition> {
        if let Some(covered) = self.covers(position)? {
            return Ok(covered);
        }
        if self.state.lock().note_sync_demand(position) {
            self.leave_mapped(position);
        }
        self.sync_once(position)
    }

    /// As [`Wal::sync_through`], for who does not come often: a mapped segment goes on being one.
    ///
    /// # Errors
    ///
    /// As [`Wal::sync_through`].
    pub(crate) fn sync_once(&self, position: LogPosition) -> Result<LogPosition> {
        let turn = match self.syncing.take_unless(|| self.covers(position).transpose()) {
            Ok(turn) => turn,
            Err(covered) => return covered,
        };
        turn.gather();
        let due = self.state.lock().due(position);
        for (number, file) in due.files {
            self.sync_segment(number, &file)?;
        }
        let mut state = self.state.lock();
        state.note_synced(due.upto)?;
        Ok(state.synced_upto)
    }

    /// Goes on in a segment that is written, if the one of `position` is mapped. If that cannot be, a sync that
    /// takes longer is better than none, and appends will tell why.
    fn leave_mapped(&self, position: LogPosition) {
        let mut appender = self.appender.lock();
        appender.written_records = self.options.written_records();
        let is_mapped = |place: &Place| place.number == position.file && place.map.is_some();
        if !appender.is_closed && appender.place.as_ref().is_some_and(is_mapped) {
            let begun = self.begin_segment(&mut appender, 0);
            let _ = begun.map_err(|error| self.count_failure(&mut appender, error));
        }
    }

    /// The durable position, if it has reached `position`.
    fn covers(&self, position: LogPosition) -> Result<Option<LogPosition>> {
        let state = self.state.lock();
        state.check()?;
        Ok((state.synced_upto >= position).then_some(state.synced_upto))
    }

    fn sync_segment(&self, number: u32, file: &Arc<dyn File>) -> Result<()> {
        file.sync(SyncMode::Durable, SYNC_SEGMENT).map_err(|error| {
            let error = Error::io(error, "sync the log", segment_name(number));
            self.state.lock().poison(&error)
        })
    }

    /// Makes the whole log durable, cuts what was reserved behind its end, and takes no more records.
    ///
    /// The segments stay where they are. While a pause or another hold is on nothing is cut.
    ///
    /// # Errors
    ///
    /// As [`Wal::sync_through`]; or the cut failed, and the log has no clean end.
    pub(crate) fn close(&self) -> Result<CleanEnd> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        let (end, hold) = {
            let state = self.state.lock();
            (state.end, state.current_hold())
        };
        self.sync_once(end)?;
        appender.is_closed = true;
        let Appender { place, blank, left_maps, .. } = &mut *appender;
        left_maps.clear();
        self.give_up_spares();
        if let Some(blank) = blank.take() {
            blank.hold.remove();
        }
        if let Some((mut place, hold)) = place.take().zip(hold)
            && place.reserved_bytes > place.end
        {
            drop(place.map.take());
            hold.trim(place.end)?;
        }
        Ok(CleanEnd { end })
    }
}
