//! Tables: immutable files of sorted blocks. Layout: `docs/format.md` §4.
//!
//! | at              | what                                                                     |
//! |-----------------|--------------------------------------------------------------------------|
//! | 0               | file header, 64 bytes                                                    |
//! | 64              | data blocks, one behind the other, in the order of their keys            |
//! | behind them     | partitions of the index, if it is too long for one block                 |
//! | then            | the mirror: the blocks of index and properties, another time             |
//! | then            | statistics of the data blocks                                            |
//! | then            | the prefix filter, if the tree has a prefix extractor                    |
//! | then            | partitions of the filter and their directory, unless there is no filter  |
//! | then            | index block                                                              |
//! | then            | properties block                                                         |
//! | last 136 bytes  | footer: where all of these are, counts, the size of the file             |
//!
//! [`TableWriter`] makes them, [`Table`] reads them, [`inspect`] looks at one without its database, and [`portable`] is
//! about those that have none. What the manifest keeps of one is its [`TableMeta`]; with it a table is opened by two
//! reads. This module knows nothing of levels, versions and which tables are live, and removes no file but one of
//! [`portable`] that is not finished.

mod block;
mod cursor;
mod estimate;
mod fields;
pub mod filter;
mod finding;
mod footer;
#[doc(hidden)]
pub mod fuzz;
mod heads;
mod hints;
mod index;
pub mod inspect;
mod layout;
mod locate;
mod meta;
mod open;
mod partitions;
pub mod portable;
mod properties;
mod reader;
pub mod salvage;
mod statistics;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use block::DataBlock;
pub use cursor::TableCursor;
pub(crate) use estimate::Part;
pub use filter::{FilterKind, FilterOptions, KeyHash};
pub use finding::Finding;
pub use footer::FOOTER_BYTES;
pub use layout::{Region, RegionKind};
pub use meta::{BlockHandle, PrefixFilter, RangeBlock, TableMeta};
pub use properties::{KindCounts, Properties, PropertySeed};
pub use reader::{DataCache, Table};
pub use statistics::BlockStatistics;
pub use verify::VerifyDepth;
pub use writer::{TableIdentity, TableOptions, TableWriter};

use crate::{place::PlaceId, types::TableId};
use alloc::{format, string::String};

/// Directory of the tables, relative to the root.
pub const TABLES_DIR: &str = "tables";

/// Name of a table's file, relative to its place.
pub fn file_name(id: TableId) -> String {
    format!("{TABLES_DIR}/{:06}.table", id.0)
}

/// The number of the table whose file has this name, in whatever place; `None` for other files.
pub fn number_of(name: &str) -> Option<TableId> {
    let (_, name) = PlaceId::split(name);
    let digits = name.strip_prefix(TABLES_DIR)?.strip_prefix('/')?.strip_suffix(".table")?;
    let id = TableId(digits.parse().ok()?);
    (file_name(id) == name).then_some(id)
}
