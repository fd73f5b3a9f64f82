//! What the manifest keeps of a table, so that opening a store touches none.

use crate::types::{Seqno, TableId, UnixUs, Uuid};
use alloc::vec::Vec;

/// Where a block lies in its file: the frame begins at `offset` and takes `bytes`, parity included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHandle {
    /// First byte of the frame.
    pub offset: u64,
    /// Size of the frame.
    pub bytes: u64,
}

/// Facts about a finished table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableMeta {
    /// Its number; its name is made of it.
    pub id: TableId,
    /// The uuid in its file header.
    pub uuid: Uuid,
    /// Size of the file.
    pub bytes: u64,
    /// XXH3-64 of the whole file.
    pub digest: u64,
    /// Versions in it.
    pub entries: u64,
    /// Of these, deletes of any kind.
    pub tombstones: u64,
    /// Least user key.
    pub first_key: Vec<u8>,
    /// Greatest user key.
    pub last_key: Vec<u8>,
    /// Least number of a version.
    pub first_seqno: Seqno,
    /// Greatest number of a version.
    pub last_seqno: Seqno,
    /// When it was written.
    pub created_at: UnixUs,
    /// Its index block.
    pub index: BlockHandle,
    /// Its filter block, if it has one.
    pub filter: Option<BlockHandle>,
    /// Its properties block.
    pub properties: BlockHandle,
}
