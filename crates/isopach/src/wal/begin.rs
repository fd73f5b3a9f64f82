//! Beginning a segment: a new file, its space, its header and first record, its entry in the directory.

use super::{
    Wal,
    append::{Appender, VOID_BYTES},
    record::Start,
    recover::numbers_used_up,
    segment::{DATA_AT, WAL_DIR, encode_header, encode_start, segment_name},
    state::Live,
};
use isopach_engine::{
    codec::{FileKind, LogPosition, Salt},
    error::{Error, ErrorKind, Result},
    types::Uuid,
    version::Hold,
};
use isopach_env::{CreateOptions, File, IoErrorKind, SyncMode, SyncSite, WriteOrigin};
use std::sync::Arc;

/// The entry of a new segment.
const SYNC_NAME: SyncSite = SyncSite("wal.name");
/// The first record of a segment that hides what lies before it.
const SYNC_HIDING: SyncSite = SyncSite("wal.hiding");

/// Where appends go.
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) salt: Salt,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Space below this is reserved; 0 if the backend cannot.
    pub(super) reserved_bytes: u64,
    /// Whether a record of the caller lies in it.
    pub(super) has_records: bool,
    /// The end that its first record names.
    pub(super) previous_end: LogPosition,
}

/// A file without content that will be a segment.
pub(super) struct Blank {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) uuid: Uuid,
    pub(super) hold: Hold,
}

impl Place {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_records
    }

    /// Reserves space up to `end`, where the backend reserves at all.
    pub(super) fn reserve(&mut self, end: u64) -> Result<()> {
        if self.reserved_bytes > 0 && end > self.reserved_bytes {
            self.reserved_bytes = allocate(&*self.file, self.number, end)?;
        }
        Ok(())
    }
}

/// Reserves space and says how much.
pub(super) fn allocate(file: &dyn File, number: u32, bytes: u64) -> Result<u64> {
    match file.allocate(bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == IoErrorKind::Unsupported => Ok(0),
        Err(error) => Err(Error::io(error, "reserve space for the log", segment_name(number))),
    }
}

/// Reserves space for a segment: all that is wanted, or as large a part of it as there is room for, but never
/// less than the group at hand needs.
fn allocate_segment(file: &dyn File, number: u32, wanted: u64, least: u64) -> Result<u64> {
    let mut bytes = wanted;
    loop {
        match allocate(file, number, bytes) {
            Err(error) if error.kind() == ErrorKind::OutOfSpace && bytes > least => {
                bytes = (bytes / 4).max(least)
            }
            outcome => return outcome,
        }
    }
}

impl Wal {
    /// Begins a segment that has room for `group_bytes`, and makes it the current one.
    ///
    /// # Errors
    ///
    /// The current segment stays current if nothing was written; else there is none until the next attempt. A
    /// failed sync poisons.
    pub(super) fn begin_segment(&self, appender: &mut Appender, group_bytes: u64) -> Result<()> {
        let blank = match appender.blank.take() {
            Some(blank) => blank,
            None => self.create_blank(appender)?,
        };
        let least = DATA_AT + group_bytes + VOID_BYTES;
        let wanted = self.options.segment_bytes.max(least);
        let reserved_bytes = match allocate_segment(&*blank.file, blank.number, wanted, least) {
            Ok(bytes) => bytes,
            Err(error) => return Err(keep_or_remove(appender, blank, error)),
        };
        // While no sync runs, so that none tells of an empty segment that is about to be passed over.
        let no_sync = self.syncing.lock();
        let (previous_end, synced_upto) = {
            let mut state = self.state.lock();
            (state.end_to_name(), state.synced_upto)
        };
        if let Err(error) = self.write_opening(&blank, previous_end, synced_upto) {
            // The first record may be there all the same, and says that the log before it ends here.
            if let Some(place) = appender.place.take() {
                self.state.lock().leave_segment(place.is_empty(), place.previous_end);
            }
            return Err(keep_or_remove(appender, blank, error));
        }
        if let Err(error) = self.sync_opening(&blank, appender.hides_garbage) {
            blank.hold.remove();
            return Err(self.state.lock().poison(&error));
        }

        appender.hides_garbage = false;
        appender.place = Some(Place {
            number: blank.number,
            file: Arc::clone(&blank.file),
            salt: Salt::of(blank.uuid),
            end: DATA_AT,
            reserved_bytes,
            has_records: false,
            previous_end,
        });
        blank.hold.set_bytes(reserved_bytes.max(DATA_AT));
        let (number, hold) = (blank.number, Arc::new(blank.hold));
        let mut state = self.state.lock();
        let passed_over = state.take_passed_over();
        state.push_segment(Live { number, hold, used_bytes: DATA_AT, seqnos: None }, blank.file);
        drop((state, no_sync));
        if let Some(live) = passed_over {
            live.give_up();
        }
        Ok(())
    }

    /// Creates a file under the next number that is free.
    pub(super) fn create_blank(&self, appender: &mut Appender) -> Result<Blank> {
        loop {
            let number = appender.next_number;
            appender.next_number = number.checked_add(1).ok_or_else(numbers_used_up)?;
            let name = segment_name(number);
            match self.env.fs.create(&name, &CreateOptions::new(WriteOrigin::Log)) {
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(error, "create a log segment", name)),
                Ok(file) => {
                    let hold = self.registry.register(FileKind::Log, &name, 0, None);
                    let mut uuid = Uuid::default();
                    if let Err(error) = self.env.entropy.fill(&mut uuid.0) {
                        hold.remove();
                        return Err(Error::io(error, "draw the uuid of a log segment", name));
                    }
                    return Ok(Blank { number, file, uuid, hold });
                }
            }
        }
    }

    fn write_opening(
        &self,
        blank: &Blank,
        previous_end: LogPosition,
        synced_upto: LogPosition,
    ) -> Result<()> {
        let start = Start { number: blank.number, previous_end, timeline: self.timeline };
        let mut opening = encode_header(blank.uuid, self.database).to_vec();
        encode_start(&mut opening, Salt::of(blank.uuid), start, synced_upto);
        let written = blank.file.write_at(0, &opening);
        written.map_err(|error| Error::io(error, "begin a log segment", segment_name(blank.number)))
    }

    fn sync_opening(&self, blank: &Blank, hides_garbage: bool) -> Result<()> {
        let synced = self.env.fs.sync_dir(WAL_DIR, SYNC_NAME);
        synced.map_err(|error| Error::io(error, "sync", WAL_DIR))?;
        if hides_garbage {
            let synced = blank.file.sync(SyncMode::Durable, SYNC_HIDING);
            synced.map_err(|error| Error::io(error, "sync", segment_name(blank.number)))?;
        }
        Ok(())
    }
}

/// Keeps the file for the next attempt if only space was missing.
fn keep_or_remove(appender: &mut Appender, blank: Blank, error: Error) -> Error {
    if error.kind() == ErrorKind::OutOfSpace {
        appender.blank = Some(blank);
    } else {
        blank.hold.remove();
    }
    error
}
