//! A keyspace inside: its tree, its options, what slows its writers. The public handle is above.

use crate::{
    error::{Error, ErrorKind, Result},
    options::{Durability, KeepVersions, KeyspaceOptions},
};
use isopach_engine::{
    codec::Compression,
    tree::Tree,
    types::{Level, Seqno, TreeId},
    version::Note,
};
use isopach_env::sync::{
    Mutex, Rank, RwLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// Of the map of keyspaces. Held for a lookup.
const SPACES: Rank = Rank::new(24, "spaces");

/// Shorter values are not worth packing.
const LEAST_PACKED_BYTES: u32 = 1 << 10;

/// One keyspace.
pub(crate) struct Space {
    pub(crate) id: TreeId,
    pub(crate) name: String,
    pub(crate) tree: Tree,
    /// Of its options, what is not its tree's: [`Durability::to_raw`], or 0 for the database's.
    durability: AtomicU64,
    /// [`KeepVersions::to_raw`].
    keep_versions: AtomicU64,
    /// Set by the commit pipeline in the order of commits: later writes are refused.
    is_dropped: AtomicBool,
    /// How long puts live that say nothing else, in microseconds; `u64::MAX`: for good.
    ttl_us: AtomicU64,
    /// Values of at least so many bytes are packed before they come into log and memtable.
    packed_from_bytes: AtomicU32,
    /// Set while its clearing is in the log and not in the manifest, because that failed: writes are refused.
    is_half_cleared: AtomicBool,
    /// Last operation that is not in the log. Such are flushed before a close.
    last_volatile: AtomicU64,
    /// Runs of level 0 and bytes that compaction owes; set after each flush and compaction, read by writers.
    pub(crate) l0_runs: AtomicU64,
    pub(crate) debt_bytes: AtomicU64,
}

impl Space {
    /// `options` bring what is not the tree's.
    pub(crate) fn new(tree: Tree, options: &KeyspaceOptions) -> Arc<Space> {
        Arc::new(Space {
            id: tree.id(),
            name: tree.name().into(),
            tree,
            durability: AtomicU64::new(stored(options.durability)),
            keep_versions: AtomicU64::new(options.keep_versions.to_raw()),
            is_dropped: AtomicBool::new(false),
            ttl_us: AtomicU64::new(stored_ttl(options.ttl)),
            packed_from_bytes: AtomicU32::new(packed_from_bytes(options)),
            is_half_cleared: AtomicBool::new(false),
            last_volatile: AtomicU64::new(0),
            l0_runs: AtomicU64::new(0),
            debt_bytes: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Acquire)
    }

    pub(crate) fn mark_dropped(&self) {
        self.is_dropped.store(true, Ordering::Release);
    }

    /// How long puts live that say nothing else.
    pub(crate) fn ttl(&self) -> Option<Duration> {
        match self.ttl_us.load(Ordering::Relaxed) {
            u64::MAX => None,
            ttl_us => Some(Duration::from_micros(ttl_us)),
        }
    }

    /// How values of this size are packed before they come into log and memtable.
    #[inline]
    pub(crate) fn packing(&self, value_bytes: usize) -> Option<Compression> {
        let is_large = value_bytes >= self.packed_from_bytes.load(Ordering::Relaxed) as usize;
        is_large.then_some(Compression::Lz4)
    }

    /// Notes an operation that is not in the log.
    pub(crate) fn note_volatile(&self, seqno: Seqno) {
        self.last_volatile.fetch_max(seqno.raw(), Ordering::Relaxed);
    }

    /// Last operation that is not in the log; zero if there was none.
    pub(crate) fn last_volatile(&self) -> Seqno {
        Seqno::from_raw(self.last_volatile.load(Ordering::Relaxed))
            .expect("only numbers given out are stored")
    }

    /// # Errors
    ///
    /// `KeyspaceDropped`.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if self.is_dropped() { Err(self.dropped_error()) } else { Ok(()) }
    }

    /// Whether operations may be numbered for it.
    ///
    /// # Errors
    ///
    /// `KeyspaceDropped`; `Busy` if its clearing failed half-way: what came behind it would go with the rest when the
    /// log is replayed.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.is_half_cleared.load(Ordering::Acquire) {
            let message = "its clearing failed half-way; clear it again, or reopen the database";
            return Err(Error::new(ErrorKind::Busy, message).in_keyspace(&self.name));
        }
        self.check_alive()
    }

    /// Notes whether its clearing failed half-way. Alone in the order of commits.
    pub(crate) fn note_half_cleared(&self, is_half_cleared: bool) {
        self.is_half_cleared.store(is_half_cleared, Ordering::Release);
    }

    pub(crate) fn dropped_error(&self) -> Error {
        Error::new(ErrorKind::KeyspaceDropped, "was dropped").in_keyspace(&self.name)
    }

    /// Says whether the keys that begin alike lie together.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`.
    pub(crate) fn check_prefixes(&self) -> Result<()> {
        if self.tree.order().is_bytewise() {
            return Ok(());
        }
        let order = &self.tree.options().comparator;
        let message = format!("there are no prefixes in the order of keys {order:?}");
        Err(Error::new(ErrorKind::InvalidArgument, message).in_keyspace(&self.name))
    }

    /// What a write of this keyspace is promised.
    pub(crate) fn durability(&self, database: Durability) -> Durability {
        self.own_durability().unwrap_or(database)
    }

    fn own_durability(&self) -> Option<Durability> {
        Durability::from_raw(self.durability.load(Ordering::Relaxed))
    }

    /// Which versions its jobs keep that no snapshot sees.
    pub(crate) fn keep_versions(&self) -> KeepVersions {
        KeepVersions::from_raw(self.keep_versions.load(Ordering::Relaxed))
    }

    /// The options in force.
    pub(crate) fn options(&self) -> KeyspaceOptions {
        let mut options = KeyspaceOptions::of_tree((*self.tree.options()).clone());
        options.durability = self.own_durability();
        options.keep_versions = self.keep_versions();
        options.ttl = self.ttl();
        options
    }

    /// Sets all options, durably: `note` is to bring back what is not the tree's. One change at a time: the caller
    /// sees to that.
    ///
    /// # Errors
    ///
    /// Those of [`Tree::set_options`]: they are as before.
    pub(crate) fn set_options(&self, options: &KeyspaceOptions, note: Note) -> Result<()> {
        self.tree.set_options(options.tree_options(), &[note])?;
        self.durability.store(stored(options.durability), Ordering::Relaxed);
        self.keep_versions.store(options.keep_versions.to_raw(), Ordering::Relaxed);
        self.ttl_us.store(stored_ttl(options.ttl), Ordering::Relaxed);
        self.packed_from_bytes.store(packed_from_bytes(options), Ordering::Relaxed);
        Ok(())
    }
}

/// Packed are values that will be separated, and that takes little time: LZ4 is faster than writing twice as much.
fn packed_from_bytes(options: &KeyspaceOptions) -> u32 {
    match (options.blobs_from_bytes, options.compression.at(Level(u8::MAX))) {
        (Some(bytes), Compression::Lz4) => bytes.max(LEAST_PACKED_BYTES),
        _ => u32::MAX,
    }
}

fn stored_ttl(ttl: Option<Duration>) -> u64 {
    ttl.map_or(u64::MAX, |ttl| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
}

fn stored(durability: Option<Durability>) -> u64 {
    durability.map_or(0, Durability::to_raw)
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("id", &self.id).field("name", &self.name).finish()
    }
}

/// All keyspaces, by id and by name.
#[derive(Debug)]
pub(crate) struct Spaces {
    map: RwLock<Maps>,
    /// One creation or drop at a time: their edits are serialised. Also held while segments are freed: the
    /// edit that names the first live one and the removal below it are one step, between changes. Held over
    /// I/O, and never while a listener is called.
    pub(crate) changes: Mutex<()>,
}

/// Of changes of the map, and of the first live segment; held over the commit and the edit of a change.
const CHANGES: Rank = Rank::new(5, "spaces.changes");

#[derive(Default, Debug)]
struct Maps {
    by_id: BTreeMap<TreeId, Arc<Space>>,
    by_name: BTreeMap<String, Arc<Space>>,
}

impl Spaces {
    pub(crate) fn new() -> Spaces {
        Spaces { map: RwLock::new(SPACES, Maps::default()), changes: Mutex::new(CHANGES, ()) }
    }

    pub(crate) fn insert(&self, space: Arc<Space>) {
        let mut map = self.map.write();
        map.by_name.insert(space.name.clone(), Arc::clone(&space));
        map.by_id.insert(space.id, space);
    }

    pub(crate) fn remove(&self, id: TreeId) {
        let mut map = self.map.write();
        if let Some(space) = map.by_id.remove(&id) {
            map.by_name.remove(&space.name);
        }
    }

    pub(crate) fn by_id(&self, id: TreeId) -> Option<Arc<Space>> {
        self.map.read().by_id.get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Space>> {
        self.map.read().by_name.get(name).cloned()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.map.read().by_id.values().cloned().collect()
    }

    /// Least number of an operation that is in memory only, over all keyspaces.
    pub(crate) fn first_unflushed(&self) -> Option<Seqno> {
        self.map.read().by_id.values().filter_map(|space| space.tree.first_unflushed()).min()
    }
}

/// Checks the name of a keyspace: 1 to 255 bytes, without `/` and control characters.
///
/// # Errors
///
/// `InvalidArgument` saying what is wrong.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let wrong = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
    match name.len() {
        0 => return wrong("the name of a keyspace is empty".into()),
        1..=255 => {}
        bytes => return wrong(format!("the name of a keyspace has {bytes} bytes, more than 255")),
    }
    match name.chars().find(|&c| c == '/' || c.is_control()) {
        Some(c) => wrong(format!("the name of a keyspace holds {c:?}: no '/' and no control characters")),
        None => Ok(()),
    }
}
