//! The dictionaries of a store: which tables and jobs need each, and its file, which is read once for all of them.
//!
//! A file goes to the deleter when neither a table that a version may name nor a job needs it any more (INV-DIC-1);
//! readers of older versions hold it until they end. It is written and durable before a table that names it is begun.

use super::{
    manifest::Manifest,
    registry::{FileRegistry, Hold},
};
use crate::{
    cache::Charge,
    codec::{Dictionary, FileKind, Owner},
    dictionary::{DICTIONARIES_DIR, DictionaryHandle, encode_file, file_name, read_file},
    error::{Error, ErrorKind, Result},
    table::{DataBlock, DataCache},
    types::{DictionaryId, TableId},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    vec::Vec,
};
use core::fmt;
use isopach_env::{
    CreateOptions, Fs, IoErrorKind, SyncMode, SyncSite, WriteOrigin,
    sync::{Mutex, Rank},
};

/// Of who needs which dictionary. Held for moments, never over I/O.
const KNOWN: Rank = Rank::new(66, "dictionaries");

/// The dictionaries of a store.
pub struct Dictionaries {
    fs: Arc<dyn Fs>,
    owner: Owner,
    registry: FileRegistry,
    cache: Arc<DataCache>,
    known: Mutex<BTreeMap<DictionaryId, Known>>,
}

/// A dictionary that is needed. While this is held its file is not removed.
pub struct NeededDictionary {
    /// Which one.
    pub handle: DictionaryHandle,
    /// One of the tables that name it, if there is one.
    pub table: Option<TableId>,
    _hold: Hold,
}

/// A dictionary whose file is durable.
struct Known {
    handle: DictionaryHandle,
    hold: Hold,
    /// Tables that are not obsolete, those of trees that cannot be opened included.
    tables: BTreeSet<TableId>,
    /// Jobs whose outputs may come to need it.
    jobs: u64,
    /// Read once for all tables that are open.
    open: Weak<Dictionary>,
    /// For its memory, from the first time it is read on.
    charge: Option<Charge<Arc<DataBlock>>>,
}

impl Dictionaries {
    /// Lists the files of all dictionaries that `tables` name. Touches none.
    pub fn new(
        fs: Arc<dyn Fs>,
        owner: Owner,
        registry: FileRegistry,
        cache: Arc<DataCache>,
        tables: impl Iterator<Item = (TableId, DictionaryHandle)>,
    ) -> Dictionaries {
        let mut known = BTreeMap::new();
        for (table, handle) in tables {
            let list = || {
                let name = file_name(handle.id);
                Known::new(handle, registry.register(FileKind::Dictionary, &name, handle.bytes, None))
            };
            known.entry(handle.id).or_insert_with(list).tables.insert(table);
        }
        Dictionaries { fs, owner, registry, cache, known: Mutex::new(KNOWN, known) }
    }

    /// A table names a dictionary, which another table or a job needs already. The hold keeps the file as long as the
    /// table may be read.
    pub(super) fn name(&self, table: TableId, id: DictionaryId) -> Hold {
        let mut known = self.known.lock();
        let entry = known.get_mut(&id).expect("INV-DIC-1: a dictionary that is needed is known");
        entry.tables.insert(table);
        entry.hold.clone()
    }

    /// A table is obsolete. Said again, nothing changes.
    pub(super) fn release(&self, table: TableId, id: DictionaryId) {
        self.let_go(id, |entry| {
            entry.tables.remove(&table);
        });
    }

    /// Somebody needs a dictionary no more.
    fn let_go(&self, id: DictionaryId, release: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock();
        let Some(entry) = known.get_mut(&id) else { return };
        release(entry);
        let gone = if entry.is_needed() { None } else { known.remove(&id) };
        drop(known);
        if let Some(gone) = gone {
            gone.hold.remove();
        }
    }

    /// Every dictionary that is needed.
    pub fn needed(&self) -> Vec<NeededDictionary> {
        let needed = |entry: &Known| {
            let (handle, hold) = (entry.handle, entry.hold.clone());
            NeededDictionary { handle, table: entry.tables.first().copied(), _hold: hold }
        };
        self.known.lock().values().map(needed).collect()
    }

    /// A dictionary, read if no open table has it.
    ///
    /// # Errors
    ///
    /// Of its file: `MissingDictionary`, `Corruption`, `MixedStore`, `UnsupportedFormat`; the backend's.
    /// `UnsupportedFeature` without Zstandard.
    pub fn open(&self, handle: DictionaryHandle) -> Result<Arc<Dictionary>> {
        let opened = self.known.lock().get(&handle.id).and_then(|entry| entry.open.upgrade());
        match opened {
            Some(dictionary) => Ok(dictionary),
            None => Ok(self.keep(self.read(handle)?)),
        }
    }

    /// A dictionary that was read, or the same if somebody read it meanwhile.
    fn keep(&self, read: Dictionary) -> Arc<Dictionary> {
        let read = Arc::new(read);
        // Before the lock, for it may take blocks out of the cache; and behind it goes what is not needed.
        let charge = self.cache.charge(read.resident_bytes());
        let mut known = self.known.lock();
        // Only readers of older versions need one that is not known.
        let Some(entry) = known.get_mut(&read.id()) else { return read };
        if let Some(open) = entry.open.upgrade() {
            return open;
        }
        entry.open = Arc::downgrade(&read);
        entry.charge.get_or_insert(charge);
        read
    }

    /// Reads a file in whole and checks every byte.
    ///
    /// # Errors
    ///
    /// As [`Dictionaries::open`].
    pub fn read(&self, handle: DictionaryHandle) -> Result<Dictionary> {
        let name = file_name(handle.id);
        let (dictionary, header) = read_file(&*self.fs, &name, handle, &self.owner.keys)?;
        if header.database != self.owner.database {
            let message = "the dictionary belongs to another database";
            return Err(Error::new(ErrorKind::MixedStore, message).in_file(name));
        }
        Ok(dictionary)
    }

    /// Uses a dictionary that tables name for outputs too; `None` if no table names it any more.
    ///
    /// # Errors
    ///
    /// As [`Dictionaries::open`].
    pub fn reuse(self: &Arc<Self>, id: DictionaryId) -> Result<Option<DictionaryUse>> {
        let handle = {
            let mut known = self.known.lock();
            let Some(entry) = known.get_mut(&id) else { return Ok(None) };
            entry.jobs += 1;
            entry.handle
        };
        let claim = Claim { dictionaries: Arc::clone(self), id };
        let dictionary = self.open(handle)?;
        Ok(Some(DictionaryUse { handle, dictionary, _claim: claim }))
    }

    /// Whether a dictionary is sealed as new files are: only then outputs use it.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::current`](crate::codec::Keyring::current).
    pub fn is_current(&self, dictionary: &Dictionary) -> Result<bool> {
        Ok(dictionary.seal() == self.owner.keys.current(self.owner.database)?)
    }

    /// Writes a new dictionary, durable on return with its name (INV-DIC-2). `None` if a file of its name is there or
    /// on its way out: who asked does without.
    ///
    /// # Errors
    ///
    /// The backend's. `Poisoned` after a failed sync of the directory.
    pub fn add(
        self: &Arc<Self>,
        dictionary: Dictionary,
        manifest: &Manifest,
    ) -> Result<Option<DictionaryUse>> {
        let id = dictionary.id();
        if let Some(used) = self.reuse(id)? {
            return Ok(if self.is_current(used.dictionary())? { Some(used) } else { None });
        }
        let name = file_name(id);
        let Some(hold) = self.registry.register_unless_listed(FileKind::Dictionary, &name, None) else {
            return Ok(None);
        };
        let (bytes, seal) = encode_file(&dictionary, manifest.draw_uuid()?, &self.owner)?;
        let dictionary = dictionary.sealed_as(seal);
        match self.write(&name, &bytes) {
            // Somebody else's, or an orphan that was not removed yet.
            Err(error) if error.io_error().is_some_and(|io| io.kind() == IoErrorKind::AlreadyExists) => {
                return Ok(None);
            }
            Err(error) => {
                hold.remove();
                return Err(error);
            }
            Ok(()) => {}
        }
        let synced = self.fs.sync_dir(DICTIONARIES_DIR, SyncSite("dictionary.directory"));
        if let Err(error) = synced {
            hold.remove();
            // Entries that other jobs made may be lost with this one, and their syncs would not tell.
            let error = Error::io(error, "sync the directory", DICTIONARIES_DIR);
            return Err(manifest.poison_by(&error, "sync the directory of dictionaries"));
        }
        hold.set_bytes(bytes.len() as u64);
        let handle = DictionaryHandle { id, bytes: bytes.len() as u64 };
        self.known.lock().insert(id, Known { jobs: 1, ..Known::new(handle, hold) });
        let claim = Claim { dictionaries: Arc::clone(self), id };
        Ok(Some(DictionaryUse { handle, dictionary: self.keep(dictionary), _claim: claim }))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let created = self.fs.create(name, &CreateOptions::new(WriteOrigin::CompactionTable));
        let file = created.map_err(|error| Error::io(error, "create", name))?;
        file.write_at(0, bytes).map_err(|error| Error::io(error, "write", name).at(0))?;
        let synced = file.sync(SyncMode::Durable, SyncSite("dictionary.finish"));
        synced.map_err(|error| Error::io(error, "sync", name))
    }
}

impl Known {
    fn new(handle: DictionaryHandle, hold: Hold) -> Known {
        Known { handle, hold, tables: BTreeSet::new(), jobs: 0, open: Weak::new(), charge: None }
    }

    fn is_needed(&self) -> bool {
        self.jobs > 0 || !self.tables.is_empty()
    }
}

/// A job's need of a dictionary.
struct Claim {
    dictionaries: Arc<Dictionaries>,
    id: DictionaryId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.dictionaries.let_go(self.id, |entry| entry.jobs -= 1);
    }
}

/// A dictionary that a job may write tables with. Dropped, it goes if no table came to name it.
pub struct DictionaryUse {
    handle: DictionaryHandle,
    dictionary: Arc<Dictionary>,
    _claim: Claim,
}

impl DictionaryUse {
    /// What tables are to say of it.
    pub fn handle(&self) -> DictionaryHandle {
        self.handle
    }

    /// The dictionary.
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }
}

impl fmt::Debug for DictionaryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DictionaryUse").field(&self.handle.id).finish()
    }
}
