//! The last bytes of a table: where everything else is. Layout: `docs/format.md` §4.6.

use super::meta::{BlockHandle, Mirror, TableMeta};
use crate::codec::{Checksum, Corruption, Reader, Salt};

/// Size of a footer.
pub const FOOTER_BYTES: usize = 136;

const MAGIC: [u8; 8] = *b"ISOPTAIL";
const CHECKED_BYTES: usize = FOOTER_BYTES - 8;

/// What a table says of itself.
///
/// | bytes    | field                                                        |
/// |----------|--------------------------------------------------------------|
/// | 0..8     | magic `ISOPTAIL`                                             |
/// | 8..16    | size of the file                                             |
/// | 16..32   | index handle                                                 |
/// | 32..48   | handle of the filter's directory; zeros: none                |
/// | 48..64   | properties handle                                            |
/// | 64..72   | where the mirror of index and properties begins              |
/// | 72..88   | statistics handle                                            |
/// | 88..96   | entries                                                      |
/// | 96..104  | tombstones                                                   |
/// | 104..112 | data blocks                                                  |
/// | 112..128 | prefix filter handle; zeros: none                            |
/// | 128..136 | checksum of bytes 0..128, bound to the footer's offset       |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footer {
    pub(super) table_bytes: u64,
    pub(super) index: BlockHandle,
    pub(super) filter: Option<BlockHandle>,
    pub(super) properties: BlockHandle,
    pub(super) mirror_at: u64,
    pub(super) statistics: BlockHandle,
    pub(super) entries: u64,
    pub(super) tombstones: u64,
    pub(super) data_blocks: u64,
    pub(super) prefix_filter: Option<BlockHandle>,
}

impl Footer {
    /// Encodes the footer; [`Footer::decode`] is its inverse.
    pub(super) fn encode(&self, salt: Salt) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.table_bytes.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.index.encode());
        bytes[32..48].copy_from_slice(&self.filter.map_or(NO_HANDLE, BlockHandle::encode));
        bytes[48..64].copy_from_slice(&self.properties.encode());
        bytes[64..72].copy_from_slice(&self.mirror_at.to_le_bytes());
        bytes[72..88].copy_from_slice(&self.statistics.encode());
        bytes[88..96].copy_from_slice(&self.entries.to_le_bytes());
        bytes[96..104].copy_from_slice(&self.tombstones.to_le_bytes());
        bytes[104..112].copy_from_slice(&self.data_blocks.to_le_bytes());
        bytes[112..128].copy_from_slice(&self.prefix_filter.map_or(NO_HANDLE, BlockHandle::encode));
        let offset = self.table_bytes - FOOTER_BYTES as u64;
        let checksum = Checksum::of(&bytes[..CHECKED_BYTES], salt, offset);
        bytes[CHECKED_BYTES..].copy_from_slice(&checksum.0.to_le_bytes());
        bytes
    }

    /// Decodes the footer of a file of `file_bytes` bytes.
    ///
    /// # Errors
    ///
    /// It is damaged, or the file was cut or extended.
    pub(super) fn decode(
        bytes: &[u8; FOOTER_BYTES],
        salt: Salt,
        file_bytes: u64,
    ) -> Result<Footer, Corruption> {
        let mut fields = Reader::new(bytes);
        if fields.array()? != MAGIC {
            return Err(Corruption("the table does not end with a footer"));
        }
        let table_bytes = fields.u64()?;
        let index: [u8; 16] = fields.array()?;
        let filter: [u8; 16] = fields.array()?;
        let properties: [u8; 16] = fields.array()?;
        let mirror_at = fields.u64()?;
        let statistics: [u8; 16] = fields.array()?;
        let (entries, tombstones, data_blocks) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let prefix_filter: [u8; 16] = fields.array()?;
        let checksum = Checksum(fields.u64()?);
        let offset = file_bytes.saturating_sub(FOOTER_BYTES as u64);
        if checksum != Checksum::of(&bytes[..CHECKED_BYTES], salt, offset) {
            return Err(Corruption("the table's footer fails its checksum"));
        }
        if table_bytes != file_bytes {
            return Err(Corruption("the table has another size than its footer says"));
        }
        let if_any = |handle| match handle {
            NO_HANDLE => Ok(None),
            handle => BlockHandle::decode(handle, table_bytes).map(Some),
        };
        let index = BlockHandle::decode(index, table_bytes)?;
        let properties = BlockHandle::decode(properties, table_bytes)?;
        Mirror::of(mirror_at, index, properties).check(table_bytes)?;
        let statistics = BlockHandle::decode(statistics, table_bytes)?;
        Ok(Footer {
            table_bytes,
            index,
            filter: if_any(filter)?,
            properties,
            mirror_at,
            statistics,
            entries,
            tombstones,
            data_blocks,
            prefix_filter: if_any(prefix_filter)?,
        })
    }

    /// Whether the manifest says the same.
    pub(super) fn agrees_with(&self, meta: &TableMeta) -> bool {
        self.table_bytes == meta.bytes
            && self.index == meta.index
            && self.filter == meta.filter
            && self.properties == meta.properties
            && self.mirror_at == meta.mirror_at
            && self.statistics == meta.statistics
            && self.prefix_filter == meta.prefix_filter.as_ref().map(|filter| filter.block)
            && self.entries == meta.entries
            && self.tombstones == meta.tombstones
    }
}

const NO_HANDLE: [u8; BlockHandle::ENCODED_BYTES] = [0; BlockHandle::ENCODED_BYTES];
