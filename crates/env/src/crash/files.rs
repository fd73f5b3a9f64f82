//! The contracts of files and places over [`CrashFs`]: names are looked up, and every change is a step.

use super::{
    CrashFs, Live,
    state::{Node, NodeId, State},
    step::Change,
};
use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, FileMap, OpenMode, SyncMode, SyncSite, is_storable},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::{Ledger, WriteOrigin},
    name::Name,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// No file is larger: what systems allow.
const MAX_FILE_BYTES: u64 = i64::MAX as u64;

impl Fs for CrashFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let name = Name::parse(name)?;
        let open = self.open_node(|live| live.state.file(name))?;
        Ok(Arc::new(CrashFile { open, mode, origin: WriteOrigin::Metadata }))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let open = self.create_node(Name::parse(name)?)?;
        Ok(Arc::new(CrashFile { open, mode: OpenMode::ReadWrite, origin: options.origin }))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        let name = Name::parse(name)?;
        self.take(|state| {
            let place = state.free_place(name)?;
            Ok(Some(Change::CreateDir { name: name.as_str().into(), place, node: state.next }))
        })?;
        Ok(())
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let (target, to) = target.locate::<CrashFs>(to)?;
        if !Arc::ptr_eq(&self.0, &target.0) {
            return Err(IoErrorKind::CrossDevice.into());
        }
        let (from, to) = (Name::parse(from)?, Name::parse(&to)?);
        self.take(|state| {
            let node = state.file(from)?;
            let place = state.free_place(to)?;
            Ok(Some(Change::Link { from: from.as_str().into(), to: to.as_str().into(), place, node }))
        })?;
        Ok(())
    }

    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let (target, to) = target.locate::<CrashFs>(to)?;
        if !Arc::ptr_eq(&self.0, &target.0) {
            return Err(IoErrorKind::CrossDevice.into());
        }
        let (from, to) = (Name::parse(from)?, Name::parse(&to)?);
        self.take(|state| {
            let (source, place) = (state.file(from)?, state.free_place(to)?);
            let (from, to) = (from.as_str().into(), to.as_str().into());
            Ok(Some(Change::Clone { from, to, source, place, node: state.next }))
        })?;
        Ok(())
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let dir = Name::parse_dir(dir)?;
        let live = self.live();
        let entries = &live.state.dir_node(live.state.dir(dir)?).now;
        let is_dir = |id| matches!(live.state.node(id), Node::Dir(_));
        Ok(entries.iter().map(|(part, &id)| DirEntry { name: (**part).into(), is_dir: is_dir(id) }).collect())
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let name = Name::parse(name)?;
        self.take(|state| {
            state.file(name)?;
            Ok(Some(Change::RemoveFile { name: name.as_str().into(), place: state.place(name)? }))
        })?;
        Ok(())
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        let name = Name::parse(name)?;
        self.take(|state| {
            if !state.dir_node(state.dir(name)?).now.is_empty() {
                return Err(IoErrorKind::DirectoryNotEmpty.into());
            }
            Ok(Some(Change::RemoveDir { name: name.as_str().into(), place: state.place(name)? }))
        })?;
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let (from, to) = (Name::parse(from)?, Name::parse(to)?);
        self.take(|state| {
            let node = state.file(from)?;
            let (from_place, to_place) = (state.place(from)?, state.place(to)?);
            match state.file(to) {
                // One file under both names: they stay, as POSIX has it.
                Ok(other) if other == node => return Ok(None),
                Err(error) if error.kind() != IoErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let (from, to) = (from.as_str().into(), to.as_str().into());
            Ok(Some(Change::Rename { from, to, from_place, to_place, node }))
        })?;
        Ok(())
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        let dir = Name::parse_dir(dir)?;
        self.take(|state| {
            let node = state.dir(dir)?;
            Ok(Some(Change::SyncDir { name: dir.as_str().into(), node, site, is_muted: false }))
        })?;
        Ok(())
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        let name = Name::parse(name)?;
        let open = loop {
            match self.open_node(|live| live.state.file(name)) {
                Err(error) if error.kind() == IoErrorKind::NotFound && mode == LockMode::Exclusive => {}
                result => break result?,
            }
            match self.create_node(name) {
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => {} // Another was faster.
                result => break result?,
            }
        };
        let is_taken = Holders::try_take(&mut self.live(), open.node, mode);
        if is_taken { Ok(Box::new(CrashLock { open })) } else { Err(IoErrorKind::WouldBlock.into()) }
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        let name = Name::parse(name)?;
        Ok(self.live().state.find(name).is_ok())
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.0.ledger)
    }
}

impl CrashFs {
    fn open_node(&self, find: impl Fn(&Live) -> IoResult<NodeId>) -> IoResult<OpenNode> {
        let mut live = self.live();
        let node = find(&live)?;
        live.hold(node);
        Ok(OpenNode { fs: self.clone(), node })
    }

    /// Another handle of a file that has one.
    fn hold_node(&self, node: NodeId) -> OpenNode {
        self.live().hold(node);
        OpenNode { fs: self.clone(), node }
    }

    fn create_node(&self, name: Name<'_>) -> IoResult<OpenNode> {
        let change = self.take(|state| {
            let place = state.free_place(name)?;
            Ok(Some(Change::Create { name: name.as_str().into(), place, node: state.next }))
        })?;
        let Some(Change::Create { node, .. }) = change else { unreachable!("it was planned so") };
        Ok(OpenNode { fs: self.clone(), node }) // Held since it was made.
    }
}

/// A file that is kept without a name.
struct OpenNode {
    fs: CrashFs,
    node: NodeId,
}

impl Drop for OpenNode {
    fn drop(&mut self) {
        self.fs.live().release(self.node);
    }
}

struct CrashFile {
    open: OpenNode,
    mode: OpenMode,
    origin: WriteOrigin,
}

impl CrashFile {
    /// Takes a step, unless the handle is for reading.
    fn change(&self, plan: impl Fn(&State, NodeId) -> IoResult<Option<Change>>) -> IoResult<()> {
        if self.mode == OpenMode::Read {
            return Err(IoErrorKind::PermissionDenied.into());
        }
        self.open.fs.take(|state| plan(state, self.open.node))?;
        Ok(())
    }
}

impl File for CrashFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        // Without the lock: the content is shared, and a change of it makes a copy.
        let content = Arc::clone(&self.open.fs.live().state.file_node(self.open.node).now);
        Ok(content.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let end = offset.checked_add(data.len() as u64);
        let is_too_far = !data.is_empty() && end.is_none_or(|end| end > MAX_FILE_BYTES);
        let data: Arc<[u8]> = data.into();
        self.change(|state, node| {
            if data.is_empty() {
                return Ok(None);
            }
            if is_too_far {
                return Err(IoErrorKind::OutOfSpace.into());
            }
            let name = Arc::clone(&state.file_node(node).name);
            Ok(Some(Change::Write { name, node, offset, data: Arc::clone(&data) }))
        })?;
        self.open.fs.0.ledger.add(self.origin, data.len() as u64);
        Ok(())
    }

    fn sync(&self, _mode: SyncMode, site: SyncSite) -> IoResult<()> {
        let node = self.open.node;
        self.open.fs.take(|state| {
            let name = Arc::clone(&state.file_node(node).name);
            Ok(Some(Change::Sync { name, node, site, is_muted: false }))
        })?;
        Ok(())
    }

    fn size_bytes(&self) -> IoResult<u64> {
        Ok(self.open.fs.live().state.file_node(self.open.node).now.size_bytes())
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.change(|state, node| set_len(state, node, bytes))
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.change(|state, node| match bytes > state.file_node(node).now.size_bytes() {
            true => set_len(state, node, bytes),
            false => Ok(None),
        })
    }

    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        self.change(|state, node| match state.file_node(node).now.size_bytes() {
            size_bytes if size_bytes < bytes => Err(IoErrorKind::UnexpectedEnd.into()),
            _ => Ok(None),
        })?;
        let open = self.open.fs.hold_node(self.open.node);
        Ok(Box::new(CrashMap { file: CrashFile { open, mode: self.mode, origin: self.origin }, bytes }))
    }
}

/// A map whose stores are steps, as writes are: what becomes of their pages without a sync is the same.
struct CrashMap {
    file: CrashFile,
    bytes: u64,
}

impl FileMap for CrashMap {
    fn store(&self, offset: u64, data: &[u8]) {
        assert!(is_storable(self.bytes, offset, data), "a store lies in the map and is aligned");
        self.file.write_at(offset, data).expect("the space is there");
    }
}

fn set_len(state: &State, node: NodeId, bytes: u64) -> IoResult<Option<Change>> {
    if bytes > MAX_FILE_BYTES {
        return Err(IoErrorKind::OutOfSpace.into());
    }
    let name = Arc::clone(&state.file_node(node).name);
    Ok(Some(Change::SetLen { name, node, bytes }))
}

/// Who holds the advisory lock of a file.
pub(super) enum Holders {
    Exclusive,
    Shared(usize),
}

impl Holders {
    fn try_take(live: &mut Live, node: NodeId, mode: LockMode) -> bool {
        let holders = match (live.locks.get(&node), mode) {
            (None, LockMode::Exclusive) => Holders::Exclusive,
            (None, LockMode::Shared) => Holders::Shared(1),
            (Some(Holders::Shared(count)), LockMode::Shared) => Holders::Shared(count + 1),
            _ => return false,
        };
        live.locks.insert(node, holders);
        true
    }

    fn give_back(live: &mut Live, node: NodeId) {
        match live.locks.get_mut(&node).expect("the lock was taken") {
            Holders::Shared(count) if *count > 1 => *count -= 1,
            _ => drop(live.locks.remove(&node)),
        }
    }
}

struct CrashLock {
    open: OpenNode,
}

impl FileLock for CrashLock {}

impl Drop for CrashLock {
    fn drop(&mut self) {
        Holders::give_back(&mut self.open.fs.live(), self.open.node);
    }
}
