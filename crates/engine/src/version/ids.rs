//! Numbers of files, reserved in blocks: the edit that raises the mark is durable before a file above the old
//! mark is created (INV-MAN-4), so no number is given out twice, whatever crashes.

use super::{edit::Change, manifest::Manifest};
use crate::{
    error::{Error, ErrorKind, Result},
    types::{BlobId, TableId, TreeId, Uuid},
};
use alloc::format;
use isopach_env::{
    Entropy,
    sync::{Mutex, Rank},
};

/// Of both counters; held over the commit that raises a mark.
const IDS: Rank = Rank { level: 37, name: "manifest.ids" };

/// File ids reserved at once.
const FILE_BLOCK: u64 = 256;
/// Tree ids reserved at once.
const TREE_BLOCK: u32 = 16;

/// A uuid from the random source.
///
/// # Errors
///
/// Those of the source.
pub fn new_uuid(entropy: &dyn Entropy) -> Result<Uuid> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes).map_err(|error| Error::io(error, "draw a uuid", "the random source"))?;
    Ok(Uuid(bytes))
}

/// Gives out numbers of files and trees.
pub struct FileIds(Mutex<Ids>);

struct Ids {
    next_file: u64,
    file_mark: u64,
    next_tree: u32,
    tree_mark: u32,
}

impl FileIds {
    /// Goes on at the marks of a catalog: what lies below may be in use.
    pub fn from_marks(file_mark: u64, tree_mark: u32) -> FileIds {
        let ids = Ids { next_file: file_mark.max(1), file_mark, next_tree: tree_mark.max(1), tree_mark };
        FileIds(Mutex::new(IDS, ids))
    }

    /// A number for a table, never given out before.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::commit`], when a block is used up.
    pub fn next_table(&self, manifest: &Manifest) -> Result<TableId> {
        self.take_file(manifest).map(TableId)
    }

    /// A number for a file of separated values, never given out before, to a table neither.
    ///
    /// # Errors
    ///
    /// As [`FileIds::next_table`].
    pub fn next_blob(&self, manifest: &Manifest) -> Result<BlobId> {
        self.take_file(manifest).map(BlobId)
    }

    /// The number that the next file gets: none has it or a greater one.
    pub fn next_file(&self) -> u64 {
        self.0.lock().next_file
    }

    fn take_file(&self, manifest: &Manifest) -> Result<u64> {
        let mut ids = self.0.lock();
        if ids.next_file >= ids.file_mark {
            let mark = ids.next_file.checked_add(FILE_BLOCK).ok_or_else(|| used_up("file"))?;
            manifest.commit(&[Change::FileIdMark(mark)])?;
            ids.file_mark = mark;
        }
        ids.next_file += 1;
        Ok(ids.next_file - 1)
    }

    /// A number for a tree, never given out before.
    ///
    /// # Errors
    ///
    /// As [`FileIds::next_table`].
    pub fn next_tree(&self, manifest: &Manifest) -> Result<TreeId> {
        let mut ids = self.0.lock();
        if ids.next_tree >= ids.tree_mark {
            let mark = ids.next_tree.checked_add(TREE_BLOCK).ok_or_else(|| used_up("tree"))?;
            manifest.commit(&[Change::TreeIdMark(mark)])?;
            ids.tree_mark = mark;
        }
        ids.next_tree += 1;
        Ok(TreeId(ids.next_tree - 1))
    }
}

/// No program gets here: the mark was damaged before it was written.
fn used_up(what: &str) -> Error {
    Error::new(ErrorKind::Corruption, format!("the numbers of {what}s are used up"))
}
