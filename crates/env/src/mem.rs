//! Files in memory.
//!
//! A name leads to an inode; handles hold the inode, so a file outlives its names while a handle is open.
//! Every write and every change of names counts as durable at once: what a power loss takes is not simulated
//! here.

use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, OpenMode, SyncMode, SyncSite},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::{Ledger, WriteOrigin},
    name::Name,
    sync::{Rank, RwLock},
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::{
    fmt,
    ops::Bound,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

const TREE_RANK: Rank = Rank::new(Rank::ENV_LEVELS + 5, "mem_fs.tree");
const CONTENT_RANK: Rank = Rank::new(Rank::ENV_LEVELS + 6, "mem_fs.content");

/// Files in memory. Clones are the same place; [`MemFs::deep_clone`] makes another.
#[derive(Clone)]
pub struct MemFs(Arc<Place>);

struct Place {
    /// Names. Also held, for reading, while content changes: so who holds it for writing sees one instant of
    /// the whole place.
    tree: RwLock<Tree>,
    space: Arc<Space>,
    ledger: Ledger,
}

/// Directories and files by full name; the root has no entry.
type Tree = BTreeMap<String, Node>;

enum Node {
    Dir,
    File(Arc<Inode>),
}

impl MemFs {
    /// An empty place without a limit.
    pub fn new() -> MemFs {
        MemFs::with_space(Space::new(u64::MAX))
    }

    /// Limits the bytes of all files together; `None` lifts the limit. Takes effect at once: growing past it
    /// fails with `OutOfSpace`, and a file that is over it already can still be overwritten and cut.
    ///
    /// A removed file counts until its last handle is closed.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.space.capacity_bytes.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// An independent copy of what is here at one instant: what a process that dies now leaves behind. It has
    /// the same capacity, a new ledger, no locks, and nothing of files without a name.
    #[must_use]
    pub fn deep_clone(&self) -> MemFs {
        let tree = self.0.tree.write();
        let copy = MemFs::with_space(Space::new(self.0.space.capacity_bytes.load(Ordering::Relaxed)));
        let nodes = tree.iter().map(|(name, node)| {
            let node = match node {
                Node::Dir => Node::Dir,
                Node::File(inode) => Node::File(Arc::new(inode.copy_into(&copy.0.space))),
            };
            (name.clone(), node)
        });
        let nodes = nodes.collect();
        drop(tree);
        *copy.0.tree.write() = nodes;
        copy
    }

    fn with_space(space: Space) -> MemFs {
        MemFs(Arc::new(Place {
            tree: RwLock::new(TREE_RANK, Tree::new()),
            space: Arc::new(space),
            ledger: Ledger::new(),
        }))
    }

    fn handle(&self, inode: Arc<Inode>, mode: OpenMode, origin: WriteOrigin) -> Arc<dyn File> {
        Arc::new(MemFile { place: Arc::clone(&self.0), inode, mode, origin })
    }
}

impl Default for MemFs {
    fn default() -> MemFs {
        MemFs::new()
    }
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFs").field("space", &self.0.space).field("ledger", &self.0.ledger).finish()
    }
}

impl Fs for MemFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let name = Name::parse(name)?;
        let inode = Arc::clone(find_file(&self.0.tree.read(), name)?);
        Ok(self.handle(inode, mode, WriteOrigin::Metadata))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let name = Name::parse(name)?;
        let inode = Arc::new(Inode::new(Arc::clone(&self.0.space)));
        add(&mut self.0.tree.write(), name, Node::File(Arc::clone(&inode)))?;
        Ok(self.handle(inode, OpenMode::ReadWrite, options.origin))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        add(&mut self.0.tree.write(), Name::parse(name)?, Node::Dir)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let dir = Name::parse_dir(dir)?;
        let tree = self.0.tree.read();
        check_dir(&tree, dir)?;
        let entries = below(&tree, dir).filter(|(rest, _)| !rest.contains('/'));
        Ok(entries
            .map(|(name, node)| DirEntry { name: name.into(), is_dir: matches!(node, Node::Dir) })
            .collect())
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let name = Name::parse(name)?;
        let mut tree = self.0.tree.write();
        find_file(&tree, name)?;
        let removed = tree.remove(name.as_str());
        drop(tree);
        drop(removed); // Frees the content if no handle is open, outside the lock.
        Ok(())
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        let name = Name::parse(name)?;
        let mut tree = self.0.tree.write();
        check_dir(&tree, name)?;
        if below(&tree, name).next().is_some() {
            return Err(IoErrorKind::DirectoryNotEmpty.into());
        }
        tree.remove(name.as_str());
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let (from, to) = (Name::parse(from)?, Name::parse(to)?);
        let mut tree = self.0.tree.write();
        let inode = Arc::clone(find_file(&tree, from)?);
        check_parent(&tree, to)?;
        if matches!(tree.get(to.as_str()), Some(Node::Dir)) {
            return Err(IoErrorKind::IsADirectory.into());
        }
        tree.remove(from.as_str());
        let replaced = tree.insert(to.as_str().into(), Node::File(inode));
        drop(tree);
        drop(replaced); // Frees the content if no handle is open, outside the lock.
        Ok(())
    }

    fn sync_dir(&self, dir: &str, _site: SyncSite) -> IoResult<()> {
        let dir = Name::parse_dir(dir)?;
        check_dir(&self.0.tree.read(), dir)
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        let parsed = Name::parse(name)?;
        let mut tree = self.0.tree.write();
        let inode = match find_file(&tree, parsed) {
            Ok(inode) => Arc::clone(inode),
            Err(error) if error.kind() == IoErrorKind::NotFound && mode == LockMode::Exclusive => {
                let inode = Arc::new(Inode::new(Arc::clone(&self.0.space)));
                add(&mut tree, parsed, Node::File(Arc::clone(&inode)))?;
                inode
            }
            Err(error) => return Err(error),
        };
        if inode.advisory.take(mode) {
            Ok(Box::new(MemLock { inode, mode }))
        } else {
            Err(IoErrorKind::WouldBlock.into())
        }
    }

    fn space_left(&self) -> IoResult<Option<u64>> {
        Ok(self.0.space.left_bytes())
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        let name = Name::parse(name)?;
        Ok(self.0.tree.read().contains_key(name.as_str()))
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.0.ledger)
    }
}

fn find_file<'t>(tree: &'t Tree, name: Name<'_>) -> IoResult<&'t Arc<Inode>> {
    check_parent(tree, name)?;
    match tree.get(name.as_str()) {
        Some(Node::File(inode)) => Ok(inode),
        Some(Node::Dir) => Err(IoErrorKind::IsADirectory.into()),
        None => Err(IoErrorKind::NotFound.into()),
    }
}

fn add(tree: &mut Tree, name: Name<'_>, node: Node) -> IoResult<()> {
    check_parent(tree, name)?;
    match tree.entry(name.as_str().into()) {
        Entry::Vacant(free) => {
            free.insert(node);
            Ok(())
        }
        Entry::Occupied(_) => Err(IoErrorKind::AlreadyExists.into()),
    }
}

fn check_dir(tree: &Tree, dir: Name<'_>) -> IoResult<()> {
    check_parent(tree, dir)?;
    if dir.as_str().is_empty() { Ok(()) } else { check_is_dir(tree.get(dir.as_str())) }
}

fn check_parent(tree: &Tree, name: Name<'_>) -> IoResult<()> {
    name.ancestors().try_for_each(|ancestor| check_is_dir(tree.get(ancestor)))
}

fn check_is_dir(node: Option<&Node>) -> IoResult<()> {
    match node {
        Some(Node::Dir) => Ok(()),
        Some(Node::File(_)) => Err(IoErrorKind::NotADirectory.into()),
        None => Err(IoErrorKind::NotFound.into()),
    }
}

/// Everything below `dir`, at any depth, by its name relative to `dir`.
fn below<'t>(tree: &'t Tree, dir: Name<'_>) -> impl Iterator<Item = (&'t str, &'t Node)> {
    let mut prefix = String::from(dir.as_str());
    if !prefix.is_empty() {
        prefix.push('/');
    }
    let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    tree.range::<str, _>(from)
        .map_while(move |(name, node)| name.strip_prefix(prefix.as_str()).map(|rest| (rest, node)))
}

/// A file's content and lock; freed with its last name and handle.
struct Inode {
    content: RwLock<Vec<u8>>,
    advisory: Advisory,
    space: Arc<Space>,
}

impl Inode {
    fn new(space: Arc<Space>) -> Inode {
        Inode { content: RwLock::new(CONTENT_RANK, Vec::new()), advisory: Advisory::default(), space }
    }

    /// The caller keeps writers out.
    fn copy_into(&self, space: &Arc<Space>) -> Inode {
        let content = self.content.read().clone();
        space.used_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        Inode {
            content: RwLock::new(CONTENT_RANK, content),
            advisory: Advisory::default(),
            space: Arc::clone(space),
        }
    }

    /// Makes `content`, this file's, at least `bytes` long.
    fn grow(&self, content: &mut Vec<u8>, bytes: u64) -> IoResult<()> {
        let size_bytes = usize::try_from(bytes).map_err(|_| IoErrorKind::OutOfSpace)?;
        let Some(more) = size_bytes.checked_sub(content.len()) else {
            return Ok(());
        };
        content.try_reserve(more).map_err(|_| IoErrorKind::OutOfSpace)?;
        self.space.take(more as u64)?;
        content.resize(size_bytes, 0);
        Ok(())
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let size_bytes = self.content.get_mut().len() as u64;
        self.space.give_back(size_bytes);
    }
}

struct MemFile {
    place: Arc<Place>,
    inode: Arc<Inode>,
    mode: OpenMode,
    origin: WriteOrigin,
}

impl MemFile {
    /// Changes the content, unless the handle is for reading.
    fn change(&self, change: impl FnOnce(&mut Vec<u8>) -> IoResult<()>) -> IoResult<()> {
        if self.mode == OpenMode::Read {
            return Err(IoErrorKind::PermissionDenied.into());
        }
        let _no_copy_now = self.place.tree.read();
        change(&mut self.inode.content.write())
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        let content = self.inode.content.read();
        let rest = usize::try_from(offset).ok().and_then(|start| content.get(start..)).unwrap_or_default();
        let read_bytes = rest.len().min(buf.len());
        buf[..read_bytes].copy_from_slice(&rest[..read_bytes]);
        Ok(read_bytes)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.change(|content| {
            if data.is_empty() {
                return Ok(());
            }
            let end = offset.checked_add(data.len() as u64).ok_or(IoErrorKind::OutOfSpace)?;
            self.inode.grow(content, end)?;
            let start = usize::try_from(offset).expect("below the end, which fits");
            content[start..start + data.len()].copy_from_slice(data);
            Ok(())
        })?;
        self.place.ledger.add(self.origin, data.len() as u64);
        Ok(())
    }

    fn sync(&self, _mode: SyncMode, _site: SyncSite) -> IoResult<()> {
        Ok(())
    }

    fn size_bytes(&self) -> IoResult<u64> {
        Ok(self.inode.content.read().len() as u64)
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.change(|content| {
            if let Some(less) = (content.len() as u64).checked_sub(bytes) {
                content.truncate(usize::try_from(bytes).expect("shorter than the content"));
                content.shrink_to_fit();
                self.inode.space.give_back(less);
                Ok(())
            } else {
                self.inode.grow(content, bytes)
            }
        })
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.change(|content| self.inode.grow(content, bytes))
    }
}

/// Bytes of all files, and their limit. Counters that stand alone: nothing is ordered by them.
#[derive(Debug)]
struct Space {
    used_bytes: AtomicU64,
    /// `u64::MAX`: no limit.
    capacity_bytes: AtomicU64,
}

impl Space {
    fn new(capacity_bytes: u64) -> Space {
        Space { used_bytes: AtomicU64::new(0), capacity_bytes: AtomicU64::new(capacity_bytes) }
    }

    fn take(&self, bytes: u64) -> IoResult<()> {
        let capacity_bytes = self.capacity_bytes.load(Ordering::Relaxed);
        let take = |used: u64| used.checked_add(bytes).filter(|&after| after <= capacity_bytes);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(IoErrorKind::OutOfSpace.into()),
        }
    }

    fn give_back(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "gives back only what was taken");
    }

    fn left_bytes(&self) -> Option<u64> {
        let capacity_bytes = self.capacity_bytes.load(Ordering::Relaxed);
        let used_bytes = self.used_bytes.load(Ordering::Relaxed);
        (capacity_bytes != u64::MAX).then(|| capacity_bytes.saturating_sub(used_bytes))
    }
}

/// Who holds a file's lock: a count of shared holders, or [`Advisory::EXCLUSIVE`].
#[derive(Default)]
struct Advisory(AtomicUsize);

impl Advisory {
    const EXCLUSIVE: usize = usize::MAX;

    /// Takes the lock if nobody is in the way.
    fn take(&self, mode: LockMode) -> bool {
        let take = |holders: usize| match mode {
            LockMode::Shared => holders.checked_add(1).filter(|&after| after != Self::EXCLUSIVE),
            LockMode::Exclusive => (holders == 0).then_some(Self::EXCLUSIVE),
        };
        // Pairs with the release in `MemLock`: a holder sees what its predecessor did under the lock.
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }
}

struct MemLock {
    inode: Arc<Inode>,
    mode: LockMode,
}

impl FileLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        match self.mode {
            LockMode::Shared => self.inode.advisory.0.fetch_sub(1, Ordering::Release),
            LockMode::Exclusive => self.inode.advisory.0.swap(0, Ordering::Release),
        };
    }
}
