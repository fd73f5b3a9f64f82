//! One record of the manifest: changes that happen together. Layout: `docs/format.md` §5.

use super::{
    levels::{Added, RunAge},
    routes::Routes,
};
use crate::{
    blob::BlobMeta,
    codec::{Corruption, Reader, TlvReader, TlvWriter},
    table::TableMeta,
    types::{Level, Seqno, TableId, TreeId},
};
use alloc::{string::String, sync::Arc, vec::Vec};

/// Small bytes of the layer above (log end, options): the last value under a name counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Name; those that begin with `isopach.` are the engine's own.
    pub name: String,
    /// Value.
    pub value: Vec<u8>,
}

impl Note {
    /// A value under a name.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Note {
        Note { name: name.into(), value: value.into() }
    }
}

/// One change of an edit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new tree, empty.
    CreateTree {
        /// An id never used before.
        id: TreeId,
        /// Its name, not taken.
        name: String,
        /// Its options, encoded by their owner.
        options: Vec<u8>,
        /// Position of the change in the order of operations.
        at: Seqno,
    },
    /// A tree goes with all its tables.
    DropTree {
        /// Which.
        id: TreeId,
        /// Position of the change in the order of operations.
        at: Seqno,
    },
    /// A tree has other options from now on.
    SetOptions {
        /// Whose.
        id: TreeId,
        /// All of them, encoded by their owner.
        options: Vec<u8>,
    },
    /// Tables of a tree come and go.
    Tables(TablesChange),
    /// See [`Note`].
    Note(Note),
    /// File ids below this may be in use.
    FileIdMark(u64),
    /// Tree ids below this may be in use.
    TreeIdMark(u32),
    /// Files of all trees are made elsewhere from now on. All routes, the places of files that are there included.
    Routes(Routes),
}

/// What a flush, compaction or move does to a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TablesChange {
    /// Whose tables.
    pub tree: TreeId,
    /// Tables that go.
    pub removed: Vec<TableId>,
    /// Tables that come.
    pub added: Vec<Added<Arc<TableMeta>>>,
    /// Everything up to here is in tables.
    pub replay_point: Option<Seqno>,
    /// Reads below this may miss versions.
    pub read_floor: Option<Seqno>,
    /// Files of separated values that come. Those that no table points to any more go by themselves.
    pub blobs: Vec<BlobMeta>,
}

const CREATE_TREE: u8 = 1;
const DROP_TREE: u8 = 2;
const TABLES: u8 = 3;
const NOTE: u8 = 4;
const FILE_ID_MARK: u8 = 5;
const TREE_ID_MARK: u8 = 6;
const SET_OPTIONS: u8 = 7;
const ROUTES: u8 = 8;

const TREE: u8 = 1;
const REMOVED: u8 = 2;
const ADDED: u8 = 3;
const REPLAY_POINT: u8 = 4;
const READ_FLOOR: u8 = 5;
const BLOB: u8 = 6;

/// Encodes changes as fields; [`decode_edit`] is the inverse.
pub fn encode_edit(changes: &[Change]) -> Vec<u8> {
    let mut fields = TlvWriter::new();
    for change in changes {
        match change {
            Change::CreateTree { id, name, options, at } => {
                let mut value = Vec::new();
                value.extend_from_slice(&id.0.to_le_bytes());
                value.extend_from_slice(&at.raw().to_le_bytes());
                put_bytes(&mut value, name.as_bytes());
                put_bytes(&mut value, options);
                fields.bytes(CREATE_TREE, &value);
            }
            Change::DropTree { id, at } => {
                let mut value = Vec::from(id.0.to_le_bytes());
                value.extend_from_slice(&at.raw().to_le_bytes());
                fields.bytes(DROP_TREE, &value);
            }
            Change::SetOptions { id, options } => {
                let mut value = Vec::from(id.0.to_le_bytes());
                put_bytes(&mut value, options);
                fields.bytes(SET_OPTIONS, &value);
            }
            Change::Tables(change) => {
                fields.bytes(TABLES, &change.encode());
            }
            Change::Note(note) => {
                let mut value = Vec::new();
                put_bytes(&mut value, note.name.as_bytes());
                put_bytes(&mut value, &note.value);
                fields.bytes(NOTE, &value);
            }
            Change::FileIdMark(mark) => {
                fields.u64(FILE_ID_MARK, *mark);
            }
            Change::TreeIdMark(mark) => {
                fields.u64(TREE_ID_MARK, u64::from(*mark));
            }
            Change::Routes(routes) => {
                fields.bytes(ROUTES, &routes.encode());
            }
        }
    }
    fields.finish()
}

/// Decodes the changes of an edit.
///
/// # Errors
///
/// The bytes are no edit of this version.
pub fn decode_edit(bytes: &[u8]) -> Result<Vec<Change>, Corruption> {
    let mut fields = TlvReader::new(bytes);
    let mut changes = Vec::new();
    while let Some((tag, value)) = fields.next_field()? {
        let mut value_fields = Reader::new(value);
        changes.push(match tag {
            CREATE_TREE => {
                let id = TreeId(value_fields.u32()?);
                let at = seqno(value_fields.u64()?)?;
                let name = String::from(value_fields.text_u32()?);
                let options = Vec::from(value_fields.bytes_u32()?);
                value_fields.finish()?;
                Change::CreateTree { id, name, options, at }
            }
            DROP_TREE => {
                let id = TreeId(value_fields.u32()?);
                let at = seqno(value_fields.u64()?)?;
                value_fields.finish()?;
                Change::DropTree { id, at }
            }
            SET_OPTIONS => {
                let id = TreeId(value_fields.u32()?);
                let options = Vec::from(value_fields.bytes_u32()?);
                value_fields.finish()?;
                Change::SetOptions { id, options }
            }
            TABLES => Change::Tables(TablesChange::decode(value)?),
            ROUTES => Change::Routes(Routes::decode(value)?),
            NOTE => {
                let name = String::from(value_fields.text_u32()?);
                let note = Vec::from(value_fields.bytes_u32()?);
                value_fields.finish()?;
                Change::Note(Note { name, value: note })
            }
            FILE_ID_MARK => Change::FileIdMark(TlvReader::as_u64(value)?),
            TREE_ID_MARK => {
                let mark = u32::try_from(TlvReader::as_u64(value)?);
                Change::TreeIdMark(mark.map_err(|_| Corruption("a tree id exceeds 32 bits"))?)
            }
            unknown => {
                TlvReader::unknown(unknown)?;
                continue;
            }
        });
    }
    Ok(changes)
}

impl TablesChange {
    /// Nothing changes in `tree` yet.
    pub fn of(tree: TreeId) -> TablesChange {
        TablesChange {
            tree,
            removed: Vec::new(),
            added: Vec::new(),
            replay_point: None,
            read_floor: None,
            blobs: Vec::new(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.u64(TREE, u64::from(self.tree.0));
        for id in &self.removed {
            fields.u64(REMOVED, id.0);
        }
        for added in &self.added {
            let mut value = Vec::from([added.level.0]);
            value.extend_from_slice(&added.age.0.to_le_bytes());
            value.extend_from_slice(&added.table.encode());
            fields.bytes(ADDED, &value);
        }
        if let Some(point) = self.replay_point {
            fields.u64(REPLAY_POINT, point.raw());
        }
        if let Some(floor) = self.read_floor {
            fields.u64(READ_FLOOR, floor.raw());
        }
        for blob in &self.blobs {
            fields.bytes(BLOB, &blob.encode());
        }
        fields.finish()
    }

    fn decode(bytes: &[u8]) -> Result<TablesChange, Corruption> {
        let mut fields = TlvReader::new(bytes);
        let mut tree = None;
        let mut change = TablesChange::of(TreeId(0));
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                TREE => {
                    let id = u32::try_from(TlvReader::as_u64(value)?);
                    tree = Some(TreeId(id.map_err(|_| Corruption("a tree id exceeds 32 bits"))?));
                }
                REMOVED => change.removed.push(TableId(TlvReader::as_u64(value)?)),
                ADDED => {
                    let mut fields = Reader::new(value);
                    let (level, age) = (Level(fields.u8()?), RunAge(fields.u64()?));
                    let table = TableMeta::decode(fields.bytes(fields.remaining())?)?;
                    change.added.push(Added { level, age, table: Arc::new(table) });
                }
                REPLAY_POINT => change.replay_point = Some(seqno(TlvReader::as_u64(value)?)?),
                READ_FLOOR => change.read_floor = Some(seqno(TlvReader::as_u64(value)?)?),
                BLOB => change.blobs.push(BlobMeta::decode(value)?),
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        change.tree = tree.ok_or(Corruption("a change of tables names no tree"))?;
        Ok(change)
    }
}

fn seqno(raw: u64) -> Result<Seqno, Corruption> {
    Seqno::from_raw(raw).ok_or(Corruption("a sequence number exceeds its bound"))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("names and notes are short").to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
