//! One LSM tree: the paths, a file each.
//!
//! [`apply`](Tree::apply) -> [`rotate`](Tree::rotate) -> [`flush`](Tree::flush) -> [`compact`](Tree::compact)
//! move operations from the memtable to level 0 and down; [`Reader`] reads one state of it. The caller
//! numbers operations, decides when to do what, and on which threads.

mod apply;
mod clear;
mod code;
mod compact;
mod copy;
mod dictionary;
mod estimate;
mod filter_budget;
mod filters;
mod finishing;
mod flush;
mod ingest;
mod ingest_unsorted;
mod options;
mod outputs;
mod read;
mod rotate;
mod seals;
mod separate;
mod state;
mod stats;

pub use apply::{Applied, WriteBatch};
pub use code::{KnownCode, TreeCode};
pub use compact::{Compaction, CompactionReport, cancelled};
pub(crate) use copy::MemtablePin;
pub use estimate::RangeEstimate;
pub use filters::FilterPolicy;
pub use flush::FlushReport;
pub(crate) use ingest::Ingest;
pub use ingest::{IngestWriter, PreparedIngest};
pub use ingest_unsorted::IngestSorter;
pub use options::{PerLevel, TreeOptions};
pub use read::{Reader, Scan};
pub use state::OldState;
pub use stats::{BlobStats, LevelStats, TreeStats};

use crate::{
    blob::{BlobUse, BlobUses},
    codec::Corruption,
    compaction::CheckedPlan,
    error::{Error, ErrorKind, Result},
    iter::Cursor,
    memtable::{Memtable, PagePool},
    order::KeyOrder,
    types::{Seqno, TableId, TreeId},
    version::{
        Added, BlobFiles, BlobRef, Catalog, CatalogTree, Change, FileIds, Lease, Levels, Manifest, Note,
        TableContext, TableRef, TablesChange, check_names,
    },
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use isopach_env::{
    Env,
    sync::{
        Mutex, Rank, RwLock, StateCell,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};
use outputs::Written;
use state::{FormerState, TreeState};

/// Of the oldest sealed memtables: one flush of a tree at a time. Held over writing tables.
const FLUSH: Rank = Rank { level: 14, name: "tree.flush" };
/// Of the tree's edits: held over a manifest commit and its installation.
const EDITS: Rank = Rank { level: 35, name: "tree.edits" };
/// Of changes of the state: rotation and installation take turns.
const INSTALL: Rank = Rank { level: 42, name: "tree.install" };
/// Between applying operations (shared) and sealing the memtable they go to (alone).
const GATE: Rank = Rank { level: 43, name: "tree.gate" };
/// Of the state that readers pin.
const STATE: Rank = Rank { level: 45, name: "tree.state" };
/// Of the options in force.
const OPTIONS: Rank = Rank { level: 46, name: "tree.options" };
/// Of the states that a tree had before it was cleared or dropped.
const FORMER: Rank = Rank { level: 44, name: "tree.former" };
/// Of the tables that jobs have claimed.
const BUSY: Rank = Rank { level: 38, name: "tree.busy" };

/// What all trees of a store share.
pub struct TreeContext {
    /// Files, clock, random source.
    pub env: Env,
    /// The log of edits.
    pub manifest: Option<Manifest>,
    /// Numbers of new tables.
    pub file_ids: FileIds,
    /// Open tables, blocks, registry.
    pub tables: Arc<TableContext>,
    /// Memory that memtables leave to the next.
    pub memtable_pages: Arc<PagePool>,
    /// What options may name.
    pub code: KnownCode,
    /// What the manifest said at open.
    pub recovered: Catalog,
}

impl TreeContext {
    /// The manifest of a store open for writing.
    ///
    /// # Errors
    ///
    /// `ReadOnly`.
    pub fn manifest(&self) -> Result<&Manifest> {
        self.manifest
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::ReadOnly, "the store is open for reading only"))
    }

    /// Uses the directory.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn enter(&self) -> Result<Lease> {
        let lease = self.tables.life.enter();
        lease.ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))
    }

    /// The code that options name. A store opened for reading does without what it does not know.
    ///
    /// # Errors
    ///
    /// `MissingPrefixExtractor`, `MissingMergeOperator`, `MissingCompactionFilter`: tables would be written otherwise than
    /// the options say.
    pub fn code_of(&self, options: &TreeOptions) -> Result<TreeCode> {
        if self.manifest.is_none() { Ok(self.code.find_some(options)) } else { self.code.find(options) }
    }

    fn new_memtable(&self, order: &KeyOrder, options: &TreeOptions) -> Memtable {
        Memtable::new(&self.memtable_pages, order).with_checksums(options.entry_checksums)
    }
}

/// An open tree. Clones share it.
#[derive(Clone)]
pub struct Tree(Arc<TreeInner>);

struct TreeInner {
    id: TreeId,
    name: String,
    /// Of its keys, for ever.
    order: KeyOrder,
    options: StateCell<TreeOptions>,
    context: Arc<TreeContext>,
    state: StateCell<TreeState>,
    install: Mutex<()>,
    gate: RwLock<Gate>,
    flush: Mutex<()>,
    edits: Mutex<()>,
    /// Set once, before the state is emptied; readers look at it after they pinned a state.
    is_dropped: AtomicBool,
    /// What is left of before the tree was cleared or dropped, oldest first.
    former: Mutex<Vec<FormerState>>,
    busy: Mutex<Vec<CheckedPlan>>,
    /// Jobs that train no dictionary, since the last training was in vain. A lost update is harmless.
    resting_jobs: AtomicU32,
    counters: Counters,
}

/// Where new operations go, for those who apply them: the same as in the state, at hand under one lock. Who changes
/// it waits until nobody applies.
struct Gate {
    active: Arc<Memtable>,
    /// Operations above it go to `active`.
    sealed_upto: Seqno,
}

impl Gate {
    fn of(state: &TreeState) -> Gate {
        Gate { active: Arc::clone(&state.active), sealed_upto: state.sealed_upto }
    }
}

/// Since the tree was opened.
#[derive(Default)]
struct Counters {
    flushed_bytes: AtomicU64,
    compaction_read_bytes: AtomicU64,
    compaction_written_bytes: AtomicU64,
    flushes: AtomicU64,
    ingested_bytes: AtomicU64,
    compactions: AtomicU64,
    prefix_skips: Arc<AtomicU64>,
}

impl Tree {
    /// A tree as the manifest has it. Touches no table.
    ///
    /// # Errors
    ///
    /// What [`TreeOptions::decode`], [`KnownCode::order`] and [`TreeContext::code_of`] say of its stored options; `Corruption`
    /// if its tables are not in order.
    pub(crate) fn open(context: &Arc<TreeContext>, id: TreeId, stored: &CatalogTree) -> Result<Tree> {
        let options = TreeOptions::decode(&stored.options).map_err(|error| error.in_tree(id))?;
        let code = context.code_of(&options).map_err(|error| error.in_tree(id))?;
        let order = context.code.order(&options).map_err(|error| error.in_tree(id))?;
        let levels = stored.levels.sorted(&order);
        let levels = levels.map_err(|why| Error::new(ErrorKind::Corruption, why.0).in_tree(id))?;
        let table = |meta: &Arc<_>| TableRef::recovered(&context.tables, (id, &order), Arc::clone(meta));
        let (active, levels) = (context.new_memtable(&order, &options), levels.map(table));
        let blobs = stored.blobs.map(|meta| BlobRef::recovered(&context.tables, id, *meta));
        let files = (levels, blobs);
        let recovered = TreeState::recovered(active, files, stored.replay_point, stored.read_floor);
        let state = TreeState { code, ..recovered };
        let gate = Gate::of(&state);
        Ok(Tree(Arc::new(TreeInner {
            id,
            name: stored.name.clone(),
            order,
            options: StateCell::new(OPTIONS, Arc::new(options)),
            context: Arc::clone(context),
            state: StateCell::new(STATE, Arc::new(state)),
            install: Mutex::new(INSTALL, ()),
            gate: RwLock::new(GATE, gate),
            flush: Mutex::new(FLUSH, ()),
            edits: Mutex::new(EDITS, ()),
            is_dropped: AtomicBool::new(false),
            former: Mutex::new(FORMER, Vec::new()),
            busy: Mutex::new(BUSY, Vec::new()),
            resting_jobs: AtomicU32::new(0),
            counters: Counters::default(),
        })))
    }

    /// Its id.
    pub fn id(&self) -> TreeId {
        self.0.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The order of its keys.
    pub fn order(&self) -> &KeyOrder {
        &self.0.order
    }

    /// The options in force.
    pub fn options(&self) -> Arc<TreeOptions> {
        self.0.options.load()
    }

    /// Sets all options. Tables and memtables that are begun from now on follow them; those that are there stay as they are until
    /// they are compacted. `notes` go into the same edit.
    ///
    /// # Errors
    ///
    /// Those of [`TreeOptions::validate`] and [`Manifest::commit`]; `InvalidArgument` if the tree has another merge operator,
    /// by which its operands were made, or if its keys were to be ordered otherwise; those of [`TreeContext::code_of`]; `TreeDropped`, `ReadOnly`, `Closed`.
    pub fn set_options(&self, options: TreeOptions, notes: &[Note]) -> Result<()> {
        let _lease = self.0.context.enter()?;
        let code = options.validate().and_then(|()| {
            self.0.context.code.order(&options)?;
            self.0.context.code_of(&options)
        });
        let code = code.map_err(|error| error.in_tree(self.0.id))?;
        check_names(notes)?;
        let _edits = self.0.edits.lock();
        self.check_alive()?;
        self.check_order(&options)?;
        self.check_operator(&options)?;
        let change = Change::SetOptions { id: self.0.id, options: options.encode() };
        let notes = notes.iter().cloned().map(Change::Note);
        self.0.context.manifest()?.commit(&[change].into_iter().chain(notes).collect::<Vec<_>>())?;
        drop(self.0.options.store(Arc::new(options)));
        let _install = self.0.install.lock();
        let state = self.0.state.load();
        drop(self.0.state.store(Arc::new(TreeState { code, ..state.as_ref().clone() }))); // `state` keeps it.
        Ok(())
    }

    /// The order of keys stays: all that is there is in it.
    fn check_order(&self, options: &TreeOptions) -> Result<()> {
        let present = &self.options().comparator;
        if options.comparator == *present {
            return Ok(());
        }
        let message = format!("comparator is {present:?}, and cannot be changed any more");
        Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.0.id))
    }

    /// A merge operator stays: what it made operands for, no other reads.
    fn check_operator(&self, options: &TreeOptions) -> Result<()> {
        match &self.options().merge_operator {
            Some(present) if options.merge_operator.as_ref() != Some(present) => {
                let message = format!("merge_operator is {present:?}, and cannot be changed any more");
                Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.0.id))
            }
            _ => Ok(()),
        }
    }

    /// Its tables now.
    pub fn tables(&self) -> Vec<TableRef> {
        self.0.state.load().levels.tables().map(|(.., table)| table.clone()).collect()
    }

    /// Its tables now, and what they point to.
    pub(crate) fn files(&self) -> (Vec<TableRef>, Arc<BlobFiles>) {
        let state = self.0.state.load();
        let tables = state.levels.tables().map(|(.., table)| table.clone());
        (tables.collect(), Arc::clone(&state.blobs))
    }

    // ----- positions -----

    /// Everything `<=` this is in durable tables: a log below it is not needed for this tree. A rise by
    /// [`Tree::flush`] of an idle tree is forgotten at restart.
    pub fn replay_point(&self) -> Seqno {
        self.0.state.load().replay_point
    }

    /// Least number of an operation that is in memory only.
    pub fn first_unflushed(&self) -> Option<Seqno> {
        let state = self.0.state.load();
        state.memtables().filter_map(|memtable| memtable.first_seqno()).min()
    }

    /// Greatest number that is used up: of operations applied, in tables, flushed and dropped since, or
    /// visible to a job. After open: start above it.
    pub fn highest_seqno(&self) -> Seqno {
        let state = self.0.state.load();
        let applied = state.memtables().map(|memtable| memtable.last_seqno()).max().unwrap_or(Seqno::ZERO);
        applied.max(state.levels.last_seqno()).max(state.replay_point).max(state.read_floor)
    }

    /// Greatest number in durable tables. Smaller ones may still be only in memory: see `replay_point`.
    pub fn highest_persisted_seqno(&self) -> Seqno {
        self.0.state.load().levels.last_seqno()
    }

    /// Of the jobs that dropped something or made it timeless, the greatest of what was visible at the start or,
    /// where that is less, of their last operation; persisted. Reads below it are `SnapshotTooOld`, except at views that
    /// every such job was told of.
    pub fn read_floor(&self) -> Seqno {
        self.0.state.load().read_floor
    }

    /// Drops the tree: its tables go, except for whoever reads what is returned.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::commit`]; `TreeDropped` the second time.
    pub(crate) fn drop_at(&self, at: Seqno) -> Result<OldState> {
        let _edits = self.0.edits.lock();
        self.check_alive()?;
        if let Some(manifest) = &self.0.context.manifest {
            manifest.commit(&[Change::DropTree { id: self.0.id, at }])?;
        }
        let _install = self.0.install.lock();
        let old = self.0.state.load();
        self.remember(FormerState { at, state: Arc::downgrade(&old) });
        self.0.is_dropped.store(true, Ordering::SeqCst);
        let empty = TreeState::empty(self.0.new_memtable(), at);
        *self.0.gate.write() = Gate::of(&empty);
        drop(self.0.state.store(Arc::new(empty))); // `old` keeps it.
        // In a store opened for reading the manifest names them still.
        if self.0.context.manifest.is_some() {
            old.mark_obsolete();
        }
        Ok(OldState::new(self.0.id, at, old))
    }

    fn check_alive(&self) -> Result<()> {
        if self.0.is_dropped.load(Ordering::SeqCst) { Err(self.dropped_error()) } else { Ok(()) }
    }

    fn dropped_error(&self) -> Error {
        Error::new(ErrorKind::TreeDropped, format!("tree {:?} was dropped", self.0.name)).in_tree(self.0.id)
    }

    /// Commits a change of tables, with notes, and shows it. Returns the tables that were written; `None` if the tree
    /// was cleared since the job `found` it: its inputs are gone, and nothing changes.
    ///
    /// On an error they go, unless the edit that names them may have survived.
    fn commit_tables(
        &self,
        found: &TreeState,
        change: &TablesChange,
        notes: &[Note],
        written: Written,
        finish: impl FnOnce(&mut TreeState),
    ) -> Result<Option<Vec<TableRef>>> {
        let edits = self.0.edits.lock();
        self.check_alive()?;
        if self.0.state.load().cleared_at != found.cleared_at {
            return Ok(None);
        }
        // They change with the edits locked only.
        let (levels, blobs) = {
            let state = self.0.state.load();
            (state.levels.clone(), Arc::clone(&state.blobs))
        };
        let is_removed = |table: &TableRef| change.removed.contains(&table.id);
        let removed: Vec<TableRef> =
            levels.tables().map(|(.., table)| table).filter(|table| is_removed(table)).cloned().collect();
        let placed = change.added.iter().map(|addition| Added {
            level: addition.level,
            age: addition.age,
            table: find(written.tables(), &removed, addition.table.id),
        });
        let levels = levels.apply(Some(&self.0.order), &change.removed, &placed.collect::<Vec<_>>());
        self.0.order.check().map_err(|error| error.in_tree(self.0.id))?; // INV-ORD-1.
        let levels = levels.expect("INV-MAN-3: an edit fits what is there");
        let added = change.added.iter().map(|added| &*added.table);
        let gone = removed.iter().map(|table| &**table.meta());
        let left = match blobs.apply(written.blobs(), added, gone) {
            Ok(left) => left,
            Err(why) => {
                drop(edits);
                return Err(self.miscounted(&removed, why));
            }
        };
        let emptied: Vec<BlobRef> =
            blobs.files().chain(written.blobs()).filter(|file| !left.has(file.meta().id)).cloned().collect();

        let notes = notes.iter().cloned().map(Change::Note);
        let mut changes = Vec::from([Change::Tables(change.clone())]);
        changes.extend(notes);
        // The commit point: before it a crash forgets.
        if let Err(error) = self.0.context.manifest()?.commit(&changes) {
            if error.kind() == ErrorKind::Poisoned {
                written.keep(); // If the edit did not survive they are orphans at the next open.
            }
            return Err(error);
        }
        let written = written.keep();

        let _install = self.0.install.lock();
        let mut next = self.0.state.load().as_ref().clone();
        next.set_levels(levels);
        next.blobs = Arc::new(left);
        finish(&mut next);
        next.replay_point = next.replay_point.max(change.replay_point.unwrap_or(Seqno::ZERO));
        next.read_floor = next.read_floor.max(change.read_floor.unwrap_or(Seqno::ZERO));
        let old = self.0.state.store(Arc::new(next));
        for table in
            removed.iter().filter(|table| !change.added.iter().any(|added| added.table.id == table.id))
        {
            table.mark_obsolete();
        }
        emptied.iter().for_each(BlobRef::mark_obsolete);
        drop((_install, edits));
        drop(old);
        Ok(Some(written))
    }
}

impl Tree {
    /// Why an edit does not fit the separated values that are there: a table that it removes points to others than the
    /// manifest says of it.
    #[cold]
    fn miscounted(&self, removed: &[TableRef], why: Corruption) -> Error {
        for table in removed {
            match uses_of(table) {
                Ok(uses) if uses == table.blobs => {}
                Ok(_) => {
                    let why = "the table points to other separated values than the manifest says";
                    return table.blame(Error::corrupt(table.file_name(), 0, why));
                }
                Err(error) => return table.blame(error),
            }
        }
        Error::new(ErrorKind::Corruption, why.0).in_tree(self.0.id)
    }
}

/// What a table points to, by its entries.
fn uses_of(table: &TableRef) -> Result<Vec<BlobUse>> {
    let mut uses = BlobUses::default();
    let mut cursor = table.open()?.cursor_past_cache();
    cursor.seek_first()?;
    while let Some(kind) = cursor.entry().map(|entry| entry.kind) {
        let counted = uses.count(kind, cursor.value_bytes()?);
        counted.map_err(|why| Error::corrupt(table.file_name(), 0, why))?;
        cursor.next()?;
    }
    Ok(uses.finish())
}

impl TreeInner {
    fn new_memtable(&self) -> Memtable {
        self.context.new_memtable(&self.order, &self.options.load())
    }
}

/// The handle of an added table: new, or one that only moves.
fn find(added: &[TableRef], removed: &[TableRef], id: TableId) -> TableRef {
    added.iter().chain(removed).find(|table| table.id == id).expect("every added table has a handle").clone()
}

/// Levels whose tables are handles.
pub(crate) type TableLevels = Levels<TableRef>;
