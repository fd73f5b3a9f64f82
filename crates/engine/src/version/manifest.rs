//! The manifest: an append-only log of edits for all trees, rotated into a snapshot. Layout: `docs/format.md`
//! §5.
//!
//! `MANIFEST-<n>`; the highest number is the manifest. An edit is installed after its record is durable
//! (INV-MAN-1). Concurrent edits share a sync.

use super::{
    catalog::Catalog,
    edit::{Change, decode_edit, encode_edit},
    registry::{FileRegistry, Hold},
};
use crate::{
    codec::{
        Corruption, FileCodec, FileHeader, FileKind, HEADER_BYTES, LogPosition, Owner, Record, RecordReader,
        Seal, Step, TlvReader, TlvWriter, encode_record, header_error, traces_of_records,
    },
    error::{Error, ErrorKind, Result},
    types::Uuid,
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use isopach_env::{
    CreateOptions, File, Fs, IoErrorKind, OpenMode, SyncMode, SyncSite, WriteOrigin,
    sync::{
        Mutex, Rank,
        atomic::{AtomicBool, Ordering},
    },
};

/// Of the sync that edits share; held over it.
const SYNC: Rank = Rank { level: 39, name: "manifest.sync" };
/// Of the log and its catalog; held over an append, and over a rotation.
const LOG: Rank = Rank { level: 40, name: "manifest.log" };
/// Of the sticky error.
const POISON: Rank = Rank { level: 41, name: "manifest.poison" };

/// Edits are appended up to this many bytes beyond twice the snapshot; then the manifest is rotated. The
/// space is reserved when it is started, so that an append on a full disk does not fail.
const ROTATE_BYTES: u64 = 1 << 20;

/// Reserved beyond that, for edits while there is no space to rotate; and more in such steps, before it is
/// used up.
const EXTRA_BYTES: u64 = 256 << 10;

/// What the names of manifests begin with; their number follows.
pub(crate) const MANIFEST_PREFIX: &str = "MANIFEST-";
const TEMPORARY: &str = ".tmp";

const RECORD_FEATURES: u8 = 1;
const RECORD_SNAPSHOT: u8 = 2;
const RECORD_EDIT: u8 = 3;

const INCOMPATIBLE: u8 = 1;
const WRITE_INCOMPATIBLE: u8 = 2;
const COMPATIBLE: u8 = 0x80;

/// The name of manifest `number`.
pub fn manifest_name(number: u32) -> String {
    format!("{MANIFEST_PREFIX}{number:06}")
}

/// The number of the manifest of this name; `None` for other files, temporary ones included.
pub fn manifest_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(MANIFEST_PREFIX)?;
    let number = digits.parse().ok()?;
    (manifest_name(number) == name).then_some(number)
}

/// The number of a manifest whose writing was interrupted; `None` for other files.
pub fn temporary_number(name: &str) -> Option<u32> {
    manifest_number(name.strip_suffix(TEMPORARY)?)
}

/// What a manifest says.
#[derive(Debug)]
pub struct Replayed {
    /// All edits folded.
    pub catalog: Catalog,
    /// The manifest's number.
    pub number: u32,
    /// Bytes behind the last edit that were never acknowledged.
    pub discarded_bytes: u64,
}

/// Reads manifest `number` of a store.
///
/// # Errors
///
/// `Corruption` of anything but an unacknowledged end; `UnsupportedFormat`; `MixedStore`.
pub fn replay(fs: &dyn Fs, number: u32, owner: impl Into<Owner>) -> Result<Replayed> {
    let owner = owner.into();
    let name = manifest_name(number);
    let file =
        fs.open(&name, OpenMode::Read).map_err(|error| Error::io(error, "open the manifest", &*name))?;
    let io = |error| Error::io(error, "read the manifest", &*name);
    let bytes = file.size_bytes().map_err(io)?;
    let header = read_header(&*file, bytes, &name, owner.database)?;
    let codec = owner.codec(&header, &name)?;
    let salt = codec.salt;

    let mut records = RecordReader::new(Arc::clone(&file), codec, HEADER_BYTES as u64, bytes);
    let mut catalog = Catalog::default();
    let mut synced = LogPosition::START;
    let mut expected = RECORD_FEATURES;
    loop {
        match records.step().map_err(io)? {
            Step::Record { offset, kind, synced_upto, payload, .. } => {
                if kind != expected {
                    return Err(Error::corrupt(&*name, offset, "a record of the manifest is out of place"));
                }
                synced = synced.max(synced_upto);
                let corrupt = |why: Corruption| Error::corrupt(&*name, offset, why);
                match kind {
                    RECORD_FEATURES => check_features(payload, &name, offset)?,
                    _ => decode_edit(payload).and_then(|edit| catalog.apply(&edit)).map_err(corrupt)?,
                }
                expected = if kind == RECORD_FEATURES { RECORD_SNAPSHOT } else { RECORD_EDIT };
            }
            Step::End if expected == RECORD_EDIT => {
                catalog.check().map_err(|why| Error::corrupt(&*name, bytes, why))?;
                return Ok(Replayed { catalog, number, discarded_bytes: 0 });
            }
            Step::End => return Err(Error::corrupt(&*name, bytes, "the manifest ends before its snapshot")),
            Step::Altered { offset, why } => return Err(Error::corrupt(&*name, offset, why)),
            Step::Invalid { offset, why } => {
                if expected != RECORD_EDIT {
                    return Err(Error::corrupt(&*name, offset, format_args!("in the snapshot: {why}")));
                }
                let traces = traces_of_records(Arc::clone(&file), salt, offset, bytes).map_err(io)?;
                let behind = traces.map(|traces| traces.synced_upto);
                if behind.max(Some(synced)) > Some(LogPosition { file: number, offset }) {
                    return Err(Error::corrupt(&*name, offset, format_args!("in a durable edit: {why}")));
                }
                catalog.check().map_err(|why| Error::corrupt(&*name, offset, why))?;
                return Ok(Replayed {
                    catalog,
                    number,
                    discarded_bytes: behind.map_or(0, |_| bytes - offset),
                });
            }
        }
    }
}

/// How manifest `number` of a store is sealed, and its size.
pub(crate) fn seal_of_manifest(fs: &dyn Fs, number: u32, database: Uuid) -> Result<(Option<Seal>, u64)> {
    let name = manifest_name(number);
    let io = |error| Error::io(error, "read the manifest", &*name);
    let file = fs.open(&name, OpenMode::Read).map_err(io)?;
    let bytes = file.size_bytes().map_err(io)?;
    Ok((read_header(&*file, bytes, &name, database)?.seal, bytes))
}

fn read_header(file: &dyn File, bytes: u64, name: &str, database: Uuid) -> Result<FileHeader> {
    if bytes < HEADER_BYTES as u64 {
        return Err(Error::corrupt(name, bytes, "the manifest ends inside its header"));
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut header).map_err(|error| Error::io(error, "read the manifest", name))?;
    let header = FileHeader::decode(&header).map_err(|error| header_error(error, name))?;
    if header.kind != FileKind::Manifest {
        return Err(Error::corrupt(name, 4, "the file is no manifest"));
    }
    if header.database != database {
        let message = format!("belongs to database {}, IDENTITY says {database}", header.database);
        return Err(Error::new(ErrorKind::MixedStore, message).in_file(name));
    }
    Ok(header)
}

/// Holds a manifest against its checksums, up to a place that was durable.
fn check_records(file: &Arc<dyn File>, codec: FileCodec, end: LogPosition, database: Uuid) -> Result<()> {
    let name = manifest_name(end.file);
    read_header(&**file, end.offset, &name, database)?;
    let mut records = RecordReader::new(Arc::clone(file), codec, HEADER_BYTES as u64, end.offset);
    loop {
        match records.step().map_err(|error| Error::io(error, "read the manifest", &*name))? {
            Step::Record { .. } => {}
            Step::End => return Ok(()),
            Step::Invalid { offset, why } | Step::Altered { offset, why } => {
                return Err(Error::corrupt(&*name, offset, why));
            }
        }
    }
}

fn encode_features() -> Vec<u8> {
    let mut fields = TlvWriter::new();
    fields.u64(INCOMPATIBLE, 0).u64(WRITE_INCOMPATIBLE, 0).u64(COMPATIBLE, 0);
    fields.finish()
}

fn check_features(payload: &[u8], name: &str, offset: u64) -> Result<()> {
    let mut fields = TlvReader::new(payload);
    let corrupt = |why: Corruption| Error::corrupt(name, offset, why);
    while let Some((tag, value)) = fields.next_field().map_err(corrupt)? {
        match tag {
            INCOMPATIBLE | WRITE_INCOMPATIBLE => {
                let bits = TlvReader::as_u64(value).map_err(corrupt)?;
                if bits != 0 {
                    let message = format!("uses features of a later version (bits {bits:#x})");
                    return Err(Error::new(ErrorKind::UnsupportedFormat, message).in_file(name));
                }
            }
            unknown => TlvReader::unknown(unknown).map_err(corrupt)?,
        }
    }
    Ok(())
}

/// A manifest open for appending.
pub struct Manifest {
    fs: Arc<dyn Fs>,
    registry: FileRegistry,
    owner: Owner,
    new_uuid: NewUuid,
    log: Mutex<Log>,
    /// How far the log is durable. Taken before `log`, held over a sync: who waits finds himself covered.
    sync: Mutex<LogPosition>,
    poison: Mutex<Option<Error>>,
    /// Whether `poison` is set; for those who only look.
    is_poisoned: AtomicBool,
}

/// Draws uuids for new files.
pub type NewUuid = alloc::boxed::Box<dyn Fn() -> Result<Uuid> + Send + Sync>;

struct Log {
    file: Arc<dyn File>,
    hold: Hold,
    codec: FileCodec,
    seal: Option<Seal>,
    number: u32,
    /// Where the next record goes.
    end: u64,
    /// From here on a rotation is due.
    rotate_at: u64,
    /// Space is reserved up to here; all there is, if the backend cannot reserve.
    reserved: u64,
    /// Known durable; what records carry.
    synced: LogPosition,
    /// The greatest that a record carries.
    carried: LogPosition,
    /// What is stored is not what was written.
    is_damaged: bool,
    catalog: Catalog,
}

impl Log {
    fn position(&self) -> LogPosition {
        LogPosition { file: self.number, offset: self.end }
    }
}

impl Manifest {
    /// Starts manifest `number` with a snapshot of `catalog`. Durable on return, its name included.
    ///
    /// # Errors
    ///
    /// Before the rename: the directory is as before but for a temporary file. From the rename on: whether
    /// the new manifest counts is known after reopening.
    pub fn start(
        fs: Arc<dyn Fs>,
        registry: FileRegistry,
        owner: impl Into<Owner>,
        new_uuid: NewUuid,
        number: u32,
        catalog: Catalog,
    ) -> Result<Manifest> {
        let owner = owner.into();
        let log = write_snapshot(&fs, &registry, &owner, &new_uuid, number, catalog)
            .map_err(|(error, _catalog, _is_named)| error)?;
        let synced = log.synced;
        Ok(Manifest {
            fs,
            registry,
            owner,
            new_uuid,
            log: Mutex::new(LOG, log),
            sync: Mutex::new(SYNC, synced),
            poison: Mutex::new(POISON, None),
            is_poisoned: AtomicBool::new(false),
        })
    }

    /// Appends an edit and returns when it is durable.
    ///
    /// # Errors
    ///
    /// `OutOfSpace`: no space could be prepared for the record; nothing changed. `Poisoned` after a failed
    /// sync, or if neither the record nor a new manifest could be written: whether the edit survived is known
    /// after reopening.
    ///
    /// # Panics
    ///
    /// If the edit contradicts what is there: a bug of the caller.
    pub fn commit(&self, changes: &[Change]) -> Result<()> {
        let position = self.append(changes)?;
        self.sync_through(position)
    }

    fn append(&self, changes: &[Change]) -> Result<LogPosition> {
        self.check()?;
        let mut log = self.log.lock();
        if log.end > log.rotate_at && self.rotate(&mut log).is_err() {
            self.check()?;
            // For want of space the log just grows on, and not each edit tries again.
            log.rotate_at = log.end + EXTRA_BYTES / 16;
        }
        let payload = encode_edit(changes);
        let record_bytes = log.codec.record_bytes(payload.len());
        reserve(&mut log, record_bytes)?;
        if let Err(error) = append_record(&mut log, RECORD_EDIT, &payload) {
            // Part of the record may lie in the file: no byte of it is written again. A new manifest takes
            // over.
            self.rotate(&mut log).map_err(|again| match again.kind() {
                ErrorKind::Poisoned => again,
                _ => self.poison_by(&error, "append an edit"),
            })?;
            append_record(&mut log, RECORD_EDIT, &payload)
                .map_err(|error| self.poison_by(&error, "append an edit"))?;
        }
        log.catalog.apply(changes).expect("INV-MAN-3: an edit fits what is there");
        Ok(log.position())
    }

    /// A uuid for a new file.
    ///
    /// # Errors
    ///
    /// The random source's.
    pub(super) fn draw_uuid(&self) -> Result<Uuid> {
        (self.new_uuid)()
    }

    /// Writes down how far the manifest is durable, if no record says it yet: an edit without changes,
    /// unsynced. Damage to the last edit is then told from an edit that a crash cut off.
    ///
    /// # Errors
    ///
    /// As [`Manifest::commit`].
    pub fn note_synced(&self) -> Result<()> {
        let is_noted = {
            let log = self.log.lock();
            log.carried >= log.synced
        };
        if is_noted { Ok(()) } else { self.append(&[]).map(drop) }
    }

    fn sync_through(&self, position: LogPosition) -> Result<()> {
        let mut synced = self.sync.lock();
        if *synced >= position {
            return Ok(());
        }
        self.check()?;
        let (file, end, name) = {
            let log = self.log.lock();
            (Arc::clone(&log.file), log.position(), manifest_name(log.number))
        };
        let result = file.sync(SyncMode::Durable, SyncSite("manifest.edit"));
        result.map_err(|error| {
            self.poison_by(&Error::io(error, "sync the manifest", &*name), "sync an edit")
        })?;
        *synced = end;
        let mut log = self.log.lock();
        log.synced = log.synced.max(end);
        Ok(())
    }

    /// Goes on in a new file, if this one is sealed in another way than new ones are.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::current`](crate::codec::Keyring::current); the backend's, and nothing changed; `Poisoned`:
    /// whether the new manifest counts is known after reopening.
    pub fn reseal(&self) -> Result<()> {
        let mut log = self.log.lock();
        self.check()?;
        if log.seal == self.owner.keys.current(self.owner.database)? { Ok(()) } else { self.rotate(&mut log) }
    }

    /// Reads the file up to where it is durable and holds it against its checksums; `is_past_caches`: from the medium.
    /// What it says is in memory, so nothing is lost if it is damaged, and [`Manifest::heal`] helps. Returns how many
    /// bytes were read.
    ///
    /// # Errors
    ///
    /// `Corruption`; the backend's.
    pub fn check_stored(&self, is_past_caches: bool) -> Result<u64> {
        let (file, codec, end) = {
            let log = self.log.lock();
            (Arc::clone(&log.file), log.codec.clone(), log.synced)
        };
        if is_past_caches {
            file.drop_cached(0..end.offset);
        }
        let checked = check_records(&file, codec, end, self.owner.database);
        if checked.is_err() {
            let mut log = self.log.lock();
            log.is_damaged |= log.number == end.file;
        }
        checked.map(|()| end.offset)
    }

    /// Whether a check found it damaged.
    pub fn is_damaged(&self) -> bool {
        self.log.lock().is_damaged
    }

    /// Goes on in a new file, if a check found this one damaged; says whether it did.
    ///
    /// # Errors
    ///
    /// As [`Manifest::reseal`].
    pub fn heal(&self) -> Result<bool> {
        let mut log = self.log.lock();
        self.check()?;
        let is_damaged = log.is_damaged;
        if is_damaged {
            self.rotate(&mut log)?;
        }
        Ok(is_damaged)
    }

    /// Replaces the log by a snapshot of its catalog in a new file.
    fn rotate(&self, log: &mut Log) -> Result<()> {
        let catalog = core::mem::take(&mut log.catalog);
        let number = log.number + 1;
        match write_snapshot(&self.fs, &self.registry, &self.owner, &self.new_uuid, number, catalog) {
            Ok(next) => {
                let old = core::mem::replace(log, next);
                old.hold.remove();
                Ok(())
            }
            Err((error, catalog, is_named)) => {
                log.catalog = catalog;
                Err(if is_named { self.poison_by(&error, "rotate the manifest") } else { error })
            }
        }
    }

    /// The error that stopped writing, if any. Sticky until reopened.
    pub fn poisoned(&self) -> Option<Error> {
        if self.is_poisoned.load(Ordering::Acquire) { self.poison.lock().clone() } else { None }
    }

    /// Says whether edits can be committed.
    ///
    /// # Errors
    ///
    /// [`Manifest::poisoned`].
    pub fn check(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), Err)
    }

    /// Stops writing for good, because of `cause`.
    pub fn poison_by(&self, cause: &Error, doing: &str) -> Error {
        let message =
            format!("writing stopped because of a failure to {doing} ({cause}); reopen to write again");
        let mut poison = self.poison.lock();
        self.is_poisoned.store(true, Ordering::Release);
        poison.get_or_insert_with(|| Error::new(ErrorKind::Poisoned, message)).clone()
    }

    /// Looks at the catalog.
    pub fn with_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        look(&self.log.lock().catalog)
    }

    /// Name of the file that is appended to.
    pub fn current_name(&self) -> String {
        manifest_name(self.log.lock().number)
    }

    /// How that file is sealed, and its size.
    pub fn seal(&self) -> (Option<Seal>, u64) {
        let log = self.log.lock();
        (log.seal, log.end)
    }

    /// Bytes written to that file; more are reserved.
    pub fn bytes(&self) -> u64 {
        self.log.lock().end
    }
}

/// Reserves space for a record: only what is prepared is written to, so that want of space tears no record.
fn reserve(log: &mut Log, bytes: u64) -> Result<()> {
    let end = log.end + bytes;
    if end > log.reserved {
        log.reserved = allocate(&*log.file, &manifest_name(log.number), end + EXTRA_BYTES)?;
    }
    Ok(())
}

/// Reserves space up to `end`, and says up to where there is.
fn allocate(file: &dyn File, name: &str, end: u64) -> Result<u64> {
    match file.allocate(end) {
        Ok(()) => Ok(end),
        Err(error) if error.kind() == IoErrorKind::Unsupported => Ok(u64::MAX),
        Err(error) => Err(Error::io(error, "reserve space for the manifest", name)),
    }
}

fn append_record(log: &mut Log, kind: u8, payload: &[u8]) -> Result<()> {
    let mut bytes = Vec::new();
    let record = Record { kind, synced_upto: log.synced, payload };
    encode_record(&mut bytes, &log.codec, log.end, record);
    let name = manifest_name(log.number);
    log.file.write_at(log.end, &bytes).map_err(|error| Error::io(error, "append to the manifest", name))?;
    log.end += bytes.len() as u64;
    log.carried = log.synced;
    log.hold.set_bytes(log.end);
    Ok(())
}

/// A manifest that has no name yet.
struct Written {
    file: Arc<dyn File>,
    codec: FileCodec,
    seal: Option<Seal>,
    end: u64,
    reserved: u64,
}

/// Writes a whole manifest under a temporary name and gives it its own. On an error gives the catalog back,
/// and says whether the new name may be there.
fn write_snapshot(
    fs: &Arc<dyn Fs>,
    registry: &FileRegistry,
    owner: &Owner,
    new_uuid: &NewUuid,
    number: u32,
    catalog: Catalog,
) -> core::result::Result<Log, (Error, Catalog, bool)> {
    let name = manifest_name(number);
    let temporary = format!("{name}{TEMPORARY}");
    let write = || -> Result<Written> {
        let io = |error| Error::io(error, "write the manifest", &*temporary);
        match fs.remove_file(&temporary) {
            Err(error) if error.kind() != IoErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let (header, codec) = owner.new_file(FileKind::Manifest, new_uuid()?)?;
        let mut bytes = Vec::from(header.encode());
        for (kind, payload) in
            [(RECORD_FEATURES, encode_features()), (RECORD_SNAPSHOT, encode_edit(&catalog.snapshot()))]
        {
            let offset = bytes.len() as u64;
            let record = Record { kind, synced_upto: LogPosition::START, payload: &payload };
            encode_record(&mut bytes, &codec, offset, record);
        }
        let file = fs.create(&temporary, &CreateOptions::new(WriteOrigin::Manifest)).map_err(io)?;
        file.write_at(0, &bytes).map_err(io)?;
        let reserved = allocate(&*file, &temporary, 2 * bytes.len() as u64 + ROTATE_BYTES + EXTRA_BYTES)?;
        file.sync(SyncMode::Durable, SyncSite("manifest.snapshot")).map_err(io)?;
        Ok(Written { file, codec, seal: header.seal, end: bytes.len() as u64, reserved })
    };
    let Written { file, codec, seal, end, reserved } = match write() {
        Ok(written) => written,
        Err(error) => {
            // Gives its space back. Only a help: it is removed before the next is written, too.
            let _ = fs.remove_file(&temporary);
            return Err((error, catalog, false));
        }
    };
    if let Err(error) = fs.rename(&temporary, &name) {
        // It may have happened all the same; but for want of space it did not.
        let is_named = error.kind() != IoErrorKind::OutOfSpace;
        return Err((Error::io(error, "rename the manifest", temporary), catalog, is_named));
    }
    if let Err(error) = fs.sync_dir("", SyncSite("manifest.name")) {
        return Err((Error::io(error, "sync the directory of the manifest", name), catalog, true));
    }
    let synced = LogPosition { file: number, offset: end };
    let hold = registry.register(FileKind::Manifest, &name, end, None);
    Ok(Log {
        file,
        hold,
        codec,
        seal,
        number,
        end,
        rotate_at: 2 * end + ROTATE_BYTES,
        reserved,
        synced,
        carried: synced,
        is_damaged: false,
        catalog,
    })
}
