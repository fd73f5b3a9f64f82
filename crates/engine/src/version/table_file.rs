//! The counted handle of a table that a version names: its facts, its place in the registry, how to open it.

use super::{
    damage::{Damage, DamageWatch},
    life::Life,
    registry::{FileRegistry, Hold},
};
use crate::{
    cache::OpenTables,
    codec::FileKind,
    error::{Error, Result},
    table::{self, DataCache, Table, TableMeta},
    types::{TreeId, Uuid},
};
use alloc::sync::Arc;
use core::{
    borrow::Borrow,
    fmt,
    ops::{Bound, Deref},
};
use isopach_env::Fs;

/// What all tables of a store share.
pub struct TableContext {
    /// Where the files are.
    pub fs: Arc<dyn Fs>,
    /// Whose files they are.
    pub database: Uuid,
    /// Blocks in memory.
    pub blocks: Arc<DataCache>,
    /// Tables open now.
    pub open: OpenTables<Table>,
    /// Who removes files.
    pub registry: FileRegistry,
    /// Whether the directory is in use.
    pub life: Arc<Life>,
    /// Who hears of damaged tables.
    pub damage: DamageWatch,
}

/// A table of a tree. Clones share it; the last one of an obsolete table gives the file to the deleter.
#[derive(Clone)]
pub struct TableRef(Arc<TableFile>);

/// See [`TableRef`].
struct TableFile {
    tree: TreeId,
    meta: Arc<TableMeta>,
    hold: Hold,
    context: Arc<TableContext>,
    damage: Damage,
}

impl TableRef {
    /// Registers a table that the manifest names.
    pub fn recovered(context: &Arc<TableContext>, tree: TreeId, meta: Arc<TableMeta>) -> TableRef {
        let name = table::file_name(meta.id);
        let hold = context.registry.register(FileKind::Table, &name, meta.bytes, Some(tree));
        TableRef::new(context, tree, hold, meta)
    }

    /// A finished table whose file is held.
    pub fn new(context: &Arc<TableContext>, tree: TreeId, hold: Hold, meta: Arc<TableMeta>) -> TableRef {
        hold.set_bytes(meta.bytes);
        let (context, damage) = (Arc::clone(context), Damage::none());
        TableRef(Arc::new(TableFile { tree, meta, hold, context, damage }))
    }

    /// The facts, shared.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.0.meta
    }

    /// No version names it any more: it goes when nobody reads it.
    pub fn mark_obsolete(&self) {
        self.0.hold.mark_obsolete();
    }

    /// The table, opened if it was not.
    ///
    /// # Errors
    ///
    /// `Io` and `Corruption`, standing for all keys of the table.
    pub fn open(&self) -> Result<Arc<Table>> {
        let TableFile { meta, context, .. } = &*self.0;
        let open = || Table::open(&context.fs, Arc::clone(meta), context.database, &context.blocks);
        context.open.get_or_open(meta.id, open)
    }

    /// An error of reading the table: what of the table it stands for, and the table's damage if it is some.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let error = over_table(error, self).in_tree(self.0.tree);
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
fn over_table(error: Error, table: &TableMeta) -> Error {
    let (low, high) = match error.keys() {
        Some((low, high)) => (low.clone(), high.clone()),
        None => (Bound::Unbounded, Bound::Unbounded),
    };
    let is_inside = |key: &[u8]| table.first_key[..] <= *key && *key <= table.last_key[..];
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
