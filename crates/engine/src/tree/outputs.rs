//! Outputs of a job: what survives is written into new tables, cut at their size.

use super::Tree;
use crate::{
    codec::FileKind,
    compaction::{Cutter, Survivors},
    error::{Error, Result},
    iter::Cursor,
    table::{self, PropertySeed, TableIdentity, TableOptions, TableWriter},
    types::{Level, Seqno, TableId, UnixUs, Uuid},
    version::{Hold, RunAge, TableRef, new_uuid},
};
use alloc::{sync::Arc, vec::Vec};
use isopach_env::{Fs, IoErrorKind, SyncSite, WriteOrigin};

/// Where outputs go, and what their properties say.
pub(super) struct Target {
    pub(super) level: Level,
    pub(super) age: RunAge,
    pub(super) origin: WriteOrigin,
    /// Uuids of the tables they are made of.
    pub(super) lineage: Vec<Uuid>,
    /// Everything up to here is in tables once they are installed.
    pub(super) replay_point: Seqno,
}

/// Bytes of entries after which a job is asked whether to proceed.
const STEP_BYTES: u64 = 1 << 20;

/// A table being written. Dropped unfinished, its file goes to the deleter.
struct Unfinished {
    writer: Option<TableWriter>,
    hold: Option<Hold>,
}

impl Unfinished {
    fn writer(&mut self) -> &mut TableWriter {
        self.writer.as_mut().expect("not finished yet")
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.remove();
        }
    }
}

/// Finished tables that no version names yet. Dropped, their files go to the deleter.
pub(super) struct Written(Vec<TableRef>);

impl Written {
    /// Of a job that writes none.
    pub(super) fn none() -> Written {
        Written(Vec::new())
    }

    pub(super) fn tables(&self) -> &[TableRef] {
        &self.0
    }

    /// An edit names them now, or may.
    pub(super) fn keep(mut self) -> Vec<TableRef> {
        core::mem::take(&mut self.0)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for table in &self.0 {
            table.mark_obsolete();
        }
    }
}

impl Tree {
    /// Writes everything that survives into tables. They and their directory entries are durable on return
    /// (INV-MAN-2).
    pub(super) fn write_tables<C: Cursor>(
        &self,
        survivors: &mut Survivors<C>,
        cutter: &mut Cutter,
        target: &Target,
        proceed: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Written> {
        let mut written = Written(Vec::new());
        let mut unfinished: Option<Unfinished> = None;
        let mut announced_bytes = 0;
        while survivors.advance()? {
            let (entry, is_new_key) = (survivors.entry(), survivors.is_new_key());
            let value = survivors.value_bytes()?;
            let entry_bytes = (entry.key.len() + value.len()) as u64;
            announced_bytes += entry_bytes;
            if announced_bytes >= STEP_BYTES {
                proceed(core::mem::take(&mut announced_bytes))?;
            }
            let bytes = unfinished.as_mut().map_or(0, |table| table.writer().estimated_bytes());
            if cutter.should_cut_before(entry.key, bytes, is_new_key)
                && let Some(table) = unfinished.take()
            {
                written.0.push(self.finish_table(table)?);
            }
            if unfinished.is_none() {
                unfinished = Some(self.begin_table(target)?);
            }
            let table = unfinished.as_mut().expect("just begun");
            table.writer().add(entry.key, entry.seqno, entry.kind, value)?;
        }
        if let Some(table) = unfinished.take() {
            written.0.push(self.finish_table(table)?);
        }
        if !written.0.is_empty() {
            let synced = self.0.context.env.fs.sync_dir(table::TABLES_DIR, directory_site(target.origin));
            // Entries that other jobs made may be lost with these, and their syncs would not tell.
            synced.map_err(|error| {
                let error = Error::io(error, "sync the directory", table::TABLES_DIR);
                let manifest = self.0.context.manifest.as_ref().expect("tables are written to open stores");
                manifest.poison_by(&error, "sync the directory of tables")
            })?;
        }
        Ok(written)
    }

    fn begin_table(&self, target: &Target) -> Result<Unfinished> {
        let context = &self.0.context;
        let id = context.file_ids.next_table(context.manifest()?)?;
        let hold =
            context.tables.registry.register(FileKind::Table, &table::file_name(id), 0, Some(self.0.id));
        match self.create_table(id, &context.env.fs, target) {
            Ok(writer) => Ok(Unfinished { writer: Some(writer), hold: Some(hold) }),
            Err(error) => {
                // A file that was there before is not this job's, whoever's it is.
                if error.io_error().is_none_or(|io| io.kind() != IoErrorKind::AlreadyExists) {
                    hold.remove();
                }
                Err(error)
            }
        }
    }

    /// Creates a table in `fs`, written as the options of this tree say.
    pub(super) fn create_table(&self, id: TableId, fs: &Arc<dyn Fs>, target: &Target) -> Result<TableWriter> {
        let context = &self.0.context;
        let state = self.0.state.load();
        let last_level = state.levels.tables().map(|(level, ..)| level).max().unwrap_or(Level(0));
        let tree_options = self.options();
        let options = TableOptions {
            block_bytes: tree_options.block_bytes.at(target.level) as usize,
            compression: tree_options.compression.at(target.level),
            filter: tree_options.filters.at(target.level).for_table(target.level, last_level),
        };
        let now = UnixUs(context.env.clock.unix_us());
        let seed = PropertySeed {
            tree_options: tree_options.encode(),
            lineage: target.lineage.clone(),
            level: target.level,
            run_age: target.age.0,
            replay_point: target.replay_point,
            ..PropertySeed::new(self.0.id, self.0.name.clone(), now)
        };
        let (uuid, database) = (new_uuid(&*context.env.entropy)?, context.tables.database);
        TableWriter::create(fs, TableIdentity { id, uuid, database }, options, seed, target.origin)
    }

    fn finish_table(&self, mut unfinished: Unfinished) -> Result<TableRef> {
        let meta = unfinished.writer.take().expect("not finished yet").finish()?;
        let hold = unfinished.hold.take().expect("held until finished");
        Ok(TableRef::new(&self.0.context.tables, self.0.id, hold, Arc::new(meta)))
    }
}

/// The name of the sync of the directory of tables.
const fn directory_site(origin: WriteOrigin) -> SyncSite {
    match origin {
        WriteOrigin::FlushTable => SyncSite("flush.directory"),
        _ => SyncSite("compaction.directory"),
    }
}
