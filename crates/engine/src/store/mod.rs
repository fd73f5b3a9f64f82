//! A store: trees in one directory with one manifest.
//!
//! Owns the directory's life: lock, creation, opening, trees by name, the end. Starts no threads.

mod directory;
mod checkpoint;
mod open;
mod orphans;
mod repair;
mod routes;
mod seals;
mod unnamed;
mod verify;
mod verify_blobs;

pub use checkpoint::{CheckpointError, CheckpointInfo, CheckpointOptions, Cut, Extra, ExtraFiles};
pub use open::{Admit, StoreOptions};
pub use repair::{
    EachOperation, Fate, LOST_DIR, LogTold, Plan, Repair, RepairOptions, RepairReport, RepairedFile,
    RepairedTree, TreeChange,
};
pub use routes::FindPlaces;
pub use seals::KeyUse;
pub use unnamed::{Unnamed, UnnamedFile};
pub use verify::{Finding, StoreCheck, VerifyOptions, VerifyReport};

use crate::{
    codec::Owner,
    error::{Error, ErrorKind, Result},
    table::TableMeta,
    tree::{Ingest, OldState, PreparedIngest, Tree, TreeContext, TreeOptions},
    types::{Level, Seqno, TreeId, Uuid},
    version::{
        Catalog, CatalogTree, Change, DeletionPause, FileRegistry, HealHints, Manifest, Note, RunAge, Watch,
        applied_upto, check_names,
    },
};
use alloc::{collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};
use isopach_env::{
    Env, MountFs,
    sync::{Mutex, Rank, RwLock},
};

/// Of the map of trees.
const TREES: Rank = Rank { level: 20, name: "store.trees" };
/// Of changes of trees: their edits are serialised.
const CHANGES: Rank = Rank { level: 19, name: "store.changes" };

/// Of changes of routes. Held over beginning places, which may take long.
const ROUTES: Rank = Rank { level: 18, name: "store.routes" };

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<StoreInner>);

struct StoreInner {
    context: Arc<TreeContext>,
    trees: RwLock<BTreeMap<TreeId, TreeSlot>>,
    changes: Mutex<()>,
    routes: Mutex<()>,
    /// Where the files are: the store's directory, and the places of its routes.
    mounts: Arc<MountFs>,
}

/// A tree, or why it cannot be used.
struct TreeSlot {
    name: String,
    tree: Result<Tree>,
}

/// What filters take, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct FilterMemory {
    /// All of them, in the files of live tables.
    pub serialized_bytes: u64,
    /// What of them is in memory: of open tables, as far as it was needed.
    pub resident_bytes: u64,
    /// What all of them may take; `u64::MAX`: there is no budget.
    pub budget_bytes: u64,
}

impl FilterMemory {
    /// Bytes that are too much: tables of before the budget keep their filters until they are compacted.
    pub fn over_budget(&self) -> u64 {
        self.serialized_bytes.saturating_sub(self.budget_bytes)
    }
}

/// A tree of the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TreeInfo {
    /// Its id.
    pub id: TreeId,
    /// Its name.
    pub name: String,
}

/// A table that the manifest names.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NamedTable {
    /// Whose.
    pub tree: TreeId,
    /// That tree's name.
    pub tree_name: String,
    /// On which level.
    pub level: Level,
    /// In which of its runs.
    pub run_age: RunAge,
    /// What the manifest says of it.
    pub meta: Arc<TableMeta>,
}

impl Store {
    // ----- trees -----

    /// Names and ids of all trees. Never fails for one that cannot be used.
    pub fn trees(&self) -> Vec<TreeInfo> {
        let trees = self.0.trees.read();
        trees.iter().map(|(&id, slot)| TreeInfo { id, name: slot.name.clone() }).collect()
    }

    /// Opens a tree by name, with its stored options.
    ///
    /// # Errors
    ///
    /// `NotFound`; `MissingComparator`, `MissingPrefixExtractor`, naming what is not known.
    pub fn tree(&self, name: &str) -> Result<Tree> {
        let trees = self.0.trees.read();
        let slot = trees.values().find(|slot| slot.name == name);
        slot.map_or_else(|| Err(missing(format_args!("{name:?}"))), |slot| slot.tree.clone())
    }

    /// Opens a tree by id.
    ///
    /// # Errors
    ///
    /// As [`Store::tree`].
    pub fn tree_by_id(&self, id: TreeId) -> Result<Tree> {
        let trees = self.0.trees.read();
        trees.get(&id).map_or_else(|| Err(missing(format_args!("{id}"))), |slot| slot.tree.clone())
    }

    /// A tree id that was never given out, nor will be again after a crash: to log before it is used.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, and those of [`Store::commit`].
    pub fn reserve_tree_id(&self) -> Result<TreeId> {
        let _lease = self.0.context.enter()?;
        self.0.context.file_ids.next_tree(self.0.context.manifest()?)
    }

    /// Says whether a tree can be created with these options: for who logs the creation before.
    ///
    /// # Errors
    ///
    /// Those of [`TreeOptions::validate`], and of [`KnownCode::order`](crate::tree::KnownCode::order) and
    /// [`KnownCode::find`](crate::tree::KnownCode::find).
    pub fn check_options(&self, options: &TreeOptions) -> Result<()> {
        options.validate()?;
        self.0.context.code.order(options)?;
        self.0.context.code_of(options).map(drop)
    }

    /// Creates a tree with an id reserved for it. Durable on return, `notes` with it. Callers give rising
    /// `at`.
    ///
    /// A store opened for reading has the tree in memory only: for who replays a log there.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; those of [`Store::check_options`]; `InvalidArgument` for an id that was not reserved; those of
    /// [`Store::commit`].
    pub fn create_tree(
        &self,
        id: TreeId,
        name: &str,
        options: &TreeOptions,
        notes: &[Note],
        at: Seqno,
    ) -> Result<Tree> {
        self.check_options(options)?;
        check_names(notes)?;
        let _lease = self.0.context.enter()?;
        let _changes = self.0.changes.lock();
        if self.0.trees.read().iter().any(|(&other, slot)| other == id || slot.name == name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("a tree named {name:?} exists")));
        }
        if let Some(manifest) = &self.0.context.manifest {
            if id.0 >= manifest.with_catalog(|catalog| catalog.tree_id_mark) {
                return Err(Error::new(ErrorKind::InvalidArgument, format!("tree id {id} was not reserved")));
            }
            let create = Change::CreateTree { id, name: name.into(), options: options.encode(), at };
            let notes = notes.iter().cloned().map(Change::Note);
            manifest.commit(&core::iter::once(create).chain(notes).collect::<Vec<_>>())?;
        }
        let tree = Tree::open(&self.0.context, id, &CatalogTree::new(name, options.encode(), at))?;
        self.0.trees.write().insert(id, TreeSlot { name: name.into(), tree: Ok(tree.clone()) });
        Ok(tree)
    }

    /// Drops a tree. Durable on return. What is returned keeps its old state readable. In a store opened for
    /// reading the tree goes from memory only.
    ///
    /// # Errors
    ///
    /// `NotFound`; those of [`Store::commit`].
    pub fn drop_tree(&self, id: TreeId, at: Seqno) -> Result<OldState> {
        let _lease = self.0.context.enter()?;
        let _changes = self.0.changes.lock();
        let tree = self.tree_by_id(id)?;
        let old = tree.drop_at(at)?;
        self.0.trees.write().remove(&id);
        Ok(old)
    }

    /// Clears a tree of everything below `at`, a number of its own. Durable on return. What is returned keeps its old
    /// state readable to views below. In a store opened for reading it is cleared in memory only.
    ///
    /// The caller promises that nothing is being applied to it, and that later operations lie above. Flushes and
    /// compactions of what goes here bring nothing, and do not fail.
    ///
    /// # Errors
    ///
    /// `NotFound`; `InvalidArgument` if an operation at or above `at` is there; those of [`Store::commit`].
    pub fn clear_tree(&self, id: TreeId, at: Seqno) -> Result<OldState> {
        let _lease = self.0.context.enter()?;
        let _changes = self.0.changes.lock();
        self.tree_by_id(id)?.clear_at(at)
    }

    /// Shows the tables of bulk loads, all at once, as operation `at`. It and the number before are their own, above all
    /// others, and no memtable is sealed at the number before. Durable on return. They go to the deepest levels where nothing older is above.
    ///
    /// The caller promises that nothing is applied meanwhile, that later operations lie above, and that none of the
    /// trees says of what was prepared for it that it [must be flushed](Tree::must_flush_for).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if two are of one tree; `TreeDropped`; those of [`Store::commit`]. Nothing shows then, and the
    /// tables go, unless it was `Poisoned`: whether the edit survived is known after reopening.
    pub fn ingest(&self, prepared: Vec<PreparedIngest>, at: Seqno) -> Result<()> {
        let _lease = self.0.context.enter()?;
        let _changes = self.0.changes.lock();
        let trees: Vec<TreeId> = prepared.iter().map(|of_tree| of_tree.tree().id()).collect();
        if (1..trees.len()).any(|at| trees[..at].contains(&trees[at])) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "two loads of one tree cannot be shown at once",
            ));
        }
        let mut ingests: Vec<Ingest> = Vec::new();
        for of_tree in prepared {
            match of_tree.tree().clone().place_ingest(of_tree, at) {
                Ok(placed) => ingests.extend(placed),
                Err(error) => {
                    ingests.into_iter().for_each(Ingest::give_up);
                    return Err(error);
                }
            }
        }
        let tables = ingests.iter().map(|ingest| Change::Tables(ingest.change.clone()));
        let changes: Vec<Change> = tables.chain([applied_upto(at)]).collect();
        match self.0.context.manifest()?.commit(&changes) {
            Ok(()) => ingests.into_iter().for_each(Ingest::install), // The commit point lies behind.
            Err(error) => {
                if error.kind() != ErrorKind::Poisoned {
                    ingests.into_iter().for_each(Ingest::give_up);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Greatest `at` of trees created, cleared and dropped, and of loads: a replay redoes only changes above it.
    pub fn applied_upto(&self) -> Seqno {
        self.with_catalog(|catalog| catalog.applied_upto)
    }

    /// Every table that the manifest names, by trees, levels and runs, newest runs first. Those of a store opened for
    /// reading are as they were then.
    pub fn tables(&self) -> Vec<NamedTable> {
        self.with_catalog(|catalog| {
            let trees = catalog.trees.iter();
            let tables = trees.flat_map(|(&tree, of)| of.levels.tables().map(move |table| (tree, of, table)));
            let named = |(tree, of, (level, age, meta)): (TreeId, &CatalogTree, (Level, RunAge, &Arc<_>))| {
                NamedTable { tree, tree_name: of.name.clone(), level, run_age: age, meta: Arc::clone(meta) }
            };
            tables.map(named).collect()
        })
    }

    /// Looks at what the manifest says now.
    fn with_catalog<T>(&self, look: impl FnOnce(&Catalog) -> T) -> T {
        match &self.0.context.manifest {
            Some(manifest) => manifest.with_catalog(look),
            None => look(&self.0.context.recovered),
        }
    }

    // ----- notes -----

    /// The value of a [`Note`].
    pub fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.with_catalog(|catalog| catalog.notes.get(name).cloned())
    }

    /// Stores notes as one manifest record: all or none, durable on return.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, `OutOfSpace`, `Poisoned`, `Closed`; `InvalidArgument` for a reserved name.
    pub fn commit(&self, notes: &[Note]) -> Result<()> {
        check_names(notes)?;
        let _lease = self.0.context.enter()?;
        let changes: Vec<Change> = notes.iter().cloned().map(Change::Note).collect();
        self.0.context.manifest()?.commit(&changes)
    }

    /// Writes down how far the manifest is durable, if it does not say so yet. For when nothing was committed
    /// for a while, and before the end.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn note_synced(&self) -> Result<()> {
        self.0.context.manifest()?.note_synced()
    }

    // ----- files -----

    /// The uuid of the store.
    pub fn uuid(&self) -> Uuid {
        self.0.context.tables.owner.database
    }

    /// Whose its files are: its uuid, and its keys.
    pub fn owner(&self) -> &Owner {
        &self.0.context.tables.owner
    }

    /// Files, clock, random source.
    pub fn env(&self) -> &Env {
        &self.0.context.env
    }

    /// What exists and who holds it.
    pub fn files(&self) -> &FileRegistry {
        &self.0.context.tables.registry
    }

    /// While the result is held, no file is removed.
    pub fn pause_deletions(&self) -> DeletionPause {
        self.files().pause()
    }

    /// Whether a failed sync stopped writing. Reads go on; reopening clears it.
    pub fn poisoned(&self) -> Option<Error> {
        self.0.context.manifest.as_ref().and_then(Manifest::poisoned)
    }

    /// Blocks in memory: hits, misses, bytes; and memory of open tables.
    pub fn cache(&self) -> CacheStats {
        let stats = self.0.context.tables.blocks.stats();
        CacheStats {
            hits: stats.hits,
            misses: stats.misses,
            block_bytes: stats.block_bytes,
            table_bytes: stats.charged_bytes,
        }
    }

    /// Changes the bounds of cache and open tables.
    pub fn set_cache(&self, cache_bytes: u64, max_open_files: usize) {
        self.0.context.tables.blocks.set_capacity(cache_bytes);
        self.0.context.tables.open.set_max_open(max_open_files);
        self.0.context.tables.open_blobs.set_max_open(max_open_files);
    }

    /// Memory of flushed memtables that is kept for the next ones.
    pub fn spare_memory_bytes(&self) -> u64 {
        self.0.context.memtable_pages.kept_bytes()
    }

    /// Whether [`Store::prepare_memory`] should be called; `true` once.
    pub fn wants_memory(&self) -> bool {
        self.0.context.memtable_pages.takes_wish()
    }

    /// Has some memory ready for the memtable that grows, so that nobody who writes waits for it: no more than is kept
    /// at most, and than `room_bytes`. For a thread that does not write.
    pub fn prepare_memory(&self, room_bytes: u64) {
        self.0.context.memtable_pages.prepare(room_bytes);
    }

    /// Changes the bound of [`Store::spare_memory_bytes`]. What is beyond it goes back to the system.
    pub fn set_spare_memory(&self, bytes: u64) {
        self.0.context.memtable_pages.set_capacity(bytes);
    }

    /// Gives back to the system what [`Store::spare_memory_bytes`] is beyond so many. The bound stays.
    pub fn shed_spare_memory(&self, to_bytes: u64) {
        self.0.context.memtable_pages.shed(to_bytes);
    }

    /// What the filters of all tables take, beside what they may.
    pub fn filter_memory(&self) -> FilterMemory {
        let tables = &self.0.context.tables;
        FilterMemory {
            serialized_bytes: tables.filters.bytes(),
            resident_bytes: tables.open.all().iter().map(|table| table.resident_filter_bytes()).sum(),
            budget_bytes: tables.filters.budget_bytes(),
        }
    }

    /// Changes what the filters of all tables may take together; `u64::MAX`: as much as policies ask for. Tables keep
    /// the filters that they have until they are compacted.
    pub fn set_filter_budget(&self, bytes: u64) {
        self.0.context.tables.filters.set_budget_bytes(bytes);
    }

    // ----- damage -----

    /// Tables of present states and files of separated values that are known to be damaged: of each the first error that named file and
    /// place, in the order of trees. What was found is forgotten with the table, at the end, and when
    /// [`Store::verify`] reads the table in whole without a finding.
    pub fn damaged_tables(&self) -> Vec<Error> {
        let trees: Vec<Tree> =
            self.0.trees.read().values().filter_map(|slot| slot.tree.clone().ok()).collect();
        trees.iter().flat_map(Tree::damaged_tables).collect()
    }

    /// From now on `watch` hears of each table that is found damaged, once, on the thread that met it. It
    /// holds no lock of the store, and must not own the store.
    pub fn watch_damage(&self, watch: Arc<Watch>) {
        self.0.context.tables.damage.set(watch);
    }

    /// What parity corrected, and what is to be written anew because of it.
    pub fn healing(&self) -> &Arc<HealHints> {
        &self.0.context.tables.healing
    }

    /// Whether a check found the manifest damaged on the medium. What it says is in memory.
    pub fn is_manifest_damaged(&self) -> bool {
        self.0.context.manifest.as_ref().is_some_and(|manifest| manifest.is_damaged())
    }

    /// Has the manifest go on in a new file, if a check found this one damaged; says whether it did. Edits wait for it.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::heal`](crate::version::Manifest::heal); `ReadOnly`, `Closed`.
    pub fn heal_manifest(&self) -> Result<bool> {
        let _lease = self.0.context.enter()?;
        self.0.context.manifest()?.heal()
    }

    // ----- the end -----

    /// Refuses new calls from now on (`Closed`). The directory is free, and its lock released, when every
    /// reader and scan has ended: [`Store::at_end`]. The caller has ended its jobs before. Dropping the last
    /// handle of a store and its trees closes it too.
    pub fn close(&self) {
        self.0.context.tables.life.close();
    }

    /// Runs `f` when the directory is free, at once if it is.
    pub fn at_end(&self, f: impl FnOnce() + Send + 'static) {
        self.0.context.tables.life.at_end(f);
    }
}

/// Memory and use of the block cache.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Blocks found.
    pub hits: u64,
    /// Blocks read.
    pub misses: u64,
    /// Bytes of blocks.
    pub block_bytes: u64,
    /// Bytes of indexes and filters of open tables.
    pub table_bytes: u64,
}

fn missing(what: core::fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no tree {what}"))
}
