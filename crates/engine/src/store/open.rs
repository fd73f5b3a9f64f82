//! Open and create: from a directory to a store.
//!
//! Reads top-down: [`Store::open`] is the story. Opening removes no table and touches none.

use super::{
    CHANGES, ROUTES, Store, StoreInner, TREES, TreeSlot,
    directory::{LOCK, State, Survey, read_identity, write_identity},
    routes::{FindPlaces, open_places},
};
use crate::{
    cache::{BlockCache, OpenFiles},
    codec::{CleanCopies, FileKind, Keyring, Owner, Seal},
    error::{Error, ErrorKind, Result},
    memtable::PagePool,
    tree::{KnownCode, Tree, TreeContext},
    version::{
        Catalog, DamageWatch, Dictionaries, FileIds, FileRegistry, FilterLedger, Life, Manifest, NewUuid,
        TableContext, manifest_name, new_uuid, replay,
    },
};
use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, vec::Vec};
use core::fmt;
use isopach_env::{
    Env, FileLock, Fs, IoErrorKind, LockMode, MountFs, SyncSite,
    sync::{Mutex, RwLock},
};

/// Asked before an opening for writing changes anything; an error refuses it. Sees the directory, and what the manifest
/// says.
#[derive(Clone, Default)]
pub struct Admit(Option<Arc<Admission>>);

/// See [`Admit::by`].
type Admission = dyn Fn(&dyn Fs, &Catalog) -> Result<()> + Send + Sync;

impl Admit {
    /// Asks this.
    pub fn by(admit: impl Fn(&dyn Fs, &Catalog) -> Result<()> + Send + Sync + 'static) -> Admit {
        Admit(Some(Arc::new(admit)))
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Admit(..)" } else { "Admit(all)" })
    }
}

/// Options of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Writes nothing and takes the lock shared, where there is one.
    pub read_only: bool,
    /// Makes a store where there is none.
    pub create_if_missing: bool,
    /// Blocks, resident indexes and filters, in bytes. Default 64 MiB.
    pub cache_bytes: u64,
    /// Tables open at a time, and as many files of separated values. Default 512.
    pub max_open_files: usize,
    /// Memory of flushed memtables that is kept for the next ones, in bytes. Default 64 MiB. As much as a memtable
    /// is large before it is flushed spares its pages from being cleared again by the system.
    pub spare_memory_bytes: u64,
    /// Bytes that the filters of all tables may take together. Default `u64::MAX`: as many as policies ask for.
    pub filter_budget_bytes: u64,
    /// What trees may name, beside what is built in.
    pub code: KnownCode,
    /// Where the places of stored routes are.
    pub places: FindPlaces,
    /// What files are sealed under: new ones under the current key, if there is one.
    pub keys: Keyring,
    /// Where whole copies of files are, if anywhere: for what parity does not restore.
    pub copies: Option<Arc<dyn CleanCopies>>,
    /// Who may refuse to open for writing.
    pub admit: Admit,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            read_only: false,
            create_if_missing: true,
            cache_bytes: 64 << 20,
            max_open_files: 512,
            spare_memory_bytes: 64 << 20,
            filter_budget_bytes: u64::MAX,
            code: KnownCode::default(),
            places: FindPlaces::default(),
            keys: Keyring::none(),
            copies: None,
            admit: Admit::default(),
        }
    }
}

impl Store {
    /// Opens a store, or makes one in an empty directory. Removes nothing and touches no table.
    ///
    /// # Errors
    ///
    /// `Locked`, `NotFound`, `Corruption`, `UnsupportedFormat`, `MixedStore`, `MissingRoute`, `MissingKey`, `WrongKey`. What is not a whole store is
    /// refused before anything is written. `InvalidArgument` from [`KnownCode::validate`].
    pub fn open(env: Env, options: &StoreOptions) -> Result<Store> {
        options.code.validate()?;
        let mounts = Arc::new(MountFs::new(Arc::clone(&env.fs)));
        let env = env.with_fs(Arc::<MountFs>::clone(&mounts));
        let survey = Survey::of(&*env.fs)?;
        if survey.has_identity() {
            read_identity(&*env.fs)?; // Other programs have files of that name too.
        }
        match survey.judge()? {
            State::Store(_) => {}
            State::Unborn if options.create_if_missing && !options.read_only => {}
            State::Unborn => return Err(Error::new(ErrorKind::NotFound, "there is no database")),
        }
        let mode = if options.read_only { LockMode::Shared } else { LockMode::Exclusive };
        let lock = take_lock(&*env.fs, mode)?;
        // Again, now that nobody else can change it.
        let survey = Survey::of(&*env.fs)?;
        match survey.judge()? {
            State::Store(number) if options.read_only => open_to_read((env, mounts), options, number, lock),
            State::Store(number) => open_to_write((env, mounts), options, &survey, number, lock),
            State::Unborn if options.create_if_missing && !options.read_only => {
                create((env, mounts), options, &survey, lock)
            }
            State::Unborn => Err(Error::new(ErrorKind::NotFound, "there is no database")),
        }
    }
}

/// LOCK, directories, manifest, root synced, then IDENTITY.
fn create(
    (env, mounts): (Env, Arc<MountFs>),
    options: &StoreOptions,
    survey: &Survey,
    lock: Option<Box<dyn FileLock>>,
) -> Result<Store> {
    let io = |name: &'static str| move |error| Error::io(error, "create the store", name);
    for directory in survey.missing_directories() {
        env.fs.create_dir(directory).map_err(io(directory))?;
    }
    let owner = Owner { database: new_uuid(&*env.entropy)?, keys: options.keys.clone() };
    let registry = FileRegistry::new(Arc::clone(&env.fs));
    let draw = uuid_source(&env);
    let fs = Arc::clone(&env.fs);
    // Of creations that were interrupted manifests may be there, whole or begun: of other databases, which
    // nothing belongs to.
    let number = survey.next_manifest()?;
    let manifest = Manifest::start(fs, registry.clone(), &owner, draw, number, Catalog::default())?;
    // Before the store exists: whoever finds it, after a crash here, takes its directory for durable.
    env.fs.sync_parent(SyncSite("create.parent")).map_err(io("its parent directory"))?;
    write_identity(&*env.fs, new_uuid(&*env.entropy)?, owner.database)?;
    discard_old_manifests(&registry, survey);
    assemble(
        (env, mounts),
        options,
        owner,
        registry,
        Catalog::default(),
        Some(manifest),
        Vec::from_iter(lock),
    )
}

/// The manifest is read and at once replaced by a snapshot of it, so that no file is appended to twice.
fn open_to_write(
    (env, mounts): (Env, Arc<MountFs>),
    options: &StoreOptions,
    survey: &Survey,
    number: u32,
    lock: Option<Box<dyn FileLock>>,
) -> Result<Store> {
    let owner = Owner { database: read_identity(&*env.fs)?, keys: options.keys.clone() };
    let mut catalog = read_catalog(&env, number, &owner)?;
    check_keys(&catalog, &owner)?;
    options.admit.0.as_ref().map_or(Ok(()), |admit| admit(&*env.fs, &catalog))?;
    let lock_as = (owner.database, LockMode::Exclusive);
    let mut places = open_places(&mounts, &mut catalog, &options.places, lock_as)?;
    for directory in survey.missing_directories() {
        // Lost while empty, by a copy for one. Its name is durable with that of the new manifest.
        env.fs.create_dir(directory).map_err(|error| Error::io(error, "create the directory", directory))?;
    }
    let registry = FileRegistry::new(Arc::clone(&env.fs));
    let next = survey.next_manifest()?;
    let (fs, draw) = (Arc::clone(&env.fs), uuid_source(&env));
    let manifest = Manifest::start(fs, registry.clone(), &owner, draw, next, catalog.clone())?;
    discard_old_manifests(&registry, survey);
    places.give_up();
    let locks = lock.into_iter().chain(places.locks).collect();
    assemble((env, mounts), options, owner, registry, catalog, Some(manifest), locks)
}

/// What the manifest says; an error of a damaged one says what can be done.
fn read_catalog(env: &Env, number: u32, owner: &Owner) -> Result<Catalog> {
    let replayed = replay(&*env.fs, number, owner).map_err(|error| match error.kind() {
        ErrorKind::Corruption => {
            error.adding("; `isopach repair DIR` rebuilds the manifest from tables and log")
        }
        _ => error,
    })?;
    Ok(replayed.catalog)
}

/// Gives everything that a new manifest has replaced to the deleter, and what remains of those that were begun.
fn discard_old_manifests(registry: &FileRegistry, survey: &Survey) {
    let names = survey.manifests.iter().map(|&number| manifest_name(number));
    for name in names.chain(survey.temporaries.iter().map(|(_, name)| name.clone())) {
        registry.register(FileKind::Manifest, &name, 0, None).remove();
    }
}

fn open_to_read(
    (env, mounts): (Env, Arc<MountFs>),
    options: &StoreOptions,
    number: u32,
    lock: Option<Box<dyn FileLock>>,
) -> Result<Store> {
    let owner = Owner { database: read_identity(&*env.fs)?, keys: options.keys.clone() };
    let mut catalog = read_catalog(&env, number, &owner)?;
    check_keys(&catalog, &owner)?;
    let lock_as = (owner.database, LockMode::Shared);
    let places = open_places(&mounts, &mut catalog, &options.places, lock_as)?;
    let registry = FileRegistry::new(Arc::clone(&env.fs));
    let locks = lock.into_iter().chain(places.locks).collect();
    assemble((env, mounts), options, owner, registry, catalog, None, locks)
}

/// Every key that a file needs is there and is the right one, so that nothing is touched where one is not. New files
/// find theirs, too.
fn check_keys(catalog: &Catalog, owner: &Owner) -> Result<()> {
    owner.keys.current(owner.database)?;
    let mut seals: BTreeSet<Seal> = BTreeSet::new();
    for tree in catalog.trees.values() {
        seals.extend(tree.levels.tables().filter_map(|(.., table)| table.seal));
        seals.extend(tree.blobs.files().filter_map(|blob| blob.seal));
    }
    seals.iter().try_for_each(|seal| owner.keys.check(seal, owner.database))
}

fn assemble(
    (env, mounts): (Env, Arc<MountFs>),
    options: &StoreOptions,
    owner: Owner,
    registry: FileRegistry,
    catalog: Catalog,
    manifest: Option<Manifest>,
    locks: Vec<Box<dyn FileLock>>,
) -> Result<Store> {
    let blocks = Arc::new(BlockCache::new(options.cache_bytes));
    let tables = catalog.trees.values().flat_map(|tree| tree.levels.tables()).map(|(.., table)| table);
    let named = tables.filter_map(|table| Some((table.id, table.dictionary?)));
    let (fs, of) = (Arc::clone(&env.fs), registry.clone());
    let dictionaries = Arc::new(Dictionaries::new(fs, owner.clone(), of, Arc::clone(&blocks), named));
    let tables = Arc::new(TableContext {
        damage: DamageWatch::new(),
        fs: Arc::clone(&env.fs),
        owner,
        open: OpenFiles::new(options.max_open_files),
        open_blobs: OpenFiles::new(options.max_open_files),
        blocks,
        filters: FilterLedger::new(options.filter_budget_bytes),
        healing: Arc::default(),
        copies: options.copies.clone(),
        registry,
        dictionaries,
        life: Arc::new(Life::new(locks)),
    });
    let file_ids = FileIds::from_marks(catalog.file_id_mark, catalog.tree_id_mark);
    let memtable_pages = Arc::new(PagePool::new(options.spare_memory_bytes));
    let code = options.code.clone();
    let context =
        Arc::new(TreeContext { env, manifest, file_ids, tables, memtable_pages, code, recovered: catalog });
    let open = |(&id, stored): (&_, &crate::version::CatalogTree)| {
        (id, TreeSlot { name: stored.name.clone(), tree: Tree::open(&context, id, stored) })
    };
    let trees = context.recovered.trees.iter().map(open).collect();
    Ok(Store(Arc::new(StoreInner {
        trees: RwLock::new(TREES, trees),
        changes: Mutex::new(CHANGES, ()),
        routes: Mutex::new(ROUTES, ()),
        mounts,
        context,
    })))
}

pub(super) fn uuid_source(env: &Env) -> NewUuid {
    let entropy = Arc::clone(&env.entropy);
    Box::new(move || new_uuid(&*entropy))
}

/// Takes a directory's lock without waiting; nothing on backends without locks, or for a reader of a
/// directory that has no lock file.
pub(super) fn take_lock(fs: &dyn Fs, mode: LockMode) -> Result<Option<Box<dyn FileLock>>> {
    match fs.lock(LOCK, mode) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) => match (error.kind(), mode) {
            (IoErrorKind::WouldBlock, _) => {
                let message = "another process, or another handle of this one, has the directory open";
                Err(Error::new(ErrorKind::Locked, message).in_file(LOCK))
            }
            (IoErrorKind::Unsupported, _) | (IoErrorKind::NotFound, LockMode::Shared) => Ok(None),
            _ => Err(Error::io(error, "lock the directory", LOCK)),
        },
    }
}
