//! A program without the standard library that uses the engine: put, get, flush, compact, reopen, scan.
//!
//! Returns 0, or the number of the first step that went wrong: see [`Step`].

#![no_std]
#![no_main]

extern crate alloc;

mod heap;

use alloc::{format, vec::Vec};
use core::{ffi::c_int, panic::PanicInfo};
use heap::Heap;
use isopach_engine::{
    codec::Compression,
    compaction::{Leveled, Views},
    store::{Store, StoreOptions, VerifyOptions},
    tree::{Tree, TreeOptions, WriteBatch},
    types::{Seqno, UnixUs, View},
};
use isopach_env::Env;

#[global_allocator]
static HEAP: Heap = Heap::new();

// What starts the program, ends it, and copies and compares memory.
#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

/// `alloc` as it comes with the toolchain is built to unwind and names this. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    abort()
}

/// What can go wrong. The numbers are exit codes.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    /// The store is made.
    Create = 10,
    /// A tree is made in it.
    CreateTree = 11,
    /// Values are put and deleted.
    Put = 20,
    /// They are read back out of memory.
    Get = 21,
    /// They become tables.
    Flush = 30,
    /// They are read back out of tables.
    GetFromTables = 31,
    /// The tables are merged.
    Compact = 40,
    /// The old tables are removed.
    Remove = 41,
    /// The store is opened again.
    Reopen = 50,
    /// It is read from both ends.
    Scan = 51,
    /// Every byte is checked.
    Verify = 60,
}

/// What the C runtime calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _arguments: *const *const u8) -> c_int {
    match run() {
        Ok(()) => 0,
        Err(step) => c_int::from(step as u8),
    }
}

/// Rounds of writing, each of which ends with a flush; as many as start a compaction.
const ROUNDS: u64 = 4;
const KEYS: u64 = 500;
const ZSTD: Compression = Compression::Zstd { level: 3 };

fn run() -> Result<(), Step> {
    // Files in memory, a clock moved by hand, seeded randomness: an environment that needs no system.
    let env = Env::simulated(7);
    let mut last = 1;

    let store = Store::open(env.clone(), &StoreOptions::default()).map_err(|_| Step::Create)?;
    let tree = create_tree(&store, last)?;
    for round in 0..ROUNDS {
        last = put_round(&tree, round, last)?;
        flush(&tree, last)?;
    }
    check_values(&tree, last, Step::GetFromTables)?;
    compact(&tree, last)?;
    let freed = store.files().run_deletions(u64::MAX);
    ensure(freed.files >= ROUNDS && freed.failed == 0, Step::Remove)?;
    drop((tree, store));

    let store = Store::open(env, &StoreOptions::default()).map_err(|_| Step::Reopen)?;
    let tree = store.tree("numbers").map_err(|_| Step::Reopen)?;
    ensure(matches!(store.remove_orphans(), Ok(0)), Step::Reopen)?;
    check_values(&tree, last, Step::GetFromTables)?;
    scan(&tree, last)?;
    let report = store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).map_err(|_| Step::Verify)?;
    ensure(report.found.is_empty() && report.entries == KEYS - KEYS / 10, Step::Verify)
}

fn create_tree(store: &Store, at: u64) -> Result<Tree, Step> {
    let id = store.reserve_tree_id().map_err(|_| Step::CreateTree)?;
    let mut options = TreeOptions::default();
    if ZSTD.is_available() {
        options.compression = ZSTD.into();
        options.block_bytes = (4 << 10).into();
        options.dictionary_bytes = 2 << 10;
    }
    store.create_tree(id, "numbers", &options, &[], seqno(at)).map_err(|_| Step::CreateTree)
}

/// Puts every key, and in the last round deletes each tenth. Returns the last number used.
fn put_round(tree: &Tree, round: u64, last: u64) -> Result<u64, Step> {
    let mut batch = WriteBatch::new();
    for key in 0..KEYS {
        if round + 1 == ROUNDS && key % 10 == 0 {
            batch.delete(&key_of(key));
        } else {
            batch.put(&key_of(key), &value_of(key, round));
        }
    }
    tree.apply(&batch, seqno(last + 1)).map_err(|_| Step::Put)?;
    let last = last + KEYS;
    let found = tree.get(&key_of(1), at(last)).map_err(|_| Step::Get)?;
    ensure(found.as_deref() == Some(&value_of(1, round)[..]), Step::Get)?;
    Ok(last)
}

fn flush(tree: &Tree, last: u64) -> Result<(), Step> {
    tree.rotate(seqno(last)).map_err(|_| Step::Flush)?;
    // Nothing is dropped by a flush here, so that the compaction has something to do.
    let report = tree.flush(seqno(last), &Views::keep_all(), &[]).map_err(|_| Step::Flush)?;
    ensure(report.memtables == 1 && tree.first_unflushed().is_none(), Step::Flush)
}

fn compact(tree: &Tree, last: u64) -> Result<(), Step> {
    let leveled = Leveled::for_tables_of(tree.options().table_bytes);
    let mut dropped = 0;
    while let Some(plan) = tree.pick(&leveled) {
        let report = tree.compact(&plan, &Views::new(&[], at(last)), &mut |_| Ok(()));
        dropped += report.map_err(|_| Step::Compact)?.dropped_entries;
    }
    // Of each key one version is left, and none of those that were deleted.
    ensure(dropped == ROUNDS * KEYS - (KEYS - KEYS / 10), Step::Compact)?;
    let has_dictionary = tree.tables().iter().any(|table| table.dictionary.is_some());
    ensure(has_dictionary == ZSTD.is_available(), Step::Compact)
}

fn check_values(tree: &Tree, last: u64, step: Step) -> Result<(), Step> {
    for key in 0..KEYS {
        let expected = (key % 10 != 0).then(|| value_of(key, ROUNDS - 1));
        let found = tree.get(&key_of(key), at(last)).map_err(|_| step)?;
        ensure(found.as_deref() == expected.as_deref(), step)?;
    }
    Ok(())
}

fn scan(tree: &Tree, last: u64) -> Result<(), Step> {
    let expected: Vec<Vec<u8>> = (0..KEYS).filter(|key| key % 10 != 0).map(key_of).collect();
    let mut forward = Vec::new();
    for entry in tree.scan(.., at(last)).map_err(|_| Step::Scan)? {
        forward.push(entry.map_err(|_| Step::Scan)?.0.to_vec());
    }
    let mut backward = Vec::new();
    for entry in tree.scan(.., at(last)).map_err(|_| Step::Scan)?.rev() {
        backward.push(entry.map_err(|_| Step::Scan)?.0.to_vec());
    }
    backward.reverse();
    ensure(forward == expected && backward == expected, Step::Scan)
}

fn key_of(key: u64) -> Vec<u8> {
    format!("key{key:05}").into_bytes()
}

/// Some of a dozen phrases, which are the same for all values: worth a dictionary.
fn value_of(key: u64, round: u64) -> Vec<u8> {
    let mut value = format!("value {key} of round {round}").into_bytes();
    let chosen = mixed(key + KEYS * round);
    for phrase in (0..4).map(|place| chosen >> (8 * place) & 0xFF).map(|byte| byte % 12) {
        value.extend((0..10).flat_map(|word| mixed(phrase << 8 | word).to_le_bytes()));
    }
    value
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).expect("the numbers here are small")
}

fn at(raw: u64) -> View {
    View::new(seqno(raw), UnixUs(0))
}

fn ensure(holds: bool, step: Step) -> Result<(), Step> {
    if holds { Ok(()) } else { Err(step) }
}
