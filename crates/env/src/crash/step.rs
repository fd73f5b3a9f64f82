//! What is done to the files, as those hear of it who watch, and as the history keeps it.

use super::state::NodeId;
use crate::file::SyncSite;
use alloc::sync::Arc;
use core::fmt;

/// A call that changes something, or makes a change durable. Names are those at the time of the call: a
/// file's is that of its last creation or rename.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step<'a> {
    /// A file is made.
    Create(&'a str),
    /// A directory is made.
    CreateDir(&'a str),
    /// A file gets a second name.
    Link(&'a str, &'a str),
    /// A file becomes the clone of another.
    Clone(&'a str, &'a str),
    /// A name of a file goes.
    RemoveFile(&'a str),
    /// A directory goes.
    RemoveDir(&'a str),
    /// A file gets another name.
    Rename(&'a str, &'a str),
    /// Bytes are written to a file, from an offset on.
    Write(&'a str, u64, &'a [u8]),
    /// A file gets another size, or space up to it.
    SetLen(&'a str, u64),
    /// A file is synced.
    Sync(&'a str, SyncSite),
    /// A directory is synced.
    SyncDir(&'a str, SyncSite),
}

impl Step<'_> {
    /// The place in the code that syncs, of a sync.
    pub const fn site(&self) -> Option<SyncSite> {
        match self {
            Step::Sync(_, site) | Step::SyncDir(_, site) => Some(*site),
            _ => None,
        }
    }
}

/// One line, without the bytes that are written.
impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create(name) => write!(f, "create {name}"),
            Step::CreateDir(name) => write!(f, "create_dir {name}"),
            Step::Link(from, to) => write!(f, "link {from} {to}"),
            Step::Clone(from, to) => write!(f, "clone {from} {to}"),
            Step::RemoveFile(name) => write!(f, "remove_file {name}"),
            Step::RemoveDir(name) => write!(f, "remove_dir {name}"),
            Step::Rename(from, to) => write!(f, "rename {from} {to}"),
            Step::Write(name, offset, data) => {
                write!(f, "write {name} {offset}..{}", offset + data.len() as u64)
            }
            Step::SetLen(name, bytes) => write!(f, "set_len {name} {bytes}"),
            Step::Sync(name, site) => write!(f, "sync {name} ({})", site.0),
            Step::SyncDir(dir, site) => write!(f, "sync_dir {dir:?} ({})", site.0),
        }
    }
}

/// A step with everything that is needed to take it again.
#[derive(Clone)]
pub(super) enum Change {
    Create { name: Arc<str>, place: Place, node: NodeId },
    CreateDir { name: Arc<str>, place: Place, node: NodeId },
    Link { from: Arc<str>, to: Arc<str>, place: Place, node: NodeId },
    Clone { from: Arc<str>, to: Arc<str>, source: NodeId, place: Place, node: NodeId },
    RemoveFile { name: Arc<str>, place: Place },
    RemoveDir { name: Arc<str>, place: Place },
    Rename { from: Arc<str>, to: Arc<str>, from_place: Place, to_place: Place, node: NodeId },
    Write { name: Arc<str>, node: NodeId, offset: u64, data: Arc<[u8]> },
    SetLen { name: Arc<str>, node: NodeId, bytes: u64 },
    Sync { name: Arc<str>, node: NodeId, site: SyncSite, is_muted: bool },
    SyncDir { name: Arc<str>, node: NodeId, site: SyncSite, is_muted: bool },
}

/// Where an entry lies: its directory and its name there.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dir: NodeId,
    pub(super) part: Arc<str>,
}

impl Change {
    pub(super) fn step(&self) -> Step<'_> {
        match self {
            Change::Create { name, .. } => Step::Create(name),
            Change::CreateDir { name, .. } => Step::CreateDir(name),
            Change::Link { from, to, .. } => Step::Link(from, to),
            Change::Clone { from, to, .. } => Step::Clone(from, to),
            Change::RemoveFile { name, .. } => Step::RemoveFile(name),
            Change::RemoveDir { name, .. } => Step::RemoveDir(name),
            Change::Rename { from, to, .. } => Step::Rename(from, to),
            Change::Write { name, offset, data, .. } => Step::Write(name, *offset, data),
            Change::SetLen { name, bytes, .. } => Step::SetLen(name, *bytes),
            Change::Sync { name, site, .. } => Step::Sync(name, *site),
            Change::SyncDir { name, site, .. } => Step::SyncDir(name, *site),
        }
    }

    /// Makes a sync one that has no effect.
    pub(super) fn mute(&mut self) {
        if let Change::Sync { is_muted, .. } | Change::SyncDir { is_muted, .. } = self {
            *is_muted = true;
        }
    }
}
