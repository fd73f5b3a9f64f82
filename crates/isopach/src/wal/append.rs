//! Appending: one positioned write for a group of records, and what follows if it fails.
//!
//! A group lies in one segment. If its write fails, nothing is written to that file again: any of its bytes
//! may be there. A new segment then names the end before the group, so that what is there is no log; this is
//! made durable before the caller hears of the failure, so that a failed group never comes back after records
//! that were written later. Only lack of space can delay it; then the next append begins with it.

use super::{
    Wal,
    begin::{Blank, Map, Place},
    record::{AppendRecord, ENTRY_PREFIX_BYTES, KIND_VOID},
    recover::numbers_used_up,
    segment::segment_name,
};
use isopach_engine::{
    codec::{LogPosition, Record, encode_record, encode_record_in_parts, record_bytes},
    error::{Error, ErrorKind, Result},
    types::Seqno,
};
use isopach_env::sync::atomic::Ordering;

/// Most bytes of a group. Leaves every position in a segment far below what [`LogPosition`] can express.
const MAX_GROUP_BYTES: u64 = 16 << 30;

/// The next segment is prepared once this one is filled to such a part of its size.
const PREPARED_AT: u64 = 8;

/// Longest buffer that is kept for the next group.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// State of whoever appends.
pub(super) struct Appender {
    /// Where appends go; `None` before the first one and after a failure.
    pub(super) place: Option<Place>,
    /// The file of the next segment: prepared, or one whose space could not be had yet.
    pub(super) blank: Option<Blank>,
    /// Maps of segments that were left. To be dropped where nobody waits: unmapping takes its time.
    pub(super) left_maps: Vec<Map>,
    /// Whether segments may be mapped at all.
    maps: bool,
    /// Whether a preparation of the next segment was wished for since this one began.
    pub(super) wished_for_next: bool,
    /// Whether pages of this segment were wished for since some came.
    pub(super) wished_for_pages: bool,
    /// Segments are written, not mapped, until so many records were appended without a demand for a sync.
    pub(super) written_records: u32,
    /// Bytes of a failed group may lie behind the log's end: the segment that hides them is made durable as
    /// it begins.
    pub(super) hides_garbage: bool,
    /// Failures that were not lack of space since the last group that was written.
    pub(super) failures_in_row: u32,
    /// Bytes of the last group for which there was no room; 0 if there was.
    lacked_bytes: u64,
    pub(super) last_seqno: Seqno,
    /// Number of the next file to be created.
    pub(super) next_number: u32,
    pub(super) is_closed: bool,
    buffer: Vec<u8>,
}

/// What a group holds.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// First and last operation; `None` if it is a void record.
    pub(super) seqnos: Option<(Seqno, Seqno)>,
}

impl Appender {
    pub(super) fn new(last_seqno: Seqno, next_number: u32, maps: bool) -> Appender {
        Appender {
            place: None,
            blank: None,
            left_maps: Vec::new(),
            maps,
            wished_for_next: false,
            wished_for_pages: false,
            written_records: 0,
            hides_garbage: false,
            failures_in_row: 0,
            lacked_bytes: 0,
            last_seqno,
            next_number,
            is_closed: false,
            buffer: Vec::new(),
        }
    }

    /// Takes the numbers of records.
    ///
    /// # Panics
    ///
    /// If there are none, or one does not come after all before it.
    fn number(&mut self, records: &[AppendRecord<'_>]) {
        assert!(!records.is_empty(), "a group has records");
        for record in records {
            let previous = self.last_seqno;
            assert!(record.first_seqno > previous, "seqno {} comes after {previous}", record.first_seqno);
            // Whatever becomes of the group, its numbers are not used again.
            self.last_seqno = record.last_seqno();
        }
    }

    /// Encodes records for the end of the current segment.
    fn encode(&mut self, records: &[AppendRecord<'_>], synced_upto: LogPosition) {
        let Appender { place, buffer, .. } = self;
        let place = place.as_ref().expect("room was made");
        for record in records {
            let at = place.end + buffer.len() as u64;
            let framed = Record { kind: record.kind as u8, synced_upto, payload: &record.prefix() };
            encode_record_in_parts(buffer, &place.codec, at, framed, &[record.body]);
        }
    }

    /// Whether the next segment is to be mapped.
    pub(super) fn wants_map(&self) -> bool {
        self.maps && self.written_records == 0
    }

    /// A segment began: a backend that did not map it is not asked again.
    pub(super) fn note_map(&mut self, is_mapped: bool) {
        self.maps &= is_mapped || !self.wants_map();
    }

    /// The number of the next file.
    pub(super) fn take_number(&mut self) -> Result<u32> {
        let number = self.next_number;
        self.next_number = number.checked_add(1).ok_or_else(numbers_used_up)?;
        Ok(number)
    }
}

impl Wal {
    /// Appends a group and returns where it ends. Its bytes are with the backend then, not durable.
    ///
    /// The group is one write. Its records are apart, each whole or not there after a crash.
    ///
    /// # Errors
    ///
    /// None of the group is in the log. `OutOfSpace`: the next append tries again. `InvalidArgument`: a body
    /// or the group is too large. `Poisoned`, for good: an earlier sync failed, or two writes in a row did
    /// for another reason than lack of space. `Closed`.
    ///
    /// After `OutOfSpace` and `Poisoned` a crash may bring the group back, as the last of the log, if no
    /// later one was appended: its bytes may be there, and what would hide them is not.
    ///
    /// # Panics
    ///
    /// If the group is empty, or a record has no operations or does not come after all before it.
    pub(crate) fn append(&self, records: &[AppendRecord<'_>]) -> Result<LogPosition> {
        let group_bytes = self.check_sizes(records)?;
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        if self.state.lock().take_sync_demand() {
            appender.written_records = self.options.written_records();
        }
        appender.number(records);
        appender.lacked_bytes = group_bytes;
        appender.written_records = appender.written_records.saturating_sub(records.len() as u32);
        self.make_room(&mut appender, group_bytes)?;
        let synced_upto = self.synced_upto();
        self.write_records(&mut appender, records, synced_upto)
    }

    /// Appends one record, if that takes no more than storing it: the current segment is mapped and has room,
    /// and nothing is to be done before. `false`: it was not appended, and [`Wal::append`] does it. Never waits.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`], but want of space.
    ///
    /// # Panics
    ///
    /// As [`Wal::append`].
    pub(crate) fn store(&self, record: &AppendRecord<'_>) -> Result<bool> {
        let records = std::slice::from_ref(record);
        let record_bytes = self.check_sizes(records)?;
        let Some(mut appender) = self.appender.try_lock() else {
            return Ok(false);
        };
        let can_store = |place: &Place| place.can_store(record_bytes) && self.fits(place, record_bytes);
        if appender.is_closed || !appender.wants_map() || !appender.place.as_ref().is_some_and(can_store) {
            return Ok(false);
        }
        let mut state = self.state.lock();
        state.check()?;
        if state.has_sync_demand() {
            return Ok(false);
        }
        let synced_upto = state.synced_upto;
        appender.number(records);
        appender.encode(records, synced_upto);
        let Appender { place, buffer, last_seqno, .. } = &mut *appender;
        let end = place.as_mut().expect("it has room").store(buffer);
        buffer.clear();
        state.publish(end, synced_upto, &Group { seqnos: Some((record.first_seqno, *last_seqno)) });
        drop(state);
        self.wish_for_next(&mut appender);
        Ok(true)
    }

    /// Writes records behind the log's end, where room was made for them.
    fn write_records(
        &self,
        appender: &mut Appender,
        records: &[AppendRecord<'_>],
        synced_upto: LogPosition,
    ) -> Result<LogPosition> {
        appender.encode(records, synced_upto);
        let group = Group { seqnos: Some((records[0].first_seqno, appender.last_seqno)) };
        let end = self.write_group(appender, group, synced_upto)?;
        self.wish_for_next(appender);
        Ok(end)
    }

    /// Has the next segment prepared in time, and the pages of this one.
    fn wish_for_next(&self, appender: &mut Appender) {
        let is_due = |place: &Place| place.end > self.options.segment_bytes / PREPARED_AT;
        if !appender.wished_for_next && appender.place.as_ref().is_some_and(is_due) {
            appender.wished_for_next = true;
            self.wants_preparation.store(appender.blank.is_none(), Ordering::Relaxed);
        }
        if !appender.wished_for_pages && appender.place.as_ref().is_some_and(Place::wants_pages) {
            appender.wished_for_pages = true;
            self.wants_preparation.store(true, Ordering::Relaxed);
        }
    }

    /// Writes down what is known durable, if the last record does not say it yet. For an idle log, a tenth of
    /// a second after its last sync: damage to what was synced is then told from the end of the log.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`].
    pub(crate) fn append_void_if_idle(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        let (synced_upto, carried) = {
            let state = self.state.lock();
            (state.synced_upto, state.carried)
        };
        let Appender { place: Some(place), buffer, .. } = &mut *appender else {
            return Ok(());
        };
        if carried >= synced_upto {
            return Ok(());
        }
        place.reserve(place.end + self.void_bytes())?;
        encode_record(buffer, &place.codec, place.end, Record { kind: KIND_VOID, synced_upto, payload: &[] });
        self.write_group(&mut appender, Group { seqnos: None }, synced_upto).map(drop)
    }

    /// Makes room for the group that failed last for want of space, so that its like can be appended.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`].
    pub(crate) fn look_for_room(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        let lacked_bytes = appender.lacked_bytes;
        self.give_up_spares();
        self.make_room(&mut appender, lacked_bytes)
    }

    /// Begins a new segment, unless the current one is still empty, and returns its number. For a boundary
    /// below which segments can later be freed, or synced apart from what follows.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`]; the log goes on in the old segment, or in one that the next append begins.
    pub(crate) fn rotate_segment(&self) -> Result<u32> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        if !appender.place.as_ref().is_some_and(|place| place.is_empty()) {
            self.begin_segment(&mut appender, 0).map_err(|error| self.count_failure(&mut appender, error))?;
        }
        Ok(appender.place.as_ref().expect("a segment was begun").number)
    }

    /// Begins a new segment, whatever is in the current one: that is damaged.
    ///
    /// # Errors
    ///
    /// As [`Wal::rotate_segment`].
    pub(crate) fn leave_damaged_segment(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        self.begin_segment(&mut appender, 0).map_err(|error| self.count_failure(&mut appender, error))
    }

    /// As [`Wal::rotate_segment`], if the current segment is mapped: what it holds is then synced apart from what
    /// follows.
    ///
    /// # Errors
    ///
    /// As [`Wal::rotate_segment`].
    pub(crate) fn rotate_mapped_segment(&self) -> Result<()> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        if appender.place.as_ref().is_some_and(|place| place.map.is_some() && !place.is_empty()) {
            self.begin_segment(&mut appender, 0).map_err(|error| self.count_failure(&mut appender, error))?;
        }
        Ok(())
    }

    /// Begins a new segment if the current one is sealed in another way than new ones are. Returns from which number on
    /// all are sealed as these.
    ///
    /// # Errors
    ///
    /// As [`Wal::rotate_segment`]; those of [`Keyring::current`](isopach_engine::codec::Keyring::current).
    pub(crate) fn reseal(&self) -> Result<u32> {
        let mut appender = self.appender.lock();
        self.check_open(&appender)?;
        let seal = self.owner.keys.current(self.owner.database)?;
        if appender.place.as_ref().is_some_and(|place| place.seal != seal) {
            self.begin_segment(&mut appender, 0).map_err(|error| self.count_failure(&mut appender, error))?;
        }
        // What was made ready under another key is not begun.
        let number = appender.place.as_ref().map(|place| place.number);
        Ok(number.unwrap_or_else(|| self.state.lock().next_number))
    }

    pub(super) fn check_open(&self, appender: &Appender) -> Result<()> {
        self.state.lock().check()?;
        if appender.is_closed {
            return Err(Error::new(ErrorKind::Closed, "the log is closed"));
        }
        Ok(())
    }

    /// Room at the end of a segment that groups leave to a void record, which carries `synced_upto` when the log
    /// falls idle.
    pub(super) fn void_bytes(&self) -> u64 {
        record_bytes(self.owner.keys.added_bytes())
    }

    /// Bytes of the group once encoded and sealed, at most.
    fn check_sizes(&self, records: &[AppendRecord<'_>]) -> Result<u64> {
        let mut group_bytes = 0_u64;
        for record in records {
            let payload_bytes = ENTRY_PREFIX_BYTES + record.body.len() + self.owner.keys.added_bytes();
            if u32::try_from(payload_bytes).is_err() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "a batch exceeds 2^32 - 1 bytes in the log",
                ));
            }
            group_bytes += record_bytes(payload_bytes);
        }
        if group_bytes > MAX_GROUP_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a group of batches exceeds 16 GiB in the log",
            ));
        }
        Ok(group_bytes)
    }

    /// Sees to it that `group_bytes` fit the current segment, in a new one if need be. A group that is larger
    /// than a segment gets one that is as large as it.
    fn make_room(&self, appender: &mut Appender, group_bytes: u64) -> Result<()> {
        let wants_map = appender.wants_map();
        let result = match &mut appender.place {
            Some(place) if self.fits(place, group_bytes) => {
                if !place.is_empty() && wants_map != place.map.is_some() {
                    // The segment serves all the same if there is no space for another.
                    match self.begin_segment(appender, group_bytes) {
                        Err(error) if error.kind() == ErrorKind::OutOfSpace && appender.place.is_some() => {}
                        begun => return begun.map_err(|error| self.count_failure(appender, error)),
                    }
                }
                let place = appender.place.as_mut().expect("it serves");
                place.reserve(place.end + group_bytes)
            }
            _ => self.begin_segment(appender, group_bytes),
        };
        result.map_err(|error| self.count_failure(appender, error))
    }

    fn fits(&self, place: &Place, group_bytes: u64) -> bool {
        let limit = self.options.segment_bytes.saturating_sub(self.void_bytes());
        place.is_empty() || place.end + group_bytes <= limit
    }

    /// Writes the buffer behind the log's end and makes it log.
    fn write_group(
        &self,
        appender: &mut Appender,
        group: Group,
        synced_upto: LogPosition,
    ) -> Result<LogPosition> {
        let place = appender.place.as_mut().expect("room was made");
        let written = place.write(&appender.buffer);
        let group_bytes = appender.buffer.len() as u64;
        appender.buffer.clear();
        appender.buffer.shrink_to(KEPT_BUFFER_BYTES);
        if let Err(error) = written {
            let error = Error::io(error, "append to the log", segment_name(place.number));
            return Err(self.abandon(appender, error));
        }
        place.end += group_bytes;
        place.has_records |= group.seqnos.is_some();
        appender.failures_in_row = 0;
        appender.lacked_bytes = 0;
        let end = LogPosition { file: place.number, offset: place.end };
        let mut state = self.state.lock();
        state.publish(end, synced_upto, &group);
        let grown = if place.end > place.reserved_bytes { state.current_hold() } else { None };
        drop(state);
        if let Some(hold) = grown {
            hold.set_bytes(place.end);
        }
        Ok(end)
    }

    /// A write failed: leaves the segment and hides what may lie behind the log's end.
    fn abandon(&self, appender: &mut Appender, error: Error) -> Error {
        let mut place = appender.place.take().expect("it was written to");
        drop(place.map.take()); // It is cut below.
        appender.hides_garbage = true;
        let hold = {
            let mut state = self.state.lock();
            let hold = state.current_hold();
            state.leave_segment(place.is_empty(), place.previous_end);
            hold
        };
        // Gives the space of what was written back. Only a help: if it cannot be, the next segment hides it.
        let _ = hold.map(|hold| hold.trim(place.end));
        let error = self.count_failure(appender, error);
        if error.kind() == ErrorKind::Poisoned {
            return error;
        }
        match self.begin_segment(appender, 0) {
            Ok(()) => error,
            Err(again) => match self.count_failure(appender, again) {
                again if again.kind() == ErrorKind::Poisoned => again,
                _ => error,
            },
        }
    }

    /// Poisons the log at the second failure in a row that is not lack of space.
    pub(super) fn count_failure(&self, appender: &mut Appender, error: Error) -> Error {
        if matches!(error.kind(), ErrorKind::OutOfSpace | ErrorKind::Poisoned) {
            return error;
        }
        appender.failures_in_row += 1;
        if appender.failures_in_row < 2 { error } else { self.state.lock().poison(&error) }
    }
}
