//! Beginning a segment: a new file, its space, its header and first record, its entry in the directory.
//!
//! The file, its space, its entry and its map can be had ahead, by [`Wal::prepare`] on another thread: what is
//! left to the append that finds its segment full is one small write.

use super::{
    Wal,
    append::Appender,
    record::Start,
    segment::{Life, START_AT, WAL_DIR, data_at, encode_blank, encode_start, segment_name},
    state::Live,
};
use isopach_engine::{
    codec::{FileCodec, FileHeader, FileKind, LogPosition, Seal},
    error::{Error, ErrorKind, Result},
    types::Uuid,
    version::Hold,
};
use isopach_env::{
    CreateOptions, File, FileMap, IoErrorKind, IoResult, SyncMode, SyncSite, WriteOrigin,
    sync::atomic::Ordering,
};
use std::{ops::Range, sync::Arc};

/// The entry of a new segment.
const SYNC_NAME: SyncSite = SyncSite("wal.name");
/// The first record of a segment that hides what lies before it.
const SYNC_HIDING: SyncSite = SyncSite("wal.hiding");

/// Where appends go.
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) seal: Option<Seal>,
    pub(super) codec: FileCodec,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Space below this is reserved; 0 if the backend cannot.
    pub(super) reserved_bytes: u64,
    /// Whether a record of the caller lies in it.
    pub(super) has_records: bool,
    /// The end that its first record names.
    pub(super) previous_end: LogPosition,
    /// What is appended is stored here as far as it reaches, and written else.
    pub(super) map: Option<Map>,
}

/// The reserved part of a segment in memory.
pub(super) struct Map {
    memory: Arc<dyn FileMap>,
    bytes: u64,
    /// Of the first so many the pages were brought into memory ahead.
    populated: u64,
}

/// So much of a map is brought into memory at a time: it is written to the medium whether it was stored to or not.
const POPULATED_BYTES: u64 = 8 << 20;

/// A file without content that will be a segment.
pub(super) struct Blank {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) header: FileHeader,
    /// How what follows is framed.
    pub(super) codec: FileCodec,
    pub(super) hold: Hold,
    /// What was had ahead.
    pub(super) prepared: Option<Prepared>,
}

/// What a segment needs before it can begin.
pub(super) struct Prepared {
    /// Space below this is reserved.
    pub(super) reserved_bytes: u64,
    pub(super) map: Option<Map>,
}

impl Map {
    /// Maps what is reserved of a file, if the backend maps at all.
    fn new(file: &dyn File, reserved_bytes: u64) -> Option<Map> {
        let memory = Arc::from(file.map(reserved_bytes).ok()?);
        Some(Map { memory, bytes: reserved_bytes, populated: 0 })
    }

    /// What is to be brought into memory next.
    fn next_pages(&self) -> Range<u64> {
        self.populated..(self.populated + POPULATED_BYTES).min(self.bytes)
    }
}

impl Place {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_records
    }

    /// Whether so many bytes can be stored behind the last record.
    pub(super) fn can_store(&self, bytes: u64) -> bool {
        self.map.as_ref().is_some_and(|map| self.end + bytes <= map.bytes)
    }

    /// Whether records will soon come to pages that are not in memory.
    pub(super) fn wants_pages(&self) -> bool {
        let is_near = |map: &Map| map.populated < map.bytes && self.end + POPULATED_BYTES / 2 > map.populated;
        self.map.as_ref().is_some_and(is_near)
    }

    /// Stores records behind the last one, where [`Place::can_store`] them, and returns where they end.
    pub(super) fn store(&mut self, bytes: &[u8]) -> LogPosition {
        self.map.as_ref().expect("it can be stored").memory.store(self.end, bytes);
        self.end += bytes.len() as u64;
        self.has_records = true;
        LogPosition { file: self.number, offset: self.end }
    }

    /// Writes at the end.
    pub(super) fn write(&self, bytes: &[u8]) -> IoResult<()> {
        match &self.map {
            Some(map) if self.end + bytes.len() as u64 <= map.bytes => {
                map.memory.store(self.end, bytes);
                Ok(())
            }
            _ => self.file.write_at(self.end, bytes),
        }
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
fn allocate_segment(blank: &Blank, wanted: u64, least: u64) -> Result<u64> {
    let mut bytes = wanted;
    loop {
        match allocate(&*blank.file, blank.number, bytes) {
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
        let mut blank = match self.take_blank(appender) {
            Some(blank) => blank,
            None => self.create_blank(|| appender.take_number())?,
        };
        let data_at = data_at(&blank.codec);
        let least = data_at + group_bytes + self.void_bytes();
        let is_prepared = blank.prepared.is_some();
        let prepared = match blank.prepared.take().filter(|prepared| prepared.reserved_bytes >= least) {
            Some(prepared) => prepared,
            None => match allocate_segment(&blank, self.options.segment_bytes.max(least), least) {
                Ok(reserved_bytes) => Prepared { reserved_bytes, map: None },
                Err(error) => return Err(keep_or_remove(appender, blank, error)),
            },
        };
        // While no sync runs, so that none tells of an empty segment that is about to be passed over.
        let may_pass_over = self.state.lock().may_pass_over();
        let no_sync = may_pass_over.then(|| self.syncing.take());
        let (previous_end, synced_upto) = {
            let mut state = self.state.lock();
            (state.end_to_name(), state.synced_upto)
        };
        if let Err(error) = self.write_opening(&blank, is_prepared, previous_end, synced_upto) {
            // The first record may be there all the same, and says that the log before it ends here.
            if let Some(place) = appender.place.take() {
                self.state.lock().leave_segment(place.is_empty(), place.previous_end);
            }
            if !blank.codec.sealing.is_clear() {
                // Nothing is sealed twice at one place of a file, and another first record would be (INV-ENC-1).
                blank.hold.remove();
                return Err(error);
            }
            return Err(keep_or_remove(appender, blank, error));
        }
        if let Err(error) = self.sync_opening(&blank, is_prepared, appender.hides_garbage) {
            blank.hold.remove();
            return Err(error);
        }

        appender.hides_garbage = false;
        appender.wished_for_next = false;
        appender.wished_for_pages = false;
        self.has_grown.store(true, Ordering::Relaxed);
        let Prepared { reserved_bytes, map } = prepared;
        let map =
            map.or_else(|| if appender.wants_map() { Map::new(&*blank.file, reserved_bytes) } else { None });
        let is_mapped = map.is_some();
        appender.note_map(is_mapped);
        let before = appender.place.replace(Place {
            number: blank.number,
            file: Arc::clone(&blank.file),
            seal: blank.header.seal,
            codec: blank.codec,
            end: data_at,
            reserved_bytes,
            has_records: false,
            previous_end,
            map,
        });
        appender.left_maps.extend(before.and_then(|place| place.map));
        blank.hold.set_bytes(reserved_bytes.max(data_at));
        let live = Live {
            number: blank.number,
            hold: Arc::new(blank.hold),
            file: Some(blank.file),
            used_bytes: data_at,
            seqnos: None,
            is_damaged: false,
        };
        let mut state = self.state.lock();
        let passed_over = state.take_passed_over();
        state.push_segment(live, is_mapped);
        drop((state, no_sync));
        if let Some(live) = passed_over {
            live.give_up();
        }
        Ok(())
    }

    /// Has a file ready for the next segment, if there is none: created, with its space, its entry durable, and
    /// its pages in memory if it is to be mapped. Maps of segments that were left go meanwhile, too. For a
    /// thread that does not append.
    ///
    /// # Errors
    ///
    /// As [`Wal::append`](Wal::append), which does itself what is not done then.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.bring_pages();
        let (left_maps, has_blank, wants_map, spare) = {
            let mut appender = self.appender.lock();
            self.check_open(&appender)?;
            let has_blank = appender.blank.is_some();
            // Together: the map of its former life is among those that go.
            let left_maps = std::mem::take(&mut appender.left_maps);
            let spare = if has_blank { None } else { self.state.lock().spares.pop() };
            (left_maps, has_blank, appender.wants_map(), spare)
        };
        drop(left_maps);
        if has_blank {
            return Ok(());
        }
        let recycled = spare.map_or(Ok(None), |spare| self.recycle(spare))?;
        let blank = match recycled {
            Some(blank) => blank,
            None => self.create_blank(|| self.appender.lock().take_number())?,
        };
        let prepared = self.prepare_blank(&blank, wants_map);
        self.have_ahead(blank, prepared)
    }

    /// Brings pages of the current segment into memory that records will come to, so that none waits for them.
    fn bring_pages(&self) {
        let due = {
            let mut appender = self.appender.lock();
            appender.wished_for_pages = false;
            let place = appender.place.as_ref().filter(|place| place.wants_pages());
            place.and_then(|place| {
                Some((place.number, place.map.as_ref()?))
                    .map(|(number, map)| (number, Arc::clone(&map.memory), map.next_pages()))
            })
        };
        let Some((number, memory, pages)) = due else { return };
        memory.populate(pages.clone());
        let mut appender = self.appender.lock();
        let place = appender.place.as_mut().filter(|place| place.number == number);
        if let Some(map) = place.and_then(|place| place.map.as_mut()) {
            map.populated = pages.end;
        }
    }

    /// Has the file of the first segment ready: created, its entry durable, without space. So the first commit does not
    /// wait for a sync of the directory, and a database that nobody writes to takes no space.
    ///
    /// # Errors
    ///
    /// As [`Wal::prepare`].
    pub(crate) fn prepare_first(&self) -> Result<()> {
        {
            let appender = self.appender.lock();
            self.check_open(&appender)?;
            if appender.place.is_some() || appender.blank.is_some() {
                return Ok(());
            }
        }
        let blank = self.create_blank(|| self.appender.lock().take_number())?;
        let named = self.write_header(&blank).and_then(|()| self.sync_name());
        self.have_ahead(blank, named.map(|()| Prepared { reserved_bytes: 0, map: None }))
    }

    /// Keeps a file for the next segment, unless that began meanwhile.
    fn have_ahead(&self, mut blank: Blank, prepared: Result<Prepared>) -> Result<()> {
        match prepared {
            Ok(prepared) => blank.prepared = Some(prepared),
            Err(error) => {
                blank.hold.remove();
                return Err(error);
            }
        }
        let mut appender = self.appender.lock();
        // Numbers go up along the log.
        let is_late = appender.place.as_ref().is_some_and(|place| place.number > blank.number);
        if is_late || appender.is_closed || appender.blank.is_some() {
            drop(appender);
            blank.hold.remove();
        } else {
            appender.blank = Some(blank);
        }
        Ok(())
    }

    fn prepare_blank(&self, blank: &Blank, wants_map: bool) -> Result<Prepared> {
        let reserved_bytes = match &blank.prepared {
            Some(recycled) => recycled.reserved_bytes,
            None => self.reserve_blank(blank)?,
        };
        self.sync_name()?;
        let mut map = if wants_map { Map::new(&*blank.file, reserved_bytes) } else { None };
        if let Some(map) = &mut map {
            let pages = map.next_pages();
            map.memory.populate(pages.clone());
            map.populated = pages.end;
        }
        Ok(Prepared { reserved_bytes, map })
    }

    /// Gives a new file its space and its header.
    fn reserve_blank(&self, blank: &Blank) -> Result<u64> {
        let reserved_bytes = allocate(&*blank.file, blank.number, self.options.segment_bytes)?;
        blank.hold.set_bytes(reserved_bytes);
        self.write_header(blank)?;
        Ok(reserved_bytes)
    }

    fn write_header(&self, blank: &Blank) -> Result<()> {
        let written = blank.file.write_at(0, &encode_blank(&blank.header));
        written.map_err(|error| Error::io(error, "prepare a log segment", segment_name(blank.number)))
    }

    /// Makes the names of new files durable.
    fn sync_name(&self) -> Result<()> {
        let synced = self.env.fs.sync_dir(WAL_DIR, SYNC_NAME);
        synced.map_err(|error| self.state.lock().poison(&Error::io(error, "sync", WAL_DIR)))
    }

    /// The file that is ready for the next segment, unless it was made ready under an earlier key, or its pages were
    /// brought in for a map that is not wanted any more: a sync would write them all.
    fn take_blank(&self, appender: &mut Appender) -> Option<Blank> {
        let blank = appender.blank.take()?;
        let is_mapped = blank.prepared.as_ref().is_some_and(|prepared| prepared.map.is_some());
        let seal = self.owner.keys.current(self.owner.database);
        if (is_mapped && !appender.wants_map()) || seal.is_ok_and(|seal| seal != blank.header.seal) {
            blank.hold.remove();
            return None;
        }
        Some(blank)
    }

    /// Creates a file under the next number that is free.
    pub(super) fn create_blank(&self, mut next_number: impl FnMut() -> Result<u32>) -> Result<Blank> {
        loop {
            let number = next_number()?;
            let name = segment_name(number);
            match self.env.fs.create(&name, &CreateOptions::new(WriteOrigin::Log)) {
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(error, "create a log segment", name)),
                Ok(file) => {
                    let hold = self.registry.register(FileKind::Log, &name, 0, None);
                    return match self.new_life(Life::First, &name) {
                        Ok((header, codec)) => {
                            Ok(Blank { number, file, header, codec, hold, prepared: None })
                        }
                        Err(error) => {
                            hold.remove();
                            Err(error)
                        }
                    };
                }
            }
        }
    }

    /// The header of a segment that will have this name, with a uuid that nothing had before, and how what follows is
    /// framed.
    pub(super) fn new_life(&self, life: Life, name: &str) -> Result<(FileHeader, FileCodec)> {
        let mut uuid = Uuid::default();
        let drawn = self.env.entropy.fill(&mut uuid.0);
        drawn.map_err(|error| Error::io(error, "draw the uuid of a log segment", name))?;
        self.owner.new_file(FileKind::Log, life.mark(uuid))
    }

    fn write_opening(
        &self,
        blank: &Blank,
        has_header: bool,
        previous_end: LogPosition,
        synced_upto: LogPosition,
    ) -> Result<()> {
        let start = Start { number: blank.number, previous_end, timeline: self.timeline };
        let mut opening = blank.header.encode().to_vec();
        encode_start(&mut opening, &blank.codec, start, synced_upto);
        let from = if has_header { START_AT } else { 0 };
        let written = blank.file.write_at(from, &opening[from as usize..]);
        written.map_err(|error| Error::io(error, "begin a log segment", segment_name(blank.number)))
    }

    fn sync_opening(&self, blank: &Blank, is_named: bool, hides_garbage: bool) -> Result<()> {
        if !is_named {
            self.sync_name()?;
        }
        if hides_garbage {
            let synced = blank.file.sync(SyncMode::Durable, SYNC_HIDING);
            let located = synced.map_err(|error| Error::io(error, "sync", segment_name(blank.number)));
            located.map_err(|error| self.state.lock().poison(&error))?;
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
