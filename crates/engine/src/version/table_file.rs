//! The counted handle of a table that a version names: its facts, its place in the registry, how to open it.

use super::{
    damage::{Damage, DamageWatch},
    dictionaries::Dictionaries,
    filter_ledger::FilterLedger,
    heal_hints::{FileWatch, HealHints, HealedFile},
    life::Life,
    registry::{FileRegistry, Hold},
};
use crate::{
    blob::BlobFile,
    cache::OpenFiles,
    codec::{CleanCopies, FileDictionary, FileKind, Owner, Rescue},
    dictionary,
    error::{Error, Result},
    order::KeyOrder,
    place::PlaceId,
    range_tombstone::RangeTombstones,
    table::{DataCache, Table, TableMeta},
    types::{BlobId, TableId, TreeId, Uuid},
};
use alloc::{
    boxed::Box,
    format,
    string::String,
    sync::{Arc, Weak},
    vec::Vec,
};
use core::{
    borrow::Borrow,
    fmt,
    ops::{Bound, Deref},
};
use isopach_env::Fs;
use once_cell::race::OnceBox;

/// What all tables of a store share.
pub struct TableContext {
    /// Where the files are.
    pub fs: Arc<dyn Fs>,
    /// Whose files they are.
    pub owner: Owner,
    /// Blocks in memory.
    pub blocks: Arc<DataCache>,
    /// Tables open now.
    pub open: OpenFiles<TableId, Table>,
    /// Files of separated values open now.
    pub open_blobs: OpenFiles<BlobId, BlobFile>,
    /// Who removes files.
    pub registry: FileRegistry,
    /// What values of some tables are compressed against.
    pub dictionaries: Arc<Dictionaries>,
    /// Whether the directory is in use.
    pub life: Arc<Life>,
    /// Who hears of damaged tables.
    pub damage: DamageWatch,
    /// What the filters of all tables take.
    pub filters: FilterLedger,
    /// What parity corrected.
    pub healing: Arc<HealHints>,
    /// Where whole copies of files are, if anywhere.
    pub copies: Option<Arc<dyn CleanCopies>>,
}

impl TableContext {
    /// What helps where a file is damaged, and notes it. Copies are in one directory, wherever the file is.
    pub(super) fn rescue(&self, tree: TreeId, file: HealedFile, name: &str) -> Rescue {
        let watch = FileWatch { hints: Arc::clone(&self.healing), tree, file };
        let name = || String::from(PlaceId::split(name).1);
        Rescue {
            watch: Some(Arc::new(watch)),
            copies: self.copies.as_ref().map(|copies| (Arc::clone(copies), name())),
        }
    }
}

/// A table of a tree. Clones share it; the last one of an obsolete table gives the file to the deleter.
#[derive(Clone)]
pub struct TableRef(Arc<TableFile>);

/// See [`TableRef`].
struct TableFile {
    tree: TreeId,
    order: KeyOrder,
    meta: Arc<TableMeta>,
    hold: Hold,
    /// Of the file of its dictionary.
    _dictionary: Option<Hold>,
    context: Arc<TableContext>,
    damage: Damage,
    /// Once they were read: reads of all keys ask them.
    ranges: OnceBox<Arc<RangeTombstones>>,
    /// What it was made of, and what that was made of.
    ancestors: Vec<Ancestor>,
}

/// A table that others were made of, and whose file may be there yet: a reader holds it.
#[derive(Clone)]
pub struct Ancestor {
    file: Weak<TableFile>,
    uuid: Uuid,
}

impl Ancestor {
    /// Its uuid.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }
}

impl TableRef {
    /// Registers a table that the manifest names, of a tree whose keys are in this order.
    pub fn recovered(
        context: &Arc<TableContext>,
        (tree, order): (TreeId, &KeyOrder),
        meta: Arc<TableMeta>,
    ) -> TableRef {
        let name = meta.file_name();
        let hold = context.registry.register(FileKind::Table, &name, meta.file_bytes(), Some(tree));
        TableRef::new(context, (tree, order), hold, meta)
    }

    /// A finished table whose file is held.
    pub fn new(
        context: &Arc<TableContext>,
        (tree, order): (TreeId, &KeyOrder),
        hold: Hold,
        meta: Arc<TableMeta>,
    ) -> TableRef {
        TableRef::descending(context, (tree, order), hold, meta, &[])
    }

    /// As [`TableRef::new`], of a table that was made of others.
    pub fn descending(
        context: &Arc<TableContext>,
        (tree, order): (TreeId, &KeyOrder),
        hold: Hold,
        meta: Arc<TableMeta>,
        ancestors: &[Ancestor],
    ) -> TableRef {
        hold.set_bytes(meta.file_bytes());
        let dictionary = meta.dictionary.map(|handle| context.dictionaries.name(meta.id, handle.id));
        let (context, order, damage) = (Arc::clone(context), order.clone(), Damage::none());
        let (ranges, ancestors) = (OnceBox::new(), Vec::from(ancestors));
        let file = TableFile {
            tree,
            order,
            meta,
            hold,
            _dictionary: dictionary,
            context,
            damage,
            ranges,
            ancestors,
        };
        let table = TableRef(Arc::new(file));
        table.0.context.filters.enter(tree, &table);
        table
    }

    /// This table, and those that it descends from, as far as somebody holds them: of what is made of it the lineage. A
    /// manifest that is rebuilt knows by it that they are replaced, though what lies between may be gone (INV-REP-3).
    pub fn lineage(&self) -> impl Iterator<Item = Ancestor> {
        let this = Ancestor { file: Arc::downgrade(&self.0), uuid: self.0.meta.uuid };
        let held = self.0.ancestors.iter().filter(|ancestor| ancestor.file.strong_count() > 0);
        core::iter::once(this).chain(held.cloned())
    }

    /// The facts, shared.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.0.meta
    }

    /// No version names it any more: it goes when nobody reads it.
    pub fn mark_obsolete(&self) {
        self.0.hold.mark_obsolete();
        self.0.context.healing.retire(self.0.meta.id.0);
        if let Some(handle) = self.0.meta.dictionary {
            self.0.context.dictionaries.release(self.0.meta.id, handle.id);
        }
    }

    /// The table, opened if it was not.
    ///
    /// # Errors
    ///
    /// `Io` and `Corruption`, standing for all keys of the table.
    pub fn open(&self) -> Result<Arc<Table>> {
        let TableFile { tree, meta, order, context, .. } = &*self.0;
        let open = || {
            let dictionary = self.dictionary()?;
            let (fs, cache, owner) = (&context.fs, &context.blocks, &context.owner);
            let rescue = context.rescue(*tree, meta.id.0, &meta.file_name());
            Table::open_with(fs, Arc::clone(meta), owner, cache, (dictionary, order), rescue)
        };
        context.open.get_or_open(meta.id, open)
    }

    /// Whether its filter tells that it has no version of a key. A filter that cannot be read tells nothing.
    pub fn denies(&self, key: &[u8]) -> bool {
        let denied = self.open().and_then(|table| table.denies(key));
        denied.unwrap_or(false)
    }

    /// Its range tombstones, if it has some.
    ///
    /// # Errors
    ///
    /// `Io` and `Corruption`, standing for all keys that there are: any may be covered.
    #[inline]
    pub fn range_tombstones(&self) -> Result<Option<&Arc<RangeTombstones>>> {
        match self.0.ranges.get() {
            Some(ranges) => Ok(Some(ranges)),
            None if self.0.meta.ranges.is_none() => Ok(None),
            None => self.read_ranges(),
        }
    }

    #[cold]
    fn read_ranges(&self) -> Result<Option<&Arc<RangeTombstones>>> {
        let read = self.open().and_then(|table| table.range_tombstones());
        let read = read.map_err(|error| self.blame(error).over_keys((Bound::Unbounded, Bound::Unbounded)))?;
        Ok(read.map(|ranges| self.0.ranges.get_or_init(|| Box::new(ranges))))
    }

    /// What its values are compressed against. An error names the dictionary's file, and says which table needs it.
    fn dictionary(&self) -> Result<FileDictionary> {
        let Some(handle) = self.0.meta.dictionary else { return Ok(FileDictionary::None) };
        let opened = self.0.context.dictionaries.open(handle);
        let needed_by = || format!("; {} needs it", self.0.meta.file_name());
        let opened = opened.map_err(|error| error.adding(&needed_by()))?;
        if opened.seal().is_none() && self.0.meta.seal.is_some() {
            let why = format!("the dictionary is not encrypted, and {} is", self.0.meta.file_name());
            return Err(Error::corrupt(dictionary::file_name(handle.id), 40, why));
        }
        Ok(FileDictionary::Reading(opened))
    }

    /// An error of reading the table: what of the table it stands for, and the table's damage if it is some.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let error = over_table(error, self, &self.0.order).in_tree(self.0.tree);
        if self.0.damage.note(&error) {
            self.0.context.damage.tell(&error);
        }
        error
    }

    /// What is known to be wrong with it.
    pub fn damage(&self) -> Option<Error> {
        self.0.damage.get()
    }

    /// Whether anything is known to be wrong with it: jobs that nobody asked for leave it alone.
    pub fn is_damaged(&self) -> bool {
        self.0.damage.is_known()
    }

    /// It was read in whole, and nothing was found.
    pub(crate) fn clear_damage(&self) {
        self.0.damage.clear();
    }
}

/// Narrows the keys that an error stands for to those of its table.
fn over_table(error: Error, table: &TableMeta, order: &KeyOrder) -> Error {
    let (low, high) = match error.keys() {
        Some((low, high)) => (low.clone(), high.clone()),
        None => (Bound::Unbounded, Bound::Unbounded),
    };
    let is_inside =
        |key: &[u8]| order.is_at_most(&table.first_key, key) && order.is_at_most(key, &table.last_key);
    let low = match low {
        Bound::Included(key) if is_inside(&key) => Bound::Included(key),
        Bound::Excluded(key) if is_inside(&key) => Bound::Excluded(key),
        _ => Bound::Included(table.first_key.clone()),
    };
    let high = match high {
        Bound::Included(key) if is_inside(&key) => Bound::Included(key),
        Bound::Excluded(key) if is_inside(&key) => Bound::Excluded(key),
        _ => Bound::Included(table.last_key.clone()),
    };
    error.over_keys((low, high))
}

impl Drop for TableFile {
    fn drop(&mut self) {
        self.context.open.remove(self.meta.id);
        self.context.filters.leave(self.meta.id);
        self.context.healing.forget(self.meta.id.0);
    }
}

impl Deref for TableRef {
    type Target = TableMeta;

    fn deref(&self) -> &TableMeta {
        &self.0.meta
    }
}

impl Borrow<TableMeta> for TableRef {
    fn borrow(&self) -> &TableMeta {
        &self.0.meta
    }
}

impl fmt::Debug for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableRef").field(&self.0.meta.id).finish()
    }
}
