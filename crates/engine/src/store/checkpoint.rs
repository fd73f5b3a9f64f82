//! Checkpoint: a store of its own, made of what this one holds at one moment.
//!
//! Reads top-down: [`Store::cut`] captures, without I/O of its own; [`Store::checkpoint`] writes. Tables, dictionaries and
//! separated values are never written to after they are finished, so the copy may share them with the source: clones and links are
//! as good as copies.
//!
//! Until IDENTITY is there the target is no store, and is refused by name
//! ([`PARTIAL`](super::directory::PARTIAL)). That name is the commit point, and the last step: everything
//! else of the copy is durable before it.

use super::{
    Store,
    directory::{DIRECTORIES, PARTIAL, begin_copy, finish_copy, take_back_copy},
    open::uuid_source,
};
use crate::{
    blob, dictionary,
    error::{Error, ErrorKind, Result},
    place::PlaceId,
    table::{self, TableMeta},
    tree::{MemtablePin, Tree},
    types::{Seqno, TableId},
    version::{
        Catalog, Change, DeletionPause, FileRegistry, Lease, Manifest, Note, TablesChange, check_names,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::fmt;
use isopach_env::{CreateOptions, Fs, IoErrorKind, IoResult, OpenMode, SyncMode, SyncSite, WriteOrigin};

/// Number of a copy's manifest.
const FIRST_MANIFEST: u32 = 1;

/// A captured state of all trees. No file is removed while it is held.
pub struct Cut {
    at: Seqno,
    catalog: Catalog,
    /// Of trees whose memtables hold what no log of the caller does.
    unlogged: Vec<MemtablePin>,
    /// Files stay. Before the lease: what was kept back is removed while the directory is locked.
    _pause: DeletionPause,
    /// The directory stays locked.
    _lease: Lease,
}

impl Cut {
    /// Its position.
    pub fn at(&self) -> Seqno {
        self.at
    }

    /// The value of a [`Note`], as it was captured.
    pub fn note(&self, name: &str) -> Option<&[u8]> {
        self.catalog.notes.get(name).map(Vec::as_slice)
    }
}

/// How a checkpoint is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckpointOptions {
    /// Flush first, so that little of the log is copied. Off: the log goes along, and of memtables only what
    /// it lacks.
    pub flush: bool,
    /// Prefer clones of files, which share blocks until written, then links, then copies. Off: links, then
    /// copies.
    pub reflink: bool,
}

/// No flush, clones preferred.
impl Default for CheckpointOptions {
    fn default() -> CheckpointOptions {
        CheckpointOptions { flush: false, reflink: true }
    }
}

impl CheckpointOptions {
    /// The defaults.
    pub fn new() -> CheckpointOptions {
        CheckpointOptions::default()
    }

    /// Sets [`CheckpointOptions::flush`].
    #[must_use]
    pub fn flush(self, flush: bool) -> CheckpointOptions {
        CheckpointOptions { flush, ..self }
    }

    /// Sets [`CheckpointOptions::reflink`].
    #[must_use]
    pub fn reflink(self, reflink: bool) -> CheckpointOptions {
        CheckpointOptions { reflink, ..self }
    }
}

/// A finished checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// It holds exactly the commits `<=` this.
    pub seqno: Seqno,
    /// Its files.
    pub files: u64,
    /// Of these, tables.
    pub tables: u64,
    /// Sizes of its files, however they came.
    pub bytes: u64,
    /// Of these, files linked.
    pub linked_files: u64,
    /// Of these, files cloned.
    pub cloned_files: u64,
    /// Bytes that had to be copied or written. Less than the sizes of such files where those are reserved
    /// ahead.
    pub copied_bytes: u64,
}

/// Why there is no checkpoint, and on which side.
#[derive(Clone, Debug)]
pub enum CheckpointError {
    /// Reading the store failed, or it ended. Files are told relative to its root.
    Source(Error),
    /// Making the copy failed. Files are told relative to the target.
    Target(Error),
}

/// Most of a checkpoint is work on the target.
impl From<Error> for CheckpointError {
    fn from(error: Error) -> CheckpointError {
        match error.kind() {
            ErrorKind::Poisoned | ErrorKind::Closed | ErrorKind::ReadOnly => CheckpointError::Source(error),
            _ => CheckpointError::Target(error),
        }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Source(error) => write!(f, "source of the checkpoint: {error}"),
            CheckpointError::Target(error) => write!(f, "target of the checkpoint: {error}"),
        }
    }
}

impl core::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        let (CheckpointError::Source(error) | CheckpointError::Target(error)) = self;
        Some(error)
    }
}

impl CheckpointInfo {
    fn count(&mut self, bytes: u64, how: Brought) {
        self.files += 1;
        self.bytes += bytes;
        match how {
            Brought::Cloned => self.cloned_files += 1,
            Brought::Linked => self.linked_files += 1,
            Brought::Copied => self.copied_bytes += bytes,
        }
    }

    /// A file of `bytes`, of which `written_bytes` were written.
    fn count_reserved(&mut self, bytes: u64, written_bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.copied_bytes += written_bytes;
    }
}

/// How a file came into a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Brought {
    Cloned,
    Linked,
    Copied,
}

/// Brings files of the caller.
pub type ExtraFiles<'a> = dyn FnMut(&mut Extra<'_>) -> Result<(), CheckpointError> + 'a;

/// Adds files of the caller to a checkpoint: the log, for one.
pub struct Extra<'a> {
    from: &'a dyn Fs,
    to: &'a dyn Fs,
    info: &'a mut CheckpointInfo,
}

impl Extra<'_> {
    /// Copies the first `bytes` of a file, durable on return. Its directory is synced later.
    ///
    /// # Errors
    ///
    /// The backends'; `Corruption` if the file is shorter.
    pub fn copy(&mut self, name: &str, bytes: u64) -> Result<(), CheckpointError> {
        copy_file(self.from, name, self.to, name, bytes)?;
        self.info.count(bytes, Brought::Copied);
        Ok(())
    }
}

impl Store {
    /// Captures all trees at `at`, for [`Store::checkpoint`]. It does no I/O of its own; call it where
    /// everything up to `at` is applied, and nothing above it.
    ///
    /// Of the trees in `unlogged` what is in memory only is captured too; of others the caller copies its
    /// log.
    ///
    /// # Errors
    ///
    /// `Closed`, `ReadOnly`, `Poisoned`.
    pub fn cut(&self, at: Seqno, unlogged: &[Tree]) -> Result<Cut> {
        let lease = self.0.context.enter()?;
        let manifest = self.0.context.manifest()?;
        manifest.check()?;
        // In this order: no file of the catalog is removed, and no operation is in neither memtable nor
        // catalog.
        let pause = self.pause_deletions();
        let unlogged = unlogged.iter().map(Tree::pin_memtables).collect();
        let catalog = manifest.with_catalog(Catalog::clone);
        Ok(Cut { at, catalog, unlogged, _pause: pause, _lease: lease })
    }

    /// Makes a store of its own out of `cut` in `to`, an empty place. It holds exactly the operations `<=`
    /// [`Cut::at`], with `notes` over those that were captured. Durable on return, its entry in the parent
    /// included.
    ///
    /// `extra` adds files of the caller before the copy becomes valid. On an error `to` is emptied; what
    /// cannot be removed is refused as a partial copy. Only if the very last sync fails, and what it was to
    /// make durable can then not be taken back, the copy stays, whole.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is anything in `to`: it stays. `InvalidArgument` for names of notes; the
    /// backends'.
    pub fn checkpoint(
        &self,
        cut: Cut,
        to: &Arc<dyn Fs>,
        options: &CheckpointOptions,
        notes: &[Note],
        extra: &mut ExtraFiles<'_>,
    ) -> Result<CheckpointInfo, CheckpointError> {
        check_names(notes)?;
        let is_empty = to.list("").map_err(|error| Error::io(error, "list the target", "."))?.is_empty();
        if !is_empty {
            let message = "the target of the checkpoint is not empty";
            return Err(Error::new(ErrorKind::AlreadyExists, message).into());
        }
        let guard = EmptyUnlessDone { to: &**to, is_done: false };
        let info = self.fill(cut, to, options, notes, extra)?;
        guard.done();
        Ok(info)
    }

    fn fill(
        &self,
        cut: Cut,
        to: &Arc<dyn Fs>,
        options: &CheckpointOptions,
        notes: &[Note],
        extra: &mut ExtraFiles<'_>,
    ) -> Result<CheckpointInfo, CheckpointError> {
        let (from, owner) = (&self.0.context.env.fs, &self.0.context.tables.owner);
        // Variables go in the reverse order: the pause before the lease.
        let Cut { at, catalog, unlogged, _lease, _pause } = cut;
        let mut info = CheckpointInfo { seqno: at, ..CheckpointInfo::default() };
        let draw = uuid_source(&self.0.context.env);
        begin_copy(&**to, draw()?, owner.database)?;

        let mut no_clones = BTreeSet::new();
        if !options.reflink {
            no_clones.extend(catalog.places());
        }
        let mut dictionaries = BTreeMap::new();
        for table in catalog.trees.values().flat_map(|tree| tree.levels.tables()).map(|(.., table)| table) {
            let name = (table.place, table::file_name(table.id));
            let how = bring_file(&**from, &**to, &name, table.file_bytes(), &mut no_clones)?;
            info.count(table.file_bytes(), how);
            info.tables += 1;
            dictionaries.extend(table.dictionary.map(|handle| (handle.id, handle.bytes)));
        }
        for file in catalog.trees.values().flat_map(|tree| tree.blobs.files()) {
            let name = (file.place, blob::file_name(file.id));
            let how = bring_file(&**from, &**to, &name, file.file_bytes(), &mut no_clones)?;
            info.count(file.file_bytes(), how);
        }
        for (id, bytes) in dictionaries {
            let name = (PlaceId::MAIN, dictionary::file_name(id));
            let how = bring_file(&**from, &**to, &name, bytes, &mut no_clones)?;
            info.count(bytes, how);
        }
        let mut catalog = catalog.without_routes();
        for pin in unlogged {
            // By value: its memory is free as soon as it is written.
            for table in self.write_unlogged(&mut catalog, pin, at, to)? {
                info.count(table.bytes, Brought::Copied);
                info.tables += 1;
            }
        }
        extra(&mut Extra { from: &**from, to: &**to, info: &mut info })?;
        for directory in DIRECTORIES {
            let synced = to.sync_dir(directory, SyncSite("checkpoint.directory"));
            synced.map_err(|error| Error::io(error, "sync the directory", directory))?;
        }

        let notes = notes.iter().cloned().map(Change::Note).collect::<Vec<_>>();
        catalog.apply(&notes).expect("notes contradict nothing");
        let registry = FileRegistry::new(Arc::clone(to));
        let manifest = Manifest::start(Arc::clone(to), registry, owner, draw, FIRST_MANIFEST, catalog)?;
        info.count_reserved(size_of(&**to, &manifest.current_name())?, manifest.bytes());
        info.count(size_of(&**to, PARTIAL)?, Brought::Copied);
        let synced = to.sync_parent(SyncSite("checkpoint.parent"));
        synced.map_err(|error| Error::io(error, "sync the parent directory of", "."))?;
        finish_copy(&**to)?; // The commit point, and the last step: after it nothing may be removed.
        Ok(info)
    }

    /// Writes what no log holds as tables of the copy only, and names them in its catalog.
    fn write_unlogged(
        &self,
        catalog: &mut Catalog,
        pin: MemtablePin,
        at: Seqno,
        to: &Arc<dyn Fs>,
    ) -> Result<Vec<Arc<TableMeta>>> {
        let Some(tree) = catalog.trees.get(&pin.tree().id()) else {
            return Ok(Vec::new()); // Dropped meanwhile: its drop lies before the cut.
        };
        let added = pin.write_above(tree.replay_point, at, to)?;
        let written = added.iter().map(|added| Arc::clone(&added.table)).collect();
        if let Some(TableId(last)) = added.iter().map(|added| added.table.id).max() {
            catalog.file_id_mark = catalog.file_id_mark.max(last + 1);
        }
        let mut change = TablesChange::of(pin.tree().id());
        change.added = added;
        change.replay_point = Some(at);
        let change = Change::Tables(change);
        catalog.apply(&[change]).expect("INV-MAN-3: newer tables fit into level 0");
        Ok(written)
    }
}

/// Clones, links or copies a file of a place that does not change, durable on return.
fn bring_file(
    from: &dyn Fs,
    to: &dyn Fs,
    (place, name): &(PlaceId, String),
    bytes: u64,
    no_clones: &mut BTreeSet<PlaceId>,
) -> Result<Brought, CheckpointError> {
    let source = place.name_of(name);
    if !no_clones.contains(place) {
        if shares(from.reflink_to(&source, to, name), &source, "clone")? {
            sync_file(to, name)?;
            return Ok(Brought::Cloned);
        }
        no_clones.insert(*place); // What cannot be for one file of a place cannot be for any.
    }
    if shares(from.link_to(&source, to, name), &source, "link")? {
        return Ok(Brought::Linked);
    }
    copy_file(from, &source, to, name, bytes)?;
    Ok(Brought::Copied)
}

/// Whether a file could be shared. Backends that cannot, or not between these places, leave it to a copy; any
/// other failure is one.
fn shares(shared: IoResult<()>, name: &str, doing: &str) -> Result<bool> {
    match shared {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), IoErrorKind::Unsupported | IoErrorKind::CrossDevice) => {
            Ok(false)
        }
        Err(error) => Err(Error::io(error, doing, name)),
    }
}

/// Copies the first `bytes` of a file, durable on return.
fn copy_file(
    from: &dyn Fs,
    source: &str,
    to: &dyn Fs,
    name: &str,
    bytes: u64,
) -> Result<(), CheckpointError> {
    const STEP_BYTES: u64 = 1 << 20;
    let reading = |error| CheckpointError::Source(Error::io(error, "read for a checkpoint", source));
    let writing = |error| Error::io(error, "write to a checkpoint", name);
    let original = from.open(source, OpenMode::Read).map_err(reading)?;
    let copy = to.create(name, &CreateOptions::new(WriteOrigin::Checkpoint)).map_err(writing)?;
    let mut buffer = alloc::vec![0; bytes.min(STEP_BYTES) as usize];
    let mut at = 0;
    while at < bytes {
        let step = &mut buffer[..(bytes - at).min(STEP_BYTES) as usize];
        original.read_exact_at(at, step).map_err(|error| match error.kind() {
            IoErrorKind::UnexpectedEnd => CheckpointError::Source(Error::corrupt(
                source,
                at,
                format_args!("the file ends before byte {bytes}, to which it was written"),
            )),
            _ => reading(error),
        })?;
        copy.write_at(at, step).map_err(writing)?;
        at += step.len() as u64;
    }
    Ok(copy.sync(SyncMode::Durable, SyncSite("checkpoint.copy")).map_err(writing)?)
}

fn size_of(to: &dyn Fs, name: &str) -> Result<u64> {
    let size = to.open(name, OpenMode::Read).and_then(|file| file.size_bytes());
    size.map_err(|error| Error::io(error, "measure", name))
}

/// A clone has its own blocks to be made durable, through a handle that may write.
fn sync_file(to: &dyn Fs, name: &str) -> Result<()> {
    to.open(name, OpenMode::ReadWrite)
        .and_then(|clone| clone.sync(SyncMode::Durable, SyncSite("checkpoint.clone")))
        .map_err(|error| Error::io(error, "sync a clone", name))
}

/// Empties the target of a checkpoint that was not finished, by an error or a panic. PARTIAL goes last, so
/// that what cannot be removed, or is found after a crash meanwhile, is refused as a partial copy.
struct EmptyUnlessDone<'a> {
    to: &'a dyn Fs,
    is_done: bool,
}

impl EmptyUnlessDone<'_> {
    fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for EmptyUnlessDone<'_> {
    fn drop(&mut self) {
        // Of a store that may be valid after a crash nothing is removed.
        if self.is_done || take_back_copy(self.to).is_err() {
            return;
        }
        for directory in DIRECTORIES {
            for entry in self.to.list(directory).unwrap_or_default() {
                let _ = self.to.remove_file(&format!("{directory}/{}", entry.name));
            }
            let _ = self.to.remove_dir(directory);
        }
        for entry in self.to.list("").unwrap_or_default() {
            if entry.name != PARTIAL {
                let _ = self.to.remove_file(&entry.name);
            }
        }
        let _ = self.to.sync_dir("", SyncSite("checkpoint.emptied"));
        let _ = self.to.remove_file(PARTIAL);
    }
}
