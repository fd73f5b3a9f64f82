//! Fuzz targets: hostile bytes for every decoder, for whole files and directories, and for operations.
//!
//! A target is a function of bytes that panics if something is wrong. Whatever the bytes are, it returns, in
//! time and memory in proportion to them. `fuzz/` hands each to libFuzzer; [`drive`](drive()) hands it
//! damaged copies of sound inputs in `cargo test`. Where checksums stand before a decoder, a target tries the
//! bytes as they are and once more with the checksums made right ([`repair_file`]).

mod drive;
mod framing;
mod image;
mod mutate;
mod operations;
mod parity;
mod repair;
mod sealed;
mod seeds;
mod tables;
mod typed;

pub use drive::{Budget, Driven, drive};
pub use repair::file as repair_file;

use isopach::{
    engine::table::fuzz as table,
    env::{CreateOptions, File, Fs, MemFs, OpenMode},
    fuzz as db,
};
use std::sync::Arc;

/// Something that takes bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name; in `fuzz/` the name of its program.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&[u8]),
    /// Sound inputs, made by the code itself.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What it may take of memory.
    pub memory: Memory,
}

/// What a target may hold at most: so many bytes for each of its input, and so many more.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// For each byte of input.
    pub per_byte: usize,
    /// Beside that.
    pub constant: usize,
    /// Whether other threads take part.
    pub counted: Counted,
}

/// Whose memory counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// The thread that runs the target does all of the work.
    Thread,
    /// So do others.
    Process,
}

/// Of decoders that keep a copy of what they read, and of its encoding for comparison.
const COPIES: Memory = Memory { per_byte: 16, constant: 64 << 10, counted: Counted::Thread };
/// Of readers of files, which read 256 KiB at a time.
const FILES: Memory = Memory { per_byte: 16, constant: 1 << 20, counted: Counted::Thread };
/// Of parity: a stripe has at most 255 shards of 4 KiB, and as many digests in each frame; `reed-solomon-simd` makes tables
/// of 8 MiB once.
const STRIPES: Memory = Memory { per_byte: 16, constant: 16 << 20, counted: Counted::Thread };
/// Where sections are decompressed: LZ4 makes at most 255 bytes out of one, and a copy of them is compared.
const UNPACKED: Memory = Memory { per_byte: 16 + 3 * 255, constant: 1 << 20, counted: Counted::Thread };
/// Of values that serde knows: a byte may stand for an empty string, and is compared with what it is encoded
/// as.
const SEQUENCES: Memory = Memory { per_byte: 160, constant: 64 << 10, counted: Counted::Thread };
/// Of whole databases: beside the blocks that are decompressed, their memtables and caches within the
/// options.
const DATABASES: Memory = Memory { per_byte: 16 + 3 * 255, constant: 16 << 20, counted: Counted::Process };

macro_rules! targets {
    ($($name:ident: $run:path, $seeds:ident, $memory:ident;)*) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[
            $(Target { name: stringify!($name), run: $run, seeds: seeds::$seeds, memory: $memory },)*
        ];
    };
}

targets! {
    file_header: framing::file_header, headers, COPIES;
    block_frame: framing::block_frame, frames, UNPACKED;
    section: framing::section, sections, UNPACKED;
    sealed_frame: sealed::sealed_frame, sealed_frames, UNPACKED;
    parity: parity::parity, protected, STRIPES;
    tlv: framing::tlv, fields, COPIES;
    records: framing::records, records, FILES;
    fault_rules: framing::fault_rules, fault_rules, COPIES;
    table_meta: tables::table_meta, table_metas, COPIES;
    table_footer: tables::table_footer, footers, COPIES;
    table_index: table::index, indexes, COPIES;
    table_filter: table::filter, filters, COPIES;
    table_ranges: table::range_tombstones, range_tombstones, COPIES;
    table_statistics: table::statistics, statistics, COPIES;
    table_properties: table::properties, properties, COPIES;
    table_data_block: table::data_block, data_blocks, COPIES;
    table_file: tables::table_file, tables, UNPACKED;
    dictionary_file: tables::dictionary_file, dictionaries, FILES;
    blob_file: tables::blob_file, blobs, UNPACKED;
    blob_pointer: tables::blob_pointer, blob_pointers, COPIES;
    edit: tables::edit, edits, COPIES;
    manifest: tables::manifest, manifests, FILES;
    log_record: db::log_record, log_records, COPIES;
    log_segment: db_segment, segments, FILES;
    batch: db::batch, batches, COPIES;
    keyspace_change: db::keyspace_change, keyspace_changes, COPIES;
    notes: db::notes, notes, COPIES;
    options: db::options, options, COPIES;
    open_image: image::open_image, images, DATABASES;
    mutated_database: image::mutated_database, database_changes, DATABASES;
    sealed_database: image::sealed_database, database_changes, DATABASES;
    operations: operations::operations, operations, DATABASES;
    typed: typed::typed, typed, SEQUENCES;
}

/// Runs a target by its name: what programs of libFuzzer do.
///
/// # Panics
///
/// If there is none; and if the target finds something wrong.
pub fn run(name: &str, data: &[u8]) {
    (target(name).run)(data);
}

/// A target by its name.
///
/// # Panics
///
/// If there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

/// A log segment, behind a byte that says what the manifest has to say about it.
fn db_segment(data: &[u8]) {
    let bind = |data: &mut [u8]| {
        if let Some((_, file)) = data.split_first_mut() {
            repair::file(file);
        }
    };
    with_checksums(data, bind, db::log_segment);
}

/// Runs a target on the bytes as they are, and on what `repair` makes of them.
fn with_checksums(data: &[u8], repair: impl FnOnce(&mut [u8]), run: impl Fn(&[u8])) {
    run(data);
    let mut repaired = data.to_vec();
    repair(&mut repaired);
    if repaired != data {
        run(&repaired);
    }
}

/// Files in memory.
fn place_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> MemFs {
    let fs = MemFs::new();
    for (name, bytes) in files {
        if let Some((directory, _)) = name.split_once('/') {
            let _ = fs.create_dir(directory); // It may be there.
        }
        let file = fs.create(name, &CreateOptions::new(framing::ORIGIN)).expect("names differ");
        file.write_at(0, bytes).expect("memory takes all");
    }
    fs
}

fn open(fs: &MemFs, name: &str) -> Arc<dyn File> {
    fs.open(name, OpenMode::Read).expect("it is there")
}
