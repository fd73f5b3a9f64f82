//! Data blocks: entries sorted by key and within a key newest first. Layout: `docs/format.md` §4.1.
//!
//! A block is a frame of two sections. The *key section* is never compressed: of `n` entries whose user keys
//! share `p` bytes,
//!
//! | bytes         | field                                                                    |
//! |---------------|--------------------------------------------------------------------------|
//! | 0..4          | `n`, at least 1                                                          |
//! | 4..6          | `p`                                                                      |
//! | 6             | the kind of all entries; 0: they differ, see the column                  |
//! | 7             | `w`, bytes a number takes in its column: 0, 1, 2, 4 or 8                 |
//! | 8..16         | the least number                                                         |
//! | 4 `n`         | heads: first four bytes of the rests, zero-padded, as big-endian numbers |
//! | 4 `n`         | where each value ends, from the start of the value section               |
//! | 2 `n`         | where each rest ends, from the start of the rests                        |
//! | `n`, or 0     | kinds, if they differ                                                    |
//! | `w` `n`       | numbers, less the least                                                  |
//! | `p`           | the prefix                                                               |
//! | the remainder | rests: user keys without the prefix                                      |
//!
//! It is at most 64 KiB long, unless the block holds a single entry; that one's rest is empty. The *value
//! section* is the values one behind the other, compressed as a whole.

mod build;
mod decode;

pub(super) use build::BlockBuilder;
pub use decode::DataBlock;

/// Bytes of a key section before its columns.
const FIXED_BYTES: usize = 16;

/// Most bytes of the key section of a block with several entries.
const MAX_KEY_SECTION_BYTES: usize = 64 * 1024;

/// Bytes of an offset of a value.
const VALUE_END_BYTES: usize = 4;

/// Bytes of an offset of a rest.
const REST_END_BYTES: usize = 2;

#[cfg(test)]
mod tests;
