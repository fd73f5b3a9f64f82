//! One adapter a file, and the list of those that this build has.

mod noop;
mod isopach;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "surrealkv")]
mod surrealkv;
#[cfg(feature = "coordinode")]
mod coordinode;
#[cfg(feature = "heed")]
mod heed;
#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sled")]
mod sled;

#[cfg(test)]
pub mod tests;

use crate::engine::Open;

/// An engine of this build.
pub struct Adapter {
    pub name: &'static str,
    /// Its crate's name in the lock file.
    pub package: &'static str,
    pub open: Open,
}

/// In the order in which they take turns.
pub const ADAPTERS: &[Adapter] = &[
    Adapter { name: "noop", package: "isopach-bench", open: noop::open },
    Adapter { name: "isopach", package: "isopach", open: isopach::open },
    #[cfg(feature = "encryption")]
    Adapter { name: "isopach-encrypted", package: "isopach", open: isopach::open_encrypted },
    #[cfg(feature = "parity")]
    Adapter { name: "isopach-parity", package: "isopach", open: isopach::open_protected },
    #[cfg(feature = "rocksdb")]
    Adapter { name: "rocksdb", package: "rocksdb", open: rocksdb::open },
    #[cfg(feature = "fjall")]
    Adapter { name: "fjall", package: "fjall", open: fjall::open },
    #[cfg(feature = "surrealkv")]
    Adapter { name: "surrealkv", package: "surrealkv", open: surrealkv::open },
    #[cfg(feature = "coordinode")]
    Adapter { name: "coordinode", package: "coordinode-lsm-tree", open: coordinode::open },
    #[cfg(feature = "heed")]
    Adapter { name: "heed", package: "heed", open: heed::open },
    #[cfg(feature = "canopydb")]
    Adapter { name: "canopydb", package: "canopydb", open: canopydb::open },
    #[cfg(feature = "redb")]
    Adapter { name: "redb", package: "redb", open: redb::open },
    #[cfg(feature = "sled")]
    Adapter { name: "sled", package: "sled", open: sled::open },
];

/// What an engine says of [`Settings::separated_from_bytes`].
#[cfg(any(feature = "rocksdb", feature = "fjall", feature = "coordinode"))]
pub fn separation(settings: &crate::engine::Settings, how: &str) -> String {
    settings
        .separated_from_bytes
        .map_or_else(|| "off".into(), |bytes| format!("from {bytes} bytes on; {how}"))
}

pub fn find(name: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().find(|adapter| adapter.name == name)
}

/// Bits of filter a key, for every engine that has Bloom filters.
#[cfg(any(feature = "rocksdb", feature = "fjall", feature = "coordinode"))]
const BLOOM_BITS_PER_KEY: f32 = 10.0;

/// Of Zstandard.
pub const ZSTD_LEVEL: i8 = 3;

/// Background threads, for every engine where they can be set: one a core.
#[cfg(any(feature = "rocksdb", feature = "fjall", feature = "surrealkv"))]
fn threads_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
