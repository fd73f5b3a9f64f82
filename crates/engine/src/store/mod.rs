//! A store: trees in one directory with one manifest.
//!
//! Owns the directory's life: lock, creation, opening, trees by name, the end. Starts no threads.

mod directory;
mod checkpoint;
mod open;
mod orphans;
mod unnamed;
mod verify;

pub use checkpoint::{CheckpointError, CheckpointInfo, CheckpointOptions, Cut, Extra, ExtraFiles};
pub use open::StoreOptions;
pub use unnamed::{Unnamed, UnnamedFile};
pub use verify::{Finding, VerifyOptions, VerifyReport};

use crate::{
    error::{Error, ErrorKind, Result},
    table::TableMeta,
    tree::{OldState, Tree, TreeContext, TreeOptions},
    types::{Level, Seqno, TreeId, Uuid},
    version::{
        Catalog, CatalogTree, Change, DeletionPause, FileRegistry, Manifest, Note, RunAge, Watch, check_names,
    },
};
use alloc::{collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};
use isopach_env::{
    Env,
    sync::{Mutex, Rank, RwLock},
};

/// Of the map of trees.
const TREES: Rank = Rank { level: 20, name: "store.trees" };
/// Of changes of trees: their edits are serialised.
const CHANGES: Rank = Rank { level: 19, name: "store.changes" };

/// An open store. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<StoreInner>);

struct StoreInner {
    context: Arc<TreeContext>,
    trees: RwLock<BTreeMap<TreeId, TreeSlot>>,
    changes: Mutex<()>,
}

/// A tree, or why it cannot be used.
struct TreeSlot {
    name: String,
    tree: Result<Tree>,
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
    /// `NotFound`; `MissingComparator` and its like, naming what is not known.
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

    /// Creates a tree with an id reserved for it. Durable on return, `notes` with it. Callers give rising
    /// `at`.
    ///
    /// A store opened for reading has the tree in memory only: for who replays a log there.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`; `InvalidArgument` from its options, or for an id that was not reserved; those of
    /// [`Store::commit`].
    pub fn create_tree(
        &self,
        id: TreeId,
        name: &str,
        options: &TreeOptions,
        notes: &[Note],
        at: Seqno,
    ) -> Result<Tree> {
        options.validate()?;
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

    /// Greatest `at` of trees created and dropped: a replay redoes only changes above it.
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
        self.0.context.tables.database
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
    }

    /// Memory of flushed memtables that is kept for the next ones.
    pub fn spare_memory_bytes(&self) -> u64 {
        self.0.context.memtable_pages.kept_bytes()
    }

    /// Whether [`Store::prepare_memory`] should be called; `true` once.
    pub fn wants_memory(&self) -> bool {
        self.0.context.memtable_pages.takes_wish()
    }

    /// Has some memory ready for the memtable that grows, so that nobody who writes waits for it. For a thread that
    /// does not write.
    pub fn prepare_memory(&self) {
        self.0.context.memtable_pages.prepare();
    }

    /// Changes the bound of [`Store::spare_memory_bytes`]. What is beyond it goes back to the system.
    pub fn set_spare_memory(&self, bytes: u64) {
        self.0.context.memtable_pages.set_capacity(bytes);
    }

    /// Gives back to the system what [`Store::spare_memory_bytes`] is beyond so many. The bound stays.
    pub fn shed_spare_memory(&self, to_bytes: u64) {
        self.0.context.memtable_pages.shed(to_bytes);
    }

    // ----- damage -----

    /// Tables of present states that are known to be damaged: of each the first error that named file and
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
