//! Files in memory.
//!
//! A name leads to an inode; handles hold the inode, so a file outlives its names while a handle is open.
//! Every write and every change of names counts as durable at once: what a power loss takes is not simulated
//! here.

use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, FileMap, OpenMode, SyncMode, SyncSite, is_storable},
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
use core::{fmt, ops::Bound};
use inode::{Inode, Space};

mod inode;
#[cfg(test)]
mod tests;

const TREE_RANK: Rank = Rank::new(Rank::ENV_LEVELS + 5, "mem_fs.tree");

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
        MemFs::with_capacity(None)
    }

    /// Limits the bytes of all files together; `None` lifts the limit. Takes effect at once: growing past it
    /// fails with `OutOfSpace`, and a file that is over it already can still be overwritten and cut.
    ///
    /// A removed file counts until its last handle is closed.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.space.set_capacity(bytes);
    }

    /// An independent copy of what is here at one instant: what a process that dies now leaves behind. It has
    /// the same capacity, a new ledger, no locks, and nothing of files without a name.
    #[must_use]
    pub fn deep_clone(&self) -> MemFs {
        let copy = MemFs::with_capacity(self.0.space.capacity_bytes());
        // By address: names of one file are names of one copy.
        let mut copies: BTreeMap<*const Inode, Arc<Inode>> = BTreeMap::new();
        let mut copy_of = |node: &Node| match node {
            Node::Dir => Node::Dir,
            Node::File(inode) => {
                let copied = || Arc::new(inode.copy_into(Arc::clone(&copy.0.space)));
                Node::File(Arc::clone(copies.entry(Arc::as_ptr(inode)).or_insert_with(copied)))
            }
        };
        let tree = self.0.tree.write(); // Nobody changes names or content from here on.
        let nodes = tree.iter().map(|(name, node)| (name.clone(), copy_of(node))).collect();
        drop(tree);
        *copy.0.tree.write() = nodes;
        copy
    }

    fn with_capacity(bytes: Option<u64>) -> MemFs {
        MemFs(Arc::new(Place {
            tree: RwLock::new(TREE_RANK, Tree::new()),
            space: Arc::new(Space::new(bytes)),
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
        match tree.get(to.as_str()) {
            Some(Node::Dir) => return Err(IoErrorKind::IsADirectory.into()),
            // One file under both names: they stay, as POSIX has it.
            Some(Node::File(other)) if Arc::ptr_eq(other, &inode) => return Ok(()),
            _ => {}
        }
        tree.remove(from.as_str());
        let replaced = tree.insert(to.as_str().into(), Node::File(inode));
        drop(tree);
        drop(replaced); // Frees the content if no handle is open, outside the lock.
        Ok(())
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let from = Name::parse(from)?;
        let (target, to) = target.locate::<MemFs>(to)?;
        if !Arc::ptr_eq(&self.0, &target.0) {
            return Err(IoErrorKind::CrossDevice.into());
        }
        let mut tree = self.0.tree.write();
        let inode = Arc::clone(find_file(&tree, from)?);
        add(&mut tree, Name::parse(&to)?, Node::File(inode))
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
        drop(tree);
        if !inode.try_lock(mode) {
            return Err(IoErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock { inode, mode }))
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

struct MemFile {
    place: Arc<Place>,
    inode: Arc<Inode>,
    mode: OpenMode,
    origin: WriteOrigin,
}

impl MemFile {
    /// Changes the content, unless the handle is for reading.
    fn change(&self, change: impl FnOnce(&Inode) -> IoResult<()>) -> IoResult<()> {
        if self.mode == OpenMode::Read {
            return Err(IoErrorKind::PermissionDenied.into());
        }
        let _nobody_copies_the_place = self.place.tree.read();
        change(&self.inode)
    }
}

impl File for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        Ok(self.inode.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.change(|inode| inode.write_at(offset, data))?;
        self.place.ledger.add(self.origin, data.len() as u64);
        Ok(())
    }

    fn sync(&self, _mode: SyncMode, _site: SyncSite) -> IoResult<()> {
        Ok(())
    }

    fn size_bytes(&self) -> IoResult<u64> {
        Ok(self.inode.size_bytes())
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.change(|inode| inode.set_len(bytes))
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.change(|inode| inode.extend(bytes))
    }

    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        self.change(|inode| match inode.size_bytes() {
            size_bytes if size_bytes < bytes => Err(IoErrorKind::UnexpectedEnd.into()),
            _ => Ok(()),
        })?;
        let file = MemFile {
            place: Arc::clone(&self.place),
            inode: Arc::clone(&self.inode),
            mode: self.mode,
            origin: self.origin,
        };
        Ok(Box::new(MemMap { file, bytes }))
    }
}

/// A map that writes: there is nothing to be saved.
struct MemMap {
    file: MemFile,
    bytes: u64,
}

impl FileMap for MemMap {
    fn store(&self, offset: u64, data: &[u8]) {
        assert!(is_storable(self.bytes, offset, data), "a store lies in the map and is aligned");
        self.file.write_at(offset, data).expect("the space is there");
    }
}

struct MemLock {
    inode: Arc<Inode>,
    mode: LockMode,
}

impl FileLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.inode.unlock(self.mode);
    }
}
