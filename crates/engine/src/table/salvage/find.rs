//! Where the parts of a damaged table lie: by its index, or by what each block says of itself.

use crate::{
    codec::{BlockKind, FRAME_MAGIC, HEADER_BYTES, MAX_FRAME_START_BYTES, frame_start},
    error::KeyBounds,
    table::{BlockHandle, FOOTER_BYTES, open::OpenFile},
};
use alloc::vec::Vec;

/// Bytes that are looked through at once for the beginning of a block.
const WINDOW_BYTES: u64 = 256 * 1024;

/// A place of a table that holds entries, or held some.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A data block; with the keys that may be in it, if the index tells.
    Block(BlockHandle, Option<KeyBounds>),
    /// Bytes among data blocks in which none begins any more.
    Gap(BlockHandle),
}

/// What a walk over a file found.
#[derive(Default, Debug)]
pub(super) struct Walked {
    /// Data blocks and what lies between them, in order.
    pub(super) data: Vec<Place>,
    /// Blocks that may hold properties.
    pub(super) properties: Vec<BlockHandle>,
    /// Blocks that may hold range tombstones.
    pub(super) ranges: Vec<BlockHandle>,
}

/// Looks for blocks from the header on, one behind the other; where none begins, at every byte up to the next. Reads the
/// file once at most, and takes memory for the places only.
///
/// Behind the first block that is no data block none follows, so a gap there is not counted: it holds no entries.
pub(super) fn walk(file: &OpenFile) -> Walked {
    let mut found = Walked::default();
    let mut is_among_data = true;
    let end = file.bytes - FOOTER_BYTES as u64;
    let mut offset = HEADER_BYTES as u64;
    while offset < end {
        let Some((kind, bytes)) = frame_at(file, offset) else {
            let next = next_frame(file, offset + 1, end);
            if is_among_data {
                found.data.push(Place::Gap(BlockHandle { offset, bytes: next - offset }));
            }
            offset = next;
            continue;
        };
        let handle = BlockHandle { offset, bytes };
        is_among_data &= kind == BlockKind::Data;
        match kind {
            BlockKind::Data if is_among_data => found.data.push(Place::Block(handle, None)),
            BlockKind::Properties => found.properties.push(handle),
            BlockKind::RangeTombstones => found.ranges.push(handle),
            _ => {}
        }
        offset = handle.end();
    }
    found
}

/// The block that begins here, if its header and directory are sound and it ends inside the file.
fn frame_at(file: &OpenFile, offset: u64) -> Option<(BlockKind, u64)> {
    let left = file.bytes.checked_sub(offset)?;
    let start = file.read(offset, left.min(MAX_FRAME_START_BYTES as u64)).ok()?;
    frame_start(&start, &file.codec, offset).filter(|&(_, bytes)| bytes <= left)
}

/// Where the first block behind `from` begins; `end` if there is none. What cannot be read is passed over.
fn next_frame(file: &OpenFile, from: u64, end: u64) -> u64 {
    let mut from = from;
    while from < end {
        let bytes = (end - from).min(WINDOW_BYTES);
        let window = file.read(from, bytes).unwrap_or_default();
        let starts = window.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, two)| *two == FRAME_MAGIC);
        let mut starts = starts.map(|(at, _)| from + at as u64);
        if let Some(found) = starts.find(|&offset| frame_at(file, offset).is_some()) {
            return found;
        }
        // The last byte may be the first of the two.
        from += if bytes == end - from { bytes } else { bytes - 1 };
    }
    end
}
