//! Outputs of a job: what survives is written into new tables, cut at their size.

use super::{
    Tree,
    separate::{Placed, SeparatedValues},
    state::TreeState,
};
use crate::{
    blob::ReadBlobs,
    codec::FileKind,
    compaction::{Cutter, FilterContext, JobRanges, OtherTables, Survivors, Views},
    error::{Error, Result},
    iter::Cursor,
    place::PlaceId,
    range_tombstone::{RangeTombstone, RangeTombstones},
    table::{self, PropertySeed, TableIdentity, TableMeta, TableOptions, TableWriter},
    types::{Level, Seqno, TableId, UnixUs},
    version::{Ancestor, BlobFiles, BlobRef, DictionaryUse, Hold, RunAge, TableRef, new_uuid},
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use isopach_env::{Fs, IoErrorKind, SyncSite, WriteOrigin};

/// Where outputs go, and what their properties say.
pub(super) struct Target {
    pub(super) level: Level,
    pub(super) place: PlaceId,
    pub(super) age: RunAge,
    pub(super) origin: WriteOrigin,
    /// The tables they are made of, and those that these descend from and that are there yet.
    pub(super) lineage: Vec<Ancestor>,
    /// Everything up to here is in tables once they are installed.
    pub(super) replay_point: Seqno,
    /// What values are compressed against.
    pub(super) dictionary: Option<DictionaryUse>,
}

/// Bytes of entries after which a job is asked whether to proceed.
const STEP_BYTES: u64 = 1 << 20;

/// A table being written. Dropped unfinished, its file goes to the deleter.
pub(super) struct Unfinished {
    writer: Option<TableWriter>,
    hold: Option<Hold>,
}

impl Unfinished {
    pub(super) fn writer(&mut self) -> &mut TableWriter {
        self.writer.as_mut().expect("not finished yet")
    }

    /// Leaves the building of filters for so many keys to [`Unfinished::finish`].
    pub(super) fn with_late_filters(mut self, keys: usize) -> Unfinished {
        self.writer = self.writer.take().map(|writer| writer.with_late_filters(keys));
        self
    }

    /// Makes the table durable, but for its entry in the directory.
    pub(super) fn finish(mut self) -> Result<(TableMeta, Hold)> {
        let meta = self.writer.take().expect("not finished yet").finish()?;
        Ok((meta, self.hold.take().expect("held until finished")))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            hold.remove();
        }
    }
}

/// Finished tables, and files of what they point to, that no version names yet. Dropped, they go to the deleter.
#[derive(Default)]
pub(super) struct Written {
    tables: Vec<TableRef>,
    blobs: Vec<BlobRef>,
}

impl Written {
    /// Of a job that writes none.
    pub(super) fn none() -> Written {
        Written::default()
    }

    pub(super) fn tables(&self) -> &[TableRef] {
        &self.tables
    }

    pub(super) fn blobs(&self) -> &[BlobRef] {
        &self.blobs
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let blobs = self.blobs.iter().map(|file| file.meta().bytes);
        self.tables.iter().map(|table| table.bytes).chain(blobs).sum()
    }

    /// An edit names them now, or may. Returns the tables.
    pub(super) fn keep(mut self) -> Vec<TableRef> {
        self.blobs.clear();
        core::mem::take(&mut self.tables)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.tables.iter().for_each(TableRef::mark_obsolete);
        self.blobs.iter().for_each(BlobRef::mark_obsolete);
    }
}

impl Tree {
    /// Tells a job of range tombstones, and gives it the code that options name.
    ///
    /// `read` are the range tombstones of memtables that it reads, `inputs` its tables; the target of the job, and whether
    /// nothing older lies below, is for the filter.
    pub(super) fn with_code<C: Cursor>(
        &self,
        survivors: Survivors<C>,
        state: &TreeState,
        (to, is_last): (Level, bool),
        views: &Views,
        (read, inputs): (&[Arc<RangeTombstones>], &[TableId]),
    ) -> Survivors<C> {
        let ranges = self.job_ranges(state, read, views);
        let others: Vec<TableRef> = state.levels.tables().map(|(.., table)| table.clone()).collect();
        let others: Vec<_> = others.into_iter().filter(|table| !inputs.contains(&table.id)).collect();
        let metas = others.iter().map(|table| Arc::clone(table.meta())).collect();
        let denies = move |meta: &TableMeta, key: &[u8]| {
            let table = others.iter().find(|table| table.id == meta.id);
            table.is_some_and(|table| table.denies(key))
        };
        let order = &self.0.order;
        let others = OtherTables::new(order, metas, denies);
        let blobs: Arc<dyn ReadBlobs> = Arc::<BlobFiles>::clone(&state.blobs);
        let now = UnixUs(self.0.context.env.clock.unix_us());
        let context = FilterContext { tree: self.0.id, to, is_last, now };
        let filter = state.code.filter.as_ref().map(|factory| factory.make(&context));
        let survivors = survivors.with_order(order).with_blobs(blobs);
        survivors.with_ranges(ranges, others).with_operator(state.code.merge.clone()).with_filter(filter)
    }

    /// The range tombstones of all tables, and of what a job reads beside them.
    pub(super) fn job_ranges(
        &self,
        state: &TreeState,
        read: &[Arc<RangeTombstones>],
        views: &Views,
    ) -> JobRanges {
        let mut all: Vec<RangeTombstone> = read.iter().flat_map(|part| part.all()).cloned().collect();
        let mut is_complete = true;
        for table in state.ranged.iter() {
            match table.range_tombstones() {
                Ok(found) => all.extend(found.iter().flat_map(|ranges| ranges.all()).cloned()),
                // Its own job will fail. This one goes without what it may hide.
                Err(_) => is_complete = false,
            }
        }
        let ranges = JobRanges::new(&self.0.order, all, views);
        if is_complete { ranges } else { ranges.incomplete() }
    }

    /// Writes everything that survives into tables, and large values into files that these point to. All and their
    /// directory entries are durable on return (INV-MAN-2).
    pub(super) fn write_tables<C: Cursor>(
        &self,
        survivors: &mut Survivors<C>,
        cutter: &mut Cutter,
        target: &Target,
        mut values: SeparatedValues,
        proceed: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Written> {
        let mut written = Written::default();
        let mut unfinished: Option<Unfinished> = None;
        let mut announced_bytes = 0;
        while survivors.advance()? {
            let (entry, is_new_key) = (survivors.entry(), survivors.is_new_key());
            let (value, checksum) = survivors.checked_value()?;
            let placed = if values.concern(entry.kind, value) { values.place(entry, value)? } else { None };
            announced_bytes +=
                entry.key.len() as u64 + placed.as_ref().map_or(value.len() as u64, Placed::bytes);
            if announced_bytes >= STEP_BYTES {
                proceed(core::mem::take(&mut announced_bytes))?;
            }
            let bytes = unfinished.as_mut().map_or(0, |table| table.writer().estimated_bytes());
            if cutter.should_cut_before(entry.key, bytes, is_new_key)
                && let Some(table) = unfinished.take()
            {
                values.sync()?;
                written.tables.push(self.finish_table(table, target)?);
            }
            if unfinished.is_none() {
                unfinished = Some(self.begin_table(target)?);
            }
            let table = unfinished.as_mut().expect("just begun");
            match placed {
                None => table.writer().add_with(entry.key, entry.seqno, entry.kind, value, checksum)?,
                Some(placed) => table.writer().add(entry.key, entry.seqno, placed.kind, &placed.stored)?,
            }
        }
        written.blobs = values.finish()?;
        if let Some(table) = unfinished.take() {
            written.tables.push(self.finish_table(table, target)?);
        }
        if !written.tables.is_empty() {
            self.sync_tables(written.tables.iter().map(|table| &**table), target.origin)?;
        }
        Ok(written)
    }

    /// Where new tables of a level are written.
    pub(super) fn place_of(&self, level: Level) -> Result<PlaceId> {
        Ok(self.0.context.manifest()?.with_catalog(|catalog| catalog.routes.place_of(level)))
    }

    /// Makes the entries of new tables in their directories durable.
    pub(super) fn sync_tables<'t>(
        &self,
        tables: impl Iterator<Item = &'t TableMeta>,
        origin: WriteOrigin,
    ) -> Result<()> {
        let places: BTreeSet<PlaceId> = tables.map(|table| table.place).collect();
        self.sync_directories(
            places,
            table::TABLES_DIR,
            directory_site(origin),
            "sync the directory of tables",
        )
    }

    /// Makes new entries of a directory in these places durable. A failure poisons: entries that other jobs made may be lost with these,
    /// and their syncs would not tell.
    pub(super) fn sync_directories(
        &self,
        places: BTreeSet<PlaceId>,
        directory: &'static str,
        site: SyncSite,
        doing: &'static str,
    ) -> Result<()> {
        places.into_iter().try_for_each(|place| {
            let directory = place.name_of(directory);
            self.0.context.env.fs.sync_dir(&directory, site).map_err(|error| {
                let error = Error::io(error, "sync the directory", directory);
                let manifest = self.0.context.manifest.as_ref().expect("files are written to open stores");
                manifest.poison_by(&error, doing)
            })
        })
    }

    pub(super) fn begin_table(&self, target: &Target) -> Result<Unfinished> {
        let context = &self.0.context;
        let id = context.file_ids.next_table(context.manifest()?)?;
        let name = target.place.name_of(&table::file_name(id));
        let hold = context.tables.registry.register(FileKind::Table, &name, 0, Some(self.0.id));
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
            filter: self.filter_for(&tree_options.filters, target.level, last_level),
            partition_bytes: tree_options.partition_bytes.at(target.level) as usize,
            entry_checksums: tree_options.entry_checksums,
            parity: tree_options.parity.at(target.level),
        };
        let now = UnixUs(context.env.clock.unix_us());
        let seed = PropertySeed {
            tree_options: tree_options.encode(),
            lineage: target.lineage.iter().map(Ancestor::uuid).collect(),
            level: target.level,
            run_age: target.age.0,
            replay_point: target.replay_point,
            comparator: tree_options.comparator.clone(),
            merge_operator: tree_options.merge_operator.clone().unwrap_or_default(),
            ..PropertySeed::new(self.0.id, self.0.name.clone(), now)
        };
        let (uuid, owner) = (new_uuid(&*context.env.entropy)?, &context.tables.owner);
        let identity = TableIdentity { id, uuid, database: owner.database, place: target.place };
        let writer = TableWriter::create(fs, identity, options, seed, target.origin)?;
        let writer = writer.sealed_by(&owner.keys)?.with_order(&self.0.order);
        // The key may have changed since the dictionary was chosen.
        let used = target.dictionary.as_ref().filter(|used| used.dictionary().seal() == writer.seal());
        let writer = match used {
            Some(used) => writer.with_dictionary(used.dictionary(), used.handle()),
            None => writer,
        };
        Ok(match &state.code.extractor {
            Some(extractor) => writer.with_prefixes(extractor),
            None => writer,
        })
    }

    fn finish_table(&self, unfinished: Unfinished, target: &Target) -> Result<TableRef> {
        let (meta, hold) = unfinished.finish()?;
        let tree = (self.0.id, &self.0.order);
        Ok(TableRef::descending(&self.0.context.tables, tree, hold, Arc::new(meta), &target.lineage))
    }
}

/// The name of the sync of the directory of tables.
const fn directory_site(origin: WriteOrigin) -> SyncSite {
    match origin {
        WriteOrigin::FlushTable => SyncSite("flush.directory"),
        WriteOrigin::IngestTable => SyncSite("ingest.directory"),
        _ => SyncSite("compaction.directory"),
    }
}
