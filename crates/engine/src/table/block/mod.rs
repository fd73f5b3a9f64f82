//! Data blocks: entries sorted by key and within a key newest first. Layout: `docs/format.md` §4.1.
//!
//! A block is a frame of several sections. The first is the *key section*: of `n` entries
//! whose user keys share `p` bytes,
//!
//! | bytes         | field                                                                    |
//! |---------------|--------------------------------------------------------------------------|
//! | 0..4          | `n`, at least 1                                                          |
//! | 4..6          | `p`                                                                      |
//! | 6             | the kind of all entries; 0: they differ, see the column                  |
//! | 7             | `w`, bytes a number takes in its column: 0 to 8                          |
//! | 8..16         | the least number                                                         |
//! | 16..20        | the length of every value if `v` is 0; else zero                         |
//! | 20..22        | the length of every tail unless flag 2 is set; else zero                 |
//! | 22            | `v`, bytes that the end of a value takes in its column: 0, 2 or 4        |
//! | 23            | flags: 1 = tails begin behind the head; 2 = the column of tails is there |
//! | 4 `n`         | heads: first four bytes of the rests, zero-padded, as big-endian numbers |
//! | `v` `n`       | where each value ends, from the start of the first                       |
//! | 2 `n`, or 0   | where each tail ends, from the start of the tails                        |
//! | `n`, or 0     | kinds, if they differ                                                    |
//! | `w` `n`       | numbers, less the least                                                  |
//! | 4 `n`, or 0   | checksums of the entries                                                 |
//! | `p`           | the prefix                                                               |
//! | the remainder | tails                                                                    |
//!
//! A *rest* is a user key without the prefix. If all rests have four bytes, their *tails* are what is behind
//! these, which the heads hold; else tails are rests. The key section is at most 64 KiB long, unless the block
//! holds a single entry; that one's rest is empty.
//!
//! The other sections are *pages*: values one behind the other, each whole in one page, each page compressed by
//! itself. A page is cut where the next value would make it longer than a sixteenth of the block and than 16 KiB. No
//! page is empty: a block whose values are has none. Who needs one value decompresses one page.

mod build;
mod decode;
mod once_bytes;
mod pages;

pub(super) use build::BlockBuilder;
pub use decode::DataBlock;

/// Bytes of a key section before its columns.
const FIXED_BYTES: usize = 24;

/// Most bytes of the key section of a block with several entries.
const MAX_KEY_SECTION_BYTES: usize = 64 * 1024;

/// Bytes of an offset of a tail.
const TAIL_END_BYTES: usize = 2;

/// Flag: tails begin behind the head.
const HEADS_ARE_CUT: u8 = 1;

/// Flag: tails differ in length.
const TAILS_DIFFER: u8 = 2;

/// Flag: entries have checksums.
const CHECKSUMS: u8 = 4;

/// Bytes of one.
const CHECKSUM_BYTES: usize = 4;

/// Least bytes at which a page is cut.
const PAGE_BYTES: usize = 16 * 1024;

/// Most pages of a block, about twice: two that follow each other are together longer than one may be.
const PAGES: usize = 16;

#[cfg(test)]
mod tests;
