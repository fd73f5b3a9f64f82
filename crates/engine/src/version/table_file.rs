//! The counted handle of a table that a version names: its facts, its place in the registry, how to open it.

use super::{
    life::Life,
    registry::{FileRegistry, Hold},
};
use crate::{
    cache::OpenTables,
    codec::FileKind,
    error::Result,
    table::{self, DataCache, Table, TableMeta},
    types::{TreeId, Uuid},
};
use alloc::sync::Arc;
use core::{borrow::Borrow, fmt, ops::Deref};
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
}

/// A table of a tree. Clones share it; the last one of an obsolete table gives the file to the deleter.
#[derive(Clone)]
pub struct TableRef(Arc<TableFile>);

/// See [`TableRef`].
struct TableFile {
    meta: Arc<TableMeta>,
    hold: Hold,
    context: Arc<TableContext>,
}

impl TableRef {
    /// Registers a table that the manifest names.
    pub fn recovered(context: &Arc<TableContext>, tree: TreeId, meta: Arc<TableMeta>) -> TableRef {
        let name = table::file_name(meta.id);
        let hold = context.registry.register(FileKind::Table, &name, meta.bytes, Some(tree));
        TableRef::new(context, hold, meta)
    }

    /// A finished table whose file is held.
    pub fn new(context: &Arc<TableContext>, hold: Hold, meta: Arc<TableMeta>) -> TableRef {
        hold.set_bytes(meta.bytes);
        TableRef(Arc::new(TableFile { meta, hold, context: Arc::clone(context) }))
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
