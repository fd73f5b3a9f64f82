//! Copying what is in memory only into a checkpoint: tables of level 0 in another place. This tree is not
//! changed.

use super::{Tree, outputs::Target, state::TreeState};
use crate::{
    compaction::Cutter,
    error::Result,
    iter::{Cursor, MergeCursor},
    place::PlaceId,
    table::{TableMeta, TableWriter},
    types::{Level, Seqno},
    version::{Added, RunAge},
};
use alloc::{sync::Arc, vec::Vec};
use isopach_env::{Fs, WriteOrigin};

/// The memtables of a tree at one moment.
pub(crate) struct MemtablePin {
    tree: Tree,
    state: Arc<TreeState>,
}

impl Tree {
    /// Pins the memtables. Operations that arrive later may show in them.
    pub(crate) fn pin_memtables(&self) -> MemtablePin {
        MemtablePin { tree: self.clone(), state: self.0.state.load() }
    }
}

impl MemtablePin {
    /// Whose.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Writes the operations above `after` and up to `upto` as tables in `fs`, all versions of them. Durable
    /// on return but for their entries in the directory.
    ///
    /// # Errors
    ///
    /// Those of the backend. Files may have been created.
    pub(crate) fn write_above(
        &self,
        after: Seqno,
        upto: Seqno,
        fs: &Arc<dyn Fs>,
    ) -> Result<Vec<Added<Arc<TableMeta>>>> {
        let age = RunAge(upto.raw());
        let target = Target {
            level: Level(0),
            place: PlaceId::MAIN,
            age,
            origin: WriteOrigin::Checkpoint,
            lineage: Vec::new(),
            replay_point: upto,
            dictionary: None,
        };
        let sources = self.state.memtables().map(|memtable| memtable.cursor()).collect();
        let order = &self.tree.0.order;
        let mut cursor = MergeCursor::new(sources, order);
        let mut cutter = Cutter::new(order, self.tree.options().table_bytes, Vec::new());
        let mut added = Vec::new();
        let mut unfinished: Option<TableWriter> = None;
        let mut last_key: Option<Vec<u8>> = None;
        let mut finish = |writer: TableWriter| -> Result<()> {
            added.push(Added { level: Level(0), age, table: Arc::new(writer.finish()?) });
            Ok(())
        };
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            if entry.seqno > after && entry.seqno <= upto {
                let is_new_key = last_key.as_deref() != Some(entry.key);
                let bytes = unfinished.as_ref().map_or(0, TableWriter::estimated_bytes);
                if cutter.should_cut_before(entry.key, bytes, is_new_key)
                    && let Some(writer) = unfinished.take()
                {
                    finish(writer)?;
                }
                if unfinished.is_none() {
                    let context = &self.tree.0.context;
                    let id = context.file_ids.next_table(context.manifest()?)?;
                    unfinished = Some(self.tree.create_table(id, fs, &target)?);
                }
                let writer = unfinished.as_mut().expect("just begun");
                let (value, checksum) = cursor.checked_value()?;
                writer.add_with(entry.key, entry.seqno, entry.kind, value, checksum)?;
                if is_new_key {
                    last_key = Some(entry.key.into());
                }
            }
            cursor.next()?;
        }
        unfinished.map_or(Ok(()), finish)?;
        order.check()?; // INV-ORD-1.
        Ok(added)
    }
}
