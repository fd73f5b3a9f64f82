//! All files and directories at one moment: what everybody sees, what is durable, and what is between.
//!
//! Plain values without a lock. Copies share what they have in common, so that one can be taken at every
//! step.

use super::{
    content::{Content, Sector},
    step::{Change, Place},
};
use crate::{
    error::{IoErrorKind, IoResult},
    name::Name,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::mem;

/// Number of a file or directory, never used twice. A file has it under all its names.
pub(super) type NodeId = u64;

/// The root.
pub(super) const ROOT: NodeId = 0;

/// What is known of one moment.
#[derive(Clone)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) next: NodeId,
}

#[derive(Clone)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(Arc<DirNode>),
}

/// Something that is not durable yet.
#[derive(Clone)]
pub(super) struct Unsynced<T> {
    /// Number of the step that made it.
    pub(super) step: u64,
    /// Whether a sync that was muted should have made it durable.
    pub(super) is_muted: bool,
    pub(super) value: T,
}

#[derive(Clone, Default)]
pub(super) struct FileNode {
    /// For messages: the name it was last given.
    pub(super) name: Arc<str>,
    pub(super) now: Arc<Content>,
    pub(super) durable: Arc<Content>,
    /// Whether any sync succeeded since it was made.
    pub(super) was_synced: bool,
    /// Sizes it had since it was synced.
    pub(super) sizes: Vec<Unsynced<u64>>,
    /// What each sector held since it was synced, oldest first: the medium may have any of it.
    pub(super) sectors: BTreeMap<u64, Vec<Unsynced<Option<Sector>>>>,
}

pub(super) type Entries = BTreeMap<Arc<str>, NodeId>;

#[derive(Clone, Default)]
pub(super) struct DirNode {
    pub(super) now: Entries,
    pub(super) durable: Entries,
    pub(super) changes: Vec<Unsynced<EntryChange>>,
}

/// What happens to a directory in one piece. A rename between two directories is two pieces.
#[derive(Clone)]
pub(super) enum EntryChange {
    Add(Arc<str>, NodeId),
    Remove(Arc<str>),
    Rename { from: Arc<str>, to: Arc<str>, node: NodeId },
}

impl EntryChange {
    /// The entry that is there afterwards or goes.
    pub(super) fn name(&self) -> &str {
        match self {
            EntryChange::Add(part, _) | EntryChange::Remove(part) => part,
            EntryChange::Rename { to, .. } => to,
        }
    }

    pub(super) fn carry_out(&self, entries: &mut Entries) {
        match self {
            EntryChange::Add(part, node) => drop(entries.insert(Arc::clone(part), *node)),
            EntryChange::Remove(part) => drop(entries.remove(part)),
            EntryChange::Rename { from, to, node } => {
                entries.remove(from);
                entries.insert(Arc::clone(to), *node);
            }
        }
    }
}

// Looking up names.

impl State {
    pub(super) fn new() -> State {
        State { nodes: [(ROOT, Node::Dir(Arc::default()))].into(), next: ROOT + 1 }
    }

    pub(super) fn file(&self, name: Name<'_>) -> IoResult<NodeId> {
        let id = self.find(name)?;
        match self.node(id) {
            Node::File(_) => Ok(id),
            Node::Dir(_) => Err(IoErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn dir(&self, name: Name<'_>) -> IoResult<NodeId> {
        let id = self.find(name)?;
        match self.node(id) {
            Node::Dir(_) => Ok(id),
            Node::File(_) => Err(IoErrorKind::NotADirectory.into()),
        }
    }

    /// Where the entry lies or would lie; its directory exists.
    pub(super) fn place(&self, name: Name<'_>) -> IoResult<Place> {
        let part = name.as_str().rsplit('/').next().expect("a split has a last part");
        Ok(Place { dir: self.dir(name.parent())?, part: part.into() })
    }

    /// As [`State::place`], and nothing is there.
    pub(super) fn free_place(&self, name: Name<'_>) -> IoResult<Place> {
        let place = self.place(name)?;
        match self.dir_node(place.dir).now.contains_key(&place.part) {
            true => Err(IoErrorKind::AlreadyExists.into()),
            false => Ok(place),
        }
    }

    pub(super) fn find(&self, name: Name<'_>) -> IoResult<NodeId> {
        let mut id = ROOT;
        for part in name.as_str().split('/').filter(|part| !part.is_empty()) {
            match self.node(id) {
                Node::Dir(dir) => id = *dir.now.get(part).ok_or(IoErrorKind::NotFound)?,
                Node::File(_) => return Err(IoErrorKind::NotADirectory.into()),
            }
        }
        Ok(id)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("what has a name or a handle is kept")
    }

    pub(super) fn file_node(&self, id: NodeId) -> &FileNode {
        match self.node(id) {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("a file never becomes a directory"),
        }
    }

    pub(super) fn dir_node(&self, id: NodeId) -> &DirNode {
        match self.node(id) {
            Node::Dir(dir) => dir,
            Node::File(_) => unreachable!("a directory never becomes a file"),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> &mut FileNode {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Arc::make_mut(file),
            _ => unreachable!("a file that has a handle is kept and stays a file"),
        }
    }

    fn dir_mut(&mut self, id: NodeId) -> &mut DirNode {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Arc::make_mut(dir),
            _ => unreachable!("a directory that was found stays one"),
        }
    }
}

// Changes.

impl State {
    /// Takes a step, whose conditions hold.
    pub(super) fn apply(&mut self, step: u64, change: &Change) {
        match change {
            Change::Create { name, place, node } => {
                let file = FileNode { name: Arc::clone(name), ..FileNode::default() };
                self.nodes.insert(*node, Node::File(Arc::new(file)));
                self.enter(step, place, *node);
            }
            Change::CreateDir { place, node, .. } => {
                self.nodes.insert(*node, Node::Dir(Arc::default()));
                self.enter(step, place, *node);
            }
            Change::Link { place, node, .. } => self.enter(step, place, *node),
            Change::Clone { to, source, place, node, .. } => {
                let clone = FileNode::clone_of(&self.file_node(*source).now, Arc::clone(to), step);
                self.nodes.insert(*node, Node::File(Arc::new(clone)));
                self.enter(step, place, *node);
            }
            Change::RemoveFile { place, .. } | Change::RemoveDir { place, .. } => {
                self.dir_mut(place.dir).change(step, EntryChange::Remove(Arc::clone(&place.part)));
            }
            Change::Rename { to, from_place, to_place, node, .. } => {
                self.file_mut(*node).name = Arc::clone(to);
                self.rename(step, from_place, to_place, *node);
            }
            Change::Write { node, offset, data, .. } => self.file_mut(*node).write_at(step, *offset, data),
            Change::SetLen { node, bytes, .. } => self.file_mut(*node).set_len(step, *bytes),
            Change::Sync { node, is_muted, .. } => self.file_mut(*node).sync(*is_muted),
            Change::SyncDir { node, is_muted, .. } => self.dir_mut(*node).sync(*is_muted),
        }
    }

    fn enter(&mut self, step: u64, place: &Place, node: NodeId) {
        self.next = self.next.max(node + 1);
        self.dir_mut(place.dir).change(step, EntryChange::Add(Arc::clone(&place.part), node));
    }

    fn rename(&mut self, step: u64, from: &Place, to: &Place, node: NodeId) {
        let (from_part, to_part) = (Arc::clone(&from.part), Arc::clone(&to.part));
        if from.dir == to.dir {
            let change = EntryChange::Rename { from: from_part, to: to_part, node };
            self.dir_mut(from.dir).change(step, change);
        } else {
            self.dir_mut(to.dir).change(step, EntryChange::Add(to_part, node));
            self.dir_mut(from.dir).change(step, EntryChange::Remove(from_part));
        }
    }

    /// Makes everything durable.
    pub(super) fn settle(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => Arc::make_mut(file).sync(false),
                Node::Dir(dir) => Arc::make_mut(dir).sync(false),
            }
        }
    }

    /// Forgets what no name leads to, neither now nor after any power loss, and what is not open.
    pub(super) fn collect(&mut self, is_open: impl Fn(NodeId) -> bool) {
        let mut kept: BTreeSet<NodeId> = self.nodes.keys().copied().filter(|&id| is_open(id)).collect();
        let mut waiting = Vec::from([ROOT]);
        while let Some(id) = waiting.pop() {
            if kept.insert(id)
                && let Node::Dir(dir) = self.node(id)
            {
                waiting.extend(dir.now.values().chain(dir.durable.values()).copied());
                waiting.extend(dir.changes.iter().filter_map(|change| match change.value {
                    EntryChange::Add(_, node) | EntryChange::Rename { node, .. } => Some(node),
                    EntryChange::Remove(_) => None,
                }));
            }
        }
        self.nodes.retain(|id, _| kept.contains(id));
    }
}

impl FileNode {
    /// A file whose content is durable.
    pub(super) fn settled(name: Arc<str>, content: Arc<Content>) -> FileNode {
        FileNode {
            name,
            durable: Arc::clone(&content),
            now: content,
            was_synced: true,
            ..FileNode::default()
        }
    }

    /// A new file that has this content, none of which is durable.
    fn clone_of(content: &Arc<Content>, name: Arc<str>, step: u64) -> FileNode {
        let mut clone = FileNode { name, now: Arc::clone(content), ..FileNode::default() };
        clone.sizes.push(Unsynced { step, is_muted: false, value: content.size_bytes() });
        for (number, sector) in content.sectors() {
            note(&mut clone.sectors, step, number, Some(sector));
        }
        clone
    }

    fn write_at(&mut self, step: u64, offset: u64, data: &[u8]) {
        let now = Arc::make_mut(&mut self.now);
        let size_before = now.size_bytes();
        let sectors = &mut self.sectors;
        now.write_at(offset, data, |number, sector| note(sectors, step, number, Some(sector)));
        if now.size_bytes() != size_before {
            self.sizes.push(Unsynced { step, is_muted: false, value: now.size_bytes() });
        }
    }

    fn set_len(&mut self, step: u64, bytes: u64) {
        let now = Arc::make_mut(&mut self.now);
        let size_before = now.size_bytes();
        let sectors = &mut self.sectors;
        now.set_len(bytes, |number, sector| note(sectors, step, number, sector));
        if bytes != size_before {
            self.sizes.push(Unsynced { step, is_muted: false, value: bytes });
        }
    }

    fn sync(&mut self, is_muted: bool) {
        if is_muted {
            self.sizes.iter_mut().for_each(|size| size.is_muted = true);
            self.sectors.values_mut().flatten().for_each(|sector| sector.is_muted = true);
            return;
        }
        self.was_synced = true;
        if self.sizes.is_empty() && self.sectors.is_empty() {
            return; // Copies keep sharing the content.
        }
        let durable = Arc::make_mut(&mut self.durable);
        for (number, mut versions) in mem::take(&mut self.sectors) {
            let newest = versions.pop().expect("a sector that is noted has a version");
            durable.put(number, newest.value);
        }
        durable.set_len(self.now.size_bytes(), |_, _| {});
        self.sizes.clear();
    }
}

/// A sector has another content since this step.
fn note(
    sectors: &mut BTreeMap<u64, Vec<Unsynced<Option<Sector>>>>,
    step: u64,
    number: u64,
    value: Option<Sector>,
) {
    sectors.entry(number).or_default().push(Unsynced { step, is_muted: false, value });
}

impl DirNode {
    /// A directory whose entries are durable.
    pub(super) fn settled(entries: Entries) -> DirNode {
        DirNode { now: entries.clone(), durable: entries, changes: Vec::new() }
    }

    fn change(&mut self, step: u64, value: EntryChange) {
        value.carry_out(&mut self.now);
        self.changes.push(Unsynced { step, is_muted: false, value });
    }

    fn sync(&mut self, is_muted: bool) {
        if is_muted {
            self.changes.iter_mut().for_each(|change| change.is_muted = true);
            return;
        }
        for change in mem::take(&mut self.changes) {
            change.value.carry_out(&mut self.durable);
        }
    }
}
